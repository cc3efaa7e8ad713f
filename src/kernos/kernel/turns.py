"""What happens within a turn of a process that is claimed: its notes become rows, and call follows call.

    turns = Turns(trap, journal, clock, hint)
    await turns.take(process)                       its notes
    await turns.run(process)                        its program, until it waits or exits
    reply = await turns.serve(process, request)     one call of a foreign agent, whose program is elsewhere
    await turns.go_on(process)                      what came of the call for which such an agent waits

Whoever calls these holds the process's turn, so that nobody else does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kernos.kernel import recovery
from kernos.kernel.abi import Invoke, ModelCall, Reply, Request, call_of
from kernos.kernel.effects import after_crash
from kernos.kernel.errors import (
    AnswerLost,
    BadInput,
    EngineError,
    KernosError,
    LimitExceeded,
    ReplayDiverged,
    StoreError,
)
from kernos.kernel.journal import Entry, Journal
from kernos.kernel.limits import FOREIGN_CHECKPOINT
from kernos.kernel.mailbox import entry_of, genuine, note
from kernos.kernel.ports import Clock, Commit
from kernos.kernel.process import Aside, Process
from kernos.kernel.services import Waiting
from kernos.kernel.trap import Anew, Outcome, Stopped, Trap
from kernos.kernel.types import Json, Note

_NOT_THE_PROGRAMS = (EngineError, StoreError, ReplayDiverged)
"""Errors that are not the program's to handle: its call stays open until somebody mends the cause."""

_LONG = ModelCall | Invoke
"""Calls during which notes may come."""

_LOST = "the connection to the agent was lost while the model answered"

_WHATEVER = (Exception, SystemExit, GeneratorExit, asyncio.CancelledError)


