"""An answer under way: its text as it comes, and the response that passes it on as server-sent events.

    flow = Flow(lambda draft: seats.answer(seat, asked, draft))
    first = await flow.batch()                          empty: it has ended without a text
    events(flow, first, chat)                           every event of the response, to its end

Pieces that have come together go out together. What went out cannot be taken back: if a model begins again and says
something else, because its engine died, the stream ends with an error.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from starlette.requests import ClientDisconnect, Request

from kernos.kernel.errors import EngineDied, KernosError
from kernos.kernel.types import Generation, Json
from kernos.surfaces.http import body_of

T = TypeVar("T")


class Form(Protocol):
    """How an answer looks, whole or as events."""

    def whole(self, generation: Generation) -> dict[str, Json]: ...
    def begin(self) -> bytes: ...
    def pieces(self, texts: Sequence[str]) -> bytes: ...
    def end(self, text: str, generation: Generation) -> bytes: ...


class Flow:
    """A piece of work that tells its text as it comes, and returns a generation."""

    def __init__(self, work: Callable[[Callable[[str], None]], Coroutine[Any, Any, Generation]]) -> None:
        self._pieces: asyncio.Queue[str] = asyncio.Queue()
        self._work = asyncio.ensure_future(work(self._pieces.put_nowait))
        self._work.add_done_callback(self._ended)

    async def batch(self) -> list[str]:
        """The pieces that have come, at least one; none when there are no more."""
        while not (self._work.done() and self._pieces.empty()):
            batch = [await self._pieces.get()]
            while not self._pieces.empty():
                batch.append(self._pieces.get_nowait())
            if any(batch):
                return [piece for piece in batch if piece]
        return []

    def result(self) -> Generation:
        """What it returned, at the end. Raises what it raised."""
        return self._work.result()

    def close(self) -> None:
        """Break it off if it is not over."""
        self._work.cancel()

    def _ended(self, work: asyncio.Future[Generation]) -> None:
        if not work.cancelled():
            work.exception()  # whoever asks for the result is told; nobody may, if the caller has gone
        self._pieces.put_nowait("")


async def events(flow: Flow, first: Sequence[str], form: Form) -> AsyncIterator[bytes]:
    """The events of a response, of which the first pieces have come."""
    sent, batch = list[str](), first
    try:
        yield form.begin()
        while batch:
            sent += batch
            yield form.pieces(batch)
            batch = await flow.batch()
        generation = flow.result()
        if rest := left("".join(sent), generation.action.text):
            yield form.pieces([rest])
        yield form.end(generation.action.text, generation)
    except KernosError as error:
        yield f"event: error\ndata: {json.dumps(body_of(error))}\n\n".encode()
    finally:
        flow.close()


def left(sent: str, text: str) -> str:
    """What of a text was not sent yet. Raises EngineDied if something else was."""
    if not text.startswith(sent):
        raise EngineDied("the model began again and said something else: what was streamed does not count")
    return text[len(sent) :]


async def attended(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What a piece of work comes to, which is broken off when the client goes away. Raises ClientDisconnect then."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(request.receive())
    gone.add_done_callback(lambda _: task.cancel())
    try:
        return await task
    except asyncio.CancelledError:
        if gone.done() and not gone.cancelled():
            raise ClientDisconnect from None
        task.cancel()
        raise
    finally:
        gone.cancel()
