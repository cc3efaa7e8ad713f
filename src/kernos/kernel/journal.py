"""The journal: append-only, hash-chained rows, one chain a process. I2, I7.

Entry points, in the order they are called: `seal` makes a row, `Journal.append` makes rows durable,
`Journal.read` gets them back with their contents, `broken` says what does not hold.

A row's body is small. What may be large or must be prunable (messages, arguments, results) is kept apart, once, by
the SHA-256 of its bytes; `body["contents"]` maps a name to that hash. So a journal grows by what is new.
Only `Journal.append` changes durable state.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from kernos.kernel.errors import JournalBroken
from kernos.kernel.ports import Store
from kernos.kernel.types import Json, Record, RecordKind, Status, canonical, digest

GENESIS = "0" * 64
"""What the first row of a chain names as the row before it."""


@dataclass(frozen=True)
class Entry:
    """A row to be: its kind, its small body, its contents by name, and contents that those refer to, by hash."""

    kind: RecordKind
    body: Mapping[str, Json]
    contents: Mapping[str, Json] = field(default_factory=dict)
    chained: Mapping[str, bytes] = field(default_factory=dict)


def row_hash(record: Record) -> str:
    """SHA-256 over everything in a row but its own hash."""
    return digest(canonical([record.pid, record.seq, record.kind, record.body, record.at, record.previous]))


def seal(pid: str, seq: int, previous: str, at: float, entry: Entry) -> tuple[Record, dict[str, bytes]]:
    """Make the row that follows `previous`, and the contents to store with it."""
    contents = {name: canonical(value) for name, value in entry.contents.items()}
    body = dict(entry.body)
    if contents:
        body["contents"] = {name: digest(content) for name, content in contents.items()}
    moment = float(at) + 0.0  # a database returns 5 as 5.0 and -0.0 as 0.0, and the hash must not change
    draft = Record(pid, seq, entry.kind, body, moment, previous, "")
    stored = {digest(content): content for content in contents.values()} | dict(entry.chained)
    return replace(draft, hash=row_hash(draft)), stored


def refers(record: Record) -> dict[str, str]:
    """The contents of a row: name to hash."""
    return dict(record.body.get("contents", {}))


def expand(record: Record, contents: Mapping[str, bytes]) -> Record:
    """The row with its contents in its body, for people; its hash is of the row as stored."""
    body = {name: value for name, value in record.body.items() if name != "contents"}
    body |= {name: json.loads(contents[key]) for name, key in refers(record).items() if key in contents}
    return replace(record, body=body)


def broken(records: Sequence[Record], contents: Mapping[str, bytes], status: Status | None) -> list[str]:
    """What does not hold in one process's chain, a line each; nothing if it is whole (I7)."""
    if not records:
        return ["the journal is empty"]
    return [*_rows(records), *_order(records), *_contents(records, contents), *_head(records, status)]


def _rows(records: Sequence[Record]) -> Iterable[str]:
    return (f"row {record.seq}: changed after it was written" for record in records if row_hash(record) != record.hash)


def _order(records: Sequence[Record]) -> Iterable[str]:
    if records[0].seq != 0 or records[0].previous != GENESIS:
        yield f"row {records[0].seq}: the chain does not begin here"
    for before, after in pairwise(records):
        if after.seq != before.seq + 1:
            yield f"row {after.seq}: follows row {before.seq}; rows between are missing or out of order"
        elif after.previous != before.hash:
            yield f"row {after.seq}: does not continue row {before.seq}"


def _contents(records: Sequence[Record], contents: Mapping[str, bytes]) -> Iterable[str]:
    for record in records:
        for name, key in refers(record).items():
            if key not in contents:
                yield f"row {record.seq}: its {name} is missing"
            elif digest(contents[key]) != key:
                yield f"row {record.seq}: its {name} was changed"


def _head(records: Sequence[Record], status: Status | None) -> Iterable[str]:
    last = records[-1]
    if status is None:
        yield "no entry in the process table"
    elif (status.seq, status.hash) != (last.seq, last.hash):
        yield f"row {last.seq}: the process table says that row {status.seq} is the last; rows were cut or added"


class Journal:
    """The rows of all processes, over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def append(self, records: Sequence[Record], contents: Mapping[str, bytes], status: Status) -> None:
        """Make rows durable with their contents and the process's new status, all or nothing."""
        await self._store.append(records, contents, status)

    async def read(self, pid: str) -> tuple[Sequence[Record], Mapping[str, bytes]]:
        """A process's rows as stored, and the contents that they name. Raises JournalBroken if they do not hold."""
        records, contents = await self.raw(pid)
        status = next((status for status in await self._store.statuses() if status.pid == pid), None)
        if faults := broken(records, contents, status):
            raise JournalBroken(f"process {pid}: {faults[0]}")
        return records, contents

    async def raw(self, pid: str) -> tuple[Sequence[Record], Mapping[str, bytes]]:
        """The same, unchecked: for an audit."""
        records = await self._store.records(pid)
        keys = {key for record in records for key in refers(record).values()}
        return records, await self._store.contents(sorted(keys))

    async def pids(self) -> Sequence[str]:
        """Every process that has a row."""
        return await self._store.pids()

    async def contents(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        """Stored bytes by their hash; what is not there is left out."""
        return await self._store.contents(hashes)

    async def statuses(self) -> Sequence[Status]:
        return await self._store.statuses()

    async def close(self) -> None:
        await self._store.close()
