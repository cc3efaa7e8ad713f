"""The journal's form of requests and replies: what goes into a row's body, what into its contents, and back.

`of_request` is also a request's identity: on replay (I6) a program makes the same call if its form is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from kernos.kernel.abi import (
    TABLE,
    Ended,
    Extracted,
    Invoke,
    Invoked,
    Propose,
    Proposed,
    Recalled,
    Reply,
    Request,
    call_of,
)
from kernos.kernel.context import chain
from kernos.kernel.errors import AnswerLost, BadInput
from kernos.kernel.types import Deny, Embedded, Generation, Json, Message, Record, canonical

_COSTS = ("prompt", "cached", "completion", "seconds", "queued", "attempts", "money")
_DECIDED = (
    "verdict", "until", "sources", "fold", "unread", "ended", "space", "anyone", "card", "label", "marks", "receipts",
    "flags", "heard", "strange", "unmade", "kind",
)  # fmt: skip
"""What the kernel adds to the row of a request: no part of what the program asked for."""
_LARGE = {
    "schema": "schema", "arguments": "arguments", "question": "text", "text": "text", "value": "value",
    "state": "state", "texts": "texts",
}  # fmt: skip
"""Fields of requests that are kept apart, as contents of these names."""
_ADDED = ("own", "shape", "options", "handles")
"""Fields that rows have only where they say something."""
DETAIL_CHARS = 160


@dataclass(frozen=True)
class Form:
    """A body, contents by name, and the contents (by hash) of a context chain."""

    body: Mapping[str, Json]
    contents: Mapping[str, Json] = field(default_factory=dict)
    chained: Mapping[str, bytes] = field(default_factory=dict)


def of_request(request: Request, known: set[str]) -> Form:
    """The form of a request; `known` are the hashes of contexts already stored."""
    body: dict[str, Json] = {"call": call_of(request).name}
    contents: dict[str, Json] = {}
    chained: Mapping[str, bytes] = {}
    for name, value in vars(request).items():
        if name == "messages":
            body["context"], chained = chain(value, known)
        elif name == "calls":
            calls = ((call.tool, dict(call.arguments), dict(call.handles)) for call in value)
            contents["calls"] = [list(call if call[-1] else call[:-1]) for call in calls]
        elif name == "own" and value:
            contents["own"] = [[tool.name, tool.description, dict(tool.schema)] for tool in value]
        elif name in _ADDED and value:
            contents[name] = dict(value)
        elif name in _LARGE:
            contents[_LARGE[name]] = dict(value) if isinstance(value, Mapping) else _plain(value)
        elif value != "" and name not in _ADDED:
            body[name] = _plain(value)
    return Form(body, contents, chained)


def request_of(body: Mapping[str, Json]) -> Request:
    """The request whose form a row holds, from its expanded body; of all calls but those of a model, which nobody makes
    again from a row."""
    [kind] = [call.request for call in TABLE if call.name == body["call"]]
    if kind is Propose:
        return Propose(tuple(Invoke(*call) for call in body["calls"]))
    names = {part.name: _LARGE.get(part.name, part.name) for part in fields(kind)}
    return kind(**{name: body[stored] for name, stored in names.items() if stored in body})


def same(form: Form, recorded: Record) -> bool:
    """Whether a request's form is that of a recorded call; the row is expanded."""
    asked = {name: value for name, value in recorded.body.items() if name not in _DECIDED}
    return canonical({**form.body, **form.contents}) == canonical(asked)


def brief(body: Mapping[str, Json]) -> str:
    """A call in one line, for an error."""
    shown = ("tool", "arguments", "text", "context", "employee", "pid", "seconds", "key", "to")
    details = {name: value for name, value in body.items() if name in shown}
    return f"{body['call']} {canonical(details).decode()[:DETAIL_CHARS]}" if details else str(body["call"])


def cost(generation: Generation | Embedded) -> Json:
    """What a model's answer cost."""
    return {name: round(value, 9) for name in _COSTS if (value := getattr(generation, name))}


def of_reply(reply: Reply) -> Form:
    """The form of a reply."""
    match reply:
        case Generation():
            message = Message("assistant", action=reply.action)
            return Form({"is": "generated", "cost": cost(reply)}, {"action": message.to_json()["action"]})
        case Embedded():
            return Form({"is": "embedded", "cost": cost(reply)}, {"vectors": [list(one) for one in reply.vectors]})
        case Invoked():
            contents = {"value": reply.value} | ({"say": dict(reply.say)} if reply.say else {})
            contents |= {"untrusted": True} if reply.untrusted else {}
            return Form({"is": "failed", "error": reply.error} if reply.error else {"is": "returned"}, contents)
        case Ended():
            failed = {"error": reply.error} if reply.error else {}
            return Form({"is": "ended", "how": reply.how}, {"result": reply.result} | failed)
        case Proposed():
            return Form({"is": "proposed", "may": list(reply.may)})
        case Extracted():
            return Form({"is": "extracted"}, {"value": dict(reply.value)})
        case Recalled():
            return Form({"is": "recalled", "found": reply.found}, {"value": reply.value})
        case Deny():
            return Form({"is": "denied"} | {name: _plain(value) for name, value in asdict(reply).items() if value})
        case str():
            return Form({"is": "text"}, {"text": reply})
        case _:
            return Form({"is": "value", "value": reply})


def _plain(value: Json) -> Json:
    return list(value) if isinstance(value, tuple) else value


def to_reply(row: Record) -> Reply:
    """The reply that an outcome row, expanded, holds. Raises AnswerLost for a model's that was lost, BadInput for what
    no engine could do."""
    body = row.body
    match body["is"]:
        case "generated" | "embedded" | "extracted":
            return _answer(body)
        case "returned" | "failed":
            more = body.get("say", {}), body.get("near", {}), body.get("untrusted", False)
            return Invoked(body["value"], body.get("error", ""), *more, f"{body['tool']} at row {row.seq}")
        case "ended":
            return Ended(body["how"], body["result"], body.get("error", ""))
        case "proposed":
            return Proposed(tuple(body["may"]))
        case "recalled":
            return Recalled(body["value"], body["found"])
        case "denied":
            return Deny(body["rule"], body["reason"], tuple(body.get("missing", ())))
        case "text":
            return str(body["text"])
        case "wrong":
            raise BadInput(body["where"], body["found"], body["right"])
        case "lost":
            raise AnswerLost(body["error"])
        case _:
            value: float | None = body["value"]
            return value


def _answer(body: Mapping[str, Json]) -> Generation | Embedded | Extracted:
    """What a model answered."""
    match body["is"]:
        case "generated":
            message = Message.from_json({"role": "assistant", "action": body["action"]})
            assert message.action is not None
            return Generation(message.action, **body["cost"], near=body.get("near", {}))
        case "embedded":
            return Embedded(tuple(map(tuple, body["vectors"])), **body["cost"])
        case _:
            return Extracted(body["value"])
