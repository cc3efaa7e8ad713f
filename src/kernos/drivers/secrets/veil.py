"""Secrets live in drivers, and nothing that a driver returns, drafts or raises carries one out.

    veil = Veil()
    key = veil.hide(os.environ["OFFICE_KEY"])       # what is hidden is known to the veil alone
    engine, tool = veil.engine(engine), veil.tool(tool)

A server may echo the key in an error, a tool may print its environment: behind a veil what comes out of them has
`***` where a secret stood, as it is, in a URL or in JSON. A secret that somebody changed on purpose is not found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import overload
from urllib.parse import quote

from kernos.kernel.errors import KernosError
from kernos.kernel.ports import Embedder, Engine, Prompt, SlotEngine, Tool, ToolResult
from kernos.kernel.types import Action, Embedded, Generation, Json, ToolSpec

SHORTEST = 6
"""A secret that is shorter is not hidden: it would be found in words that have nothing to do with it."""
HIDDEN = "***"


class Veil:
    """The secrets of one company's drivers."""

    def __init__(self) -> None:
        self._secrets: list[str] = []

    def hide(self, secret: str) -> str:
        """Remember a secret; it is returned."""
        if len(secret) >= SHORTEST:
            forms = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}
            self._secrets = sorted(forms.union(self._secrets), key=len, reverse=True)
        return secret

    def text(self, text: str) -> str:
        """A text without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def value(self, value: Json) -> Json:
        """A JSON value without the secrets."""
        if not self._secrets:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.value(name): self.value(part) for name, part in value.items()}
        return [self.value(part) for part in value] if isinstance(value, list | tuple) else value

    @overload
    def engine(self, engine: Engine) -> Engine: ...
    @overload
    def engine(self, engine: SlotEngine) -> SlotEngine: ...
    def engine(self, engine: Engine | SlotEngine) -> Engine | SlotEngine:
        if isinstance(engine, SlotEngine):
            return _VeiledSlots(engine, self)
        return _VeiledEmbedder(engine, self) if isinstance(engine, Embedder) else _VeiledEngine(engine, self)

    def tool(self, tool: Tool) -> Tool:
        return _VeiledTool(tool, self)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """What is raised in the block is raised without the secrets, and without what it came from."""
        try:
            yield
        except KernosError as error:
            error.args = tuple(self.value(list(error.args)))
            vars(error).update({name: self.text(part) for name, part in vars(error).items() if isinstance(part, str)})
            raise error from None
        except Exception as error:
            if (text := self.text(str(error))) == str(error):
                raise
            raise RuntimeError(f"{type(error).__name__}: {text}") from None

    def begun(self, text: str) -> int:
        """How many characters at the end of a text may be the beginning of a secret."""
        longest = max(map(len, self._secrets), default=1) - 1
        ends = (text[-n:] for n in range(min(longest, len(text)), 0, -1))
        return next((len(end) for end in ends if any(secret.startswith(end) for secret in self._secrets)), 0)


class _VeiledEngine:
    """An engine behind a veil."""

    def __init__(self, engine: Engine, veil: Veil) -> None:
        self._engine, self._veil = engine, veil

    @property
    def slots(self) -> int:
        return self._engine.slots

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        veil, held = self._veil, ""

        def drafted(new: str) -> None:
            """Show what is certain to hold no part of a secret; the rest waits for what follows."""
            nonlocal held
            text = veil.text(held + new)
            certain = len(text) - veil.begun(text)
            held = text[certain:]
            if certain:
                draft(text[:certain])

        with veil.errors():
            generation = await self._engine.generate(prompt, drafted)
        if held:
            draft(held)
        action = Action(veil.text(generation.action.name), veil.value(generation.action.arguments))
        return replace(generation, action=action)

    async def close(self) -> None:
        await self._engine.close()


class _VeiledEmbedder(_VeiledEngine):
    """An engine behind a veil that makes vectors."""

    def __init__(self, engine: Embedder, veil: Veil) -> None:
        super().__init__(engine, veil)
        self._embedder = engine

    async def embed(self, texts: Sequence[str]) -> Embedded:
        with self._veil.errors():
            return await self._embedder.embed(texts)


class _VeiledSlots:
    """An engine behind a veil whose contexts the kernel manages: they stay as they are, what comes out is veiled."""

    def __init__(self, engine: SlotEngine, veil: Veil) -> None:
        self._engine, self._veil = engine, veil
        self.close = engine.close
        self.start, self.segments, self.feed, self.decode = engine.start, engine.segments, engine.feed, engine.decode
        self.save, self.restore, self.erase, self.drop = engine.save, engine.restore, engine.erase, engine.drop

    @property
    def slots(self) -> int:
        return self._engine.slots

    @property
    def resident(self) -> int:
        return self._engine.resident

    @property
    def life(self) -> int:
        return self._engine.life

    def answer(self, prompt: Prompt, text: str, complete: bool) -> Action:
        action = self._engine.answer(prompt, text, complete)
        return Action(self._veil.text(action.name), self._veil.value(action.arguments))

    def said(self, prompt: Prompt, text: str) -> str:
        """What is certain to hold no part of a secret."""
        shown = self._veil.text(self._engine.said(prompt, text))
        return shown[: len(shown) - self._veil.begun(shown)]


class _VeiledTool:
    """A tool behind a veil."""

    def __init__(self, tool: Tool, veil: Veil) -> None:
        self._tool, self._veil = tool, veil

    @property
    def spec(self) -> ToolSpec:
        return self._tool.spec

    def problem(self, arguments: Mapping[str, Json]) -> str | None:
        return self._tool.problem(arguments)

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        with self._veil.errors():
            return self._hidden(await self._tool.call(arguments, key))

    async def verify(self, arguments: Mapping[str, Json], key: str) -> ToolResult | None:
        with self._veil.errors():
            found = await self._tool.verify(arguments, key)
        return None if found is None else self._hidden(found)

    def _hidden(self, result: ToolResult) -> ToolResult:
        return replace(result, value=self._veil.value(result.value), say=self._veil.value(result.say))
