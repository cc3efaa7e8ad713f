"""The kernel's front: processes are born, get messages and answers, take turns, and are watched.

    pid = await kernel.spawn("advisor", owner="customer")
    await kernel.deliver(pid, "Can you recommend a face wash?")
    status = await kernel.tick(pid)          # runs until the process waits or exits

A process never runs twice at once: `tick` holds its turn. An error of an engine or the store leaves its call open, so
that nothing is lost and `tick` may be called again: the process is then recovered from its journal, in the same kernel
just as after a crash. An error that the program does not handle ends the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, replace

from kernos.kernel import check
from kernos.kernel.abi import Reply
from kernos.kernel.errors import BadInput, EngineError, InDoubt, KernosError, LimitExceeded, ReplayDiverged, StoreError
from kernos.kernel.grants import Station
from kernos.kernel.journal import Entry, Journal
from kernos.kernel.mailbox import deliver
from kernos.kernel.monitor import Monitor
from kernos.kernel.ports import Answer, Clock, Engine, Store, Tool
from kernos.kernel.process import Due, Process, Watcher
from kernos.kernel.recovery import recover
from kernos.kernel.scheduler import Scheduler
from kernos.kernel.trap import Trap, Waiting, open_question
from kernos.kernel.types import Event, Status

_NOT_THE_PROGRAMS = (EngineError, StoreError, InDoubt, ReplayDiverged)
"""Errors that are not the program's to handle: its call stays open until somebody mends the cause."""

_WHATEVER = (Exception, SystemExit, GeneratorExit, asyncio.CancelledError)


class Kernel:
    """Everything that a surface may do to processes; see `ports.Kernel`."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        stations: Mapping[str, Station],
        engines: Mapping[str, Engine],
        tools: Mapping[str, Tool],
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self._release = release
        self._journal = Journal(store)
        self._clock = clock
        self._stations = stations
        self._engines = engines
        self._trap = Trap(Monitor(tools), Scheduler(engines, clock), tools, clock)
        self._live: dict[str, Process] = {}
        self._due: dict[str, Due] = {}
        self._watchers: dict[str, list[Watcher]] = {}
        self._births: dict[str, asyncio.Lock] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def spawn(self, employee: str, owner: str) -> str:
        """A new process of an employee. Raises BadInput when there is no such employee."""
        station = self._stations.get(employee)
        if station is None:
            raise BadInput("employee", repr(employee), " or ".join(sorted(self._stations)) or "an employee")
        pid = self._clock.name()
        process = Process(pid, station, self._journal, self._clock, self._teller(pid))
        grants = [asdict(grant) for grant in station.grants.values()]
        body = {"owner": owner, "employee": employee, "program": station.program_name, "engine": station.engine,
                "limits": asdict(station.limits), "grants": grants}  # fmt: skip
        self._live[pid] = process
        async with self._whole(pid):
            await process.write(Entry("spawn", body))
        return pid

    async def deliver(self, pid: str, text: str) -> None:
        """Put the owner's words into a process's mailbox; it gets them at its next turn."""
        process = await self._process(pid)
        if process.state.phase == "exited":
            raise BadInput(f"process {pid}", "an exited process", "one that still runs or waits")
        async with self._whole(pid):
            await deliver(process, text)

    async def answer(self, pid: str, answer: Answer) -> None:
        """Answer what a process asks a person. Raises BadInput when it asks nothing."""
        process = await self._process(pid)
        await self._catch_up(process)
        if process.open is None or open_question(process.open) is None:
            raise BadInput(f"process {pid}", "no open question", "a process that waits for a person")
        entry = Entry("answer", {"by": answer.by, "approved": answer.approved}, {"text": answer.text})
        async with self._whole(pid):
            process.open = replace(process.open, answer=(await process.write(entry))[0])

    async def tick(self, pid: str) -> Status:
        """Run a process until it waits or exits; a recovered one first goes through its past."""
        async with self._turn(pid), self._whole(pid, turn=True):
            process = await self._process(pid)
            while process.state.phase != "exited":
                if process.request is None:
                    await self._step(process, None)
                    continue
                try:
                    reply = await self._trap.call(process, process.request)
                except _NOT_THE_PROGRAMS:
                    raise
                except KernosError as error:
                    await self._fault(process, error)
                    continue
                if isinstance(reply, Waiting):
                    break
                await self._step(process, reply)
        return process.status

    def question(self, pid: str) -> str | None:
        """What a process asks a person, if it does."""
        return open_question(self._live[pid].open) if pid in self._live else None

    async def check(self, pid: str) -> list[str]:
        """Where the live process differs from its journal (see `check.drift`)."""
        return await check.drift(await self._process(pid), self._journal)

    @asynccontextmanager
    async def events(self, pid: str) -> AsyncIterator[asyncio.Queue[Event]]:
        """Watch a process: a queue of what it journals and drafts from now on."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        watchers = self._watchers.setdefault(pid, [])
        watchers.append(queue.put_nowait)
        try:
            yield queue
        finally:
            watchers.remove(queue.put_nowait)

    async def close(self) -> None:
        """Let go of engines and the store. Processes stay where their journals have them."""
        for process in self._live.values():
            process.close()
        for engine in self._engines.values():
            await engine.close()
        await self._journal.close()
        self._release()

    async def _process(self, pid: str) -> Process:
        async with self._births.setdefault(pid, asyncio.Lock()):
            if pid not in self._live:
                due, tell = self._due.pop(pid, None), self._teller(pid)
                self._live[pid] = await recover(pid, self._stations, self._journal, self._clock, tell, due)
            return self._live[pid]

    def _teller(self, pid: str) -> Watcher:
        def tell(event: Event) -> None:
            for watcher in self._watchers.get(pid, ()):
                watcher(event)

        return tell

    @asynccontextmanager
    async def _whole(self, pid: str, turn: bool = False) -> AsyncIterator[None]:
        """Forget the live process if the block does not end well: its journal is the truth, and it is recovered from
        there when it is next needed. Only a reply that could not be written is kept. A `turn` forgets its own process;
        what fails beside a turn leaves it to that."""
        try:
            yield
        except BaseException:
            if turn or not self._turn(pid).locked():
                self._forget(pid)
            raise

    def _forget(self, pid: str) -> None:
        process = self._live.pop(pid, None)
        if process is not None:
            process.close()
            if process.due is not None:
                self._due[pid] = process.due

    def _turn(self, pid: str) -> asyncio.Lock:
        return self._turns.setdefault(pid, asyncio.Lock())

    async def _catch_up(self, process: Process) -> None:
        """Bring a recovered process to its open call, so that an answer finds it."""
        if process.past:
            await self.tick(process.pid)

    async def _fault(self, process: Process, error: KernosError) -> None:
        """Raise an error in the program; a limit only once, so that it may end tidily but not go on."""
        if isinstance(error, LimitExceeded) and process.warned:
            await process.write(Entry("exit", {"how": "limit"}, {"error": str(error)}))
            process.close()
            return
        process.warned = process.warned or isinstance(error, LimitExceeded)
        await self._step(process, error)

    async def _step(self, process: Process, reply: Reply | KernosError) -> None:
        """Give the program its reply; when it ends, in whatever way, the process exits."""
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
            await process.write(Entry("exit", {"how": how}, contents))
