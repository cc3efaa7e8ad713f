"""What every dispatcher has to get right about a turn: never two of one process at once, and no spinning.

A process whose turn failed is left alone for half a second, then for twice as long each time, to a minute. A turn that
changed nothing, though its process is due again, counts as failed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

from kernos.kernel.errors import Fenced, JournalBroken, StoreError
from kernos.kernel.ports import Worker

FIRST = 0.5
MOST = 60.0
PAUSE = 0.5
"""How long to wait, in seconds, for a store that fails."""
STOP = 3.0
"""How many seconds a task has to end before it is told again."""
NUDGE = 0.25
"""How often, in seconds, a turn is told that there may be notes for its process."""

Troubled = Callable[[str, Exception], None]
"""Told of a turn that failed, with its process; with an empty name, of what keeps all of them waiting."""


def quiet(pid: str, error: Exception) -> None:
    """Nobody wants to know."""


async def together(*loops: Coroutine[Any, Any, None], ending: Callable[[], None] = lambda: None) -> None:
    """Run until the first has ended or failed, or until cancelled; then call `ending` and end the others."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        ending()
        await stopped(tasks)


async def stopped(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until all have ended. Once is not always enough: up to Python 3.11 `asyncio.wait_for`, which drivers
    use, loses a cancellation that comes together with what it waits for."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=STOP)


async def always() -> bool:
    """Nobody else could have taken the process."""
    return True


class Backoff:
    """What is remembered of processes that stay due. Times are in seconds of `now`, which never goes back."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failures: dict[str, int] = {}
        self._until: dict[str, float] = {}
        self._rows: dict[str, int] = {}

    def failed(self, pid: str) -> None:
        """Its turn failed, or was no use."""
        failures = self._failures[pid] = self._failures.get(pid, 0) + 1
        self._until[pid] = self._now() + min(FIRST * 2 ** min(failures - 1, 10), MOST)

    def ended(self, pid: str, row: int) -> None:
        """Its turn ended well; `row` is the number of the last row of its journal."""
        if self._rows.get(pid) == row:
            self.failed(pid)
        else:
            self._forget(pid)
            self._rows[pid] = row

    def free(self, pid: str) -> bool:
        """Whether it may have a turn now."""
        return self._until.get(pid, 0.0) <= self._now()

    def release(self, pid: str) -> None:
        """Somebody wants it to have a turn now. If that fails too, the wait after it is longer all the same."""
        self._until.pop(pid, None)

    def keep(self, due: Iterable[str]) -> None:
        """Forget every process that is no longer due: it has moved on."""
        for pid in (self._failures.keys() | self._rows.keys()) - set(due):
            self._forget(pid)

    def _forget(self, pid: str) -> None:
        self._failures.pop(pid, None)
        self._until.pop(pid, None)
        self._rows.pop(pid, None)


class Turns:
    """The turns that processes are having here; `running` are their names."""

    def __init__(self, troubled: Troubled = quiet, now: Callable[[], float] = time.monotonic) -> None:
        self.troubled = troubled
        self.backoff = Backoff(now)
        self.running: set[str] = set()
        self._now = now
        self._hinted: set[str] = set()
        self._nudged = now()

    async def give(self, kernel: Worker, pid: str, still: Callable[[], Awaitable[bool]] = always) -> None:
        """Give a process its turn; whatever comes of it, others go on. Does nothing if it is having one.

        When the store fails, the outcome of the process's call may be known here and nowhere else. So its turn is not
        over: it is tried again, for as long as this worker has the process `still`.
        """
        if pid in self.running:
            return
        self.running.add(pid)
        try:
            while not await self._tried(kernel, pid):
                await asyncio.sleep(PAUSE)
                if not await still():
                    return
        finally:
            self.running.discard(pid)

    async def _tried(self, kernel: Worker, pid: str) -> bool:
        """One attempt at a turn; whether that was all."""
        try:
            status = await kernel.tick(pid)
        except Fenced:
            self.backoff.failed(pid)
        except Exception as error:  # a defect that one process meets must not stop the others
            self.troubled(pid, error)
            if isinstance(error, StoreError) and not isinstance(error, JournalBroken):
                return False
            self.backoff.failed(pid)
        else:
            self.backoff.ended(pid, status.seq)
        return True

    def hint(self, pid: str) -> None:
        self.backoff.release(pid)
        self._hinted.add(pid)

    def ready(self, kernel: Worker, due: Sequence[str]) -> list[str]:
        """Those of all that is due which should have a turn and are not having one. The others are told of notes: at
        once where there was a hint, else now and then, for what is having a turn is always due."""
        self.backoff.keep(due)
        often = self._now() - self._nudged >= NUDGE
        for pid in self.running & (set(due) if often else self._hinted):
            kernel.nudge(pid)
        if often:
            self._nudged = self._now()
        self._hinted.clear()
        return [pid for pid in due if pid not in self.running and self.backoff.free(pid)]
