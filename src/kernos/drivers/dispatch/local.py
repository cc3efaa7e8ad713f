"""Turns for the processes of one machine: the default. Nothing is kept here; what is due is asked of the store.

    dispatcher = LocalDispatcher()
    await dispatcher.serve(kernel)           # until cancelled
    dispatcher.hint(pid)                     # from anywhere in the same loop: look now

Each round asks what is due and begins a turn for whatever is not having one. The next round comes with a hint, with the
end of a turn, or after `POLL`, so that a timer, or a note from another program, wakes a process within a tenth of a
second. Turns that fail are tried again, each after a while (`turns.Backoff`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from kernos.drivers.dispatch.turns import PAUSE, Troubled, Turns, quiet, stopped
from kernos.kernel.errors import KernosError
from kernos.kernel.ports import Worker

POLL = 0.05
"""How many seconds pass, at the most, before the store is asked again."""


class LocalDispatcher:
    """See `ports.Dispatcher`.

    Args:
        troubled: told of every failure; it is tried again all the same.
        at_once: how many processes have their turns at the same time.
    """

    def __init__(self, troubled: Troubled = quiet, at_once: int = 32) -> None:
        self._turns = Turns(troubled)
        self._at_once = at_once
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()

    async def serve(self, kernel: Worker, root: str = "") -> None:
        try:
            while True:
                self._news.clear()
                pause = await self._round(kernel, root)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._news.wait()
        finally:
            await self.close()

    def hint(self, pid: str) -> None:
        self._turns.hint(pid)
        self._news.set()

    async def close(self) -> None:
        """Break off all turns, as a crash would; their processes are due again when somebody serves."""
        await stopped(self._tasks)

    async def _round(self, kernel: Worker, root: str) -> float:
        """Begin the turns that are due; how many seconds to wait before the next round."""
        try:
            due = (await kernel.due(root)).pids
        except KernosError as error:
            self._turns.troubled("", error)
            return PAUSE
        for pid in self._turns.ready(kernel, due)[: self._at_once - len(self._tasks)]:
            self._begin(kernel, pid)
        return POLL

    def _begin(self, kernel: Worker, pid: str) -> None:
        task = asyncio.create_task(self._turns.give(kernel, pid))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._news.set()
