"""The store in memory: for tests and dry runs. It keeps every promise of a store but durability.

Entry point: `MemoryStore()`. `close` keeps the rows, so that a test can start a second kernel on them.
Rows go through canonical JSON like anywhere else: what cannot be stored fails here too, tuples come back as lists,
and a caller that changes a body later does not change history.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kernos.kernel.errors import StoreError
from kernos.kernel.types import Record, Status, canonical


class MemoryStore:
    """Rows by process and sequence number, contents by hash, one status a process."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[int, Record]] = {}
        self._contents: dict[str, bytes] = {}
        self._statuses: dict[str, Status] = {}

    async def append(self, records: Sequence[Record], contents: Mapping[str, bytes], status: Status) -> None:
        fresh: dict[str, dict[int, Record]] = {}
        for record in records:
            rows = fresh.setdefault(record.pid, {})
            if record.seq in rows or record.seq in self._rows.get(record.pid, {}):
                raise StoreError(f"process {record.pid}: row {record.seq} is already there")
            rows[record.seq] = replace(record, body=json.loads(canonical(record.body)))
        for pid, rows in fresh.items():
            self._rows.setdefault(pid, {}).update(rows)
        for key, content in contents.items():
            self._contents.setdefault(key, content)
        self._statuses[status.pid] = status

    async def pids(self) -> Sequence[str]:
        return sorted(self._rows)

    async def records(self, pid: str) -> Sequence[Record]:
        return [record for _, record in sorted(self._rows.get(pid, {}).items())]

    async def contents(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        return {key: self._contents[key] for key in hashes if key in self._contents}

    async def statuses(self) -> Sequence[Status]:
        return sorted(self._statuses.values(), key=lambda status: (status.born, status.pid))

    async def close(self) -> None:
        """Nothing to release."""
