"""The kernel's front: processes are born, take turns, are forked, replayed and watched. (`Desk` is its other half: what
people put to processes.)

    pid = await kernel.spawn("advisor", owner="customer")
    await kernel.deliver(pid, "Can you recommend a face wash?")
    status = await kernel.tick(pid)          # takes its notes, and runs until it waits or exits

A turn begins with a claim: a process never runs twice at once, for whoever claims it later is the only one who can
write (`Fenced`). An error of an engine or the store leaves its call open, so that nothing is lost and `tick` may be
called again: the process is then recovered from its journal, in the same kernel just as after a crash. An error that
the program does not handle ends the process.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from weakref import WeakValueDictionary

from kernos.kernel import check, recovery, retention, transfer
from kernos.kernel.abi import Extract, Generate, Invoke, Reply, Request, call_of
from kernos.kernel.desk import Desk
from kernos.kernel.effects import Effects, after_crash
from kernos.kernel.errors import BadInput, EngineError, KernosError, LimitExceeded, ReplayDiverged, StoreError
from kernos.kernel.grants import Station
from kernos.kernel.journal import Entry, Journal
from kernos.kernel.limits import LIVE_PROCESSES, Price
from kernos.kernel.mailbox import entry_of, genuine, late_entry, message_entry, note
from kernos.kernel.monitor import Monitor
from kernos.kernel.ports import Clock, Commit, Due, Engine, Head, Policy, Store, Tool, Witness
from kernos.kernel.process import Aside, Process, Watcher
from kernos.kernel.process import Due as DueReply
from kernos.kernel.scheduler import Scheduler
from kernos.kernel.services import Services, Waiting, birth_of, spawn_entry
from kernos.kernel.trap import Anew, Outcome, Stopped, Trap
from kernos.kernel.types import Event, Json, Note, NoteKind, Status

_NOT_THE_PROGRAMS = (EngineError, StoreError, ReplayDiverged)
"""Errors that are not the program's to handle: its call stays open until somebody mends the cause."""

_LONG = (Generate, Extract, Invoke)
"""Calls during which notes may come."""

_WHATEVER = (Exception, SystemExit, GeneratorExit, asyncio.CancelledError)


def _nobody(pid: str) -> None:
    """Nobody is told what is due."""


