"""What the calls of a foreign agent are worth, whose program runs behind the API: whose words its messages are (I4).

    handed(row)                 the mark of what an outcome hands to the agent
    look(request, known)        what the intent's row says of a call, before it is judged

A message is known by its mark: what the kernel handed out keeps the labels that it has, also when it comes back within
a message. Of other messages those of the owner are his words, and those of the system decide nothing. Everything else
is a stranger's: the result of a tool of the agent's own, a past that no model here made up. So is a call that no model
here chose: what made the agent make it, nobody here has seen.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from kernos.kernel.abi import Generate, Invoke, Propose, Remember, Request, Send, Spawn, refused, shown, waits
from kernos.kernel.errors import BadInput
from kernos.kernel.types import REPLY, Action, Json, Message, Record, canonical, digest

ACTION = "action "
"""How the mark of an action begins."""


@dataclass(frozen=True)
class Known:
    """What a process knows its agent's messages by: `marks` of what was handed out and of messages that were looked at.
    `answered`: a model has answered it. `speaks`: all that it says as a user is the owner's. `clean`: it has read
    nothing that anyone may have written."""

    marks: Collection[str]
    answered: bool
    speaks: bool
    clean: bool


def handed(row: Record) -> str:
    """The mark of what a row, expanded, hands to the agent: an outcome, or word that a call has to wait; empty if that
    is nothing that it could show."""
    body = row.body
    if row.kind == "intent" and body["verdict"]["is"] == "ask":
        return mark_of_text(waits(row.pid, row.seq, body["verdict"].get("approver", "owner")))
    match body["is"] if row.kind == "outcome" else "":
        case "generated":
            return mark_of_action(Action(**body["action"]))
        case "failed":
            return mark_of_text(body["error"])
        case "denied":
            return mark_of_text(refused(body["reason"]))
        case "text":
            return mark_of_text(body["text"])
        case "ended":
            return mark_of_text(body.get("error") or shown(body["result"]))
        case "returned" | "recalled" | "extracted":
            return mark_of_text(shown(body["value"]))
    return ""


def mark_of_text(text: str) -> str:
    """What a text is known by: as JSON, if it is any, however that is written, else but for the spaces around it."""
    try:
        plain = canonical(json.loads(text, object_pairs_hook=_object, parse_float=_number))
    except (ValueError, RecursionError, BadInput):
        plain = text.strip().encode()
    return f"text {digest(plain)}"


def mark_of_action(action: Action) -> str:
    """What a model's action is known by."""
    arguments = {"text": action.text.strip()} if action.name == REPLY else dict(action.arguments)
    return f"{ACTION}{mark_of_text(canonical([action.name, arguments]).decode())}"


def _object(pairs: list[tuple[str, Json]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):  # a reader might see the other of two values
        raise ValueError
    return found


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


def look(request: Request, known: Known) -> dict[str, Json]:
    """What the row of a call says: of its messages, by their digests, those that are the owner's words (`heard`) and
    those that anyone may have written (`strange`, each with the message of the call that it answers); or that no model
    here chose the call (`unmade`)."""
    if isinstance(request, Generate):
        return _looked(request.messages, known)
    unmade = known.clean and any(mark not in known.marks for mark in _chosen(request))
    return {"unmade": True} if unmade else {}


def _chosen(request: Request) -> Sequence[str]:
    """The marks of the actions by which a model would have chosen a call; of one that no action chooses, an empty
    one."""
    match request:
        case Invoke():
            return [mark_of_action(Action(request.tool, request.arguments))]
        case Propose():
            return [mark_of_action(Action(call.tool, call.arguments)) for call in request.calls]
        case Send():
            return [mark_of_action(Action(REPLY, {"text": request.text}))]
        case Spawn() | Remember():
            return [""]
    return []


def _looked(messages: Sequence[Message], known: Known) -> dict[str, Json]:
    heard, strange = dict[str, None](), dict[str, Json]()
    opening = not known.answered
    for place, message in enumerate(messages):
        opening = opening and message.role != "assistant"
        if message.digest in known.marks:
            continue
        owners = message.role == "user" and (opening or known.speaks)
        if owners:
            heard[message.digest] = None
        if message.images or not (owners or message.role == "system" or _recognised(message, known)):
            strange[message.digest] = [message.digest, _call(messages, place)]
    return _said(list(heard), list(strange.values()))


def _said(heard: list[Json], strange: list[Json]) -> dict[str, Json]:
    return ({"heard": heard} if heard else {}) | ({"strange": strange} if strange else {})


def _recognised(message: Message, known: Known) -> bool:
    """Whether the kernel handed this out itself, or it says nothing."""
    if message.role == "assistant":
        empty = message.action is None or (message.action.name == REPLY and not message.action.text.strip())
        return not message.text and (empty or mark_of_action(message.action or Action("", {})) in known.marks)
    return not message.text.strip() or mark_of_text(message.text) in known.marks


def _call(messages: Sequence[Message], place: int) -> str:
    """The digest of the message by which a model called the tool whose result stands at a place; empty if none did."""
    if not place or messages[place].role != "tool":
        return ""
    before = messages[place - 1]
    return before.digest if before.action and before.action.name == messages[place].tool else ""


def contents_of(looked: Mapping[str, Json], request: Request) -> dict[str, bytes]:
    """The messages that a row speaks of, by their digests."""
    wanted = named(looked)
    messages = request.messages if wanted and isinstance(request, Generate) else ()
    return {message.digest: message.content for message in messages if message.digest in wanted}


def named(body: Mapping[str, Json]) -> list[str]:
    """The digests of the messages that a row speaks of."""
    return [*body.get("heard", ()), *(part for pair in body.get("strange", ()) for part in pair if part)]
