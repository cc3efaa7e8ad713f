"""A small server that speaks the chat completions protocol and plays a script, for tests of the client."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from kernos.kernel.types import Json

Ending = Literal["done", "kept", "held", "broken", "short"]
"""How a stream ends: as it should; so that the connection may be used again; not before the client leaves; in the
middle of the chunked coding; orderly, but with no answer finished."""
NOW = "Sun, 22 Nov 2026 09:00:00 GMT"
"""What the server's clock says."""


@dataclass(frozen=True)
class Stream:
    """An answer as server-sent events."""

    chunks: Sequence[Json]
    ending: Ending = "done"


@dataclass(frozen=True)
class Plain:
    """An answer of one piece."""

    body: str
    status: int = 200
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Silence:
    """No byte of an answer: until the client leaves, or at once the end of the connection."""

    hangs_up: bool = False


Turn = Stream | Plain | Silence


@dataclass
class ChatServer:
    """Where the server is, what it will say, what it was asked, with which `Authorization` and from which port; `asked`
    is set when there was a call, `left` when a client left in the middle of one."""

    url: str
    script: list[Turn]
    models: Stream | Plain
    bodies: list[Json] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)


def chunk(delta: Mapping[str, Json], finish: str | None = None) -> Json:
    """One event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def says(text: str) -> Json:
    return chunk({"content": text})


def calls(arguments: str, name: str | None = None, index: int = 0) -> Json:
    """A piece of a tool call; the first piece of a call has its name."""
    function = {"arguments": arguments} | ({"name": name} if name else {})
    head = {"id": f"x{index}", "type": "function"} if name else {}
    return chunk({"tool_calls": [{"index": index, "function": function, **head}]})


def ends(reason: str = "stop") -> Json:
    return chunk({}, reason)


def usage(prompt: int, completion: int, cached: int) -> Json:
    """The last event, which carries no choice."""
    cost = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {**chunk({}), "choices": [], "usage": cost | {"prompt_tokens_details": {"cached_tokens": cached}}}


def models(owner: str, *names: str) -> Plain:
    """The list of models."""
    listed = [{"id": name, "object": "model", "created": 1, "owned_by": owner} for name in names]
    return Plain(json.dumps({"object": "list", "data": listed}))


VLLM = models("vllm", "m")


def vectors(*given: Sequence[float], tokens: int = 0) -> Plain:
    """Vectors of texts, the last first, as their order is in `index`."""
    data = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(given)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Plain(json.dumps({"object": "list", "data": data[::-1], "model": "m", "usage": usage}))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand: ChatServer

    def do_GET(self) -> None:
        self.stand.paths.append(self.path)
        self._answer(self.stand.models)

    def do_POST(self) -> None:
        self.stand.paths.append(self.path)
        self.stand.keys.append(self.headers["Authorization"])
        self.stand.ports.append(self.client_address[1])
        self.stand.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.stand.asked.set()
        self._answer(self.stand.script.pop(0))

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def _answer(self, answer: Turn) -> None:
        self.close_connection = not (isinstance(answer, Stream) and answer.ending == "kept")
        if isinstance(answer, Stream):
            return self._stream(answer)
        if isinstance(answer, Silence):
            return None if answer.hangs_up else self._hold()
        body = answer.body.encode()
        self._head(answer.status, answer.kind, {"Content-Length": str(len(body)), **answer.headers})
        self.wfile.write(body)

    def _hold(self) -> None:
        with suppress(ConnectionError):
            self.rfile.read(1)
        self.stand.left.set()

    def _stream(self, answer: Stream) -> None:
        self._head(200, "text/event-stream", {"Transfer-Encoding": "chunked"})
        for event in answer.chunks:
            self._piece(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode())
        if answer.ending == "held":
            return self._hold()
        if answer.ending in ("done", "kept"):
            self._piece(b"data: [DONE]\n\n")
        if answer.ending == "broken":
            self.wfile.write(b"ff\r\ndata: {")
        else:
            self._piece(b"")

    def _piece(self, data: bytes) -> None:
        with suppress(ConnectionError):  # a client may leave early
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _head(self, status: int, kind: str, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        connection = {"Connection": "close"} if self.close_connection else {}
        for name, value in {"Content-Type": kind, "Date": NOW, **headers, **connection}.items():
            self.send_header(name, value)
        self.end_headers()


@contextmanager
def serving(*script: Turn, models: Stream | Plain = VLLM) -> Iterator[ChatServer]:
    """A server that gives these answers in order, while the block runs."""

    class Handler(_Handler):
        """The handler of this server."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stand = ChatServer(f"http://127.0.0.1:{server.server_port}/v1", list(script), models)
        Handler.stand = stand
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield stand
        finally:
            server.shutdown()
            thread.join()
