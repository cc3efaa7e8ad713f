"""Every number that the kernel obeys.

`Limits` bounds one process, its tree and its owner's day (I5); `Usage` is what it has used, folded from its journal.
The constants bound the kernel itself and are not configurable at run time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from kernos.kernel.errors import LimitExceeded
from kernos.kernel.types import Embedded, Generation, Json

EVIDENCE_CHARS = 80
"""A quote in a verdict is cut to this many characters."""
OFFERED_VALUES = 64
"""At most so many values with a source are offered to the grammar for one parameter."""
ENGINE_ATTEMPTS = 4
"""How often one model call is tried when its engine dies under it, or takes no calls."""
RETRY_SECONDS, RETRY_MOST_SECONDS = 0.05, 60.0
"""After so long a failed model call is tried again, twice as long each time; never longer, whatever a server says."""
BREAKER_FAILURES, BREAKER_SECONDS, BREAKER_MOST_SECONDS = 5, 2.0, 120.0
"""An engine that has failed so often in a row is left alone so long, twice as long each time it fails again."""
PREEMPTION_MARGIN = 0.5
"""A model call is stopped for another only if that is more urgent by so many seconds."""
LEAST_REST = 0.05
"""A task that has had all that it was expected to need is expected to need so many seconds more."""
CHUNK_TOKENS, CHUNK_SLACK = 128, 32
"""A prompt is computed in pieces of so many tokens, so that a more urgent call need not wait for all of it; the last
piece may be larger by so many."""
HEAD_TOKENS = 64
"""What the contexts of an employee share is computed once if it has at least so many tokens."""
SAVED_TOKENS = 200_000
"""An engine's saved contexts hold at most so many tokens together (24 to 29 kB each with the default models)."""
TASKS, KINDS = 65_536, 4_096
"""So many tasks are known at once, and so many kinds of them; of more, those met longest ago are forgotten."""
LEARNT_PROCESSES, LEARNT_ROWS = 128, 1_000
"""A kernel that starts learns from so many processes, and so many rows of each, how much service tasks need."""
AFFINITIES = 65_536
"""Of so many processes it is remembered which engine of a role they had last."""
METERED_SECONDS, METERED_CALLS = 10.0, 4_096
"""Over so many seconds, and at most so many calls, the speed of an engine is measured."""
LIVE_PROCESSES = 256
"""So many waiting processes are kept in memory; others are brought back from their journals when they wake."""
NEAR = 0.8
"""A process is told when it has used this share of a limit."""
START_WINDOW = 5.0
"""Within so many seconds after its intent an effect that must not be repeated has to be started, or is not."""
APPROVAL_SECONDS = 7 * 86_400.0
"""So long a call waits for a person to allow it; then it is refused."""
FOREIGN_CHECKPOINT = 200
"""After so many calls of a foreign agent what the kernel knows of it is kept, so that coming back stays short."""
FOREIGN_SECONDS = 60.0
"""So long, beside the time that its tool may take, a foreign agent's call is left to the kernel that makes it."""
DAY = 86_400
"""Seconds of a day; an owner's days begin at midnight UTC."""


@dataclass(frozen=True)
class Sums:
    """Bounds of a sum over several processes; None: none."""

    calls: int | None = None
    tokens: int | None = None
    money: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Limits:
    """What one process may use in its life; None: without end.

    `seconds` is service time, without waiting for messages and people; `wall` is all time since its birth. `money` is
    in the unit of the engines' prices. `children` counts all that it ever starts, `depth` how many generations may
    follow it. `tools` bounds the calls of single tools. `tree` bounds what it and all its descendants use together,
    `day` what all processes of its owner use in a day. Of a limit in `soft` a person is asked for as much again.
    """

    tokens: int | None = 200_000
    calls: int | None = 2_000
    seconds: float | None = 3_600.0
    money: float | None = None
    wall: float | None = None
    children: int | None = 16
    depth: int | None = 4
    tools: Mapping[str, int] = field(default_factory=dict)
    tree: Sums = Sums()
    day: Sums = Sums()
    soft: frozenset[str] = frozenset()

    def to_json(self) -> Json:
        """Only what differs from the default."""
        changed = {name: value for name, value in vars(self).items() if value != _USUAL[name]}
        return {name: _plain(value) for name, value in changed.items()}

    @staticmethod
    def from_json(value: Json) -> Limits:
        sums = {name: Sums(**value[name]) for name in ("tree", "day") if name in value}
        soft = {"soft": frozenset(value["soft"])} if "soft" in value else {}
        return Limits(**value | sums | soft)

    def of(self, limit: str) -> float | None:
        """The bound by its name: `tokens`, `tools.pay`, `tree.money`."""
        table, _, name = limit.rpartition(".")
        if table == "tools":
            return self.tools.get(name)
        bound: float | None = getattr(getattr(self, table) if table else self, name)
        return bound

    def raised(self, limit: str, by: float) -> Limits:
        """The same with one bound raised."""
        table, _, name = limit.rpartition(".")
        bound = (self.of(limit) or 0) + by
        if table == "tools":
            return replace(self, tools={**self.tools, name: int(bound)})
        if table:
            return replace(self, **{table: replace(getattr(self, table), **{name: bound})})
        whole: dict[str, Any] = {name: bound}
        return replace(self, **whole)


_USUAL = vars(Limits())


def _plain(value: Json) -> Json:
    match value:
        case Sums():
            return dict(vars(value))
        case frozenset():
            return sorted(value)
        case Mapping():
            return dict(value)
    return value


@dataclass(frozen=True)
class Usage:
    """What one process has used, or several together. The fields carry the names of their limits."""

    tokens: int = 0
    calls: int = 0
    seconds: float = 0.0
    money: float = 0.0

    def plus(self, tokens: int = 0, calls: int = 0, seconds: float = 0.0, money: float = 0.0) -> Usage:
        return Usage(
            self.tokens + tokens, self.calls + calls,
            round(self.seconds + seconds, 6), round(self.money + money, 9),
        )  # fmt: skip


@dataclass(frozen=True)
class Price:
    """What an engine costs, for a million tokens of each kind."""

    prompt: float = 0.0
    cached: float = 0.0
    completion: float = 0.0

    def of(self, generation: Generation | Embedded) -> float:
        """The money of one call. Cached tokens are a part of the prompt's."""
        fresh = generation.prompt - generation.cached
        return (fresh * self.prompt + generation.cached * self.cached + generation.completion * self.completion) / 1e6


def check(used: Iterator[tuple[str, float]], limits: Limits) -> None:
    """Raise LimitExceeded for the first of these uses that leaves no room for one more call."""
    for limit, amount in used:
        allowed = limits.of(limit)
        if allowed is not None and amount >= allowed:
            raise LimitExceeded(limit, amount, allowed)


def near(before: Usage, after: Usage, limits: Limits) -> dict[str, float]:
    """The limits that were crossed to `NEAR` between these two, with the share now used."""
    found: dict[str, float] = {}
    for name in (part.name for part in fields(Usage)):
        allowed = limits.of(name)
        if allowed and getattr(before, name) < NEAR * allowed <= getattr(after, name):
            found[name] = round(getattr(after, name) / allowed, 3)
    return found
