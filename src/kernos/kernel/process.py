"""A live process: its folded state, its program's coroutine, and the past that it replays.

    process = Process(pid, station, journal, clock, tell)     a new one, or one that `recovery` makes from its journal
    await process.write(entry, ...)                           rows, durable before this returns (I2)
    process.step(reply)                                       run the program to its next system call

A program is a coroutine that can await nothing but system calls (I1): a call hands its request to the kernel, which
drives the coroutine by hand. So a waiting process is no task, thread or connection, only an object or a row.
`state` changes only in `write`; `request` only in `step`; `sources` only through `take_in`; `past`, `open` and
`due` only in trap; `warned` only in dispatch.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import cast

from kernos.kernel.abi import Reply, Request, call_of
from kernos.kernel.errors import KernosError, ProgramError, ReplayDiverged
from kernos.kernel.grants import Station
from kernos.kernel.journal import GENESIS, Entry, Journal, expand, refers, seal
from kernos.kernel.labels import Sources
from kernos.kernel.ports import Clock
from kernos.kernel.state import State, apply, born
from kernos.kernel.types import Event, Json, Record, Source, Status, canonical

Watcher = Callable[[Event], None]


@dataclass(frozen=True)
class PastCall:
    """A call that the journal holds: its intent and, if they came, a person's answer and the outcome; all expanded."""

    intent: Record
    answer: Record | None = None
    outcome: Record | None = None


@dataclass(frozen=True)
class Due:
    """The reply to the call whose intent is row `seq`, its outcome row still to be written, and the seconds it took."""

    seq: int
    reply: Reply
    seconds: float


class Process:
    """One running instance of a program.

    `due` is what came back to its open call, until the row is durable.
    """

    def __init__(self, pid: str, station: Station, journal: Journal, clock: Clock, tell: Watcher) -> None:
        self.pid = pid
        self.station = station
        self.sources = Sources()
        self.known: set[str] = set()
        self.past: deque[PastCall] = deque()
        self.request: Request | None = None
        self.result: Json = None
        self.open: PastCall | None = None
        self.due: Due | None = None
        self.warned = False
        self.unread: dict[int, str] = {}
        self.tell = tell
        self._journal = journal
        self._writing = asyncio.Lock()
        self._clock = clock
        self._state: State | None = None
        self._program: Coroutine[object, object, Json] = station.program()

    @property
    def state(self) -> State:
        if self._state is None:
            raise ProgramError(f"process {self.pid} has no first row")
        return self._state

    @property
    def status(self) -> Status:
        return self.state.status()

    async def write(self, *entries: Entry) -> list[Record]:
        """Make rows durable in one transaction, then fold them and tell who watches. Returns them expanded."""
        async with self._writing:
            return await self._write(entries)

    async def _write(self, entries: tuple[Entry, ...]) -> list[Record]:
        state, records, contents = self._state, list[Record](), dict[str, bytes]()
        for entry in entries:
            seq, previous = (state.seq + 1, state.hash) if state else (0, GENESIS)
            record, stored = seal(self.pid, seq, previous, self._clock.now(), entry)
            state = apply(state, record) if state else born(record)
            records.append(record)
            contents |= stored
        assert state is not None
        await self._journal.append(records, contents, state.status())
        self._state = state
        self.known.update(*(entry.chained.keys() for entry in entries))
        shown = [expand(record, contents) for record in records]
        for record in shown:
            self.take_in(record)
            self.tell(Event(self.pid, "record", record))
        return shown

    def restore(self, record: Record, contents: Mapping[str, bytes]) -> Record:
        """Fold a row that is already durable. Returns it expanded."""
        self._state = apply(self._state, record) if self._state else born(record)
        if "context" in record.body:
            self.known.add(record.body["context"])
        whole = {key: contents[key] for key in refers(record).values() if key in contents}
        shown = expand(record, whole)
        self.take_in(shown)
        return shown

    def take_in(self, record: Record) -> None:
        """Remember what a row brings into the process, as sources of later values."""
        place = f"row {record.seq}"
        match record.kind, record.body:
            case "message", {"text": text}:
                self.unread[record.seq] = text
            case "outcome", {"message": seq, "text": text}:
                self.unread.pop(seq, None)
                self.sources.heard(Source("owner", self.state.owner, place), text)
            case "outcome", {"call": "ask", "text": text}:
                self.sources.heard(Source("owner", self.state.owner, place), text)
            case "outcome", {"call": "invoke", "is": "returned", "tool": tool, "value": value}:
                self.sources.learned(Source("tool", tool, place), [value, record.body.get("say")])

    def step(self, reply: Reply | KernosError) -> bool:
        """Run the program to its next system call, now in `request`. False if it has ended; its result is then in
        `result`. What the program raises, comes out of here."""
        try:
            yielded = self._program.throw(reply) if isinstance(reply, KernosError) else self._program.send(reply)
        except StopIteration as end:
            if self.past:
                row = self.past[0].intent
                raise ReplayDiverged(self.pid, row.seq, str(row.body["call"]), "the end of the program") from None
            self.request, self.result = None, json.loads(canonical(end.value))
            return False
        try:
            call_of(yielded)
        except KernosError:
            raise ProgramError(
                f"a program may await system calls only, not {type(yielded).__name__}: tools do the rest"
            ) from None
        self.request = cast(Request, yielded)
        return True

    def close(self) -> None:
        self._program.close()
