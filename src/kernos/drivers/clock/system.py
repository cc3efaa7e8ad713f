"""Time and chance from the operating system."""

from __future__ import annotations

import random
import secrets
import time

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


class SystemClock:
    """The real thing; see `ports.Clock`."""

    def now(self) -> float:
        return round(time.time_ns() / 1e9, 6)

    def monotonic(self) -> float:
        return time.monotonic()

    def random(self) -> float:
        return random.SystemRandom().random()

    def name(self) -> str:
        """Eight letters and digits that are not easily mistaken for each other, 40 bits of chance."""
        return "".join(secrets.choice(_LETTERS) for _ in range(8))
