"""MCP has calls, Kernos has processes: which process a client's call is one of, and what it has come to.

    status = await calls.process(caller, named)       the process; a new one at a key's first call
    done = await calls.make(status, request)          the call, or Pending if it waits for a person
    done = await calls.settled(done, request, 30.0)   wait for that

A client that was told that its call waits makes the same call again. That must not be a second effect, so before each
call the journal is asked whether the process's last one was this, waited for a person, and has not been told yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from weakref import WeakValueDictionary

from kernos.kernel.abi import Invoke, Reply
from kernos.kernel.errors import BadInput, Forbidden
from kernos.kernel.office import EmployeeCard, Office, Pending
from kernos.kernel.ports import Caller
from kernos.kernel.types import Label, Record, Status
from kernos.surfaces.http import process_of

LOOK_SECONDS = 0.5
"""How often it is looked whether another worker has gone on with a call."""
_PUT = ("answer", "limit", "doubt")
"""Rows that say of a call that a person had to decide on it."""


@dataclass(frozen=True)
class Done:
    """What a call has come to, and the label of its value, if it has one."""

    reply: Reply
    label: Label | None


class Calls:
    """The calls of all clients."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._own: dict[Caller, str] = {}
        """The process of each key that names none; the name of a key may be given to another."""
        self._birth = asyncio.Lock()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._heard: dict[str, int] = {}
        """Of each process the row up to which its client knows what happened."""

    async def employee(self, caller: Caller, named: str) -> EmployeeCard:
        """Whose tools a client has: `named` is the process that it asks for, if it does."""
        pid = caller.pid or named
        if pid:
            return self._foreign((await process_of(self._office.ledger, caller, pid)).employee)
        if not caller.employee:
            right = "a key of an employee or a process (kernos key add), or a pid in the header X-Kernos-Process"
            raise BadInput("key", f"{caller.key}, which is for neither an employee nor a process", right)
        return self._foreign(caller.employee)

    async def process(self, caller: Caller, named: str) -> Status:
        """The process that a client's calls are made in."""
        card, pid = await self.employee(caller, named), caller.pid or named
        if pid:
            found = await process_of(self._office.ledger, caller, pid)
            if found.owner != caller.owner:
                raise Forbidden(f"process {found.pid} works for {found.owner}: only that owner's agents act in it")
            return found
        async with self._birth:
            known = self._own.get(caller)
            status = await self._office.ledger.find(known) if known else None
            if status is None or status.phase == "exited":
                born = await self._office.kernel.spawn(card.slug, caller.owner, speaks=caller.speaks)
                self._own[caller] = born
                status = await self._office.ledger.find(born)
            return status

    def _foreign(self, slug: str) -> EmployeeCard:
        card = self._office.employees.get(slug)
        if card is None or not card.foreign:
            others = " or ".join(sorted(slug for slug, card in self._office.employees.items() if card.foreign))
            raise BadInput("employee", repr(slug), others or 'one with program = "foreign" (kernos.toml)')
        return card

    async def make(self, status: Status, request: Invoke) -> Done | Pending:
        """Make a call, or look at what has become of it if it was made before and waited."""
        async with self._turns.setdefault(status.pid, asyncio.Lock()):
            rows = await self._office.ledger.records(status.pid, self._heard.get(status.pid, -1))
            seq = _waited(rows, request)
            if seq is not None:
                reply = await self._office.kernel.outcome(status.pid, seq)
            else:
                self._heard[status.pid] = rows[-1].seq if rows else status.seq
                reply = await self._office.kernel.call(status.pid, request)
            return reply if isinstance(reply, Pending) else await self._told(status.pid, request, reply)

    async def settled(self, pending: Pending, request: Invoke, seconds: float) -> Done | Pending:
        """What a call has come to after at most so many seconds."""
        kernel, reply = self._office.kernel, await self._office.kernel.outcome(pending.pid, pending.seq)
        async with kernel.events(pending.pid) as events:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while isinstance(reply, Pending) and not self._office.closing.is_set():
                        with suppress(TimeoutError):
                            await asyncio.wait_for(events.get(), LOOK_SECONDS)
                        reply = await kernel.outcome(pending.pid, pending.seq)
        return reply if isinstance(reply, Pending) else await self._told(pending.pid, request, reply)

    async def _told(self, pid: str, request: Invoke, reply: Reply) -> Done:
        """The client hears what its call has come to."""
        rows = await self._office.ledger.records(pid, self._heard.get(pid, -1))
        made = max((row.seq for row in rows if _is(row, request)), default=-1)
        outcome = next((row for row in rows if row.kind == "outcome" and row.seq > made), None)
        self._heard[pid] = outcome.seq if outcome else self._heard.get(pid, -1)
        return Done(reply, Label.from_json(outcome.body["label"]) if outcome and "label" in outcome.body else None)


def _is(row: Record, request: Invoke) -> bool:
    """Whether a row is the intent of this very call."""
    body = row.body
    same = row.kind == "intent" and body["call"] == "invoke" and body["tool"] == request.tool
    return same and bool(body.get("arguments", {}) == dict(request.arguments))


def _waited(rows: Sequence[Record], request: Invoke) -> int | None:
    """The row of the last call, if it is this one and was put to a person."""
    last = next((row for row in reversed(rows) if row.kind == "intent"), None)
    if last is None or not _is(last, request):
        return None
    put = last.body["verdict"]["is"] == "ask" or any(row.kind in _PUT for row in rows if row.seq > last.seq)
    return last.seq if put else None
