"""What a task is: one turn of a process, read from its journal.

    turns(rows)                          the turns that begin in these rows, in order
    task_of(pid, number, turn, asked)    a turn as A2A has it

A turn begins with a message to a process that rests and ends when the process waits for the next one, or exits. So a
task that is completed stays so, and its context goes on with another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from a2a.types import Artifact, Message, Part, Role, Task, TaskState, TaskStatus

from kernos.kernel import abi
from kernos.kernel.office import Question
from kernos.kernel.types import Record
from kernos.userland.cards import card

OVER = frozenset(
    {TaskState.TASK_STATE_COMPLETED, TaskState.TASK_STATE_FAILED, TaskState.TASK_STATE_CANCELED}
)  # fmt: skip
"""States in which nothing more happens to a task."""
_ENDS = {"done": TaskState.TASK_STATE_COMPLETED, "killed": TaskState.TASK_STATE_CANCELED}


@dataclass
class Turn:
    """One turn: the row at which it began, what was said by whom, with the rows, and the row that ended it, if it is
    over. `at` is the time of its last row."""

    number: int
    at: float = 0.0
    words: list[tuple[Role, int, str]] = field(default_factory=list)
    said: list[tuple[int, str]] = field(default_factory=list)
    end: Record | None = None


def turns(rows: Iterable[Record]) -> list[Turn]:
    """The turns that begin in these rows, which begin where the process has no unread message."""
    found: list[Turn] = []
    turn, unread = None, 0
    for row in rows:
        if row.kind == "message":
            unread += 1
            if turn is None:
                turn = Turn(row.seq)
                found.append(turn)
        unread -= row.kind == "outcome" and "message" in row.body
        if turn is not None:
            _take(turn, row)
            if row.kind == "exit" or (unread == 0 and _is_call(row, "receive")):
                turn.end, turn = row, None
    return found


def task_of(pid: str, number: int, turn: Turn, asked: Question | None) -> Task:
    """A turn as a task. `asked` is what the process asks a person in it now."""
    status = TaskStatus(state=_state(turn, asked), timestamp=datetime.fromtimestamp(turn.at, UTC))
    task = Task(id=f"{pid}.{number}", context_id=pid, status=status)
    told = _told(turn, asked)
    if told:
        place = asked.seq if asked else "end"
        task.status.message.CopyFrom(_message(task, Role.ROLE_AGENT, f"{pid}.{place}", told))
    task.history.extend(_message(task, role, f"{pid}.{row}", text) for role, row, text in turn.words)
    task.artifacts.extend(Artifact(artifact_id=str(row), parts=[Part(text=text)]) for row, text in turn.said)
    return task


def _take(turn: Turn, row: Record) -> None:
    """One more row of a turn."""
    turn.at = row.at
    text = str(row.body.get("text") or "")
    if row.kind == "message" or (row.kind == "answer" and text):
        turn.words.append((Role.ROLE_USER, row.seq, text))
    elif _is_call(row, "ask"):
        turn.words.append((Role.ROLE_AGENT, row.seq, text))
    elif _is_call(row, "send") and "to" not in row.body and row.body["verdict"]["is"] == "allow":
        turn.said.append((row.seq, text))
    elif row.kind == "exit" and row.body.get("result") is not None:
        turn.said.append((row.seq, abi.shown(row.body["result"])))


def _is_call(row: Record, name: str) -> bool:
    return row.kind == "intent" and bool(row.body["call"] == name)


def _state(turn: Turn, asked: Question | None) -> TaskState:
    if turn.end is not None and turn.end.kind == "exit":
        return _ENDS.get(turn.end.body["how"], TaskState.TASK_STATE_FAILED)
    if turn.end is not None:
        return TaskState.TASK_STATE_COMPLETED
    if asked is None:
        return TaskState.TASK_STATE_WORKING
    return TaskState.TASK_STATE_INPUT_REQUIRED if asked.kind == "ask" else TaskState.TASK_STATE_AUTH_REQUIRED


def _told(turn: Turn, asked: Question | None) -> str:
    """What goes with the state: the question, or what went wrong."""
    if turn.end is not None:
        return str(turn.end.body.get("error") or "")
    if asked is None or asked.kind == "ask":
        return asked.text if asked else ""
    return f"{card(asked)}\nThe {asked.approver} answers: kernos approve {asked.pid}"


def _message(task: Task, role: Role, name: str, text: str) -> Message:
    return Message(message_id=name, context_id=task.context_id, task_id=task.id, role=role, parts=[Part(text=text)])
