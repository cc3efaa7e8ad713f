"""Tool use by grammar: any small model makes a well-formed call, because it can decode nothing else.

`messages` writes a prompt for a chat template that knows no tools; `form` is the JSON schema to decode under, mostly
the `union` of all actions that may be chosen now; `answer` reads what came out, and `said` its text while it is still
coming, with `action_of` and `ReplyStream`. A prompt that knows no tools is answered in plain text, without any of this.
`checked`, `whole` and `TextStream` serve the client where it uses tools natively as well.
An action is written as models learnt to write calls: {"name": ..., "arguments": {...}}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from kernos.kernel.errors import AnswerLost, BadInput, EngineError
from kernos.kernel.ports import Prompt
from kernos.kernel.types import REPLY, Action, Json, Message, ToolSpec, canonical

REPLY_CHARS = 300
"""A reply in free text is held to this length, in characters: small models do not stop by themselves."""

_HEAD = "\n\n# Actions\nAnswer with one JSON object and nothing else, one of:\n"
_REPLY_LINE = '{"name": "reply", "arguments": {"text": string}}: say something to the person'
_REPLY_SCHEMA: Json = {
    "type": "object",
    "properties": {"text": {"type": "string", "minLength": 1, "maxLength": REPLY_CHARS}},
    "required": ["text"],
    "additionalProperties": False,
}


def _plainly(prompt: Prompt) -> bool:
    """Whether the answer is the text of a reply itself, and not the JSON of an action."""
    return prompt.speak and not prompt.offers and bool(prompt.shape or not prompt.tools)


def form(prompt: Prompt) -> Json | None:
    """The schema to decode under; None for free text. Raises EngineError if there is nothing to choose."""
    return (dict(prompt.shape) or None) if _plainly(prompt) else union(prompt)


def answer(prompt: Prompt, text: str, complete: bool) -> Action:
    """The action in a finished answer; see `action_of`."""
    return Action(REPLY, {"text": TextStream().feed(text)}) if _plainly(prompt) else action_of(text, complete)


def said(prompt: Prompt, text: str) -> str:
    """What may be shown of the reply in an unfinished answer; empty if it is no reply."""
    return (TextStream() if _plainly(prompt) else ReplyStream()).feed(text)


def union(prompt: Prompt) -> Json:
    """The schema of the actions that may be chosen now. Raises EngineError if there is none."""
    offers = dict(prompt.offers) | ({REPLY: _REPLY_SCHEMA} if prompt.speak else {})
    if not offers:
        raise EngineError("a prompt offers no tool and no reply: there is nothing to choose")
    branches: list[Json] = []
    definitions: dict[str, Json] = {}
    for name, schema in offers.items():
        moved = _renamed(dict(schema), name)
        definitions |= {f"{name}.{key}": part for key, part in moved.pop("$defs", {}).items()}
        branches.append(_branch(name, moved))
    return {"anyOf": branches, **({"$defs": definitions} if definitions else {})}


def _renamed(part: Json, tool: str) -> Json:
    """A tool's schema that refers to its definitions by names of its own: they move to the root of the union, which is
    where a reference starts, and another tool may define the same name."""
    if isinstance(part, list):
        return [_renamed(each, tool) for each in part]
    if not isinstance(part, dict):
        return part
    refers = isinstance(part.get("$ref"), str)
    own = {"$ref": part["$ref"].replace("#/$defs/", f"#/$defs/{tool}.", 1)} if refers else {}
    return {key: _renamed(each, tool) for key, each in part.items()} | own


def _branch(name: str, schema: Json) -> Json:
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": schema},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def messages(prompt: Prompt) -> list[dict[str, str]]:
    """The prompt as plain chat messages. What is described never depends on what is offered, nor on whether the model
    may speak: the prefix stays, and the grammar alone says what may be chosen."""
    if not (prompt.tools or prompt.offers):
        return [_spoken(message) for message in prompt.messages]
    manual = _HEAD + "\n".join([*map(_line, prompt.tools), _REPLY_LINE])
    written = [plain(message) for message in prompt.messages]
    if written and written[0]["role"] == "system":
        written[0] = {"role": "system", "content": written[0]["content"] + manual}
        return written
    return [{"role": "system", "content": manual.lstrip()}, *written]


def _spoken(message: Message) -> dict[str, str]:
    """A message as text, a reply as what it says."""
    action = message.action
    return {"role": message.role, "content": action.text} if action and action.name == REPLY else plain(message)


def _line(tool: ToolSpec) -> str:
    properties: Mapping[str, Json] = tool.schema.get("properties", {})
    fields = ", ".join(f'"{name}": {_kind(schema)}' for name, schema in properties.items())
    return f'{{"name": "{tool.name}", "arguments": {{{fields}}}}}: {tool.description}'


def _kind(schema: Json) -> str:
    if "enum" in schema:
        return "|".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    return str(schema.get("type", "value"))


def plain(message: Message) -> dict[str, str]:
    """A message as text."""
    if message.role == "tool":
        return {"role": "user", "content": f"<tool_response>\n{message.text}\n</tool_response>"}
    if message.action is not None:
        call = {"name": message.action.name, "arguments": dict(message.action.arguments)}
        return {"role": "assistant", "content": json.dumps(call, ensure_ascii=False)}
    return {"role": message.role, "content": message.text}


def action_of(text: str, complete: bool) -> Action:
    """The action in a finished answer; of one cut off at its token limit, a reply as far as it came.

    Raises AnswerLost for anything else: the grammar was not enforced.
    """
    try:
        value = json.loads(text)
        return checked(value["name"], value["arguments"])
    except (BadInput, ValueError, KeyError, TypeError, RecursionError):
        stream = ReplyStream()
        if not complete and (said := stream.feed(text)):
            return Action(REPLY, {"text": said})
        why = "was cut off at its token limit" if not complete else "is not an action: the server ignores the grammar"
        raise AnswerLost(f"the engine's answer {why}: {text[:120]!r}") from None


def checked(name: Json, arguments: Json) -> Action:
    """The action, if it is one that a journal can hold. Raises BadInput, or RecursionError if it is nested too deep."""
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise BadInput("action", repr(name), "a tool's name and an object of arguments")
    action = Action(whole(name), whole(arguments))
    canonical(action.arguments)
    return action


def whole(value: Json) -> Json:
    """A model's JSON with half surrogate pairs replaced: no text can hold them."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [whole(part) for part in value]
    return {whole(key): whole(part) for key, part in value.items()} if isinstance(value, dict) else value


