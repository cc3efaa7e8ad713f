"""Word that notes may have come for a process, for who waits for one of its calls meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any


class News:
    """Set when notes may have come for a process."""

    def __init__(self) -> None:
        self.come = False
        self._awaited: asyncio.Future[None] | None = None

    def set(self) -> None:
        self.come = True
        self._wake()

    def clear(self) -> None:
        self.come = False

    async def beside(self, call: asyncio.Future[Any]) -> None:
        """Wait until there are some, or a call is over; only one waits at a time."""
        if self.come or call.done():
            return
        self._awaited = asyncio.get_running_loop().create_future()
        call.add_done_callback(self._wake)
        try:
            await self._awaited
        finally:
            call.remove_done_callback(self._wake)
            self._awaited = None

    def _wake(self, call: object = None) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)
