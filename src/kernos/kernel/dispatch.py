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
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from weakref import WeakValueDictionary

from kernos.kernel import check, recovery, retention, transfer
from kernos.kernel.abi import AskPerson, Checkpoint, ModelCall, Receive, Reply, Request
from kernos.kernel.abi import check as check_request
from kernos.kernel.anchors import Anchors
from kernos.kernel.desk import Desk
from kernos.kernel.effects import Effects
from kernos.kernel.errors import BadInput, EngineError, LimitExceeded
from kernos.kernel.grants import Station
from kernos.kernel.journal import Entry, Journal, expand
from kernos.kernel.limits import LEARNT_PROCESSES, LEARNT_ROWS, LIVE_PROCESSES, Price
from kernos.kernel.mailbox import genuine, late_entry, message_entry
from kernos.kernel.monitor import Monitor
from kernos.kernel.office import Pending, View
from kernos.kernel.ports import Clock, Commit, Due, Engine, Policy, SlotEngine, Store, Tool, Witness
from kernos.kernel.process import Due as DueReply
from kernos.kernel.process import PastCall, Process
from kernos.kernel.scheduler import Scheduler
from kernos.kernel.scheduler.history import tasks_of
from kernos.kernel.scheduler.waiting import Share
from kernos.kernel.services import Services, Waiting, birth_of, spawn_entry
from kernos.kernel.trap import Trap
from kernos.kernel.turns import Turns, ended
from kernos.kernel.types import REPLY, Event, Generation, Json, NoteKind, Status
from kernos.kernel.watching import Watchers


def _nobody(pid: str) -> None:
    """Nobody is told what is due."""


