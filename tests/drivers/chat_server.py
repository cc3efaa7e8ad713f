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

Ending = Literal["done", "broken", "short"]
"""How a stream ends: as it should; in the middle of the chunked coding; orderly, but with no answer finished."""


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


@dataclass
class ChatServer:
    """Where the server is, what it will say, and what it was asked."""

    url: str
    script: list[Stream | Plain]
    models: Stream | Plain
    bodies: list[Json] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


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


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand: ChatServer

    def do_GET(self) -> None:
        self.stand.paths.append(self.path)
        self._answer(self.stand.models)

    def do_POST(self) -> None:
        self.stand.paths.append(self.path)
        self.stand.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(self.stand.script.pop(0))

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def _answer(self, answer: Stream | Plain) -> None:
        if isinstance(answer, Stream):
            return self._stream(answer)
        body = answer.body.encode()
        self._head(answer.status, answer.kind, ("Content-Length", str(len(body))))
        self.wfile.write(body)

    def _stream(self, answer: Stream) -> None:
        self._head(200, "text/event-stream", ("Transfer-Encoding", "chunked"))
        for event in answer.chunks:
            self._piece(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode())
        if answer.ending == "done":
            self._piece(b"data: [DONE]\n\n")
        if answer.ending == "broken":
            self.wfile.write(b"ff\r\ndata: {")
        else:
            self._piece(b"")

    def _piece(self, data: bytes) -> None:
        with suppress(ConnectionError):  # a client may leave early
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _head(self, status: int, kind: str, header: tuple[str, str]) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header(*header)
        self.send_header("Connection", "close")
        self.end_headers()


@contextmanager
def serving(*script: Stream | Plain, models: Stream | Plain = VLLM) -> Iterator[ChatServer]:
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
