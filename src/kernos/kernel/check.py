"""The kernel checks itself (I7): live state against a fresh fold of the journal, and every chain against its hashes.

`drift` runs when a process goes idle and in every test; `audit` is `kernos audit verify`; neither changes anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kernos.kernel.context import EMPTY, parts
from kernos.kernel.errors import BadInput, JournalBroken
from kernos.kernel.journal import Journal, broken
from kernos.kernel.process import Process
from kernos.kernel.state import fold
from kernos.kernel.types import Record, Status, digest


async def drift(process: Process, journal: Journal) -> list[str]:
    """Where a live process differs from its journal; nothing if it does not."""
    records, _ = await journal.raw(process.pid)
    folded = fold(list(records))
    return [] if folded == process.state else [f"process {process.pid}: live {process.state} but folded {folded}"]


async def audit(journal: Journal) -> list[str]:
    """Every fault of every journal, a line each, contexts and the process table included."""
    faults: list[str] = []
    statuses = {status.pid: status for status in await journal.statuses()}
    for pid in sorted({*statuses, *await journal.pids()}):
        found = await _faults(pid, journal, statuses.get(pid))
        faults += [f"process {pid}: {fault}" for fault in found]
    return faults


async def _faults(pid: str, journal: Journal, status: Status | None) -> list[str]:
    try:
        records, contents = await journal.raw(pid)
        found = broken(records, contents, status) or await _contexts(records, journal)
        folded = None if found else fold(list(records)).status()
    except (JournalBroken, BadInput, KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"a row is not of its form: {error}"]
    return found if found or folded == status else ["the process table differs from the fold of the journal"]


async def _contexts(records: Sequence[Record], journal: Journal) -> list[str]:
    """Follow every context that a row names down to its beginning."""
    faults, seen = [], {EMPTY}
    for record in records:
        head = record.body.get("context", EMPTY)
        links: Mapping[str, bytes] = {}
        while head not in seen:
            links = await journal.contents([head])
            if head not in links or digest(links[head]) != head:
                faults.append(f"row {record.seq}: its context is missing or was changed")
                break
            seen.add(head)
            head, message = parts(links[head])
            texts = await journal.contents([message])
            if message not in texts or digest(texts[message]) != message:
                faults.append(f"row {record.seq}: a message of its context is missing or was changed")
    return faults
