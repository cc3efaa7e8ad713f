"""Who gets an engine's slot: the best priority, then first come, first served; no slot idle while a call waits (I8).

`Scheduler.slot` is entered around every engine call and tells how long the call queued, in seconds. A priority is like
Unix's nice value: the lower, the sooner.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count

from kernos.kernel.errors import NotFound
from kernos.kernel.ports import Clock, Engine


class _Slots:
    """The slots of one engine, and the calls that wait for them."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._order = count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    async def take(self, priority: int) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it had the slot already
                self.give()
            raise

    def give(self) -> None:
        """Hand a slot to the next that waits."""
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Scheduler:
    """The queues before the engines."""

    def __init__(self, engines: Mapping[str, Engine], clock: Clock) -> None:
        self._engines = engines
        self._clock = clock
        self._slots = {name: _Slots(engine.slots) for name, engine in engines.items()}

    @asynccontextmanager
    async def slot(self, name: str, priority: int = 0) -> AsyncIterator[tuple[Engine, float]]:
        """Wait for a free slot of the engine called `name`. Raises NotFound if there is no such engine."""
        if name not in self._slots:
            raise NotFound("engine", repr(name), " or ".join(self._slots) or "an engine in kernos.toml")
        came = self._clock.monotonic()
        await self._slots[name].take(priority)
        try:
            yield self._engines[name], self._clock.monotonic() - came
        finally:
            self._slots[name].give()
