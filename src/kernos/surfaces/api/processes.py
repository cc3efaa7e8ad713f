"""Processes through the API: begin one, see it, talk to it, steer it, end it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from kernos.kernel.errors import Forbidden
from kernos.kernel.office import Question
from kernos.kernel.types import Record, Signal, Status
from kernos.surfaces.api.operation import Call, Form
from kernos.surfaces.api.rights import find, steered
from kernos.surfaces.http import may_speak, sees


class Begin(Form):
    """A process to begin: of which employee, and the first message to it."""

    employee: str
    text: str = ""


class Words(Form):
    """The owner's words to a process."""

    text: Annotated[str, Field(min_length=1)]


class Steer(Form):
    """What is done to a process; `priority` is for nice: the lower, the sooner."""

    signal: Signal
    priority: Annotated[int, Field(ge=-20, le=19)] = 0


class After(Form):
    """Rows after this one; -1: all."""

    after: Annotated[int, Field(ge=-1, lt=2**63)] = -1


@dataclass(frozen=True)
class Shown:
    """A process, and what it asks a person now."""

    process: Status
    question: Question | None


async def listed(call: Call) -> Sequence[Status]:
    """List the processes that are yours; an operator's key lists all."""
    return [status for status in await call.office.ledger.statuses() if sees(call.caller, status)]


async def begun(call: Call) -> Status:
    """Begin a process for the owner of the key."""
    form, caller = call.body, call.caller
    assert isinstance(form, Begin)
    if caller.pid or form.employee != (caller.employee or form.employee):
        right = f"processes of {caller.employee} only" if caller.employee else f"the process {caller.pid}, and no other"
        raise Forbidden(f"the key {caller.key} is for {right}")
    if form.text and not may_speak(caller):
        raise Forbidden(f"the key {caller.key} is an agent's: its words are not its owner's (kernos key add --speaks)")
    pid = await call.office.kernel.spawn(form.employee, caller.owner, form.text)
    return await call.office.ledger.find(pid)


async def shown(call: Call) -> Shown:
    """Show one process and what it asks. The beginning of a pid is enough."""
    status = await find(call)
    return Shown(status, await call.office.kernel.question(status.pid))


async def told(call: Call) -> Status:
    """Send a process a message, as the words of its owner."""
    assert isinstance(call.body, Words)
    status = await find(call)
    if not may_speak(call.caller) or status.owner != call.caller.owner:
        raise Forbidden(f"the key {call.caller.key} does not speak for {status.owner}")
    await call.office.kernel.deliver(status.pid, call.body.text)
    return status


async def signalled(call: Call) -> Status:
    """Pause, resume or kill a process, or give it another priority."""
    assert isinstance(call.body, Steer)
    status = await steered(call)
    await call.office.kernel.signal(status.pid, call.body.signal, call.caller.owner, call.body.priority)
    return status


async def killed(call: Call) -> Status:
    """End a process and its children, for good."""
    status = await steered(call)
    await call.office.kernel.signal(status.pid, "kill", call.caller.owner)
    return status


async def journal(call: Call) -> Sequence[Record]:
    """The rows of a process's journal, with their contents."""
    assert isinstance(call.query, After)
    status = await find(call)
    return await call.office.ledger.records(status.pid, call.query.after)
