"""A kernel in memory, for tests: shipped backends throughout, and a store that fails or keeps a diary when told to.

`House` is what outlives a kernel (store, clock, engine, tools); `House.boot` starts a kernel on it, and starting a
second one is a restart. `World` holds tools whose effects can be counted.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Annotated, Any

import kernos
from kernos.drivers.clock.fixed import FixedClock
from kernos.drivers.engine.scripted import Script, ScriptedEngine
from kernos.drivers.policy.cedar import CedarPolicy
from kernos.drivers.store.memory import MemoryStore
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import StoreError
from kernos.kernel.grants import Claim, Grant, Station
from kernos.kernel.journal import Journal
from kernos.kernel.labels import Sources
from kernos.kernel.ledger import Ledger
from kernos.kernel.limits import Limits, Price
from kernos.kernel.ports import Commit, Due, Engine, Memory, Policy, Prompt, SlotEngine, Spent, Store, Tool
from kernos.kernel.types import Action, Field, Json, Note, Record, RecordKind, Source, Status, ToolSpec
from kernos.userland.employee import Brief, employee
from kernos.userland.lib import Process

OWNER = "ada"
CLERK = "clerk"
ENGINE = "local"
OURS = {"*": Field(attested=True)}
"""What a tool returns that nobody else can have written."""
SHIPPED = CedarPolicy()
"""The shipped rules, read once: a decision depends on nothing but the facts."""
Program = Callable[[Process], Coroutine[Any, Any, Json]]


class World:
    """Tools of each kind of effect, and the list of what they did, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        done = self.done

        async def find(what: str) -> list[dict[str, Json]]:
            """Find articles."""
            done.append("find")
            return [{"name": f"fine {what}", "price": 30, "sku": "T-1"}]

        async def note(text: str) -> str:
            """Keep a note; keeping it twice changes nothing."""
            done.append("note")
            return f"kept {text}"

        async def pay(
            to: Annotated[str, kernos.source("user")],
            amount: Annotated[int, kernos.source("user", units=["yuan"])],
        ) -> str:
            """Pay somebody."""
            done.append("pay")
            return f"paid {amount} to {to}"

        async def buy(sku: Annotated[str, kernos.source("data")]) -> str:
            """Buy an article that was found."""
            done.append("buy")
            return f"bought {sku}"

        async def breaks() -> str:
            """Break."""
            done.append("breaks")
            raise RuntimeError("it broke")

        self.find = PythonTool(find, ["reads"], False, returns=OURS)
        self.note = PythonTool(note, ["writes"], True)
        self.pay = PythonTool(pay, ["pays"], False)
        self.buy = PythonTool(buy, ["writes"], False)
        self.breaks = PythonTool(breaks, ["reads"], False, returns=OURS)

    @property
    def tools(self) -> list[Tool]:
        return [self.find, self.note, self.pay, self.buy, self.breaks]


class LongCall:
    """A tool `wait` that pays, and whose call lasts from `began` until `go_on` is set."""

    def __init__(self) -> None:
        self.began, self.go_on = asyncio.Event(), asyncio.Event()
        self.tools: list[Tool] = [PythonTool(self.wait, ["pays"])]

    async def wait(self) -> str:
        """Wait."""
        self.began.set()
        await self.go_on.wait()
        return "waited"

    async def program(self, process: Process) -> None:
        """Calls it once, and says that it is done."""
        await process.invoke("wait")
        await process.send("done")


def by_name(tools: Iterable[Tool]) -> dict[str, Tool]:
    return {tool.spec.name: tool for tool in tools}


def runs(
    program: Program, tools: Iterable[Tool] = (), ask: Sequence[str] = (), claims: Mapping[str, str] | None = None,
    limits: Limits = Limits(), slug: str = CLERK, spawns: Iterable[str] = (),
) -> Station:  # fmt: skip
    """The station of an employee that runs this program and is granted these tools."""
    tools = list(tools)
    grants = {name: Grant(name, name in ask) for name in by_name(tools)}
    kinds = tuple(Claim(what, re.compile(pattern)) for what, pattern in (claims or {}).items())
    return Station(
        slug, program.__name__, lambda snapshot: program(Process(snapshot)), ENGINE, grants, kinds, limits,
        spawns=frozenset(spawns),
    )  # fmt: skip


