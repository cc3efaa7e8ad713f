"""A process brought back from its journal (I3, I6).

`recover` folds the rows and lines up the calls that they hold; the program is then run again from its beginning, and
trap answers each call from this past, so that no model is asked and no tool called twice. `due` is the reply that a
kernel which lived on had for the open call when its row could not be written.
"""

from __future__ import annotations

from collections.abc import Mapping

from kernos.kernel.errors import BadInput
from kernos.kernel.grants import Station
from kernos.kernel.journal import Journal
from kernos.kernel.ports import Clock
from kernos.kernel.process import Due, PastCall, Process, Watcher
from kernos.kernel.types import Record


async def recover(
    pid: str, stations: Mapping[str, Station], journal: Journal, clock: Clock, tell: Watcher, due: Due | None
) -> Process:
    """The process as its journal has it. Raises JournalBroken, or BadInput when its employee is no longer there."""
    records, contents = await journal.read(pid)
    employee = records[0].body["employee"]
    if employee not in stations:
        raise BadInput(f"process {pid}", f"an employee {employee} that this folder no longer has", "one of its agents")
    process = Process(pid, stations[employee], journal, clock, tell)
    rows = [process.restore(record, contents) for record in records]
    process.past.extend(_calls(rows))
    last = process.past[-1] if process.past else None
    if due is not None and last is not None and last.outcome is None and last.intent.seq == due.seq:
        process.due = due
    return process


def _calls(rows: list[Record]) -> list[PastCall]:
    """The calls that expanded rows hold, in order; only the last can be without an outcome."""
    calls: list[PastCall] = []
    for row in rows:
        match row.kind:
            case "intent":
                calls.append(PastCall(row))
            case "answer":
                calls[-1] = PastCall(calls[-1].intent, row)
            case "outcome":
                calls[-1] = PastCall(calls[-1].intent, calls[-1].answer, row)
    return calls
