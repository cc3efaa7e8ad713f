"""What is written: statements of SQL, and rows for them.

A transaction runs the statements of `KINDS` in their order, each with the rows of all commits that share it. `compiled`
makes the SQL once, when a store is opened: compiling and binding it anew is half the cost of a commit. `rows` takes a
commit apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Table, UpdateBase, bindparam, delete, literal_column, update

from kernos.drivers.store.database import Database
from kernos.drivers.store.schema import contents, journal, memories, notes, processes, spent
from kernos.kernel.ports import Commit
from kernos.kernel.types import Json, Note, Record, Status, canonical

Values: TypeAlias = Mapping[str, Json]
Rows: TypeAlias = Mapping[str, Sequence[Values]]
"""Rows by the kind of statement that they are for."""

KINDS: Mapping[str, tuple[str, ...]] = {
    "fence": ("pid",),
    "status": ("pid",),
    "process": (),
    "row": (),
    "content": ("hash",),
    "note": (),
    "taken": (),
    "memory": ("space", "key"),
    "spent": ("owner", "day"),
    "drop": ("hash",),
}
"""The kinds in the order in which they run, with the columns by which their rows are ordered: those that two workers
may want to write at once. With one order for all, none waits for one that waits for it."""

FENCED = ("fence", "status")
"""The kinds that change one row for each of theirs, or else a process was claimed since."""

_HASH = re.compile("[0-9a-f]{64}")


def compiled(database: Database) -> Mapping[str, str]:
    """The SQL of each kind, and of `claim`."""

    def insert(table: Table, *without: str) -> Any:
        return database.insert(table).values({c: bindparam(c.name) for c in table.c if c.name not in without}).inline()

    def upsert(table: Table, new: Callable[[ColumnElement[Any], ColumnElement[Any]], ColumnElement[Any]]) -> Any:
        made = insert(table)
        keys, others = table.primary_key.columns, [column for column in table.c if not column.primary_key]
        changed = {column.name: new(column, made.excluded[column.name]) for column in others}
        return made.on_conflict_do_update(index_elements=list(keys), set_=changed)

    of = processes.c.pid == bindparam("pid")
    held = (of, processes.c.epoch == bindparam("epoch"))
    # No process changes trees, and an index of what is written anew has to be written anew too.
    fields = [column for column in processes.c if column.name not in ("pid", "epoch", "root")]
    grown = update(processes).where(of).values(epoch=processes.c.epoch + literal_column("1"))
    made: Mapping[str, UpdateBase] = {
        "fence": update(processes).where(*held).values(why=processes.c.why),
        "status": update(processes).where(*held).values({column: bindparam(column.name) for column in fields}),
        "process": insert(processes),
        "row": insert(journal),
        "content": insert(contents).on_conflict_do_nothing(index_elements=[contents.c.hash]),
        "note": insert(notes, "n").on_conflict_do_nothing(index_elements=[notes.c.id]),
        "taken": delete(notes).where(notes.c.id == bindparam("id")),
        "memory": upsert(memories, lambda old, new: new),
        "spent": upsert(spent, lambda old, new: old + new),
        "drop": delete(contents).where(contents.c.hash == bindparam("hash")),
        "claim": grown.returning(processes.c.epoch),
    }
    return {kind: str(statement.compile(database.engine)) for kind, statement in made.items()}


def rows(commit: Commit) -> Rows:
    """The rows of a commit. Raises BadInput for a body that is not JSON."""
    epochs = commit.epochs
    told = {status.pid for status in commit.statuses}
    return {
        "fence": [{"pid": pid, "epoch": epoch} for pid, epoch in epochs.items() if pid not in told],
        "status": [_status(status, epochs[status.pid]) for status in commit.statuses if status.pid in epochs],
        "process": [_status(status, 0) for status in commit.statuses if status.pid not in epochs],
        "row": [_record(record) for record in commit.records],
        "content": [{"hash": bytes.fromhex(key), "content": content} for key, content in commit.contents.items()],
        "note": noted(commit.notes),
        "taken": [{"id": taken} for taken in commit.taken],
        "memory": [vars(memory) for memory in commit.memories],
        "spent": [vars(spent) for spent in commit.spent],
    }


def noted(notes: Sequence[Note]) -> list[Values]:
    return [vars(note) | {"body": canonical(note.body).decode()} for note in notes]


def hashed(hashes: Iterable[str]) -> list[bytes]:
    """Hashes as they are stored. A row that was tampered with may name anything; nothing is kept under such a name."""
    return [bytes.fromhex(key) for key in hashes if _HASH.fullmatch(key)]


def _record(record: Record) -> Values:
    hashes = {"previous": bytes.fromhex(record.previous), "hash": bytes.fromhex(record.hash)}
    return vars(record) | {"body": canonical(record.body).decode()} | hashes


def _status(status: Status, epoch: int) -> Values:
    return vars(status) | {"hash": bytes.fromhex(status.hash), "epoch": epoch}