class TextStream:
    """The text of a reply, without the blanks around it, piece by piece, while the model writes it."""

    def __init__(self) -> None:
        self._given: list[str] = []
        self._held = ""

    def feed(self, piece: str) -> str:
        """Take what came; return the text that is new, which is never taken back; empty if there is none."""
        held = self._held + piece
        certain = _certain(held if self._given else held.lstrip())
        new = certain.rstrip()
        self._held = certain[len(new) :] + (held[-1:] if _half(held) else "")
        if new:
            self._given.append(new)
        return new

    @property
    def text(self) -> str:
        """The text as far as it is certain."""
        return "".join(self._given)


def _half(text: str) -> bool:
    """Whether a text ends with half a surrogate pair, whose other half may be to come."""
    return "\ud800" <= text[-1:] <= "\udbff"


def _certain(text: str) -> str:
    mended: str = whole(text[:-1] if _half(text) else text)
    return mended


class ReplyStream:
    """The text of a reply out of its JSON; empty if it is no reply."""

    _OPENING = re.compile(r'\s*\{\s*"name"\s*:\s*"reply"\s*,\s*"arguments"\s*:\s*\{\s*"text"\s*:\s*"')
    _STRING = re.compile(r'(?:[^"\\]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*')

    def __init__(self) -> None:
        self.raw = ""
        self._given = 0

    def feed(self, piece: str) -> str:
        """Take what came; return the text that is new, as a `TextStream` does."""
        self.raw += piece
        text = self.text
        new, self._given = text[self._given :], len(text)
        return new

    @property
    def text(self) -> str:
        """The text as far as it is certain."""
        opening = self._OPENING.match(self.raw)
        string = self._STRING.match(self.raw, opening.end()) if opening else None
        if string is None:
            return ""
        text: str = json.loads(f'"{string[0]}"', strict=False)
        closed = self.raw.startswith('"', string.end())
        return str(whole(text)) if closed else _certain(text)