@dataclass(frozen=True)
class Turns:
    """What turns need. `hint` is told of processes that should have one."""

    trap: Trap
    journal: Journal
    clock: Clock
    hint: Callable[[str], None]

    async def take(self, process: Process, halts: bool = False) -> bool:
        """Make rows of a process's notes, in their order; with `halts` only of those that halt it. Whether one did."""
        process.news.clear()
        halted = False
        for taken in await self.journal.store.notes(process.pid):
            if halts and not taken.body.get("halt"):
                continue
            known = genuine(taken, self.journal.key)
            halted = halted or (known and bool(taken.body.get("halt")))
            entry = entry_of(process, taken) if known else None
            if entry is None:
                await self.journal.commit(Commit([], {}, [], {process.pid: process.epoch}, taken=[taken.id]))
                continue
            if entry.kind == "signal" and entry.body["signal"] == "kill":
                error = {"error": f"killed by {entry.body['by']}"}
                await self.exit(process, "killed", error, [entry], [taken.id])
                return False  # without giving way: a call that is at its end may still have a row to write
            below = self._below(process, taken.id, entry.body) if entry.body.get("halt") else []
            [row] = await process.write(entry, aside=Aside(below, [taken.id]))
            recovery.attach(process, row)
            for posted in below:
                self.hint(posted.pid)
        return halted

    def _below(self, process: Process, name: str, body: Mapping[str, Json]) -> list[Note]:
        """A signal passed on to the living children of a process: a note for each."""
        living = [child for child, ended in process.state.children.items() if not ended]
        now, key = self.clock.now(), self.journal.key
        return [note(key, f"{name}:{child}", child, "signal", body, now) for child in living]

    async def run(self, process: Process) -> None:
        """Call after call, until the process waits, is paused, or exits."""
        while process.state.phase != "exited" and not process.state.paused:
            if process.request is None:
                await self._step(process, None)
                continue
            try:
                outcome = await self._call(process, process.request)
            except AnswerLost as error:
                await self._fault(process, error)
                continue
            except _NOT_THE_PROGRAMS:
                raise
            except KernosError as error:
                await self._fault(process, error)
                continue
            if isinstance(outcome, Waiting):
                return
            if isinstance(outcome, Stopped):
                await self.exit(process, "killed", {"error": outcome.why})
            elif not isinstance(outcome, Anew):
                await self._step(process, outcome)
            if process.news.come:
                await self.take(process)

    async def serve(self, process: Process, request: Request) -> Reply | Waiting:
        """One call of a foreign agent; the call for which it waits it may make once more. Raises BadInput when it may
        make none, and what the table says else."""
        state, where = process.state, f"process {process.pid}"
        if state.phase == "exited":
            raise BadInput(where, f"an exited process ({state.why})", "one that still runs or waits")
        if state.paused:
            raise BadInput(where, "a paused process", "one that was resumed")
        await self._settle(process)
        if process.request not in (None, request):
            waiting = call_of(process.request).name
            raise BadInput(where, f"a call of {waiting} that still waits", "no other call before that is answered")
        if process.state.why == "agent" and process.state.seq - process.kept >= 2 * FOREIGN_CHECKPOINT:
            await self.trap.keep(process)
        process.request = request
        return await self._served(process, request)

    async def go_on(self, process: Process) -> None:
        """Take the call for which a foreign agent waits as far as it goes now. What comes of it, its row says."""
        if process.state.phase == "exited" or process.state.paused:
            return
        await self._settle(process)
        if process.request is None:
            return
        try:
            await self._served(process, process.request)
        except StoreError:
            raise
        except KernosError as error:
            if process.state.why == "agent" or process.status.phase == "exited":
                return
            if isinstance(error, EngineError):  # a guard that fails: it is asked again
                raise
            await self.trap.lose(process, str(error))

    async def _settle(self, process: Process) -> None:
        """Give up a model's answer for which nobody waits any more."""
        state = process.state
        if process.request is None and (state.why == "engine" or state.phase == "ready"):
            await self.trap.lose(process, _LOST)

    async def _served(self, process: Process, request: Request) -> Reply | Waiting:
        asked = isinstance(request, ModelCall)
        try:
            outcome = await self._call(process, request)
        except (EngineError, asyncio.CancelledError) as error:
            if asked and process.open is not None:
                await asyncio.shield(self.trap.lose(process, str(error) or _LOST))
            raise
        except LimitExceeded:
            process.warned = True
            raise
        finally:
            if process.state.why == "agent":
                process.request = None
        if isinstance(outcome, Stopped):
            await self.exit(process, "killed", {"error": outcome.why})
        if process.state.phase == "exited" and isinstance(outcome, Stopped | Waiting):
            raise BadInput(f"process {process.pid}", f"an exited process ({process.state.why})", "one that still runs")
        if asked and isinstance(outcome, Waiting) and process.open is not None:  # a person has halted it
            await self.trap.lose(process, _LOST)
            raise BadInput(f"process {process.pid}", "a paused process", "one that was resumed")
        assert not isinstance(outcome, Anew | Stopped)
        return outcome

    async def _call(self, process: Process, request: Request) -> Outcome:
        """One system call, which a signal may break off if it takes long."""
        if not isinstance(request, _LONG) or (process.past and process.past[0].outcome is not None):
            return await self.trap.call(process, request)
        call = asyncio.ensure_future(self.trap.call(process, request))
        try:
            await self._over(call, process, request)
            return await call if call.done() else Waiting()
        finally:
            await ended(call)

    async def _over(self, call: asyncio.Future[Outcome], process: Process, request: Request) -> None:
        """Wait until a call is over, or has to be broken off. Notes that come during a model's are taken at once, for a
        kill need not wait for its end; during a tool's only those that halt the process: what it did has to be
        known. That their store fails is no reason to break it off."""
        tool, waiting = isinstance(request, Invoke), False
        try:
            while not call.done():
                await process.news.beside(call)
                if call.done():
                    return
                waiting = tool
                try:
                    halted = await self.take(process, halts=tool)
                except StoreError:
                    waiting, halted = True, False
                if process.state.phase == "exited":
                    return
                await process.quiet()
                if halted and self._may_break(process, request):
                    return
        finally:
            if waiting:
                process.news.set()

    def _may_break(self, process: Process, request: Request) -> bool:
        """Whether a call may be broken off and made again later."""
        tool = self.trap.effects.tool(process, request.tool) if isinstance(request, Invoke) else None
        return after_crash(call_of(request), tool.spec if tool else None) == "again"

    async def _fault(self, process: Process, error: KernosError) -> None:
        """Raise an error in the program; a limit only once, so that it may end tidily but not go on."""
        if isinstance(error, LimitExceeded) and process.warned:
            await self.exit(process, "limit", {"error": str(error)})
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
            await self.exit(process, how, contents)

    async def exit(
        self, process: Process, how: str, contents: Mapping[str, Json], cause: Sequence[Entry] = (),
        taken: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """The last row, in one transaction with its cause. The parent is told; who is killed takes its children with
        it."""
        state, now, key = process.state, self.clock.now(), self.journal.key
        notes = []
        if state.parent and await self.journal.store.status(state.parent):
            body = {"child": process.pid, "how": how, **contents, **process.strange, **process.receipts.passed()}
            notes.append(note(key, f"{process.pid}:exit", state.parent, "child", body, now))
        if how == "killed":
            notes += self._below(process, f"{process.pid}:kill", {"signal": "kill", "by": process.pid})
        await process.write(*cause, Entry("exit", {"how": how}, contents), aside=Aside(notes, taken))
        process.close()
        for posted in notes:
            self.hint(posted.pid)


async def ended(task: asyncio.Future[Any]) -> None:
    """Cancel a task that is not over, and wait for its end."""
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
