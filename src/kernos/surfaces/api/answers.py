"""What processes ask people, and the answers, through the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic.dataclasses import dataclass

from kernos.kernel.errors import BadInput, Forbidden, NotFound
from kernos.kernel.office import Answer, Question
from kernos.kernel.types import Json, Settlement, Status
from kernos.surfaces.api.operation import Call, Form
from kernos.surfaces.api.rights import answers
from kernos.surfaces.http import sees


class Said(Form):
    """An answer. `to` is the `seq` of the question that you saw, so that no other gets it. `chosen` are the calls on a
    card that are allowed, counted from 0 (none: all of them), `scope` is for how long; `text` answers a question in
    words; `settled` and `value` say what became of an effect in doubt."""

    approved: bool = True
    scope: Literal["once", "task", "always"] = "task"
    chosen: tuple[int, ...] | None = None
    text: str = ""
    settled: Settlement | None = None
    value: Json = None
    to: int | None = None


@dataclass(frozen=True)
class Card:
    """What a process asks, whose it is, and whether you may answer."""

    question: Question
    owner: str
    employee: str
    yours: bool


async def asked(call: Call) -> Sequence[Card]:
    """List what people are asked, of the processes that are yours, and all that your key may answer."""
    statuses = {status.pid: status for status in await call.office.ledger.statuses()}
    questions = await call.office.ledger.questions()
    cards = [_card(call, statuses[question.pid], question) for question in questions if question.pid in statuses]
    return [card for card in cards if card.yours or sees(call.caller, statuses[card.question.pid])]


def _card(call: Call, status: Status, question: Question) -> Card:
    return Card(question, status.owner, status.employee, answers(call.caller, status, question))


async def answered(call: Call) -> Status:
    """Answer what a process asks. What would be allowed always is for `kernos approve --always`, which shows the policy
    that it writes."""
    assert isinstance(call.body, Said)
    status, question = await _open(call)
    if not answers(call.caller, status, question):
        whom = status.owner if question.approver == "owner" else f"the {question.approver}"
        raise Forbidden(f"process {status.pid} asks {whom}: the key {call.caller.key} may not answer")
    if call.body.scope == "always":
        raise BadInput(
            "body: scope", "'always'", "once or task: kernos approve --always shows the policy and writes it"
        )
    seen = question.seq if call.body.to is None else call.body.to  # what may be answered, was asked of this one
    answer = Answer(call.caller.owner, **{**call.body.model_dump(), "to": seen})
    await call.office.kernel.answer(status.pid, answer)
    return status


async def _open(call: Call) -> tuple[Status, Question]:
    """The process in the path, and what it asks. Raises NotFound if the caller may neither see it nor answer."""
    found = []
    for status in await call.office.ledger.statuses():
        fits = status.pid.startswith(call.path["pid"])
        question = await call.office.kernel.question(status.pid) if fits else None
        if question and (sees(call.caller, status) or answers(call.caller, status, question)):
            found.append((status, question))
    if len(found) != 1:
        raise NotFound("pid", repr(call.path["pid"]), "one process that asks something (GET /api/approvals)")
    return found[0]
