"""Where people put things to a process: words, answers, signals; and see what it asks them.

    desk = Desk(journal, clock)
    await desk.deliver(pid, "Can you recommend a face wash?")
    question = await desk.question(pid)
    await desk.answer(pid, Answer("ada", approved=True))

No kernel has to run: what is put here waits in the mailbox, durable, for the process's next turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernos.kernel.errors import BadInput
from kernos.kernel.forms import brief
from kernos.kernel.journal import Journal, expand
from kernos.kernel.mailbox import note
from kernos.kernel.ports import Answer, Clock, Question
from kernos.kernel.recovery import calls
from kernos.kernel.state import State, fold
from kernos.kernel.types import Json, NoteKind, Record, Signal, Status, canonical

_ASKING = ("person", "doubt")
"""Why a process waits when it asks a person."""


class Desk:
    """See `ports.Desk`."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    async def deliver(self, pid: str, text: str) -> None:
        """Put the owner's words into a process's mailbox; it gets them at its next turn."""
        status = await self._living(pid)
        canonical(text)
        await self._post(pid, "message", {"from": status.owner, "text": text})

    async def answer(self, pid: str, answer: Answer) -> None:
        """Answer what a process asks a person. Raises BadInput when it asks nothing, or something else."""
        question = await self.question(pid)
        if question is None:
            raise BadInput(f"process {pid}", "no open question", "a process that waits for a person")
        if (answer.settled is not None) != (question.kind == "doubt"):
            right = "what became of it: happened, not, or stop" if question.kind == "doubt" else "yes, no, or a text"
            raise BadInput(f"process {pid}: answer", f"one that does not fit the question ({question.kind})", right)
        body: dict[str, Json] = {"to": question.seq, "by": answer.by, "approved": answer.approved, "text": answer.text}
        if answer.settled is not None:
            canonical(answer.value)
            body |= {"settled": answer.settled, "value": answer.value}
        await self._post(pid, "answer", body)

    async def signal(self, pid: str, signal: Signal, by: str, priority: int = 0) -> None:
        """Pause, resume, kill, or give another priority."""
        await self._living(pid)
        more = {"priority": priority} if signal == "nice" else {}
        await self._post(pid, "signal", {"signal": signal, "by": by, **more})

    async def question(self, pid: str) -> Question | None:
        """What the process asks a person now, if it does."""
        return await question(self._journal, await self._journal.status(pid))

    async def close(self) -> None:
        """Let go of the store."""
        await self._journal.store.close()

    async def _living(self, pid: str) -> Status:
        status = await self._journal.status(pid)
        if status.phase == "exited":
            raise BadInput(f"process {pid}", f"an exited process ({status.why})", "one that still runs or waits")
        return status

    async def _post(self, pid: str, kind: NoteKind, body: Json) -> None:
        made = note(self._journal.key, self._clock.name(), pid, kind, body, self._clock.now())
        await self._journal.store.post([made])


async def question(journal: Journal, status: Status) -> Question | None:
    """What a process asks a person now, from its journal."""
    if status.why not in _ASKING or status.phase == "exited":
        return None
    records, contents = await journal.read(status.pid, whole=False)
    state = fold(records)
    if state.asking is None:
        return None
    return _question(state, [expand(record, contents) for record in records])


def _question(state: State, rows: Sequence[Record]) -> Question:
    assert state.asking is not None
    row = next(row for row in rows if row.seq == state.asking)
    if row.kind == "limit":
        body = row.body
        text = f"limit reached: {body['limit']}: {body['used']:g} of {body['allowed']:g} used. As much again?"
        return Question(state.pid, "limit", row.seq, text)
    call = calls(rows)[-1]
    intent = call.intent.body
    if row.kind == "doubt":
        evidence = tuple(f"a worker that had lost the process reported: {_told(late)}" for late in call.late)
        text = f"in doubt: {brief(intent)}: {row.body['reason']}. Did it happen?"
        return Question(state.pid, "doubt", row.seq, text, evidence)
    if intent["call"] == "ask":
        return Question(state.pid, "ask", row.seq, str(intent["text"]))
    text = f"{intent['verdict']['reason']} with {canonical(intent['arguments']).decode()}. Allow?"
    return Question(state.pid, "approval", row.seq, text)


def _told(late: Record) -> str:
    reply = late.body["reply"]
    return (
        f"it failed: {reply['error']}"
        if reply["is"] == "failed"
        else f"it returned {canonical(reply['value']).decode()}"
    )
