"""Every number that the kernel obeys.

`Limits` bounds one process (I5); `Usage` is what it has used, folded from its journal.
The constants bound the kernel itself and are not configurable at run time.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from kernos.kernel.errors import LimitExceeded

EVIDENCE_CHARS = 80
"""A quote in a verdict is cut to this many characters."""
OFFERED_VALUES = 64
"""At most so many values with a source are offered to the grammar for one parameter."""
ENGINE_ATTEMPTS = 3
"""How often one `generate` is tried when its engine dies under it."""


@dataclass(frozen=True)
class Limits:
    """What one process may use in its life; service time leaves out waiting for messages and people."""

    tokens: int = 200_000
    calls: int = 2_000
    seconds: float = 3_600.0


@dataclass(frozen=True)
class Usage:
    """What one process has used. The fields carry the names of their limits."""

    tokens: int = 0
    calls: int = 0
    seconds: float = 0.0

    def plus(self, tokens: int = 0, calls: int = 0, seconds: float = 0.0) -> Usage:
        return Usage(self.tokens + tokens, self.calls + calls, round(self.seconds + seconds, 6))


def check(usage: Usage, limits: Limits) -> None:
    """Raise LimitExceeded if no budget is left for one more call."""
    for field in fields(Limits):
        used, allowed = getattr(usage, field.name), getattr(limits, field.name)
        if used >= allowed:
            raise LimitExceeded(field.name, used, allowed)