def agent(
    tools: Iterable[Tool] = (), ask: Sequence[str] = (), limits: Limits = Limits(), engines: Iterable[str] = ()
) -> Station:
    """The station of a foreign agent, whose calls come in from outside."""
    station = runs(idle, tools, ask, limits=limits)
    return replace(station, program_name="foreign", foreign=True, engines=frozenset(engines))


def serves(
    tools: Iterable[Tool] = (), ask: Sequence[str] = (), claims: Mapping[str, str] | None = None,
    limits: Limits = Limits(), window: int = 8192,
) -> Station:  # fmt: skip
    """The station of an employee that runs the employee loop."""
    tools = list(tools)
    brief = Brief("You serve.", {name: tool.spec for name, tool in by_name(tools).items()}, window)

    async def clerk(process: Process) -> None:
        await employee(process, brief)

    return runs(clerk, tools, ask, claims, limits)


class House:
    """What outlives a kernel. Use it with `async with`: on leaving, every kernel that was booted is closed.

    `others` are stations beside the one that most tests need.
    """

    def __init__(
        self,
        station: Station,
        tools: Iterable[Tool] = (),
        script: Script = (),
        engine: Engine | SlotEngine | None = None,
        store: Store | None = None,
        others: Iterable[Station] = (),
        key: bytes = b"",
        prices: Mapping[str, Price] | None = None,
        identities: Mapping[str, Sequence[str]] | None = None,
        policy: Policy = SHIPPED,
    ) -> None:
        self.identities, self.policy = identities, policy
        self.store: Store = store or MemoryStore()
        self.clock = FixedClock()
        self.station = station
        self.others = {other.slug: other for other in others}
        self.tools = by_name(tools)
        self.model = ScriptedEngine(script)
        self.engine: Engine | SlotEngine = engine or self.model
        self.key = key
        self.prices = prices
        self._booted: list[Kernel] = []

    def boot(self, store: Store | None = None, station: Station | None = None) -> Kernel:
        """A new kernel; `store` wraps or replaces the house's, `station` is what a new release brings."""
        station = station or self.station
        stations = {**self.others, station.slug: station}
        kernel = Kernel(
            store or self.store, self.clock, stations, {ENGINE: self.engine}, self.tools, key=self.key,
            prices=self.prices, policy=self.policy, identities=self.identities,
        )  # fmt: skip
        self._booted.append(kernel)
        return kernel

    async def start(self, kernel: Kernel | None = None) -> tuple[Kernel, str]:
        """A kernel and a new process on it."""
        kernel = kernel or self.boot()
        return kernel, await kernel.spawn(CLERK, OWNER)

    async def rows(self, pid: str) -> Sequence[Record]:
        """A process's journal, with contents."""
        return await Ledger(Journal(self.store, self.key)).records(pid)

    async def faults(self) -> Sequence[str]:
        """What an audit finds."""
        return await Ledger(Journal(self.store, self.key)).verify()

    async def said(self, pid: str) -> list[str]:
        """What the owner has heard from the process."""
        rows = await self.rows(pid)
        allowed = (row.body for row in rows if row.kind == "intent" and row.body["verdict"]["is"] == "allow")
        return [body["text"] for body in allowed if body["call"] == "send"]

    async def run(self, kernel: Kernel) -> None:
        """Give turns to whoever is due until nobody is."""
        while due := (await kernel.due()).pids:
            for pid in due:
                await kernel.tick(pid)

    async def __aenter__(self) -> House:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for kernel in self._booted:
            await kernel.close()


