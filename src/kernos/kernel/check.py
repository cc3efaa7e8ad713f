"""The kernel checks itself (I7): live state against a fresh fold of the journal, and every chain against its hashes.

`drift` is for tests, after whatever a live process went through; `audit` is `kernos audit verify`. Neither changes
anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kernos.kernel.context import EMPTY, parts
from kernos.kernel.errors import BadInput, JournalBroken
from kernos.kernel.journal import Journal, broken
from kernos.kernel.ports import Head, Witness
from kernos.kernel.process import Process
from kernos.kernel.state import fold
from kernos.kernel.types import Record, digest


async def drift(process: Process, journal: Journal) -> list[str]:
    """Where a live process differs from its journal; nothing if it does not."""
    folded = fold(await journal.rows(process.pid))
    return [] if folded == process.state else [f"process {process.pid}: live {process.state} but folded {folded}"]


async def audit(journal: Journal, witness: Witness | None = None) -> list[str]:
    """Every fault of every journal, a line each: chains, contexts, the process table, and what was signed of them."""
    faults: list[str] = []
    listed = {status.pid for status in await journal.store.statuses()}
    for pid in sorted({*listed, *await journal.store.pids()}):
        faults += [f"process {pid}: {fault}" for fault in await _faults(pid, journal)]
    if witness is not None:
        try:
            faults += [fault for head in await witness.heads() for fault in await _signed(head, journal)]
        except JournalBroken as error:
            faults.append(str(error))
    return faults


async def _signed(head: Head, journal: Journal) -> list[str]:
    """Whether the row that a witness signed as the last is still there."""
    rows = await journal.store.records(head.pid, head.seq - 1, head.seq)
    if rows and rows[0].hash == head.hash:
        return []
    what = "is not the one that was signed" if rows else "was signed and is gone"
    return [f"process {head.pid}: row {head.seq} {what}: the journal was cut or rewritten"]


async def _faults(pid: str, journal: Journal) -> list[str]:
    try:
        status, records = await journal.stand(pid)
        contents = await journal.contents(records)
        found = broken(records, contents, status, journal.key)
        pruned = any(record.kind == "prune" for record in records)
        found = found or ([] if pruned else await _contexts(records, journal))
        folded = None if found else fold(records).status()
    except (JournalBroken, BadInput, KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"a row is not of its form: {error}"]
    return found if found or folded == status else ["the process table differs from the fold of the journal"]


async def _contexts(records: Sequence[Record], journal: Journal) -> list[str]:
    """Follow every context that a row names down to its beginning, and every source that a checkpoint names."""
    faults, seen = [], {EMPTY}
    for record in records:
        head = record.body.get("context", EMPTY)
        links: Mapping[str, bytes] = {}
        while head not in seen:
            links = await journal.store.contents([head])
            if head not in links or digest(links[head]) != head:
                faults.append(f"row {record.seq}: its context is missing or was changed")
                break
            seen.add(head)
            head, message = parts(links[head])
            texts = await journal.store.contents([message])
            if message not in texts or digest(texts[message]) != message:
                faults.append(f"row {record.seq}: a message of its context is missing or was changed")
    return faults
