"""Turns that are watched: what processes do in them, and how they end.

watched = watch(kernel, tell)                      give it to a dispatcher in the kernel's place
await during(dispatcher.serve(watched), work())    work, with the service in the background
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from kernos.kernel.errors import Fenced, KernosError
from kernos.kernel.office import Kernel
from kernos.kernel.ports import Due
from kernos.kernel.types import Event, Status

T = TypeVar("T")


@dataclass(frozen=True)
class Turned:
    """The end of a turn: where it left the process, or what went wrong; without a pid, what keeps them all waiting."""

    pid: str
    status: Status | None = None
    error: Exception | None = None


News = Event | Turned
Tell = Callable[[News], None]


class Watched:
    """A kernel in whose turns everything that happens is told, in order; `running` says how many there are now."""

    def __init__(self, kernel: Kernel, tell: Tell) -> None:
        self._kernel, self._tell = kernel, tell
        self.running = 0

    @property
    def kernel(self) -> Kernel:
        """This, for a dispatcher."""
        return cast(Kernel, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    async def due(self, root: str = "") -> Due:
        try:
            return await self._kernel.due(root)
        except KernosError as error:
            self._tell(Turned("", error=error))
            raise

    async def tick(self, pid: str) -> Status:
        self.running += 1
        try:
            status = await self._turn(pid)
            self._tell(Turned(pid, status))
            return status
        except Fenced:  # another worker has it, and goes on with it
            raise
        except Exception as error:
            self._tell(Turned(pid, error=error))
            raise
        finally:
            self.running -= 1

    async def _turn(self, pid: str) -> Status:
        async with self._kernel.events(pid) as queue:
            passing = asyncio.ensure_future(self._pass_on(queue))
            try:
                return await self._kernel.tick(pid)
            finally:
                passing.cancel()
                while not queue.empty():
                    self._tell(queue.get_nowait())

    async def _pass_on(self, queue: asyncio.Queue[Event]) -> None:
        while True:
            self._tell(await queue.get())


async def during(service: Coroutine[Any, Any, None], work: Coroutine[Any, Any, T]) -> T:
    """Do a piece of work while a service runs, which ends with it. Raises what either raises."""
    serving, working = asyncio.ensure_future(service), asyncio.ensure_future(work)
    try:
        await asyncio.wait({serving, working}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            serving.result()
            raise RuntimeError("a service has ended by itself")
        return working.result()
    finally:
        for task in (serving, working):
            task.cancel()
        await asyncio.wait({serving, working})
