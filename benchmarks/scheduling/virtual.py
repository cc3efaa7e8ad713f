"""A discrete-event simulation of anything written with asyncio: a loop whose time passes only when nobody is awake.

    result = run(main())       asyncio.sleep(60) takes no time; loop.time() is the simulated time, from 0 on

Whatever does I/O cannot be simulated: with nothing to wait for but a socket, `run` raises RuntimeError.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Still(selectors.SelectSelector):
    """A selector that waits for nothing, and tells how long it should have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits for something that will not come")
        self.now += max(0.0, timeout)
        return []


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._still = _Still()
        super().__init__(self._still)

    def time(self) -> float:
        return self._still.now


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run it to its end; its result."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)
