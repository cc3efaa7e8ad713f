"""One engine as the scheduler sees it: the calls that it serves, how fast it is, and whether it is to be left alone.

A `Turn` is one call's way through the engines: it waits, is served, may have to give way, and waits again. `wanted` is
set when a more urgent call waits; whoever serves the turn looks at it through `spend`, and then gives way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal

from kernos.kernel import limits
from kernos.kernel.office import EngineView
from kernos.kernel.ports import Clock, Engine, SlotEngine
from kernos.kernel.scheduler.history import History
from kernos.kernel.scheduler.waiting import Waiting
from kernos.kernel.types import Embedded, Generation

Phase = Literal["", "queued", "prefill", "decode"]


class Turn:
    """One call's way through the engines.

    `base` is its place in the order without its index, `queued` and `served` the seconds for which it has waited and
    been served. `granted` is what it waits for, a new one each time; `again` has it give up its engine and wait again.
    """

    granted: asyncio.Future[None]

    def __init__(
        self, call: Waiting, base: float, clock: Clock, history: History, again: Callable[[Turn], Awaitable[None]]
    ) -> None:  # fmt: skip
        self.call, self.base = call, base
        self.wanted = asyncio.Event()
        self.line: Line | None = None
        self.phase: Phase = ""
        self.queued = self.served = 0.0
        self._clock, self._history, self._again = clock, history, again
        self._began = self._seen = clock.monotonic()

    def begin(self, line: Line) -> None:
        """It is served by this engine from now on."""
        self.line, self.phase = line, "prefill"
        self._began = self._seen = self._clock.monotonic()
        line.running.add(self)
        if not self.granted.done():
            self.granted.set_result(None)

    def spend(self, phase: Phase = "prefill") -> bool:
        """Account for the service since the last time; whether a more urgent call waits."""
        now = self._clock.monotonic()
        self._history.served(self.call.pid, now - self._seen)
        self.served += now - self._seen
        self._seen, self.phase = now, phase
        return self.wanted.is_set()

    async def give_way(self) -> None:
        """Let a more urgent call go first; returns when it is this one's turn again."""
        await self._again(self)

    def stop(self) -> float:
        """It is served no more; for how many seconds it was."""
        assert self.line is not None
        self.spend("")
        self.line.running.discard(self)
        self.line = None
        self.wanted.clear()
        return self._seen - self._began


class Line:
    """One engine, and the turns that it serves.

    `stops` says whether it can be stopped in the middle of a call and go on later.
    """

    def __init__(self, name: str, engine: Engine | SlotEngine, clock: Clock, stops: bool) -> None:
        self.name, self.engine, self.stops = name, engine, stops
        self.running: set[Turn] = set()
        self.failures = 0
        self.last_words = ""
        self._until = 0.0
        self._clock = clock
        self._written: deque[tuple[float, int]] = deque()
        self._prompt = self._cached = 0

    @property
    def room(self) -> int:
        """How many more calls it may serve now: one, to see, if it has just failed again and again."""
        if self.resting:
            return 0
        most = 1 if self.failures >= limits.BREAKER_FAILURES else self.engine.slots
        return max(0, most - len(self.running))

    @property
    def resting(self) -> float:
        """For how many seconds it is to be left alone still."""
        return max(0.0, self._until - self._clock.monotonic())

    def succeeded(self, generation: Generation | Embedded) -> None:
        """It has answered a call."""
        self.failures, self._until = 0, 0.0
        self._prompt += generation.prompt
        self._cached += generation.cached
        self._written.append((self._clock.monotonic(), generation.completion))
        if len(self._written) > limits.METERED_CALLS:
            self._written.popleft()

    def failed(self, words: str) -> float:
        """It has failed a call, without the call's fault; for how many seconds it is left alone now."""
        self.failures, self.last_words = self.failures + 1, words
        if self.failures < limits.BREAKER_FAILURES:
            return 0.0
        times = self.failures - limits.BREAKER_FAILURES
        seconds = min(limits.BREAKER_SECONDS * 2.0**times, limits.BREAKER_MOST_SECONDS)
        self._until = self._clock.monotonic() + seconds
        return seconds

    def view(self, queued: int, slots: tuple[str, ...]) -> EngineView:
        """What it is doing."""
        since = self._clock.monotonic() - limits.METERED_SECONDS
        rate = sum(tokens for at, tokens in self._written if at >= since) / limits.METERED_SECONDS
        cached = self._cached / self._prompt if self._prompt else 0.0
        running, most = len(self.running), self.engine.slots
        return EngineView(self.name, not self.resting, most, running, queued, slots, rate, cached)
