"""Which process a call belongs to, where only its messages tell: agents send no name, but the whole conversation again.

    heads = beginnings(messages)
    pid, places = threads.take(whose, heads)                the process whose conversation goes on here; "" for none
    threads.put(pid, answered(whose, heads, answer))        from here it may go on
    threads.put(pid, (*places, failed(whose, heads)))       the call came to nothing, and may be made again

A process stands where its last call ended: behind the answer that it was given, and before it, for agents that write
their past in words of their own. Whoever goes on from there takes it away. So of two calls with the same past one gets
the process, and nobody does who goes back to where it has been before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from kernos.kernel.types import EMPTY, Message, digest, link

KEPT = 10_000
"""Of so many processes it is known where they stand."""
_BEHIND, _BEFORE, _AGAIN = "behind", "before", "again"


def beginnings(messages: Sequence[Message]) -> list[str]:
    """The hash of each beginning of a context, the shortest first; the last is that of all of it, as the journal names
    it."""
    found, head = list[str](), EMPTY
    for message in messages:
        head = digest(link(head, message))
        found.append(head)
    return found


def answered(whose: str, heads: Sequence[str], answer: Message) -> tuple[str, ...]:
    """Where a process stands whose call was answered."""
    return f"{whose} {digest(link(heads[-1], answer))} {_BEHIND}", f"{whose} {heads[-1]} {_BEFORE}"


def failed(whose: str, heads: Sequence[str]) -> str:
    """Where a process stands too whose call came to nothing."""
    return f"{whose} {heads[-1]} {_AGAIN}"


class Threads:
    """Where processes stand, in memory only: after a restart a conversation goes on in a new process."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._stand: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._here: dict[str, dict[str, None]] = {}

    def take(self, whose: str, heads: Sequence[str]) -> tuple[str, tuple[str, ...]]:
        """The process that stands where these messages go on from, the furthest on, and where it stood."""
        places = [failed(whose, heads)]
        for head in reversed(heads):
            places += [f"{whose} {head} {_BEHIND}", f"{whose} {head} {_BEFORE}"]
        del places[2]  # the very same messages again are another conversation with the same beginning
        for place in places:
            if place in self._here:
                pid = next(iter(self._here[place]))
                return pid, tuple(stood for stood in self._leave(pid) if not stood.endswith(_AGAIN))
        return "", ()

    def put(self, pid: str, places: tuple[str, ...]) -> None:
        """A process stands here now."""
        if pid in self._stand:
            self._leave(pid)
        self._stand[pid] = places
        for place in places:
            self._here.setdefault(place, {})[pid] = None
        if len(self._stand) > self._kept:
            self._leave(next(iter(self._stand)))

    def _leave(self, pid: str) -> tuple[str, ...]:
        places = self._stand.pop(pid)
        for place in places:
            del self._here[place][pid]
            if not self._here[place]:
                del self._here[place]
        return places
