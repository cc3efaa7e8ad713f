"""Time and chance from the operating system."""

from __future__ import annotations

import random
import secrets
import time

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


class SystemClock:
    """The real thing; see `ports.Clock`."""

    def __init__(self) -> None:
        self._ahead = float("-inf")

    def now(self) -> float:
        """The time of day. When the machine's is set back it goes on as if it had not been; forward it follows."""
        monotonic = time.monotonic()
        self._ahead = max(self._ahead, time.time_ns() / 1e9 - monotonic)
        return round(monotonic + self._ahead, 6)

    def monotonic(self) -> float:
        return time.monotonic()

    def random(self) -> float:
        return random.SystemRandom().random()

    def name(self) -> str:
        """Eight letters and digits that are not easily mistaken for each other, 40 bits of chance."""
        rest, letters = secrets.randbelow(len(_LETTERS) ** 8), ""
        for _ in range(8):  # one number for all of them: each costs a system call
            rest, place = divmod(rest, len(_LETTERS))
            letters += _LETTERS[place]
        return letters
