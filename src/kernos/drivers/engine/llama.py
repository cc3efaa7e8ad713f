"""llama.cpp's own HTTP endpoints, as far as this driver needs them.

`Llama` talks to a server; `Pieces` puts together what it decodes.

Each request has a connection of its own: a kept one failed when it was used again after standing idle, and what closes
with its connection is stopped by the server at once.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Literal

import aiohttp

from kernos.drivers.engine.chat import words
from kernos.kernel.errors import EngineDied, EngineError
from kernos.kernel.ports import Piece
from kernos.kernel.types import Json

SILENT_SECONDS = 600.0
"""A server that sends nothing for so long has died, though its process may live: no call is held for ever."""


class Llama:
    """A server at an address, behind a key. Every call raises EngineDied when the server goes away, EngineError when
    it refuses."""

    def __init__(self, address: str, key: str) -> None:
        self._session = aiohttp.ClientSession(
            address, connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_read=SILENT_SECONDS),
            headers={"Authorization": f"Bearer {key}"},
        )  # fmt: skip

    async def post(self, path: str, body: Json) -> Json:
        """The answer to one request."""
        async with self._opened(path, body) as response:
            return json.loads(await response.read())

    async def stream(self, path: str, body: Json) -> AsyncGenerator[Json]:
        """The events of an answer. Closing the generator closes the connection."""
        async with self._opened(path, {**body, "stream": True}) as response:
            async for line in response.content:
                if line.startswith(b"data: "):
                    event = json.loads(line.removeprefix(b"data: "))
                    if "error" in event:
                        raise EngineError(f"the model server failed: {words(event)}")
                    yield event

    async def template(self, messages: Sequence[Json], answering: bool) -> str:
        """Messages as the model's own template writes them, with the opening of the answer or without."""
        written = await self.post("/apply-template", {"messages": messages, "add_generation_prompt": answering})
        return str(written["prompt"])

    async def tokens(self, text: str, first: bool = False) -> tuple[int, ...]:
        """The tokens of a text, at the beginning of a context or further on."""
        body = {"content": text, "add_special": first, "parse_special": True}
        return tuple((await self.post("/tokenize", body))["tokens"])

    async def slot(self, slot: int, action: Literal["save", "restore", "erase"], file: str = "") -> None:
        """Do something with the state of a slot, once it is at rest."""
        await self.post(f"/slots/{slot}?action={action}", {"filename": file})

    async def close(self) -> None:
        await self._session.close()

    @asynccontextmanager
    async def _opened(self, path: str, body: Json) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.post(path, json=body) as response:
                if response.status != 200:
                    raise EngineError(f"the model server refused: {response.status} {words(await response.json())}")
                yield response
        except (aiohttp.ClientError, ConnectionError) as error:
            raise EngineDied(f"the model server broke off: {error or type(error).__name__}") from None


class Pieces:
    """The events of a completion, put together to pieces after each of which decoding can go on.

    Args:
        written: the text before the first of them.
        goes_on: whether it can be gone on with after a text.
        tokens: makes tokens of a text.
    """

    def __init__(
        self, written: str, goes_on: Callable[[str], bool], tokens: Callable[[str], Awaitable[tuple[int, ...]]]
    ) -> None:  # fmt: skip
        self._written, self._goes_on, self._tokenized = written, goes_on, tokens
        self._text, self._tokens, self._count, self._exact = "", list[int](), 0, True

    async def take(self, event: Json) -> Piece | None:
        """The next piece, if there is one."""
        if event["stop"]:
            end: Literal["stop", "length"] = "length" if event["stop_type"] == "limit" else "stop"
            self._exact &= event["stop_type"] != "word"  # a token may hold the end of the text and the stop word
            return replace(await self._piece(), end=end)
        self._text += event["content"]
        self._tokens += event["tokens"]
        self._count += len(event["tokens"])
        if self._count != event["tokens_predicted"]:  # the server keeps back tokens that end within a letter
            self._count, self._exact = event["tokens_predicted"], False
        return await self._piece() if self._text and self._goes_on(self._written + self._text) else None

    async def _piece(self) -> Piece:
        """All that came since the last piece. Tokens without a text, such as that of the end, are none of it."""
        exact = self._tokens if self._exact or not self._text else await self._tokenized(self._text)
        piece = Piece(self._text, tuple(exact) if self._text else ())
        self._written += self._text
        self._text, self._tokens, self._exact = "", [], True
        return piece
