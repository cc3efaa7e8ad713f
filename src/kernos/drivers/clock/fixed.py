"""A clock that moves only when it is told to: for tests and for time travel."""

from __future__ import annotations


class FixedClock:
    """Starts at `start` seconds; each reading moves it by `tick`."""

    def __init__(self, start: float = 1_700_000_000.0, tick: float = 0.001) -> None:
        self._time, self._tick, self._names = start, tick, 0

    def now(self) -> float:
        self._time = round(self._time + self._tick, 6)
        return self._time

    def monotonic(self) -> float:
        return self.now()

    def random(self) -> float:
        return 0.5

    def name(self) -> str:
        self._names += 1
        return f"p{self._names:07d}"
