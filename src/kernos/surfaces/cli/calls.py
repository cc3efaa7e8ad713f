"""A journal's rows as what a person reads: one line a call, with its decision, tokens and time.

`lines(rows)` folds the rows; `summary` says what all of it came to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernos.kernel.types import Record
from kernos.surfaces.cli.places import moment, span
from kernos.userland.cards import visible
from kernos.userland.language import language_of

Json = Any
Body = Mapping[str, Json]
DETAIL_CHARS = 400
_WAITS = ("receive", "ask", "wait", "sleep")


@dataclass(frozen=True)
class Line:
    """One call, or another thing that happened, and the rows of the journal that hold it.

    `tokens` counts prompt and completion, `cached` the prompt tokens that were free; `seconds` is None where nothing
    was waited for. `last` is None for a single row; `going` says that an engine or a tool is still at it.
    """

    seq: int
    at: float
    call: str
    detail: str
    decision: str = ""
    tokens: int = 0
    cached: int = 0
    seconds: float | None = None
    last: int | None = None
    going: bool = False

    @property
    def rows(self) -> str:
        return f"{self.seq}-{self.last}" if self.last else str(self.seq)


def lines(records: Iterable[Record], every: bool = False) -> list[Line]:
    """What happened in a journal, in the order in which it began; `every` shows checkpoints too.

    A message shows in the `receive` that took it, and by itself only while nothing has.
    """
    fold = _Fold(every)
    for record in records:
        fold.take(record)
    return fold.shown()


class _Fold:
    """Lines that are whole, and rows that still wait for what belongs to them."""

    def __init__(self, every: bool) -> None:
        self._every = every
        self._done: list[Line] = []
        self._unread: dict[int, Line] = {}
        self._intent: Record | None = None
        self._asked: Record | None = None
        self._answer: Record | None = None

    def take(self, record: Record) -> None:
        """One more row."""
        match record.kind:
            case "intent":
                self._intent, self._asked, self._answer = record, None, None
            case "outcome" if self._intent is not None:
                self._unread.pop(record.body.get("message", -1), None)
                self._done.append(_call(self._intent, record, self._answer))
                self._intent = self._answer = None
            case "limit" | "doubt":
                self._asked = record
            case "answer" if self._asked is not None:
                self._done.append(_question(self._asked, record))
                self._asked = None
            case "answer":
                self._answer = record
            case "message":
                self._unread[record.seq] = Line(record.seq, record.at, "message", _text(record.body.get("text")))
            case "checkpoint" if not self._every:
                pass
            case kind if kind in _PLAIN:
                call, detail = _PLAIN[kind](record.body)
                self._done.append(Line(record.seq, record.at, call, detail))

    def shown(self) -> list[Line]:
        """All lines, those that are not whole as well."""
        left = [_call(self._intent, None, self._answer, self._asked is not None)] if self._intent is not None else []
        left += [_question(self._asked, None)] if self._asked is not None else []
        return sorted([*self._done, *left, *self._unread.values()], key=lambda line: line.seq)


def _question(asked: Record, answer: Record | None) -> Line:
    """A limit or a doubt that a person was asked about."""
    body = asked.body
    if asked.kind == "limit":
        detail = f"{body['limit']}: {body['used']:g} of {body['allowed']:g} used"
        said = answer and ("as much again" if answer.body["approved"] else "no more")
    else:
        detail = str(body["reason"])
        said = answer and {"happened": "it happened", "not": "it did not"}.get(answer.body["settled"], "stop")
    decision = f"{said}, by {answer.body['by']}" if answer else "asks a person"
    return Line(asked.seq, asked.at, asked.kind, detail, decision, last=answer.seq if answer else None)


def _call(intent: Record, outcome: Record | None, answer: Record | None, asking: bool = False) -> Line:
    body = outcome.body if outcome else {}
    cost = body.get("cost", {})
    call = intent.body["call"]
    decision = _decision(intent.body, answer.body if answer else None, outcome is None, asking)
    timed = call in ("generate", "embed", "invoke") and outcome is not None and not decision.startswith("deny")
    return Line(
        intent.seq, intent.at, call, _detail(call, intent.body, body), decision,
        cost.get("prompt", 0) + cost.get("completion", 0), cost.get("cached", 0),
        cost.get("seconds") if timed else None, outcome.seq if outcome else None, decision.endswith(", open"),
    )  # fmt: skip


def _decision(intent: Body, answer: Body | None, is_open: bool, asking: bool) -> str:
    verdict = intent["verdict"]["is"]
    decision = verdict if verdict == "allow" else f"{verdict} ({intent['verdict']['rule']})"
    if answer is not None and verdict == "ask":
        decision = f"{'approved' if answer['approved'] else 'declined'} by {answer['by']}"
    if not is_open:
        return decision
    if asking:
        return "in doubt"
    if intent["call"] in _WAITS:
        return "waiting"
    return "asks a person" if verdict == "ask" and answer is None else f"{decision}, open"


def _detail(call: str, asked: Body, got: Body) -> str:
    if got.get("is") in ("denied", "wrong") and call != "invoke":
        return f"{_asked(call, asked)} → {_result(got)}"
    match call:
        case "generate":
            action = got.get("action")
            return _action(action["name"], action["arguments"]) if action else "…"
        case "invoke":
            evidence = asked["verdict"].get("evidence", {})
            because = "".join(f"\n  {name} ← {quote}" for name, quote in evidence.items())
            return f"{_asked(call, asked)} → {_result(got)}{because}"
        case "receive":
            sender = f"{got['from']}: " if got.get("label", {}).get("sources", [["owner"]])[0][0] == "process" else ""
            return sender + _text(got.get("text", "…"))
        case "now":
            return moment(got["value"], "%Y-%m-%d %H:%M:%S")
        case "random":
            return str(got["value"])
    if call == "send":
        return "".join([_asked(call, asked), *(f"\n  {line}" for line, _ in beside(asked))])
    return _asked(call, asked) + ("" if call in ("remember", "sleep") else f" → {_result(got)}")


def _asked(call: str, asked: Body) -> str:
    """What a program asked for."""
    match call:
        case "invoke":
            return _action(asked["tool"], asked.get("arguments", {}))
        case "ask" | "send":
            return (f"to {asked['to']}: " if "to" in asked else "") + _text(asked.get("text", "…"))
        case "spawn":
            return str(asked["employee"]) + (f": {_text(asked['text'])}" if asked.get("text") else "")
        case "wait":
            return str(asked["pid"])
        case "sleep":
            return f"{span(asked['seconds'])}, until {moment(asked['until'], '%Y-%m-%d %H:%M:%S')}"
        case "remember":
            return f"{asked['key']} = {_text(asked.get('value', '…'))}"
        case "recall":
            return str(asked["key"])
        case "embed":
            return count(len(asked.get("texts", ())), "text")
        case "propose":
            return "; ".join(_action(tool, arguments) for tool, arguments in asked.get("calls", ()))
    return ""


def beside(body: Body) -> list[tuple[str, str]]:
    """What the journal says beside a text for the owner, each line with its colour: the effects that really happened,
    those that did not though the text says so, and what strangers wrote of it."""
    words = _BESIDE["zh" if language_of(str(body.get("text", ""))) == "zh" else "en"]
    lines = [(words["did"].format(*map(visible, map(str, part))), "") for part in body.get("receipts", ())]
    lines += [(words["flag"].format(words.get(kind, kind)), "yellow") for kind in body.get("flags", ())]
    if "✓" in str(body.get("text", "")):
        lines.append((words["mark"], "yellow"))
    return lines + [(words["from"].format(_cut(said), visible(place)), "") for said, place in body.get("marks", ())]


_BESIDE: Mapping[str, Mapping[str, str]] = {
    "en": {
        "did": "✓ {}: {} (row {})", "from": "from {1}: “{0}”",
        "flag": "! it says that it {}; the journal shows no such call", "mark": "! a ✓ in its text is its own",
        "sends": "sent something", "pays": "paid or bought something", "destroys": "deleted or cancelled something",
        "grants": "gave or took rights", "writes": "saved or changed something",
    },
    "zh": {
        "did": "✓ {}：{}（第 {} 行）", "from": "来自 {1}：“{0}”",
        "flag": "! 它说自己{}，日志里没有这样的调用", "mark": "! 文中的 ✓ 是它自己写的",
        "sends": "发送了内容", "pays": "付了款或买了东西", "destroys": "删除或取消了内容",
        "grants": "改动了权限", "writes": "保存或修改了内容",
    },
}  # fmt: skip


def _action(name: str, arguments: Json) -> str:
    inside = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())
    return _cut(f"{name}({inside})")


def _result(got: Body) -> str:
    match got.get("is"):
        case None:
            return "…"
        case "denied":
            return _cut(got["reason"])
        case "failed":
            return _cut(f"failed: {got['error']}")
        case "wrong":
            return _cut(f"{got['where']}: found {got['found']}; expected {got['right']}")
        case "embedded":
            return count(len(got.get("vectors", ())), "vector")
        case "text":
            return _text(got.get("text", "…"))
        case "ended":
            return _ended(got)
        case "proposed":
            return f"{sum(got['may'])} of {count(len(got['may']), 'call')} may be made"
        case "recalled" if not got["found"]:
            return "nothing"
        case _:
            value = got.get("value", "…")
            return count(len(value), "record") if isinstance(value, list) else _text(value)


def _ended(body: Body) -> str:
    """How a process has ended, and with what."""
    what = body.get("error") or body.get("result")
    return str(body["how"]) + ("" if what is None else f" → {_text(what)}")


def _spawn(body: Body) -> tuple[str, str]:
    parent = f", child of {body['parent']}" if body.get("parent") else ""
    return "spawn", f"{body['employee']} for {body['owner']}, on {body['engine']}{parent}"


def _signal(body: Body) -> tuple[str, str]:
    level = f"{body.get('priority', 0)}, " if body["signal"] == "nice" else ""
    return "stop" if body.get("halt") else body["signal"], f"{level}by {body['by']}"


_PLAIN: Mapping[str, Callable[[Body], tuple[str, str]]] = {
    "spawn": _spawn,
    "fork": lambda body: ("fork", f"of {body['of']} after its row {body['at']}"),
    "signal": _signal,
    "child": lambda body: ("child", f"{body['child']}: {_ended(body)}"),
    "late": lambda body: ("late", f"a worker that had lost the process reported: {_result(body.get('reply', {}))}"),
    "checkpoint": lambda body: ("checkpoint", _text(body.get("state"))),
    "exit": lambda body: ("exit", _ended(body)),
    "prune": lambda body: ("prune", "its contents were dropped; the rows and their hashes stay"),
}
"""Rows that stand for themselves: what to call them, and what they say."""


def _text(value: Json) -> str:
    return _cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    text = visible(text)
    return text if len(text) <= DETAIL_CHARS else text[:DETAIL_CHARS] + "…"


def count(number: int, thing: str) -> str:
    """A number of things, in words."""
    return f"{number:,} {thing}{'' if number == 1 else 's' if thing[-1] != 's' else 'es'}"


def costly(shown: Sequence[Line]) -> bool:
    """Whether any of these cost tokens or time."""
    return any(line.tokens or line.seconds is not None for line in shown)


def summary(shown: Sequence[Line]) -> str:
    """What all of it came to, in one line."""
    model = [line for line in shown if line.call in ("generate", "embed")]
    tools = [line for line in shown if line.call == "invoke"]
    refused = sum(line.decision.startswith("deny") for line in shown)
    tokens, cached = sum(line.tokens for line in shown), sum(line.cached for line in shown)
    seconds = sum(line.seconds or 0 for line in shown)
    return (
        f"{count(len(model), 'model call')}, {count(len(tools), 'tool call')}, {refused} refused; "
        f"{tokens:,} tokens ({cached:,} of them from cache); {seconds:.1f} s in engines and tools"
    )
