"""What a process is, as a fold of its journal: `State`, and `apply`, the only thing that makes a new one.

    spawn ──► ready ──► running ──intent(receive, no mail)──► waiting: message ──message──► ready
                          │  ▲ ─────intent(ask | approval)──► waiting: person ───answer──► ready
                          │  └─outcome────────────────────────────────────────────────────────┘
                          └──exit──► exited: done | failed | limit

Rows carry enough in their bodies for the fold: it never needs the contents, so a pruned journal folds the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from kernos.kernel.limits import Limits, Usage
from kernos.kernel.types import Phase, Record, Status

PEOPLE = ("ask", "receive")


@dataclass(frozen=True)
class State:
    """A process's folded state. `mail` holds the sequence numbers of messages not yet received; `open` the intent
    without an outcome, `answered` the row that answered it."""

    pid: str
    owner: str
    employee: str
    program: str
    limits: Limits
    born: float
    phase: Phase = "ready"
    why: str = ""
    usage: Usage = Usage()
    mail: tuple[int, ...] = ()
    open: int | None = None
    answered: int | None = None
    seq: int = 0
    hash: str = ""
    at: float = 0.0

    def status(self) -> Status:
        return Status(
            pid=self.pid, owner=self.owner, employee=self.employee, program=self.program, phase=self.phase,
            why=self.why, calls=self.usage.calls, tokens=self.usage.tokens, seconds=self.usage.seconds,
            seq=self.seq, hash=self.hash, born=self.born, at=self.at,
        )  # fmt: skip


def born(record: Record) -> State:
    """The state after the first row of a journal."""
    body = record.body
    return State(
        pid=record.pid, owner=body["owner"], employee=body["employee"], program=body["program"],
        limits=Limits(**body["limits"]), born=record.at, seq=record.seq, hash=record.hash, at=record.at,
    )  # fmt: skip


def apply(state: State, record: Record) -> State:
    """The state after one more row."""
    return replace(state, seq=record.seq, hash=record.hash, at=record.at, **_changes(state, record))


def _changes(state: State, record: Record) -> dict[str, Any]:
    match record.kind:
        case "message":
            woken = {"phase": "ready", "why": ""} if state.why == "message" else {}
            return {"mail": (*state.mail, record.seq), **woken}
        case "intent":
            return _intent(state, record)
        case "answer":
            return {"phase": "ready", "why": "", "answered": record.seq}
        case "outcome":
            return _outcome(state, record)
        case "exit":
            return {"phase": "exited", "why": record.body["how"], "open": None}
    raise ValueError(f"row {record.seq}: a {record.kind} row cannot stand here")


def _intent(state: State, record: Record) -> dict[str, Any]:
    call, verdict = record.body["call"], record.body["verdict"]["is"]
    phase: Phase = "waiting" if call in PEOPLE or verdict == "ask" else "running"
    why = "message" if call == "receive" else "person" if phase == "waiting" else call
    usage = state.usage.plus(calls=1)
    return {"phase": phase, "why": why, "usage": usage, "open": record.seq, "answered": None}


def _outcome(state: State, record: Record) -> dict[str, Any]:
    cost = record.body.get("cost", {})
    usage = state.usage.plus(tokens=cost.get("prompt", 0) + cost.get("completion", 0), seconds=cost.get("seconds", 0))
    taken = record.body.get("message")
    mail = tuple(seq for seq in state.mail if seq != taken)
    return {"phase": "running", "why": "", "usage": usage, "mail": mail, "open": None, "answered": None}


def fold(records: list[Record]) -> State:
    """The state after all rows of one journal, which has at least its first."""
    state = born(records[0])
    for record in records[1:]:
        state = apply(state, record)
    return state
