"""Who gets an engine's slot: first come, first served, and no slot idle while a call waits (I8).

`Scheduler.slot` is entered around every engine call and tells how long the call queued, in seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from kernos.kernel.errors import NotFound
from kernos.kernel.ports import Clock, Engine


class Scheduler:
    """The queues before the engines."""

    def __init__(self, engines: Mapping[str, Engine], clock: Clock) -> None:
        self._engines = engines
        self._clock = clock
        self._free = {name: asyncio.Semaphore(engine.slots) for name, engine in engines.items()}

    @asynccontextmanager
    async def slot(self, name: str) -> AsyncIterator[tuple[Engine, float]]:
        """Wait for a free slot of the engine called `name`. Raises NotFound if there is no such engine."""
        if name not in self._free:
            raise NotFound("engine", repr(name), " or ".join(self._free) or "an engine in kernos.toml")
        came = self._clock.monotonic()
        async with self._free[name]:
            yield self._engines[name], self._clock.monotonic() - came
