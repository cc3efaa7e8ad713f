"""What a process is, as a fold of its journal: `State`, and `apply`, the only thing that makes a new one.

    spawn ──► ready ──► running ──intent──► waiting: engine | tool | person | message | timer | process
                          │  ▲                │           │ crash
                          │  └────outcome─────┤        doubt ──► waiting: doubt
                          │                   └─message, answer, child──► ready
                          └──exit──► exited: done | failed | killed | limit

The process of a foreign agent is waiting: agent between its calls, where another is running or ready.

A pause lies over all of these: what lies below shows again when it is lifted. Rows carry enough in their bodies for the
fold: it never needs the contents, so a pruned journal folds the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

from kernos.kernel.limits import DAY, Limits, Usage
from kernos.kernel.types import Json, Phase, Record, RecordKind, Status

Changes: TypeAlias = dict[str, Any]

_WAITS = {
    "generate": "engine", "invoke": "tool", "ask": "person", "receive": "message", "sleep": "timer", "wait": "process",
    "extract": "engine", "embed": "engine",
}  # fmt: skip
"""What a call that is not settled at once waits for."""
_AT_ONCE = ("", "engine", "tool")
"""What waits for nothing that a note or the time must bring: should the kernel die, another takes it on at once. A
foreign agent's call is left to the kernel that makes it for a while, for no dispatcher knows that it is being made; and
for a model's answer nobody waits any more when that kernel has died."""
_IDLE: Changes = {"phase": "waiting", "why": "agent"}
"""A foreign agent's process between two calls."""


