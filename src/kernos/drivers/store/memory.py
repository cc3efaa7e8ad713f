"""The store in memory: for tests and dry runs. It keeps every promise of a store but durability.

Entry point: `MemoryStore()`. `close` keeps the rows, so that a test can start a second kernel on them, or several
kernels at once: claims hold here too. Bodies go through canonical JSON like anywhere else: what cannot be stored fails
here too, tuples come back as lists, and a caller that changes a body later does not change history.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from kernos.kernel.errors import Fenced, NotFound, StoreError, Unsupported
from kernos.kernel.ports import Commit, Due, Memory, Spent
from kernos.kernel.types import Note, Record, RecordKind, Status, canonical

Bodied = TypeVar("Bodied", Record, Note)


class MemoryStore:
    """Rows by process and sequence number, contents by hash, one status and one epoch a process."""

    def __init__(self) -> None:
        self._rows: defaultdict[str, dict[int, Record]] = defaultdict(dict)
        self._contents: dict[str, bytes] = {}
        self._statuses: dict[str, Status] = {}
        self._epochs: dict[str, int] = {}
        self._notes: dict[str, Note] = {}
        self._memories: dict[tuple[str, str], Memory] = {}
        self._spent: dict[tuple[str, int], Spent] = {}

    async def commit(self, commit: Commit) -> None:
        records, notes = [_kept(record) for record in commit.records], [_kept(note) for note in commit.notes]
        self._check(commit)
        for status in commit.statuses:
            self._statuses[status.pid] = status
            self._epochs.setdefault(status.pid, 0)
        for record in records:
            self._rows[record.pid][record.seq] = record
        for key, content in commit.contents.items():
            self._contents.setdefault(key, content)
        self._put(notes)
        for taken in commit.taken:
            self._notes.pop(taken, None)
        for memory in commit.memories:
            self._memories[memory.space, memory.key] = memory
        for spent in commit.spent:
            self._spent[spent.owner, spent.day] = _sum(spent.owner, spent.day, [self._of(spent), spent])

    async def claim(self, pid: str) -> int:
        if pid not in self._epochs:
            raise NotFound("pid", repr(pid), "a process of this store")
        self._epochs[pid] += 1
        return self._epochs[pid]

    async def post(self, notes: Sequence[Note]) -> None:
        self._put([_kept(note) for note in notes])

    async def notes(self, pid: str) -> Sequence[Note]:
        return [note for note in self._notes.values() if note.pid == pid]

    async def due(self, now: float, root: str = "", most: int = 1_000) -> Due:
        tree = {pid: status for pid, status in self._statuses.items() if root in ("", status.root)}
        sleepers = {pid: status.wake for pid, status in tree.items() if status.wake is not None}
        came = {pid: max(wake, tree[pid].at) for pid, wake in sleepers.items() if wake <= now}
        for note in self._notes.values():
            if note.pid in tree:
                came[note.pid] = min(note.at, came.get(note.pid, note.at))
        pids = sorted(came, key=lambda pid: (came[pid], pid))[:most]
        return Due(pids, min((wake for wake in sleepers.values() if wake > now), default=None))

    async def pids(self) -> Sequence[str]:
        return sorted(self._rows)

    async def records(
        self, pid: str, after: int = -1, last: int | None = None, kind: RecordKind | None = None
    ) -> Sequence[Record]:
        rows = sorted(self._rows.get(pid, {}).items())
        wanted = (row for seq, row in rows if seq > after and (last is None or seq <= last))
        return [row for row in wanted if kind in (None, row.kind)]

    async def contents(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        return {key: self._contents[key] for key in hashes if key in self._contents}

    async def status(self, pid: str) -> Status | None:
        return self._statuses.get(pid)

    async def statuses(self) -> Sequence[Status]:
        return sorted(self._statuses.values(), key=lambda status: (status.born, status.pid))

    async def tree(self, root: str) -> Spent:
        return _sum("", 0, [status for status in self._statuses.values() if status.root == root])

    async def spent(self, owner: str, day: int) -> Spent:
        return self._of(Spent(owner, day))

    async def memory(self, space: str, key: str) -> Memory | None:
        return self._memories.get((space, key))

    async def drop(self, hashes: Sequence[str]) -> None:
        for key in hashes:
            self._contents.pop(key, None)

    async def close(self) -> None:
        """Nothing to release."""

    def _check(self, commit: Commit) -> None:
        if commit.writes:
            raise Unsupported("a tool cannot join the journal's transaction in memory: there is no database")
        for pid, epoch in commit.epochs.items():
            if self._epochs.get(pid) != epoch:
                raise Fenced(f"process {pid}: another worker has taken it over")
        there = set(self._statuses)
        for status in commit.statuses:
            if status.pid in there and status.pid not in commit.epochs:
                raise StoreError(f"process {status.pid} is already there")
            there.add(status.pid)
        fresh: set[tuple[str, int]] = set()
        for record in commit.records:
            if (record.pid, record.seq) in fresh or record.seq in self._rows.get(record.pid, {}):
                raise StoreError(f"process {record.pid}: row {record.seq} is already there")
            fresh.add((record.pid, record.seq))

    def _put(self, notes: Iterable[Note]) -> None:
        for note in notes:
            self._notes.setdefault(note.id, note)

    def _of(self, spent: Spent) -> Spent:
        return self._spent.get((spent.owner, spent.day), Spent(spent.owner, spent.day))


def _kept(item: Bodied) -> Bodied:
    return replace(item, body=json.loads(canonical(item.body)))


def _sum(owner: str, day: int, parts: Sequence[Spent | Status]) -> Spent:
    return Spent(
        owner,
        day,
        sum(part.calls for part in parts),
        sum(part.tokens for part in parts),
        sum(part.money for part in parts),
        sum(part.seconds for part in parts),
    )
