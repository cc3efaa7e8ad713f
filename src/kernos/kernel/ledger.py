"""Reading journals: for `ps`, `log`, reports and audits. No program runs, and nothing is changed.

The kernel that writes may be another process: rows are read as they stand.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernos.kernel import check, desk, recovery, transfer
from kernos.kernel.errors import NotFound
from kernos.kernel.journal import Journal, expand
from kernos.kernel.office import Question
from kernos.kernel.ports import Witness
from kernos.kernel.types import Action, Message, Record, Status


class Ledger:
    """The journals of one store; see `office.Ledger`."""

    def __init__(self, journal: Journal, witness: Witness | None = None) -> None:
        self._journal = journal
        self._witness = witness

    async def statuses(self) -> Sequence[Status]:
        """Every process, oldest first."""
        return await self._journal.store.statuses()

    async def find(self, prefix: str) -> Status:
        """The process whose pid begins so. Raises NotFound for none, or more than one."""
        if whole := await self._journal.store.status(prefix):
            return whole
        known = await self.statuses()
        found = [status for status in known if status.pid.startswith(prefix)]
        if len(found) != 1:
            what = f"{len(found)} processes: {', '.join(status.pid for status in found[:5])}" if found else repr(prefix)
            raise NotFound("pid", what, "the beginning of one pid (kernos ps)")
        return found[0]

    async def records(self, pid: str, after: int = -1) -> Sequence[Record]:
        """A process's rows after a sequence number, with their contents; of a fork also those that it shares."""
        records = await self._journal.rows(pid, after)
        contents = await self._journal.contents(records)
        return [expand(record, contents) for record in records]

    async def context(self, pid: str, head: str) -> Sequence[Message]:
        """The messages of a model call (see `generated`), and what the model answered."""
        asked, answered = await self.generated(pid, head)
        messages, _ = await recovery.context(asked, self._journal)
        return *messages, Message("assistant", action=Action(**answered.body["action"]))

    async def generated(self, pid: str, head: str) -> tuple[Record, Record]:
        """The rows of a process's latest model call whose context's hash begins so, and of what the model answered.

        Raises NotFound if there is none.
        """
        rows = await self._journal.rows(pid)
        for place, row in reversed([*enumerate(rows)]):
            asked = row.kind == "intent" and row.body["call"] == "generate" and row.body["context"].startswith(head)
            outcome = next((later for later in rows[place:] if later.kind == "outcome"), None) if asked else None
            if outcome is not None and outcome.body["is"] == "generated":
                return row, expand(outcome, await self._journal.contents([outcome]))
        raise NotFound("context", repr(head), f"the beginning of the hash of a context of process {pid}")

    async def questions(self) -> Sequence[Question]:
        """Everything that people are asked, oldest process first."""
        asked = [await desk.question(self._journal, status) for status in await self.statuses()]
        return [question for question in asked if question is not None]

    async def export(self, pid: str) -> Sequence[str]:
        """A process's journal as lines of text (see `transfer`)."""
        return await transfer.export(self._journal, pid)

    async def verify(self) -> Sequence[str]:
        """Every fault in every journal (I7), a line each."""
        return await check.audit(self._journal, self._witness)

    async def close(self) -> None:
        await self._journal.store.close()
