"""A model server that answers at once, as raw as Python allows: what stands before it is what costs.

python -m benchmarks.peers.instant        prints its port, serves until its input closes

A request's `max_tokens` says of how many pieces the answer is made, each of which is sent by itself. The model
`instant` sends them as fast as it can, `paced` a thousand a second, so that each arrives alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any, cast

import uvloop

WORD = "word "
_ON = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_SPENT = {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22}
_HEAD = {"id": "chatcmpl-1", "created": 1, "model": "instant"}


def _event(**more: Any) -> bytes:
    data = b"data: " + json.dumps({**_HEAD, "object": "chat.completion.chunk", **more}).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def _chosen(delta: dict[str, str], finish: str | None = None) -> bytes:
    return _event(choices=[{"index": 0, "delta": delta, "finish_reason": finish}])


_PIECES = [_chosen({"role": "assistant", "content": word}) for word in (WORD, "and ")]
"""Sent in turn: LiteLLM breaks a stream off in which too many are the same."""
_END = _chosen({}, "stop") + _event(choices=[], usage=_SPENT) + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


def _plain(body: Any) -> bytes:
    text = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)


_MODELS = _plain({"object": "list", "data": [{"id": name, "object": "model"} for name in ("instant", "paced")]})


class Instant(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._got = b""
        self._sending: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._to = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sending is not None:
            self._sending.cancel()

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, mark, rest = self._got.partition(b"\r\n\r\n")
        if not mark:
            return
        named = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        length = int(named or 0)
        if len(rest) >= length:
            self._got = rest[length:]
            self._answer(head.startswith(b"GET"), rest[:length])

    def _answer(self, models: bool, body: bytes) -> None:
        if models:
            self._to.write(_MODELS)
            return
        asked = json.loads(body)
        count = asked.get("max_tokens") or 2
        if not asked.get("stream"):
            message = {"role": "assistant", "content": WORD * count}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._to.write(_plain({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _SPENT}))
        elif count <= 2:
            self._to.write(_ON + _PIECES[0] * count + _END)
        else:
            self._sending = asyncio.ensure_future(self._send(count, 1e-3 if asked["model"] == "paced" else 0.0))

    async def _send(self, count: int, pause: float) -> None:
        self._to.write(_ON)
        for number in range(count):
            self._to.write(_PIECES[number % 2])
            await asyncio.sleep(pause)
        self._to.write(_END)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Instant, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)


if __name__ == "__main__":
    uvloop.run(main())
