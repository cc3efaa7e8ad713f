"""Reading journals: for `ps`, `log`, reports and audits. No program runs, and nothing is changed.

The kernel that writes may be another process: rows are read as they stand.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernos.kernel import check
from kernos.kernel.errors import NotFound
from kernos.kernel.journal import Journal, expand
from kernos.kernel.ports import Store
from kernos.kernel.types import Record, Status


class Ledger:
    """The journals of one store; see `ports.Ledger`."""

    def __init__(self, store: Store) -> None:
        self._journal = Journal(store)

    async def statuses(self) -> Sequence[Status]:
        """Every process, oldest first."""
        return sorted(await self._journal.statuses(), key=lambda status: (status.born, status.pid))

    async def find(self, prefix: str) -> Status:
        """The process whose pid begins so. Raises NotFound for none, or more than one."""
        known = await self.statuses()
        found = [status for status in known if status.pid.startswith(prefix)]
        if len(found) != 1:
            what = f"{len(found)} processes: {', '.join(status.pid for status in found[:5])}" if found else repr(prefix)
            raise NotFound("pid", what, "the beginning of one pid (kernos ps)")
        return found[0]

    async def records(self, pid: str, after: int = -1) -> Sequence[Record]:
        """A process's rows after a sequence number, with their contents."""
        records, contents = await self._journal.raw(pid)
        return [expand(record, contents) for record in records if record.seq > after]

    async def verify(self) -> Sequence[str]:
        """Every fault in every journal (I7), a line each."""
        return await check.audit(self._journal)

    async def close(self) -> None:
        await self._journal.close()
