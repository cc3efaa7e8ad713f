"""Retention: contents of what ended long ago are dropped, its rows and their hashes stay, and the chain still holds.

`prune` first writes a `prune` row, which says that contents may be missing, then drops them. What another journal
refers to as well, a fork's for instance, is kept, and so is what a process remembered for those after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kernos.kernel.context import EMPTY, parts
from kernos.kernel.journal import Entry, Journal, refers, seal
from kernos.kernel.ports import Clock, Commit
from kernos.kernel.state import apply, fold
from kernos.kernel.types import Record


async def prune(journal: Journal, clock: Clock, before: float) -> int:
    """Drop the contents of processes that exited before a time, in seconds since 1970; how many that were."""
    statuses = await journal.store.statuses()
    ended = [status.pid for status in statuses if status.phase == "exited" and status.at < before]
    if not ended:
        return 0
    kept: set[str] = set()
    for status in statuses:
        rows = await journal.rows(status.pid)
        kept |= await (_remembered(rows, journal) if status.pid in ended else reached(rows, journal))
    for pid in ended:
        rows = await journal.rows(pid)
        dropped = await reached(rows, journal) - kept
        if not any(row.kind == "prune" for row in rows):
            await amend(pid, Entry("prune", {}), journal, clock)
        await journal.store.drop(sorted(dropped))
    return len(ended)


async def _remembered(rows: Iterable[Record], journal: Journal) -> set[str]:
    """The contents of what a process remembered and nobody has replaced since."""
    found: set[str] = set()
    for row in rows:
        if row.kind == "intent" and row.body["call"] == "remember":
            memory = await journal.store.memory(row.body["space"], row.body["key"])
            if memory is not None and (memory.pid, memory.seq) == (row.pid, row.seq):
                found |= set(refers(row).values())
    return found


async def amend(pid: str, entry: Entry, journal: Journal, clock: Clock, taken: Sequence[str] = ()) -> None:
    """Add a row to the journal of a process that has exited: neither its program nor its contents need be there."""
    epoch = await journal.store.claim(pid)
    rows = await journal.rows(pid)
    last = rows[-1]
    row, contents = seal(pid, last.seq + 1, last.hash, max(clock.now(), last.at), entry, journal.key)
    status = apply(fold(rows), row).status()
    await journal.commit(Commit([row], contents, [status], {pid: epoch}, taken=taken))


async def reached(rows: Iterable[Record], journal: Journal) -> set[str]:
    """The hashes of all contents that rows lead to, the messages of their contexts included."""
    found: set[str] = set()
    for row in rows:
        found |= set(refers(row).values())
        head = row.body.get("context", EMPTY)
        while head not in found and head != EMPTY:
            found.add(head)
            link = (await journal.store.contents([head])).get(head)
            if link is None:
                break
            head, message = parts(link)
            found.add(message)
    return found
