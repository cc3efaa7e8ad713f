"""Where people put things to a process: words, answers, signals; and see what it asks them.

    desk = Desk(journal, clock)
    await desk.deliver(pid, "Can you recommend a face wash?")
    question = await desk.question(pid)
    await desk.answer(pid, Answer("ada", approved=True))

No kernel has to run: what is put here waits in the mailbox, durable, for the process's next turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from kernos.kernel.errors import BadInput
from kernos.kernel.forms import brief
from kernos.kernel.journal import Journal, expand
from kernos.kernel.mailbox import note
from kernos.kernel.office import Answer, Question
from kernos.kernel.ports import Clock
from kernos.kernel.recovery import calls
from kernos.kernel.state import State, fold
from kernos.kernel.types import Asked, Json, NoteKind, Record, Signal, Status, asked_from_json, canonical

_ASKING = ("person", "doubt")
"""Why a process waits when it asks a person."""


class Desk:
    """See `office.Desk`."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    async def deliver(self, pid: str, text: str) -> None:
        """Put the owner's words into a process's mailbox; it gets them at its next turn."""
        status = await self._living(pid)
        canonical(text)
        await self._post([pid], "message", {"from": status.owner, "text": text})

    async def answer(self, pid: str, answer: Answer) -> None:
        """Answer what a process asks a person. Raises BadInput when it asks nothing, or something else."""
        question = await self.question(pid)
        if question is None:
            raise BadInput(f"process {pid}", "no open question", "a process that waits for a person")
        if answer.to not in (None, question.seq):
            right = f"one to row {question.seq}, which is what it asks now"
            raise BadInput(f"process {pid}: answer", f"one to row {answer.to}", right)
        if question.until is not None and question.until <= self._clock.now():
            raise BadInput(f"process {pid}", "a card that has expired", "one that is open: it is declined")
        if (answer.settled is not None) != (question.kind == "doubt"):
            right = "what became of it: happened, not, or stop" if question.kind == "doubt" else "yes, no, or a text"
            raise BadInput(f"process {pid}: answer", f"one that does not fit the question ({question.kind})", right)
        chosen = _chosen(question, answer)
        approved = answer.approved and (bool(chosen) or not question.calls)
        body: dict[str, Json] = {"to": question.seq, "by": answer.by, "approved": approved, "text": answer.text}
        if question.calls and approved:
            body["stands"] = _stands(chosen, answer.scope)
        if answer.settled is not None:
            canonical(answer.value)
            body |= {"settled": answer.settled, "value": answer.value}
        await self._post([pid], "answer", body)

    async def signal(self, pid: str, signal: Signal, by: str, priority: int = 0) -> None:
        """Pause, resume, kill, or give another priority."""
        await self._living(pid)
        more = {"priority": priority} if signal == "nice" else {}
        await self._post([pid], "signal", {"signal": signal, "by": by, **more})

    async def stop_all(self, by: str) -> Sequence[str]:
        """Halt every process that lives: what a model is asked, and what may be done again, is broken off. They rest
        until a person has them resumed. Returns their pids; a child that comes later is stopped by its parent."""
        stopped: dict[str, None] = {}
        while fresh := [pid for pid in await self._living_ones() if pid not in stopped]:
            await self._post(fresh, "signal", {"signal": "pause", "halt": True, "by": by})
            stopped |= dict.fromkeys(fresh)
        return list(stopped)

    async def resume_all(self, by: str) -> Sequence[str]:
        """Lift the pause of every process that rests, or is about to. Returns their pids."""
        living = await self._living_ones()
        resting = [pid for pid, status in living.items() if await self._rests(status)]
        await self._post(resting, "signal", {"signal": "resume", "by": by})
        return resting

    async def _living_ones(self) -> dict[str, Status]:
        return {status.pid: status for status in await self._journal.store.statuses() if status.phase != "exited"}

    async def _rests(self, status: Status) -> bool:
        notes = await self._journal.store.notes(status.pid) if status.phase != "paused" else ()
        return status.phase == "paused" or any(noted.body.get("signal") == "pause" for noted in notes)

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

    async def _post(self, pids: Sequence[str], kind: NoteKind, body: Json) -> None:
        key, now = self._journal.key, self._clock.now()
        await self._journal.store.post([note(key, self._clock.name(), pid, kind, body, now) for pid in pids])


def _chosen(question: Question, answer: Answer) -> list[Asked]:
    """The calls on a card that a person allows. Raises BadInput for one that is not on it."""
    places = range(len(question.calls)) if answer.chosen is None else answer.chosen
    if not set(places) <= set(range(len(question.calls))):
        right = f"numbers from 0 to {len(question.calls) - 1}"
        raise BadInput(f"process {question.pid}: answer", f"calls {list(places)}", right)
    return [question.calls[place] for place in places]


def _stands(chosen: Sequence[Asked], scope: str) -> Json:
    """What a person stands for from now on, and the calls that may be made once."""
    items = [asdict(item) for asked in chosen for item in asked.items] if scope != "once" else []
    return {"items": items, "calls": [[asked.tool, dict(asked.arguments)] for asked in chosen]}


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
    verdict = intent["verdict"]
    asked = tuple(asked_from_json(call) for call in intent["card"])
    shown = "; ".join(f"{call.tool} {canonical(dict(call.arguments)).decode()}" for call in asked)
    text = f"{verdict['reason']} {shown} – allow?"
    return Question(
        state.pid, "approval", row.seq, text, calls=asked, approver=verdict["approver"], until=intent.get("until")
    )  # fmt: skip


def _told(late: Record) -> str:
    reply = late.body["reply"]
    return (
        f"it failed: {reply['error']}"
        if reply["is"] == "failed"
        else f"it returned {canonical(reply['value']).decode()}"
    )
