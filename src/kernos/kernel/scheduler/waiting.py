"""The calls that wait for an engine, in the order in which they should have it. Pure, and O(log n) a step.

    queue.push(call)       it waits
    queue.first()          the call that should be next, if one may be; `pop` takes it
    queue.remove(call)     nobody waits for it any more
    queue.over(call, s)    a call is in flight no more, after so many seconds of service

The order: owners who have had less than their share, in steps of `SHARE_SECONDS`, go first; among those it is the
call's index (see `history`), plus what its class and its priority are worth in seconds. Who waits gets older: `AGEING`
of each second is taken off. As that is the same for all who wait, a call's place in the order never changes while it
waits, and is computed once. An owner with as many calls or tokens in flight as he may have is passed over.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

AGEING = 0.05
"""A second of waiting counts as so many seconds less to do: nothing starves."""
PRIORITY_SECONDS = 5.0
"""One step of a process's priority is worth so much."""
BATCH_SECONDS = 30.0
"""So much later than a person's are the calls of a class declared batch."""
SHARE_SECONDS = 10.0
"""Owners whose service, by their weights, differs by less have the same share."""


@dataclass(frozen=True)
class Share:
    """What an owner gets of the engines: his weight beside others, and the most calls and tokens in flight."""

    weight: float = 1.0
    calls: int | None = None
    tokens: int | None = None


@dataclass(eq=False)
class Waiting:
    """One call that waits, or runs: of which process and owner, how many tokens it may hold, and its place in the
    order: `key`, in seconds."""

    pid: str
    owner: str
    tokens: int
    key: float
    gone: bool = False


def base(priority: int, batch: bool, came: float) -> float:
    """A call's place in the order but for its index, in seconds; `came` is when it came."""
    return priority * PRIORITY_SECONDS + (BATCH_SECONDS if batch else 0.0) + AGEING * came


@dataclass
class _Owner:
    """One owner's calls, what he has in flight, and his service over his weight, in seconds."""

    share: Share
    heap: list[tuple[float, int, Waiting]] = field(default_factory=list)
    calls: int = 0
    tokens: int = 0
    had: float = 0.0
    version: int = 0
    rank: tuple[int, float] | None = None

    def head(self) -> Waiting | None:
        """His next call, whether it may be or not."""
        while self.heap and self.heap[0][2].gone:
            heapq.heappop(self.heap)
        return self.heap[0][2] if self.heap else None

    def may(self, call: Waiting) -> bool:
        """Whether he may have this call in flight too. One call may always be, however large."""
        if self.share.calls is not None and self.calls >= self.share.calls:
            return False
        return self.share.tokens is None or not self.calls or self.tokens + call.tokens <= self.share.tokens


class Queue:
    """The calls that wait for the engines of one role."""

    def __init__(self, shares: Mapping[str, Share] | None = None) -> None:
        self._shares = shares or {}
        self._owners: dict[str, _Owner] = {}
        self._ranked: list[tuple[int, float, int, str]] = []
        self._order = count()
        self._floor = 0.0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, call: Waiting) -> None:
        """A call waits from now on."""
        owner = self._owner(call.owner)
        if not owner.heap and not owner.calls:
            owner.had = max(owner.had, self._floor)  # who was away has no claim to what he did not use
        heapq.heappush(owner.heap, (call.key, next(self._order), call))
        call.gone = False
        self._size += 1
        self._rank(call.owner)

    def remove(self, call: Waiting) -> None:
        """A call waits no more."""
        if not call.gone:
            call.gone = True
            self._size -= 1
            self._rank(call.owner)

    def first(self) -> Waiting | None:
        """The call that should be next; None if none may be."""
        while self._ranked:
            version, name = self._ranked[0][2:]
            owner = self._owners[name]
            if version == owner.version:
                return owner.head()
            heapq.heappop(self._ranked)
        return None

    def pop(self) -> Waiting | None:
        """Take the next call: it is in flight."""
        call = self.first()
        if call is None:
            return None
        owner = self._owners[call.owner]
        heapq.heappop(owner.heap)
        call.gone, self._size = True, self._size - 1
        owner.calls, owner.tokens = owner.calls + 1, owner.tokens + call.tokens
        self._floor = max(self._floor, owner.had)
        self._rank(call.owner)
        return call

    def over(self, call: Waiting, seconds: float) -> None:
        """A call is in flight no more; it has had so much service this time."""
        owner = self._owners[call.owner]
        owner.calls, owner.tokens = owner.calls - 1, owner.tokens - call.tokens
        owner.had += seconds / owner.share.weight
        self._rank(call.owner)

    def _owner(self, name: str) -> _Owner:
        if name not in self._owners:
            self._owners[name] = _Owner(self._shares.get(name, Share()))
        return self._owners[name]

    def _rank(self, name: str) -> None:
        """Put an owner where he belongs now; if that is elsewhere, where he was before is void."""
        owner = self._owners[name]
        head = owner.head()
        rank = (int(owner.had // SHARE_SECONDS), head.key) if head is not None and owner.may(head) else None
        if rank != owner.rank:
            owner.rank, owner.version = rank, owner.version + 1
            if rank is not None:
                heapq.heappush(self._ranked, (*rank, owner.version, name))