class Kernel(Desk):
    """Everything that a surface may do to processes; see `ports.Kernel`.

    Args:
        key: the key of the journal's hash chains.
        policy: the rules by which the monitor decides.
        identities: of each owner the names, addresses and accounts that are his own.
        hint: told of a process that should have a turn.
        skew: by how many seconds the clocks of workers that share the journal may differ; None: this kernel is alone.
        release: called when the kernel is closed.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        stations: Mapping[str, Station],
        engines: Mapping[str, Engine],
        tools: Mapping[str, Tool],
        *,
        key: bytes = b"",
        prices: Mapping[str, Price] | None = None,
        witness: Witness | None = None,
        hint: Callable[[str], None] = _nobody,
        skew: float | None = None,
        release: Callable[[], None] = lambda: None,
        policy: Policy,
        identities: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        super().__init__(Journal(store, key), clock)
        stations = {slug: station.with_tools(tools) for slug, station in stations.items()}
        self._stations = stations
        self._identities = identities or {}
        self._engines = engines
        self._witness = witness
        self._hint = hint
        self._release = release
        effects = Effects(Monitor(policy), Scheduler(engines, clock), prices or {})
        self._trap = Trap(effects, Services(self._journal, clock, stations), clock, hint, skew)
        self._live: OrderedDict[str, Process] = OrderedDict()
        self._due: dict[str, tuple[int, DueReply]] = {}
        self._watchers: dict[str, list[Watcher]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._unsigned: set[str] = set()
        self._compared = False

    async def spawn(self, employee: str, owner: str, text: str = "") -> str:
        """A new process of an employee, with a first message if there is one. Raises BadInput for no such employee."""
        station = self._stations.get(employee)
        if station is None:
            raise BadInput("employee", repr(employee), " or ".join(sorted(self._stations)) or "an employee")
        pid = self._clock.name()
        entries = [spawn_entry(station, owner, station.limits), *([message_entry(owner, owner, text)] if text else [])]
        birth = birth_of(pid, entries, self._clock.now(), self._journal.key)
        await self._journal.commit(Commit(birth.records, birth.contents, [birth.status]))
        self._unsigned.add(pid)
        self._hint(pid)
        return pid

    async def _post(self, pids: Sequence[str], kind: NoteKind, body: Json) -> None:
        await super()._post(pids, kind, body)
        for pid in pids:
            self._hint(pid)

    async def fork(self, pid: str, at: int) -> str:
        """A new process that shares another's journal up to and with row `at`, and goes its own way from there.

        A call that is open there counts as broken off by a crash.
        """
        rows = await self._journal.rows(pid)
        past = [record for record in rows if record.seq <= at]
        if any(record.kind == "prune" for record in rows):
            raise BadInput(f"process {pid}", "a journal whose contents were pruned", "one that still has them")
        if not past or past[-1].seq != at or any(record.kind == "exit" for record in past):
            raise BadInput(
                f"process {pid}: --at", str(at), "the number of one of its rows, before its exit (kernos log)"
            )
        name = self._clock.name()
        entry = Entry("fork", {"of": pid, "at": at})
        birth = birth_of(name, [entry], self._clock.now(), self._journal.key, past)
        await self._journal.commit(Commit(birth.records, birth.contents, [birth.status]))
        self._unsigned.add(name)
        self._hint(name)
        return name

    async def tick(self, pid: str) -> Status:
        """Give a process a turn: take its notes, and run it until it waits or exits."""
        return await self._have_turn(pid, run=True)

    async def take(self, pid: str) -> Status:
        """Journal a process's notes without running it."""
        return await self._have_turn(pid, run=False)

    async def due(self, root: str = "") -> Due:
        """Who should have a turn now; of one tree only, if a root is given."""
        return await self._journal.store.due(self._clock.now(), root)

    def nudge(self, pid: str) -> None:
        """There are notes for a process that is having its turn here: it takes them at its next call."""
        if process := self._live.get(pid):
            process.news.set()

    async def replay(self, pid: str) -> int:
        """Run the program against its journal, touching nothing: how many calls are the same."""
        return await recovery.replay(pid, self._stations, self._journal, self._clock)

    async def check(self, pid: str) -> list[str]:
        """Where a live process differs from its journal (see `check.drift`)."""
        process = self._live.get(pid)
        return await check.drift(process, self._journal) if process else []

    async def anchor(self) -> None:
        """Have the heads of all journals that changed signed by the witness, if there is one (I7)."""
        if self._witness and not self._compared:  # what a kernel wrote that was killed before it could have it signed
            signed = {head.pid: head.seq for head in await self._witness.heads()}
            statuses = await self._journal.store.statuses()
            self._unsigned |= {status.pid for status in statuses if signed.get(status.pid) != status.seq}
            self._compared = True
        await self._sign()

    async def _sign(self) -> None:
        unsigned, self._unsigned = self._unsigned, set()
        found = [await self._journal.store.status(pid) for pid in sorted(unsigned)] if self._witness else []
        heads = [Head(status.pid, status.seq, status.hash) for status in found if status]
        if self._witness and heads:
            await self._witness.sign(heads, self._clock.now())

    async def prune(self, before: float) -> int:
        """Drop the contents of what ended before that time; how many processes that were."""
        return await retention.prune(self._journal, self._clock, before)

    async def adopt(self, lines: Sequence[str]) -> str:
        """Take in a process that a ledger exported, here or elsewhere."""
        pid = await transfer.adopt(self._journal, lines)
        self._unsigned.add(pid)
        return pid

    @asynccontextmanager
    async def events(self, pid: str) -> AsyncIterator[asyncio.Queue[Event]]:
        """Watch a process: a queue of what it journals and drafts here from now on."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        watchers = self._watchers.setdefault(pid, [])
        watchers.append(queue.put_nowait)
        try:
            yield queue
        finally:
            watchers.remove(queue.put_nowait)
            if not watchers:
                self._watchers.pop(pid, None)

    async def close(self) -> None:
        """Sign what changed; let go of engines and the store. Processes stay where their journals have them."""
        try:
            await self._sign()
        finally:
            for process in self._live.values():
                process.close()
            for engine in self._engines.values():
                await engine.close()
            await super().close()
            self._release()

    async def _have_turn(self, pid: str, run: bool) -> Status:
        turn = self._turns.setdefault(pid, asyncio.Lock())
        async with turn:
            try:
                if pid not in self._live and (status := await self._journal.status(pid)).phase == "exited":
                    return await self._too_late(status)
                process = await self._claimed(pid)
                await self._take(process)
                if run:
                    await self._run(process)
            except BaseException:
                self._forget(pid)
                raise
            self._retire(process)
            return process.status

    async def _too_late(self, status: Status) -> Status:
        """Take the notes for a process that has exited: what an effect came to is kept, the others mean nothing."""
        for taken in await self._journal.store.notes(status.pid):
            if taken.kind == "late" and genuine(taken, self._journal.key):
                await retention.amend(status.pid, late_entry(taken.body), self._journal, self._clock, [taken.id])
            else:
                await self._journal.commit(Commit([], {}, [], taken=[taken.id]))
        return await self._journal.status(status.pid)

    async def _claimed(self, pid: str) -> Process:
        """The process, which nobody but this kernel can now write; from its journal, if others wrote it meanwhile."""
        epoch = await self._journal.store.claim(pid)
        self._unsigned.add(pid)
        live = self._live.get(pid)
        if live is None or live.epoch != epoch - 1:
            self._forget(pid)
            held, due = self._due.pop(pid, (epoch, None))
            if due is not None and held != epoch - 1:
                await self._trap.late(pid, held, due)
                due = None
            live = await recovery.recover(
                pid, self._stations, self._journal, self._clock, self._teller(pid), due, self._identities
            )  # fmt: skip
            self._live[pid] = live
        live.epoch = epoch
        self._live.move_to_end(pid)
        return live

    def _forget(self, pid: str) -> None:
        """Drop a live process: its journal is the truth, and it is recovered from there when it is next needed. Only a
        reply that could not be written is kept."""
        process = self._live.pop(pid, None)
        if process is not None:
            process.close()
            if process.due is not None:
                self._due[pid] = (process.epoch, process.due)

    def _retire(self, process: Process) -> None:
        """After a turn: what has exited is forgotten, and of what waits only the latest stay in memory."""
        if process.state.phase == "exited":
            self._forget(process.pid)
        idle = [pid for pid in self._live if pid not in self._turns] if len(self._live) > LIVE_PROCESSES else []
        for pid in idle[: len(self._live) - LIVE_PROCESSES]:
            self._forget(pid)

    def _teller(self, pid: str) -> Watcher:
        def tell(event: Event) -> None:
            for watcher in self._watchers.get(pid, ()):
                watcher(event)

        return tell

    async def _take(self, process: Process, halts: bool = False) -> bool:
        """Make rows of a process's notes, in their order; with `halts` only of those that halt it. Whether one did."""
        process.news.clear()
        halted = False
        for taken in await self._journal.store.notes(process.pid):
            if halts and not taken.body.get("halt"):
                continue
            known = genuine(taken, self._journal.key)
            halted = halted or (known and bool(taken.body.get("halt")))
            entry = entry_of(process, taken) if known else None
            if entry is None:
                await self._journal.commit(Commit([], {}, [], {process.pid: process.epoch}, taken=[taken.id]))
                continue
            if entry.kind == "signal" and entry.body["signal"] == "kill":
                error = {"error": f"killed by {entry.body['by']}"}
                await self._exit(process, "killed", error, [entry], [taken.id])
                return False  # without giving way: a call that is at its end may still have a row to write
            below = self._below(process, taken.id, entry.body) if entry.body.get("halt") else []
            [row] = await process.write(entry, aside=Aside(below, [taken.id]))
            recovery.attach(process, row)
            for posted in below:
                self._hint(posted.pid)
        return halted

    def _below(self, process: Process, name: str, body: Mapping[str, Json]) -> list[Note]:
        """A signal passed on to the living children of a process: a note for each."""
        living = [child for child, ended in process.state.children.items() if not ended]
        now, key = self._clock.now(), self._journal.key
        return [note(key, f"{name}:{child}", child, "signal", body, now) for child in living]

    async def _run(self, process: Process) -> None:
        """Call after call, until the process waits, is paused, or exits."""
        while process.state.phase != "exited" and not process.state.paused:
            if process.request is None:
                await self._step(process, None)
                continue
            try:
                outcome = await self._call(process, process.request)
            except _NOT_THE_PROGRAMS:
                raise
            except KernosError as error:
                await self._fault(process, error)
                continue
            if isinstance(outcome, Waiting):
                return
            if isinstance(outcome, Stopped):
                await self._exit(process, "killed", {"error": outcome.why})
            elif not isinstance(outcome, Anew):
                await self._step(process, outcome)
            if process.news.is_set():
                await self._take(process)

    async def _call(self, process: Process, request: Request) -> Outcome:
        """One system call, which a signal may break off if it takes long."""
        if not isinstance(request, _LONG) or (process.past and process.past[0].outcome is not None):
            return await self._trap.call(process, request)
        call = asyncio.ensure_future(self._trap.call(process, request))
        try:
            await self._over(call, process, request)
            return await call if call.done() else Waiting()
        finally:
            await _ended(call)

    async def _over(self, call: asyncio.Future[Outcome], process: Process, request: Request) -> None:
        """Wait until a call is over, or has to be broken off. Notes that come during a model's are taken at once, for a
        kill need not wait for its end; during a tool's only those that halt the process: what it did has to be
        known."""
        tool, waiting = isinstance(request, Invoke), False
        news: asyncio.Future[Any] = asyncio.ensure_future(process.news.wait())
        try:
            while not call.done():
                await asyncio.wait((call, news), return_when=asyncio.FIRST_COMPLETED)
                if call.done():
                    return
                waiting = tool
                halted = await self._take(process, halts=tool)
                if process.state.phase == "exited":
                    return
                await process.quiet()
                if halted and self._may_break(process, request):
                    return
                news = asyncio.ensure_future(process.news.wait())
        finally:
            await _ended(news)
            if waiting:
                process.news.set()

    def _may_break(self, process: Process, request: Request) -> bool:
        """Whether a call may be broken off and made again later."""
        tool = self._trap.effects.tool(process, request.tool) if isinstance(request, Invoke) else None
        return after_crash(call_of(request), tool.spec if tool else None) == "again"

    async def _fault(self, process: Process, error: KernosError) -> None:
        """Raise an error in the program; a limit only once, so that it may end tidily but not go on."""
        if isinstance(error, LimitExceeded) and process.warned:
            await self._exit(process, "limit", {"error": str(error)})
            return
        process.warned = process.warned or isinstance(error, LimitExceeded)
        await self._step(process, error)

    async def _step(self, process: Process, reply: Reply | KernosError) -> None:
        """Give the program its reply; when it ends, in whatever way, the process exits."""
        contents: dict[str, Json]
        try:
            if process.step(reply):
                return
            how, contents = "done", {"result": process.result}
        except ReplayDiverged:
            raise
        except LimitExceeded as error:
            how, contents = "limit", {"error": str(error)}
        except _WHATEVER as error:  # a program is foreign code: what it raises ends it, never the kernel
            how, contents = "failed", {"error": f"{type(error).__name__}: {error}"}
        process.request = None
        if process.state.phase != "exited":
            await self._exit(process, how, contents)

    async def _exit(
        self, process: Process, how: str, contents: Mapping[str, Json], cause: Sequence[Entry] = (),
        taken: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """The last row, in one transaction with its cause. The parent is told; who is killed takes its children with
        it."""
        state, now, key = process.state, self._clock.now(), self._journal.key
        notes = []
        if state.parent and await self._journal.store.status(state.parent):
            body = {"child": process.pid, "how": how, **contents, **process.strange, **process.receipts.passed()}
            notes.append(note(key, f"{process.pid}:exit", state.parent, "child", body, now))
        if how == "killed":
            notes += self._below(process, f"{process.pid}:kill", {"signal": "kill", "by": process.pid})
        await process.write(*cause, Entry("exit", {"how": how}, contents), aside=Aside(notes, taken))
        process.close()
        for posted in notes:
            self._hint(posted.pid)


async def _ended(task: asyncio.Future[Any]) -> None:
    """Cancel a task that is not over, and wait for its end."""
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