class Kernel(Desk):
    """Everything that a surface may do to processes; see `office.Kernel`.

    Args:
        key: the key of the journal's hash chains.
        policy: the rules by which the monitor decides.
        identities: of each owner the names, addresses and accounts that are his own.
        shares: of owners that are not like the others what they get of the engines.
        roles: the role of each engine that others stand in for.
        hint: told of a process that should have a turn.
        skew: by how many seconds the clocks of workers that share the journal may differ; None: this kernel is alone.
        release: called when the kernel is closed.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        stations: Mapping[str, Station],
        engines: Mapping[str, Engine | SlotEngine],
        tools: Mapping[str, Tool],
        *,
        key: bytes = b"",
        prices: Mapping[str, Price] | None = None,
        witness: Witness | None = None,
        hint: Callable[[str], None] = _nobody,
        skew: float | None = None,
        release: Callable[[], Awaitable[None]] | None = None,
        policy: Policy,
        identities: Mapping[str, Collection[str]] | None = None,
        shares: Mapping[str, Share] | None = None,
        roles: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(Journal(store, key), clock)
        stations = {slug: station.with_tools(tools) for slug, station in stations.items()}
        self._stations = stations
        self._identities = identities or {}
        self._engines = engines
        self._hint = hint
        self._release = release
        self._scheduler = Scheduler(engines, clock, shares, roles, prices)
        effects = Effects(Monitor(policy), self._scheduler)
        self._trap = Trap(effects, Services(self._journal, clock, stations), clock, hint, skew)
        self._calls = Turns(self._trap, self._journal, clock, hint)
        self._live: OrderedDict[str, Process] = OrderedDict()
        self._due: dict[str, tuple[int, DueReply]] = {}
        self._watchers = Watchers()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._anchors = Anchors(store, witness, clock)
        self._begun: set[asyncio.Future[Reply | Pending]] = set()

    @property
    def stations(self) -> Mapping[str, Station]:
        """Who works here, by name."""
        return self._stations

    async def spawn(self, employee: str, owner: str, text: str = "", speaks: bool = False) -> str:
        """A new process of an employee, with a first message if there is one; `speaks`: see `ports.Caller`. Raises
        BadInput for no such employee."""
        station = self._stations.get(employee)
        if station is None:
            raise BadInput("employee", repr(employee), " or ".join(sorted(self._stations)) or "an employee")
        pid = self._clock.name()
        born = spawn_entry(station, owner, station.limits, {"speaks": True} if speaks else None)
        entries = [born, *([message_entry(owner, owner, text)] if text else [])]
        birth = birth_of(pid, entries, self._clock.now(), self._journal.key)
        await self._journal.commit(Commit(birth.records, birth.contents, [birth.status]))
        self._anchors.changed(pid, birth.status)
        if station.foreign:  # nothing is due before its agent calls, and until somebody claims it, it is in our hands
            self._live[pid] = recovery.newborn(
                birth, station, self._journal, self._clock, self._watchers.teller(pid), self._identities
            )  # fmt: skip
        else:
            self._hint(pid)
        return pid

    async def _post(self, pids: Sequence[str], kind: NoteKind, body: Json) -> None:
        await super()._post(pids, kind, body)
        for pid in pids:
            if (live := self._live.get(pid)) and live.state.foreign:  # its agent's next call comes by no dispatcher
                live.news.set()
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
        self._anchors.changed(name, birth.status)
        self._hint(name)
        return name

    async def tick(self, pid: str) -> Status:
        """Give a process a turn: take its notes, and run it until it waits or exits."""
        return await self._have_turn(pid, run=True)

    async def take(self, pid: str) -> Status:
        """Journal a process's notes without running it."""
        return await self._have_turn(pid, run=False)

    async def call(
        self, pid: str, request: Request, draft: Callable[[str], None] | None = None, speaks: bool = True
    ) -> Reply | Pending:  # fmt: skip
        """One system call of a process whose program runs elsewhere; see `office.Kernel`."""
        check_request(request)
        if isinstance(request, Checkpoint):
            raise BadInput("system call", "checkpoint", "one that needs no program of ours")
        turn = self._turns.setdefault(pid, asyncio.Lock())
        await turn.acquire()
        if isinstance(request, ModelCall):
            try:
                return await self._serve(pid, request, draft, speaks)
            finally:
                turn.release()
        serving = asyncio.ensure_future(self._serve(pid, request, draft, speaks))
        self._begun.add(serving)
        serving.add_done_callback(partial(self._served, turn))
        return await asyncio.shield(serving)

    def _served(self, turn: asyncio.Lock, serving: asyncio.Future[Reply | Pending]) -> None:
        """A call is over, whether or not its caller is still there."""
        turn.release()
        self._begun.discard(serving)
        if not serving.cancelled():
            serving.exception()

    async def _serve(
        self, pid: str, request: Request, draft: Callable[[str], None] | None, speaks: bool
    ) -> Reply | Pending:  # fmt: skip
        process: Process | None = None
        try:
            process = await self._present(pid)
            process.speaks = process.state.speaks and speaks
            with self._watchers.drafts(pid, draft):
                reply = await self._calls.serve(process, request)
        except BaseException as error:
            lost = process is None or process.open is not None
            if isinstance(error, BadInput | LimitExceeded) or (isinstance(error, EngineError) and not lost):
                self._retire(process) if process else None
            else:
                self._forget(pid)
            raise
        self._retire(process)
        if isinstance(reply, Generation) and reply.action.name == REPLY:
            self._scheduler.ended(pid, gone=False)
        if not isinstance(reply, Waiting):
            return reply
        seq = process.open.intent.seq if process.open else process.state.asking
        assert seq is not None
        return Pending(pid, seq, await self.question(pid))

    async def _present(self, pid: str) -> Process:
        """The process of a foreign agent; claimed if it is not live here."""
        process = self._live.get(pid)
        if process is None:
            status = await self._journal.status(pid)
            if status.employee in self._stations and not self._stations[status.employee].foreign:
                raise _not_foreign(pid)
            if status.phase == "exited":
                raise BadInput(f"process {pid}", f"an exited process ({status.why})", "one that still runs or waits")
            process = await self._claimed(pid)
            process.news.set()
        if not process.state.foreign:
            raise _not_foreign(pid)
        if process.news.come:
            await self._calls.take(process)
        self._live.move_to_end(pid)
        self._anchors.changed(pid)
        return process

    async def outcome(self, pid: str, seq: int) -> Reply | Pending:
        """What a call that waited has come to, by its row. Raises what the call would have raised."""
        records, contents = await self._journal.read(pid, whole=False)
        if records[0].seq > seq:
            records, contents = await self._journal.read(pid)
        rows = [expand(record, contents) for record in records if record.seq >= seq]
        if not rows or rows[0].seq != seq or rows[0].kind not in ("intent", "limit"):
            raise BadInput(f"process {pid}: row", str(seq), "the row of a call that waited")
        if reply := next((row for row in rows if row.kind == "outcome" or row.body.get("hard")), None):
            return recovery.settled(PastCall(rows[0], outcome=reply))
        if rows[-1].kind == "exit":
            raise BadInput(f"process {pid}", f"an exited process ({rows[-1].body['how']})", "one that still waits")
        return Pending(pid, seq, await self.question(pid))

    async def due(self, root: str = "") -> Due:
        """Who should have a turn now; of one tree only, if a root is given."""
        return await self._journal.store.due(self._clock.now(), root)

    def nudge(self, pid: str) -> None:
        """There are notes for a process that is having its turn here: it takes them at its next call."""
        if process := self._live.get(pid):
            process.news.set()

    async def replay(self, pid: str) -> int:
        """Run the program against its journal, touching nothing: how many calls are the same; of a foreign agent, whose
        program is not here, how many there are."""
        return await recovery.replay(pid, self._stations, self._journal, self._clock)

    async def check(self, pid: str) -> list[str]:
        """Where a live process differs from its journal (see `check.drift`)."""
        process = self._live.get(pid)
        return await check.drift(process, self._journal) if process else []

    async def learn(self) -> None:
        """Take from the journals of the latest processes how much service tasks of each kind need."""
        latest = sorted(await self._journal.store.statuses(), key=lambda status: status.at)[-LEARNT_PROCESSES:]
        for status in latest:
            rows = await self._journal.store.records(status.pid, status.seq - LEARNT_ROWS)
            for kind, calls in tasks_of(status.employee, rows):
                self._scheduler.history.learn(kind, calls)

    def view(self) -> View:
        """What the engines and the scheduler are doing."""
        return self._scheduler.view()

    async def anchor(self) -> None:
        """Have the heads of all journals that changed signed by the witness, if there is one (I7)."""
        await self._anchors.catch_up()
        await self._anchors.sign()

    async def prune(self, before: float) -> int:
        """Drop the contents of what ended before that time; how many processes that were."""
        return await retention.prune(self._journal, self._clock, before)

    async def adopt(self, lines: Sequence[str]) -> str:
        """Take in a process that a ledger exported, here or elsewhere."""
        pid = await transfer.adopt(self._journal, lines)
        self._anchors.changed(pid)
        return pid

    @asynccontextmanager
    async def events(self, pid: str) -> AsyncIterator[asyncio.Queue[Event]]:
        """Watch a process: a queue of what it journals and drafts here from now on."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        with self._watchers.watching(pid, queue.put_nowait):
            yield queue

    async def close(self) -> None:
        """Sign what changed; let go of engines and the store. Processes stay where their journals have them."""
        for serving in list(self._begun):
            await ended(serving)
        try:
            await self._anchors.sign()
        finally:
            for process in self._live.values():
                process.close()
            for engine in self._engines.values():
                await engine.close()
            await super().close()
            if self._release is not None:
                await self._release()

    async def _have_turn(self, pid: str, run: bool) -> Status:
        turn = self._turns.setdefault(pid, asyncio.Lock())
        live = self._live.get(pid)
        if live is not None and live.state.foreign and turn.locked():  # its agent has the turn: it is making a call
            live.news.set()
            return live.status
        async with turn:
            try:
                if pid not in self._live and (status := await self._journal.status(pid)).phase == "exited":
                    return await self._too_late(status)
                process = await self._claimed(pid)
                await self._calls.take(process)
                if run and process.state.foreign:
                    await self._calls.go_on(process)
                elif run:
                    await self._calls.run(process)
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
        self._anchors.changed(pid)
        live = self._live.get(pid)
        if live is None or live.epoch != epoch - 1:
            self._forget(pid)
            held, due = self._due.pop(pid, (epoch, None))
            if due is not None and held != epoch - 1:
                await self._trap.late(pid, held, due)
                due = None
            live = await recovery.recover(
                pid, self._stations, self._journal, self._clock, self._watchers.teller(pid), due, self._identities
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
        """After a turn: what has exited is forgotten, and of what waits only the latest stay in memory. A task is over
        when a person has the word."""
        self._anchors.changed(process.pid, process.status)
        if process.state.phase == "exited":
            self._forget(process.pid)
            self._scheduler.ended(process.pid, gone=True)
        elif isinstance(process.request, Receive | AskPerson):
            self._scheduler.ended(process.pid, gone=False)
        idle = (pid for pid in self._live if pid not in self._turns)
        for pid in list(islice(idle, max(0, len(self._live) - LIVE_PROCESSES))):
            self._forget(pid)


def _not_foreign(pid: str) -> BadInput:
    return BadInput(f"process {pid}", "a process with a program of its own", "that of a foreign agent")
