"""Who may see, steer and answer what. What a caller may not see does not exist for him: it is not found.

    find(call) -> Status                 the process in the path, if the caller may see it
    steered(call) -> Status              the same, if the caller may also steer it
    answers(caller, status, question)    whether the caller may answer

An agent's key, one for a process or an employee, reads and does no more: no process can steer itself past a person, put
words into its owner's mouth, or answer what its owner is asked.
"""

from __future__ import annotations

from kernos.kernel.errors import Forbidden
from kernos.kernel.office import Question
from kernos.kernel.ports import Caller
from kernos.kernel.types import Status
from kernos.surfaces.api.operation import Call
from kernos.surfaces.http import is_agent, process_of


async def find(call: Call) -> Status:
    """The process whose pid begins as the path says. Raises NotFound if the caller has no such one, or several."""
    return await process_of(call.office.ledger, call.caller, call.path["pid"])


async def steered(call: Call) -> Status:
    """The process in the path, for a caller who may do something to it."""
    status = await find(call)
    if is_agent(call.caller):
        raise Forbidden(f"the key {call.caller.key} is an agent's: it may look, and no more")
    return status


def answers(caller: Caller, status: Status, question: Question) -> bool:
    """Whether a caller may answer. What asks the owner is the owner's alone, though an operator may say what became of
    an effect in doubt; what asks the operator is for operators; what asks anybody else is for approvers too."""
    if is_agent(caller):
        return False
    if question.approver == "owner":
        doubts = question.kind == "doubt" and "operator" in caller.roles
        return status.owner == caller.owner or doubts
    may: set[str] = {"operator"} if question.approver == "operator" else {"operator", "approver"}
    return bool(may & caller.roles)