class Wrapped:
    """A store around another; it adds nothing."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    async def commit(self, commit: Commit) -> None:
        await self.inner.commit(commit)

    async def claim(self, pid: str) -> int:
        return await self.inner.claim(pid)

    async def post(self, notes: Sequence[Note]) -> None:
        await self.inner.post(notes)

    async def notes(self, pid: str) -> Sequence[Note]:
        return await self.inner.notes(pid)

    async def due(self, now: float, root: str = "", most: int = 1_000) -> Due:
        return await self.inner.due(now, root, most)

    async def pids(self) -> Sequence[str]:
        return await self.inner.pids()

    async def records(
        self, pid: str, after: int = -1, last: int | None = None, kind: RecordKind | None = None
    ) -> Sequence[Record]:
        return await self.inner.records(pid, after, last, kind)

    async def contents(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        return await self.inner.contents(hashes)

    async def status(self, pid: str) -> Status | None:
        return await self.inner.status(pid)

    async def statuses(self) -> Sequence[Status]:
        return await self.inner.statuses()

    async def tree(self, root: str) -> Spent:
        return await self.inner.tree(root)

    async def spent(self, owner: str, day: int) -> Spent:
        return await self.inner.spent(owner, day)

    async def memory(self, space: str, key: str) -> Memory | None:
        return await self.inner.memory(space, key)

    async def drop(self, hashes: Sequence[str]) -> None:
        await self.inner.drop(hashes)

    async def close(self) -> None:
        await self.inner.close()


class HandClock(FixedClock):
    """A clock that stands still until somebody sets it; it may go back, as a machine's may over a restart."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1_700_000_000.0

    def now(self) -> float:
        return self.time


class Failing(Wrapped):
    """Fails at its `at`-th write (a commit or a post), counted from 1: before anything is written, or after all of it
    is durable."""

    def __init__(self, inner: Store, at: int, durable: bool) -> None:
        super().__init__(inner)
        self.at, self.durable, self.writes = at, durable, 0

    async def commit(self, commit: Commit) -> None:
        await self._write(super().commit(commit))

    async def post(self, notes: Sequence[Note]) -> None:
        await self._write(super().post(notes))

    async def _write(self, write: Coroutine[Any, Any, None]) -> None:
        self.writes += 1
        if self.writes != self.at:
            return await write
        if self.durable:
            await write
        write.close()
        raise StoreError(f"the machine stopped at write {self.at}")


class Diary(Wrapped):
    """Writes into a list, shared with tools, what became durable and when."""

    def __init__(self, inner: Store, log: list[str]) -> None:
        super().__init__(inner)
        self.log = log

    async def commit(self, commit: Commit) -> None:
        await self.inner.commit(commit)
        self.log += [
            f"{record.kind} {record.body.get('tool') or record.body.get('call') or ''}".strip()
            for record in commit.records
        ]


def following(table: Mapping[str, Action]) -> Callable[[Prompt], Action]:
    """A script that looks at the last message only: the owner's words, or the name of the tool that answered.

    It has no memory, so that it says the same again after a restart.
    """

    def choose(prompt: Prompt) -> Action:
        last = prompt.messages[-1]
        return table[last.tool if last.role == "tool" else last.text]

    return choose


def story(rows: Sequence[Record]) -> list[tuple[str, Json]]:
    """What happened in a journal: everything but when, what it cost, and the hashes that follow from these."""
    return [(row.kind, {name: part for name, part in row.body.items() if name != "cost"}) for row in rows]


async def idle(process: Process) -> None:
    """A program for stations that are judged and never run."""


def ready(*functions: Callable[..., Any]) -> list[Tool]:
    """Functions as tools that write."""
    return [PythonTool(function, ["writes"], False) for function in functions]


def read(words: Iterable[str] = (), data: Json = None) -> Sources:
    """What a process knows after its owner said these words and a tool returned this data."""
    sources = Sources()
    for text in words:
        sources.heard(*heard(text))
    sources.learned(Source("tool", "find", "row 2"), data, spec=ToolSpec("find", "Find.", {}, returns=OURS))
    return sources


def heard(text: str, name: str = OWNER) -> tuple[Source, str]:
    """The owner's words as `labels.Sources.heard` takes them."""
    return Source("owner", name, "row 1"), text
