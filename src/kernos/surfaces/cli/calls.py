"""A journal's rows as what a person reads: one line a call, with its decision, tokens and time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kernos.kernel.types import Record

Json = Any
DETAIL_CHARS = 400


@dataclass(frozen=True)
class Line:
    """One call, or a message, and the rows of the journal that hold it.

    `tokens` counts prompt and completion, `cached` the prompt tokens that were free; `seconds` is None where nothing
    was waited for.
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

    @property
    def rows(self) -> str:
        return f"{self.seq}-{self.last}" if self.last else str(self.seq)


def lines(records: Iterable[Record]) -> Iterator[Line]:
    """The calls in a journal, each from its intent and outcome; a call that is still open says so.

    A message shows in the `receive` that took it, and by itself only while nothing has.
    """
    open_intent: Record | None = None
    answer: Record | None = None
    unread: dict[int, Line] = {}
    for record in records:
        match record.kind:
            case "spawn":
                body = record.body
                yield Line(
                    record.seq, record.at, "spawn", f"{body['employee']} for {body['owner']}, on {body['engine']}"
                )
            case "message":
                unread[record.seq] = Line(record.seq, record.at, "message", _text(record.body.get("text")))
            case "intent":
                open_intent = record
            case "answer":
                answer = record
            case "outcome" if open_intent is not None:
                unread.pop(record.body.get("message", -1), None)
                yield _call(open_intent, record, answer)
                open_intent = answer = None
            case "exit":
                why = record.body.get("error") or _text(record.body.get("result"))
                yield Line(
                    record.seq, record.at, "exit", f"{record.body['how']} {why if why != 'null' else ''}".strip()
                )
    if open_intent is not None:
        yield _call(open_intent, None, answer)
    yield from unread.values()


def _call(intent: Record, outcome: Record | None, answer: Record | None) -> Line:
    body = outcome.body if outcome else {}
    cost = body.get("cost", {})
    decision = intent.body["verdict"]["is"]
    if answer is not None and decision == "ask":
        decision = f"{'approved' if answer.body['approved'] else 'declined'} by {answer.body['by']}"
    elif decision != "allow":
        decision += f" ({intent.body['verdict']['rule']})"
    if outcome is None:
        decision = "waiting" if intent.body["call"] in ("receive", "ask") else f"{decision}, open"
    call = intent.body["call"]
    timed = call in ("generate", "invoke") and outcome is not None and not decision.startswith("deny")
    return Line(
        intent.seq, intent.at, call, _detail(call, intent.body, body), decision,
        cost.get("prompt", 0) + cost.get("completion", 0), cost.get("cached", 0),
        cost.get("seconds") if timed else None, outcome.seq if outcome else None,
    )  # fmt: skip


def _detail(call: str, asked: Any, got: Any) -> str:
    match call:
        case "generate":
            action = got.get("action")
            return _action(action["name"], action["arguments"]) if action else "…"
        case "invoke":
            evidence = asked["verdict"].get("evidence", {})
            because = "".join(f"\n  {name} ← {quote}" for name, quote in evidence.items())
            return f"{_action(asked['tool'], asked.get('arguments', {}))} → {_result(got)}{because}"
        case "send" | "ask":
            return _text(asked.get("text")) + (f" → {_result(got)}" if got.get("is") in ("denied", "text") else "")
        case "receive":
            return _text(got.get("text", "…"))
        case _:
            return str(got.get("value", "…"))


def _action(name: str, arguments: Json) -> str:
    inside = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())
    return _cut(f"{name}({inside})")


def _result(got: Any) -> str:
    match got.get("is"):
        case None:
            return "…"
        case "denied":
            return _cut(got["reason"])
        case "failed":
            return _cut(f"failed: {got['error']}")
        case "text":
            return _text(got["text"])
        case _:
            value = got.get("value")
            return count(len(value), "record") if isinstance(value, list) else _text(value)


def _text(value: Json) -> str:
    return _cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= DETAIL_CHARS else text[:DETAIL_CHARS] + "…"


def count(number: int, thing: str) -> str:
    """A number of things, in words."""
    return f"{number:,} {thing}{'' if number == 1 else 's' if thing[-1] != 's' else 'es'}"


def summary(shown: Sequence[Line]) -> str:
    """What all of it came to, in one line."""
    model = [line for line in shown if line.call == "generate"]
    tools = [line for line in shown if line.call == "invoke"]
    refused = sum(line.decision.startswith("deny") for line in shown)
    tokens, cached = sum(line.tokens for line in shown), sum(line.cached for line in shown)
    seconds = sum(line.seconds or 0 for line in shown)
    return (
        f"{count(len(model), 'model call')}, {count(len(tools), 'tool call')}, {refused} refused; "
        f"{tokens:,} tokens ({cached:,} of them from cache); {seconds:.1f} s in engines and tools"
    )
