"""A process brought back from its journal (I3, I6).

`recover` folds the rows from the last checkpoint on and lines up the calls that they hold; the program is then run
again from there, and trap answers each call from this past, so that no model is asked and no tool called twice. `due`
is the reply that a kernel which lived on had for the open call when its row could not be written. `replay` does the
same from the first row on and only compares.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from kernos.kernel.abi import MODEL_CALLS, Checkpoint, Reply, Request
from kernos.kernel.context import EMPTY, parts
from kernos.kernel.errors import AnswerLost, BadInput, JournalBroken, KernosError, LimitExceeded, ReplayDiverged
from kernos.kernel.foreign import named
from kernos.kernel.forms import brief, of_request, request_of, same, to_reply
from kernos.kernel.grants import Station
from kernos.kernel.journal import Journal
from kernos.kernel.labels import Sources
from kernos.kernel.ports import Clock
from kernos.kernel.process import Birth, Due, PastCall, Process
from kernos.kernel.types import Json, Message, Record, Snapshot, digest
from kernos.kernel.watching import Watcher

Stations = Mapping[str, Station]
Identities = Mapping[str, Collection[str]]
"""Of each owner the names, addresses and accounts that are his own."""


async def recover(
    pid: str, stations: Stations, journal: Journal, clock: Clock, tell: Watcher, due: Due | None,
    identities: Identities,
) -> Process:  # fmt: skip
    """The process as its journal has it. Raises JournalBroken, or BadInput when its employee is no longer there."""
    process, rows = await _process(pid, stations, journal, clock, tell, identities, whole=False)
    if rows[0].kind == "checkpoint":
        if not process.state.foreign:
            process.begin_anew(await _snapshot(process, rows[0], journal))
        rows = rows[1:]
    process.past.extend(_left(process, rows) if process.state.foreign else calls(rows))
    last = process.past[-1] if process.past else None
    if due is not None and last is not None and last.outcome is None and last.intent.seq == due.seq:
        process.due = due
    return process


def newborn(
    birth: Birth, station: Station, journal: Journal, clock: Clock, tell: Watcher, identities: Identities
) -> Process:  # fmt: skip
    """A process that was just born here: what its journal has is known, and nobody has claimed it yet."""
    sources = Sources(identities.get(birth.status.owner, ()))
    process = Process(birth.status.pid, station, journal, clock, tell, sources)
    process.restore(birth.records, birth.contents)
    return process


def _left(process: Process, rows: Sequence[Record]) -> list[PastCall]:
    """The open call of a foreign agent, if there is one, with its request: nobody makes it again. Nobody waits for a
    model's answer any more."""
    last = next((row for row in reversed(rows) if row.kind in ("intent", "limit")), None)
    if process.state.why == "agent" or last is None:
        return []
    asked = last.body if last.kind == "intent" else last.body["asked"]
    if asked["call"] not in MODEL_CALLS:
        process.request = request_of(asked)
    return [call for call in calls(rows)[-1:] if call.outcome is None]


async def replay(pid: str, stations: Stations, journal: Journal, clock: Clock) -> int:
    """Run the program against its whole journal, touching nothing: how many calls are the same. The program of a
    foreign agent is not here: of that the calls are only counted.

    Raises ReplayDiverged for the first that is not.
    """
    process, rows = await _process(pid, stations, journal, clock, lambda event: None, {}, whole=True)
    if process.state.foreign:
        return sum(call.intent.kind != "checkpoint" for call in calls(rows))
    process.past.extend(calls(rows))
    compared = 0
    try:
        running = process.step(None)
        while running and process.past:
            assert process.request is not None
            call = again(process, process.request)
            compared += 1
            if isinstance(process.request, Checkpoint):
                process.begin_anew(await _snapshot(process, call.intent, journal))
                running = process.step(None)
            elif call.outcome is None:
                break
            else:
                running = process.step(_seen(call))
    except ReplayDiverged:
        raise
    except (Exception, SystemExit) as error:  # the program's own end; if calls are left, they were not made again
        if process.past:
            row = process.past[0].intent
            raise ReplayDiverged(pid, row.seq, brief(row.body), f"{type(error).__name__}: {error}") from None
    finally:
        process.close()
    return compared


def again(process: Process, request: Request) -> PastCall:
    """Take the next recorded call, which this request makes again. Raises ReplayDiverged if it does not (I6)."""
    past = process.past[0]
    form = of_request(request, process.known)
    if not same(form, past.intent):
        recorded = {name: value for name, value in past.intent.body.items() if name != "verdict"}
        raise ReplayDiverged(process.pid, past.intent.seq, brief(recorded), brief({**form.body, **form.contents}))
    return process.past.popleft()


def settled(call: PastCall) -> Reply:
    """What came of a recorded call. Raises LimitExceeded if it was not made for want of budget, and
    what `to_reply` raises."""
    assert call.outcome is not None
    if call.outcome.kind == "limit":
        body = call.outcome.body
        raise LimitExceeded(body["limit"], body["used"], body["allowed"])
    return to_reply(call.outcome)


