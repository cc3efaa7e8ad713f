"""The heads of the journals that changed, signed from time to time by a witness, so that a cut tail shows (I7).

anchors.changed(pid, status)      a journal has grown
await anchors.catch_up()          once: what a kernel wrote that was killed before it could have it signed
await anchors.sign()              all that changed since the last time
"""

from __future__ import annotations

from kernos.kernel.ports import Clock, Head, Store, Witness
from kernos.kernel.types import Status


class Anchors:
    """What is to be signed: by pid the status as this kernel wrote it last, or None where only the store knows it."""

    def __init__(self, store: Store, witness: Witness | None, clock: Clock) -> None:
        self._store, self._witness, self._clock = store, witness, clock
        self._unsigned: dict[str, Status | None] = {}
        self._caught_up = witness is None

    def changed(self, pid: str, status: Status | None = None) -> None:
        """A journal has grown, or is about to."""
        if self._witness is not None:
            self._unsigned[pid] = status

    async def catch_up(self) -> None:
        """Find what was written and not signed before this kernel was there."""
        if self._witness is None or self._caught_up:
            return
        signed = {head.pid: head.seq for head in await self._witness.heads()}
        for status in await self._store.statuses():
            if signed.get(status.pid) != status.seq:
                self._unsigned.setdefault(status.pid, status)
        self._caught_up = True

    async def sign(self) -> None:
        """Have it signed. What cannot be is kept for another time: a head that is left out could be cut off unseen."""
        unsigned, self._unsigned = self._unsigned, {}
        try:
            found = [status or await self._store.status(pid) for pid, status in sorted(unsigned.items())]
            heads = [Head(status.pid, status.seq, status.hash) for status in found if status]
            if self._witness is not None and heads:
                await self._witness.sign(heads, self._clock.now())
        except BaseException:
            self._unsigned = unsigned | self._unsigned
            raise
