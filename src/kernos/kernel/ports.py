"""What the kernel needs from drivers, and what surfaces get from boot. Protocols only.

Every backend of a port passes the same contract tests (`tests/contract/`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from kernos.kernel.types import Event, Generation, Json, Message, Record, Status, ToolSpec


class Store(Protocol):
    """Durable rows. `append` is one transaction and returns only when it would survive what the store promises."""

    async def append(self, records: Sequence[Record], contents: Mapping[str, bytes], status: Status) -> None:
        """Write rows, the contents that they refer to by hash, and the process's new status: all or nothing.

        Raises StoreError when a row with this pid and seq is already there.
        """

    async def pids(self) -> Sequence[str]:
        """Every process that has a row, whatever the process table says."""

    async def records(self, pid: str) -> Sequence[Record]: ...
    async def contents(self, hashes: Sequence[str]) -> Mapping[str, bytes]: ...
    async def statuses(self) -> Sequence[Status]: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class Prompt:
    """One model call, as an engine gets it.

    `tools` are described to the model, always all of them, so that the prefix of the context stays the same;
    `offers` holds the argument schema of each tool that may be chosen now; `speak` allows a reply in free text.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    offers: Mapping[str, Json] = field(default_factory=dict)
    speak: bool = True
    max_tokens: int = 256
    temperature: float = 0.0


class Engine(Protocol):
    """A model server. `slots` is how many calls it takes at once."""

    @property
    def slots(self) -> int: ...

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        """Decode one action; `draft` is called with each new piece of a reply's text.

        Raises EngineDied if the server went away (the kernel tries again), EngineError otherwise.
        """

    async def close(self) -> None: ...


class Tool(Protocol):
    """One tool, ready to be called."""

    @property
    def spec(self) -> ToolSpec: ...

    def problem(self, arguments: Mapping[str, Json]) -> str | None:
        """What is wrong with these arguments by the schema, for the model; None if nothing. No effect."""

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        """Run it. `key` is the same for every try of one call. Raises ToolError with a message for the model."""


@dataclass(frozen=True)
class ToolResult:
    """What a tool returned; `say` is the text for the person, by language, of a tool that speaks."""

    value: Json = None
    say: Mapping[str, str] = field(default_factory=dict)


class Clock(Protocol):
    """Time and chance, which the kernel never takes for itself."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    def random(self) -> float: ...
    def name(self) -> str:
        """A new short name, never given before."""


Program = Callable[[], Coroutine[object, object, Json]]
"""Makes a fresh coroutine of a program. It may await system calls and nothing else."""


@dataclass(frozen=True)
class Answer:
    """What a person said to a waiting question or approval."""

    by: str
    approved: bool = True
    text: str = ""


class Kernel(Protocol):
    """The kernel as surfaces see it."""

    async def spawn(self, employee: str, owner: str) -> str: ...
    async def deliver(self, pid: str, text: str) -> None: ...
    async def answer(self, pid: str, answer: Answer) -> None: ...
    async def tick(self, pid: str) -> Status: ...
    def question(self, pid: str) -> str | None:
        """What the process asks a person, if it does; known after its first `tick`."""

    def events(self, pid: str) -> AbstractAsyncContextManager[asyncio.Queue[Event]]: ...
    async def close(self) -> None: ...


class Ledger(Protocol):
    """Reading the journal: no program runs, nothing is changed."""

    async def statuses(self) -> Sequence[Status]: ...
    async def find(self, prefix: str) -> Status: ...
    async def records(self, pid: str, after: int = -1) -> Sequence[Record]: ...
    async def verify(self) -> Sequence[str]: ...
    async def close(self) -> None: ...