def _seen(call: PastCall) -> Reply | KernosError:
    try:
        return settled(call)
    except (LimitExceeded, BadInput, AnswerLost) as error:
        return error


async def _process(
    pid: str, stations: Stations, journal: Journal, clock: Clock, tell: Watcher, identities: Identities, whole: bool
) -> tuple[Process, list[Record]]:
    records, contents = await journal.read(pid, whole)
    status = await journal.status(pid)
    employee = status.employee
    if employee not in stations:
        raise BadInput(f"process {pid}", f"an employee {employee} that this folder no longer has", "one of its agents")
    sources = Sources(identities.get(status.owner, ()))
    process = Process(pid, stations[employee], journal, clock, tell, sources)
    if any(record.kind == "prune" for record in records):
        raise BadInput(f"process {pid}", "a journal whose contents were pruned", "one that still has them")
    if records[0].kind == "checkpoint":  # what was said last has to be learnt last
        await _sources(process, records[0].seq, journal)
    return process, process.restore(records, {**contents, **await _messages(pid, records, journal)})


async def _messages(pid: str, records: Sequence[Record], journal: Journal) -> Mapping[str, bytes]:
    """The messages of a foreign agent that rows speak of."""
    wanted = sorted({key for record in records for key in named(record.body)})
    found = await journal.store.contents(wanted) if wanted else {}
    if any(digest(found.get(key, b"")) != key for key in wanted):
        raise JournalBroken(f"process {pid}: a message is missing or was changed")
    return found


async def _sources(process: Process, seq: int, journal: Journal) -> None:
    """Bring back the sources that checkpoints up to this row refer to."""
    marks = [mark for mark in await journal.rows(process.pid, kind="checkpoint") if mark.seq <= seq]
    references: list[Json] = [reference for mark in marks for reference in mark.body["sources"]]
    contents = await journal.store.contents(sorted({key for reference in references for key in reference[3].values()}))
    for reference in references:
        process.relearn(reference, contents)


async def _snapshot(process: Process, row: Record, journal: Journal) -> Snapshot:
    """What a checkpoint kept for the program."""
    messages, heads = await context(row, journal)
    process.known.update(heads)
    return Snapshot(row.body["state"], messages)


async def context(row: Record, journal: Journal) -> tuple[tuple[Message, ...], Sequence[str]]:
    """The messages of the context that a row names, followed down their chain to the first, and the hashes on the
    way."""
    heads, keys = list[str](), list[str]()
    head = row.body["context"]
    while head != EMPTY:
        heads.append(head)
        link = (await journal.store.contents([head])).get(head, b"")
        if digest(link) != head:
            raise JournalBroken(f"process {row.pid}: row {row.seq}: its context is missing or was changed")
        head, key = parts(link)
        keys.append(key)
    found = await journal.store.contents(sorted(set(keys)))
    if any(digest(found.get(key, b"")) != key for key in keys):
        raise JournalBroken(f"process {row.pid}: row {row.seq}: a message is missing or was changed")
    return tuple(Message.from_json(json.loads(found[key])) for key in reversed(keys)), heads


def calls(rows: Iterable[Record]) -> list[PastCall]:
    """The calls that expanded rows hold, in order; only the last can be without an outcome."""
    found: list[PastCall] = []
    for row in rows:
        match row.kind:
            case "intent":
                begun = row.body["call"] == "invoke" and row.body["verdict"]["is"] == "allow"
                found.append(PastCall(row, begun, row.at))
            case "checkpoint":
                found.append(PastCall(row, outcome=row))
            case "limit" if row.body.get("hard"):
                found.append(PastCall(replace(row, body=row.body["asked"]), outcome=row))
            case "begin" | "doubt" | "answer" | "late" | "outcome" if found and _about(found[-1], row):
                found[-1] = followed(found[-1], row)
    return found


def _about(call: PastCall, row: Record) -> bool:
    """Whether a row that comes after a call is about it."""
    return call.outcome is None and (row.kind != "late" or row.body["call"] == call.intent.seq)


def followed(call: PastCall, row: Record) -> PastCall:
    """A call and one more row that is about it."""
    match row.kind:
        case "begin":
            return replace(call, begun=True, at=row.at, doubt=None)
        case "doubt":
            return replace(call, begun=False, doubt=row, answer=None)
        case "answer":
            return replace(call, answer=row)
        case "late":
            return replace(call, late=(*call.late, row))
        case "outcome":
            return replace(call, outcome=row)
    return call


def attach(process: Process, row: Record) -> None:
    """Put a row that came from outside to the call that it is about."""
    if process.open is not None and _about(process.open, row):
        process.open = followed(process.open, row)
    elif process.past and _about(process.past[-1], row):
        process.past[-1] = followed(process.past[-1], row)
