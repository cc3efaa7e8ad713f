"""The journal's form of requests and replies: what goes into a row's body, what into its contents, and back.

`of_request` is also a request's identity: on replay (I6) a program makes the same call if its form is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from kernos.kernel.abi import AskPerson, Generate, Invoke, Invoked, Reply, Request, Send, call_of
from kernos.kernel.context import chain
from kernos.kernel.types import Deny, Generation, Json, Message

_COSTS = ("prompt", "cached", "completion", "seconds", "queued", "attempts")


@dataclass(frozen=True)
class Form:
    """A body, contents by name, and the contents (by hash) of a context chain."""

    body: Mapping[str, Json]
    contents: Mapping[str, Json] = field(default_factory=dict)
    chained: Mapping[str, bytes] = field(default_factory=dict)


def of_request(request: Request, known: set[str]) -> Form:
    """The form of a request; `known` are the hashes of contexts already stored."""
    call = call_of(request).name
    match request:
        case Generate():
            head, fresh = chain(request.messages, known)
            rest = {name: value for name, value in vars(request).items() if name != "messages"}
            return Form({"call": call, "context": head} | {k: _plain(v) for k, v in rest.items()}, {}, fresh)
        case Invoke():
            return Form({"call": call, "tool": request.tool}, {"arguments": dict(request.arguments)})
        case AskPerson():
            return Form({"call": call}, {"text": request.question})
        case Send():
            return Form({"call": call}, {"text": request.text})
        case _:
            return Form({"call": call})


def _plain(value: Json) -> Json:
    return list(value) if isinstance(value, tuple) else value


def of_reply(reply: Reply) -> Form:
    """The form of a reply."""
    match reply:
        case Generation():
            cost = {name: round(getattr(reply, name), 6) for name in _COSTS}
            message = Message("assistant", action=reply.action)
            return Form({"is": "generated", "cost": cost}, {"action": message.to_json()["action"]})
        case Invoked():
            contents = {"value": reply.value} | ({"say": dict(reply.say)} if reply.say else {})
            return Form({"is": "failed", "error": reply.error} if reply.error else {"is": "returned"}, contents)
        case Deny():
            return Form({"is": "denied"} | {name: _plain(value) for name, value in asdict(reply).items() if value})
        case str():
            return Form({"is": "text"}, {"text": reply})
        case _:
            return Form({"is": "value", "value": reply})


def to_reply(body: Mapping[str, Json]) -> Reply:
    """The reply that an outcome row holds, from its expanded body."""
    match body["is"]:
        case "generated":
            message = Message.from_json({"role": "assistant", "action": body["action"]})
            assert message.action is not None
            return Generation(message.action, **body["cost"])
        case "returned" | "failed":
            return Invoked(body["value"], body.get("error", ""), body.get("say", {}))
        case "denied":
            return Deny(body["rule"], body["reason"], tuple(body.get("missing", ())))
        case "text":
            return str(body["text"])
        case _:
            value: float | None = body["value"]
            return value
