"""What is read: queries, and the kernel's values made of the rows that they find."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Row, Select, case, func, select, union_all

from kernos.drivers.store.schema import journal, memories, notes, processes, spent
from kernos.kernel.ports import Memory, Spent
from kernos.kernel.types import Note, Record, RecordKind, Status

Query = Select[Any]

_HASH = processes.c.keys().index("hash")


def records(pid: str, after: int, last: int | None, kind: RecordKind | None) -> Query:
    query = select(journal).where(journal.c.pid == pid, journal.c.seq > after).order_by(journal.c.seq)
    if last is not None:
        query = query.where(journal.c.seq <= last)
    return query if kind is None else query.where(journal.c.kind == kind)


def waiting(pid: str) -> Query:
    columns = [column for column in notes.c if column.name != "n"]
    return select(*columns).where(notes.c.pid == pid).order_by(notes.c.n)


def due(now: float, root: str, most: int) -> Query:
    """Who should have a turn. A turn came when the sleep ended, when the last row was written, or with the note."""
    since = case((processes.c.wake > processes.c.at, processes.c.wake), else_=processes.c.at)
    woken = select(processes.c.pid, since.label("came")).where(processes.c.wake <= now)
    noted = select(notes.c.pid, notes.c.at).join(processes, processes.c.pid == notes.c.pid)
    if root:
        woken, noted = (query.where(processes.c.root == root) for query in (woken, noted))
    turns = union_all(woken, noted).subquery()
    return select(turns.c.pid).group_by(turns.c.pid).order_by(func.min(turns.c.came), turns.c.pid).limit(most)


def next_wake(now: float, root: str) -> Query:
    query = select(func.min(processes.c.wake)).where(processes.c.wake > now)
    return query.where(processes.c.root == root) if root else query


def statuses(pid: str | None = None) -> Query:
    query = select(*(column for column in processes.c if column.name != "epoch"))
    if pid is not None:
        return query.where(processes.c.pid == pid)
    return query.order_by(processes.c.born, processes.c.pid)


def tree(root: str) -> Query:
    used = [processes.c[name] for name in ("calls", "tokens", "money", "seconds")]
    sums = [func.coalesce(func.sum(column), 0).label(column.name) for column in used]
    return select(*sums).where(processes.c.root == root)


def used(owner: str, day: int) -> Query:
    return select(spent).where(spent.c.owner == owner, spent.c.day == day)


def memory(space: str, key: str) -> Query:
    return select(memories).where(memories.c.space == space, memories.c.key == key)


def as_record(row: Row[Any]) -> Record:
    body = dict(json.loads(row.body))
    return Record(row.pid, row.seq, row.kind, body, row.at, row.previous.hex(), row.hash.hex())


def as_note(row: Row[Any]) -> Note:
    return Note(row.id, row.pid, row.kind, dict(json.loads(row.body)), row.at)


def as_status(row: Row[Any]) -> Status:
    # The columns stand in the order of the fields; going by their names takes twice as long.
    fields: list[Any] = list(row)
    fields[_HASH] = row.hash.hex()
    return Status(*fields)


def as_memory(row: Row[Any]) -> Memory:
    return Memory(**row._asdict())


def as_spent(row: Row[Any]) -> Spent:
    return Spent(**row._asdict())


def as_sum(row: Row[Any]) -> Spent:
    return Spent("", 0, int(row.calls), int(row.tokens), row.money, row.seconds)