@dataclass(frozen=True)
class State:
    """A process's folded state.

    `mail` holds the rows of messages not yet received, `awaited` the child that a `wait` is about, `asking` the row
    that asks a person, `lifting` the limit that it is about. `refused` are limits that a person did not raise.
    `children` maps each child to how it ended ("" while it lives). `said` is the row of the last text for the owner.
    A `foreign` one waits for its agent between two calls; its agent `speaks` for the owner in all that it says as a
    user.
    """

    pid: str
    owner: str
    employee: str
    program: str
    limits: Limits = Limits()
    born: float = 0.0
    parent: str = ""
    root: str = ""
    origin: str = ""
    generation: int = 0
    priority: int = 0
    phase: Phase = "ready"
    why: str = ""
    paused: bool = False
    usage: Usage = Usage()
    tools: Mapping[str, int] = field(default_factory=dict)
    mail: tuple[int, ...] = ()
    children: Mapping[str, str] = field(default_factory=dict)
    awaited: str = ""
    asking: int | None = None
    lifting: str = ""
    refused: frozenset[str] = frozenset()
    until: float | None = None
    said: int = 0
    foreign: bool = False
    speaks: bool = False
    seq: int = 0
    hash: str = ""
    at: float = 0.0

    @property
    def wake(self) -> float | None:
        """When it should next have a turn: 0.0 at once, None when only a note can wake it."""
        if self.paused or self.phase == "exited":
            return None
        if self.phase == "waiting" and (self.foreign or self.why not in _AT_ONCE):
            return self.until if self.why in ("timer", "person", "tool") else None
        return 0.0

    def status(self) -> Status:
        paused = self.paused and self.phase != "exited"
        return Status(
            pid=self.pid, owner=self.owner, employee=self.employee, program=self.program,
            phase="paused" if paused else self.phase, why=self.why,
            calls=self.usage.calls, tokens=self.usage.tokens, money=self.usage.money, seconds=self.usage.seconds,
            priority=self.priority, wake=self.wake, parent=self.parent, root=self.root, origin=self.origin,
            seq=self.seq, hash=self.hash, born=self.born, at=self.at,
        )  # fmt: skip

    def used(self, now: float, tool: str = "") -> Iterator[tuple[str, float]]:
        """What counts against its own limits if it makes one more call now, of this tool if it is one."""
        yield from vars(self.usage).items()
        yield "wall", max(0.0, now - self.born)
        if tool in self.limits.tools:
            yield f"tools.{tool}", self.tools.get(tool, 0)

    @property
    def day(self) -> int:
        """The owner's day of its last row."""
        return int(self.at // DAY)

    def to_json(self) -> Json:
        """What a checkpoint keeps: all that is not as at birth, and not in the row itself."""
        plain = asdict(self) | {"limits": self.limits.to_json(), "refused": sorted(self.refused)}
        usual = asdict(State("", "", "", "")) | {"limits": {}, "refused": []}
        left_out = ("seq", "hash", "at")
        return {name: value for name, value in plain.items() if value != usual[name] and name not in left_out}

    @staticmethod
    def from_json(value: Json) -> State:
        parts = {"limits": Limits.from_json(value.get("limits", {})), "usage": Usage(**value.get("usage", {}))}
        parts |= {"mail": tuple(value.get("mail", ())), "refused": frozenset(value.get("refused", ()))}
        return State(**value | parts)


def born(record: Record) -> State:
    """The state after the first row of a journal."""
    body = record.body
    return State(
        pid=record.pid, owner=body["owner"], employee=body["employee"], program=body["program"],
        limits=Limits.from_json(body["limits"]), born=record.at, parent=body.get("parent", ""),
        root=body.get("root", record.pid), generation=body.get("generation", 0), priority=body.get("priority", 0),
        foreign=body.get("foreign", False), speaks=body.get("speaks", False),
        seq=record.seq, hash=record.hash, at=record.at, **(_IDLE if body.get("foreign") else {}),
    )  # fmt: skip


def apply(state: State, record: Record) -> State:
    """The state after one more row."""
    if record.kind not in _ROWS:
        raise ValueError(f"row {record.seq}: a {record.kind} row cannot stand here")
    changes = _ROWS[record.kind](state, record)
    return State(**vars(state) | {"seq": record.seq, "hash": record.hash, "at": record.at} | changes)


def fold(records: Sequence[Record]) -> State:
    """The state after all rows of one journal from its first or from a checkpoint on; at least one."""
    first = records[0]
    if first.kind == "checkpoint":
        kept = State.from_json(first.body["fold"])
        state = apply(replace(kept, seq=first.seq - 1, hash=first.previous), first)
    else:
        state = born(first)
    for record in records[1:]:
        state = apply(state, record)
    return state


def _message(state: State, record: Record) -> Changes:
    return {"mail": (*state.mail, record.seq), **_woken(state, "message")}


def _child(state: State, record: Record) -> Changes:
    child, how = record.body["child"], record.body["how"]
    return {"children": {**state.children, child: how}} | (_woken(state, "process") if child == state.awaited else {})


def _begin(state: State, record: Record) -> Changes:
    return {"phase": "waiting", "why": "tool", "asking": None, "until": record.at if state.foreign else state.until}


def _doubt(state: State, record: Record) -> Changes:
    return {"phase": "waiting", "why": "doubt", "asking": record.seq}


def _limit(state: State, record: Record) -> Changes:
    if record.body.get("hard"):
        return _IDLE if state.foreign else {}
    return {"phase": "waiting", "why": "person", "asking": record.seq, "lifting": record.body["limit"]}


def _checkpoint(state: State, record: Record) -> Changes:
    return {} if state.foreign else {"phase": "running", "why": "", "usage": state.usage.plus(calls=1)}


def _exit(state: State, record: Record) -> Changes:
    return {"phase": "exited", "why": record.body["how"], "asking": None, "paused": False}


def _woken(state: State, waited: str) -> Changes:
    return {"phase": "ready", "why": ""} if state.phase == "waiting" and state.why == waited else {}


def _intent(state: State, record: Record) -> Changes:
    body = record.body
    call, verdict = body["call"], body["verdict"]["is"]
    asks = verdict == "ask" or call == "ask"
    why = "person" if asks else _WAITS.get(call, "") if verdict == "allow" else ""
    tools = state.tools
    if call == "invoke" and verdict != "deny":
        tools = {**tools, body["tool"]: tools.get(body["tool"], 0) + 1}
    return {
        "phase": "waiting" if why else "running", "why": why, "usage": state.usage.plus(calls=1), "tools": tools,
        "asking": record.seq if asks else None,
        "until": body.get("until"), "awaited": body.get("pid", ""),
        "said": record.seq if call == "send" and "to" not in body and verdict == "allow" else state.said,
    }  # fmt: skip


def _answer(state: State, record: Record) -> Changes:
    answered: Changes = {"phase": "ready", "why": "", "asking": None}
    if not state.lifting:
        return answered
    if record.body["approved"]:
        limits = state.limits.raised(state.lifting, record.body["more"])
        return answered | {"limits": limits, "lifting": ""}
    return answered | {"refused": state.refused | {state.lifting}, "lifting": ""}


def _signal(state: State, record: Record) -> Changes:
    match record.body["signal"]:
        case "pause":
            return {"paused": True}
        case "resume":
            return {"paused": False, "until": record.at if state.foreign and state.why == "tool" else state.until}
        case "nice":
            return {"priority": record.body["priority"]}
    return {}


def _outcome(state: State, record: Record) -> Changes:
    body = record.body
    cost = body.get("cost", {})
    usage = state.usage.plus(
        tokens=cost.get("prompt", 0) + cost.get("completion", 0), seconds=cost.get("seconds", 0),
        money=cost.get("money", 0),
    )  # fmt: skip
    taken = body.get("message")
    children = {**state.children, body["child"]: ""} if "child" in body else state.children
    return {
        "phase": "running", "why": "", "usage": usage, "mail": tuple(seq for seq in state.mail if seq != taken),
        "children": children, "asking": None, "until": None, "awaited": "",
    } | (_IDLE if state.foreign else {})  # fmt: skip


def _fork(state: State, record: Record) -> Changes:
    body = record.body
    waits = state.why in ("person", "doubt", "timer", "agent") or (state.why == "message" and not state.mail)
    turn: Changes = {} if waits else {"phase": "ready", "why": ""}
    return turn | {
        "pid": record.pid, "born": record.at, "parent": "", "root": record.pid, "origin": f"{body['of']}:{body['at']}",
        "generation": 0, "children": {}, "paused": False,
    }  # fmt: skip


_ROWS: Mapping[RecordKind, Callable[[State, Record], Changes]] = {
    "fork": _fork,
    "message": _message,
    "child": _child,
    "signal": _signal,
    "limit": _limit,
    "intent": _intent,
    "begin": _begin,
    "doubt": _doubt,
    "late": lambda state, record: {},
    "answer": _answer,
    "outcome": _outcome,
    "checkpoint": _checkpoint,
    "exit": _exit,
    "prune": lambda state, record: {},
}
"""What each kind of row changes; `spawn` is where a state begins."""
