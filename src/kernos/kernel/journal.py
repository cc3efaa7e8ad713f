"""The journal: append-only, hash-chained rows, one chain a process. I2, I7.

Entry points, in the order they are called: `seal` makes a row, `Journal.commit` makes rows durable,
`Journal.read` gets them back with their contents, `broken` says what does not hold.

A row's body is small. What may be large or must be prunable (messages, arguments, results) is kept apart, once, by
the SHA-256 of its bytes; `body["contents"]` maps a name to that hash. So a journal grows by what is new.
Hashes of rows are keyed (HMAC-SHA256, RFC 2104): without the key nobody can make a chain that holds. A fork's first row
follows a row of another process; that one's rows up to there are its own past. Only `Journal.commit` changes durable
state.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from kernos.kernel.errors import JournalBroken, NotFound
from kernos.kernel.ports import Commit, Store
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


def row_hash(record: Record, key: bytes) -> str:
    """HMAC-SHA256 over everything in a row but its own hash."""
    return _hash(record.pid, record.seq, record.kind, record.body, record.at, record.previous, key)


def _hash(
    pid: str, seq: int, kind: RecordKind, body: Mapping[str, Json], at: float, previous: str, key: bytes
) -> str:  # fmt: skip
    return hmac.digest(key, canonical([pid, seq, kind, body, at, previous]), "sha256").hex()


def seal(pid: str, seq: int, previous: str, at: float, entry: Entry, key: bytes) -> tuple[Record, dict[str, bytes]]:
    """Make the row that follows `previous`, and the contents to store with it."""
    contents = {name: canonical(value) for name, value in entry.contents.items()}
    body = dict(entry.body)
    if contents:
        body["contents"] = {name: digest(content) for name, content in contents.items()}
    moment = float(at) + 0.0  # a database returns 5 as 5.0 and -0.0 as 0.0, and the hash must not change
    own = _hash(pid, seq, entry.kind, body, moment, previous, key)
    stored = {body["contents"][name]: content for name, content in contents.items()} | dict(entry.chained)
    return Record(pid, seq, entry.kind, body, moment, previous, own), stored


def refers(record: Record) -> dict[str, str]:
    """The contents of a row: name to hash."""
    return dict(record.body.get("contents", {}))


def expand(record: Record, contents: Mapping[str, bytes]) -> Record:
    """The row with its contents in its body, for people; its hash is of the row as stored."""
    body = {name: value for name, value in record.body.items() if name != "contents"}
    body |= {name: json.loads(contents[key]) for name, key in refers(record).items() if key in contents}
    return Record(record.pid, record.seq, record.kind, body, record.at, record.previous, record.hash)


def broken(
    records: Sequence[Record], contents: Mapping[str, bytes], status: Status | None, key: bytes, whole: bool = True
) -> list[str]:
    """What does not hold in one process's chain, a line each; nothing if it is whole (I7).

    Args:
        records: from the first row, or if not `whole` from some later one, to the last.
        contents: what the rows refer to; not looked at after a prune.
        status: the process table's entry.
        key: the key of the chain.
        whole: whether these rows should begin with the first.
    """
    if not records:
        return ["the journal is empty"]
    pruned = any(record.kind == "prune" for record in records)
    return [
        *_rows(records, key),
        *_order(records, whole),
        *([] if pruned else _contents(records, contents)),
        *_head(records, status),
    ]


def _rows(records: Sequence[Record], key: bytes) -> Iterable[str]:
    changed = [record.seq for record in records if row_hash(record, key) != record.hash]
    if len(changed) == len(records) > 1:
        yield "no row fits the key: the chain was rewritten, or this is not the key that it was written with"
    else:
        yield from (f"row {seq}: changed after it was written" for seq in changed)


def _order(records: Sequence[Record], whole: bool) -> Iterable[str]:
    if whole and (records[0].seq != 0 or records[0].previous != GENESIS):
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
    """The rows of all processes, over one store, under one key."""

    def __init__(self, store: Store, key: bytes = b"") -> None:
        self.store = store
        self.key = key

    async def commit(self, commit: Commit) -> None:
        """Make rows durable with all that belongs to them, or nothing of it."""
        await self.store.commit(commit)

    async def status(self, pid: str) -> Status:
        """A process's entry in the process table. Raises NotFound."""
        status = await self.store.status(pid)
        if status is None:
            raise _unknown(pid)
        return status

    async def read(self, pid: str, whole: bool = True) -> tuple[Sequence[Record], Mapping[str, bytes]]:
        """A process's rows as stored, all or from its last checkpoint on, and the contents that they name.

        Raises NotFound, or JournalBroken if they do not hold.
        """
        start = 0
        if not whole:
            marks = await self.rows(pid, kind="checkpoint")
            start = marks[-1].seq if marks else 0
        status, records = await self.stand(pid, after=start - 1)
        if status is None:
            raise _unknown(pid)
        contents = await self.contents(records)
        if faults := broken(records, contents, status, self.key, whole or not start):
            raise JournalBroken(f"process {pid}: {faults[0]}")
        return records, contents

    async def stand(self, pid: str, after: int = -1) -> tuple[Status | None, list[Record]]:
        """A process's entry in the process table, and the rows that belong to it, unchecked: of one that is written
        meanwhile those that were there when the entry was read."""
        status = await self.store.status(pid)
        rows = await self.rows(pid, after)
        if status is not None and rows and rows[-1].seq > status.seq:
            later = await self.store.status(pid)
            if later is not None and later.seq > status.seq:
                rows = [row for row in rows if row.seq <= status.seq]
        return status, rows

    async def rows(self, pid: str, after: int = -1, kind: RecordKind | None = None) -> list[Record]:
        """A process's rows unchecked; of a fork also those that it shares."""
        found: list[Record] = []
        for name, last in await self._lineage(pid):
            found += await self.store.records(name, after, last, kind)
        return found

    async def _lineage(self, pid: str) -> list[tuple[str, int | None]]:
        """The processes whose rows make up this one's journal, the oldest first, each with its last shared row."""
        parts: list[tuple[str, int | None]] = []
        last: int | None = None
        while pid not in (name for name, _ in parts):  # a table that was tampered with may lead in a circle
            parts.insert(0, (pid, last))
            status = await self.store.status(pid)
            pid, _, seq = (status.origin if status else "").rpartition(":")
            if not pid or not seq.isdigit():
                break
            last = int(seq) if last is None else min(last, int(seq))
        return parts

    async def contents(self, records: Sequence[Record]) -> Mapping[str, bytes]:
        """The contents that rows name; what is not there is left out."""
        return await self.store.contents(sorted({key for record in records for key in refers(record).values()}))


def _unknown(pid: str) -> NotFound:
    return NotFound("pid", repr(pid), "a process (kernos ps)")
