"""Reading what all of OpenAI's APIs have in a request: fields, tools, choices, formats, contents. Pure.

    get(body, "stream", bool, False)            a field of the right type, or BadInput that names it
    tools(body), choice(body, names), shape(form)
    context = Context("messages"); context.add(message); context.call(...); context.answer(...); context.messages

The two APIs nest the same things differently (`{"function": {...}}` or flat); both are read by the same functions.
Fields that are not known are ignored, as clients send ever new ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kernos.kernel.abi import Generate
from kernos.kernel.errors import BadInput
from kernos.kernel.types import REPLY, Action, Json, Message, ToolSpec

T = TypeVar("T")

MAX_TOKENS = 1024
"""So much may a model write if the request does not say."""
MOST_TOOLS = 1_024
"""A request may have so many tools of its own: each is compared with all others, here and in the kernel."""
MOST_MESSAGES = 10_000
"""A context may have so many messages, calls and results."""
_NUMBERS: Mapping[str, type] = {"top_p": float, "seed": int, "presence_penalty": float, "frequency_penalty": float}
_TOKEN = re.compile(r"[0-9]{1,9}")
_TYPES: Mapping[type, str] = {
    str: "a text", bool: "true or false", int: "a whole number", float: "a number", list: "a list", dict: "an object",
}  # fmt: skip
_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Kinds of content that are text, and the field that holds it."""
_IMAGES = ("image_url", "input_image")


@dataclass(frozen=True)
class Asked:
    """What a request asks for: a model's next action. `usage` says whether a stream should tell what it cost, `echo` is
    what a response repeats of the request."""

    model: str
    call: Generate
    stream: bool = False
    usage: bool = False
    echo: Mapping[str, Json] = field(default_factory=dict)


def wrong(where: str, found: object, right: str) -> BadInput:
    """What stands somewhere is not what should."""
    return BadInput(where, repr(found)[:80], right)


def get(body: Mapping[str, Json], name: str, kind: type[T], default: T, where: str = "") -> T:
    """A field of a type; null counts as left out."""
    value: Any = body.get(name)
    if value is None:
        return default
    if kind is float and type(value) is int:
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise wrong(where or name, value, _TYPES[kind])
    return value


def most_tokens(body: Mapping[str, Json], *names: str) -> int:
    """How many tokens a model may write, by the first of these fields that is there."""
    name = next((name for name in names if body.get(name) is not None), names[0])
    most = get(body, name, int, MAX_TOKENS)
    if most < 1:
        raise wrong(name, most, "at least 1")
    return most


def options(body: Mapping[str, Json]) -> dict[str, Json]:
    """Sampling options for engines that know them."""
    stop, bias = body.get("stop"), get(body, "logit_bias", dict, {})
    stops = stop if isinstance(stop, list) else [stop]
    if stop is not None and not all(isinstance(text, str) for text in stops):
        raise wrong("stop", stop, "a text or a list of texts")
    if not all(_TOKEN.fullmatch(token) and type(value) in (int, float) for token, value in bias.items()):
        raise wrong("logit_bias", bias, "an object of numbers, by the numbers of tokens")
    found = {name: get(body, name, kind, None) for name, kind in _NUMBERS.items()} | {"stop": stop, "logit_bias": bias}
    return {name: value for name, value in found.items() if value not in (None, {})}


def tools(body: Mapping[str, Json]) -> tuple[ToolSpec, ...]:
    """The caller's own tools."""
    given = get(body, "tools", list, [])
    if len(given) > MOST_TOOLS:
        raise BadInput("tools", f"{len(given):,} of them", f"at most {MOST_TOOLS:,}")
    found = tuple(_tool(f"tools[{place}]", tool) for place, tool in enumerate(given))
    names = [tool.name for tool in found]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise wrong("tools", twice, "names of which each stands there once")
    return found


def _tool(where: str, tool: Json) -> ToolSpec:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        found = tool.get("type") if isinstance(tool, dict) else tool
        raise wrong(f"{where}.type", found, "function: the caller runs its tools itself")
    function = get(tool, "function", dict, tool, f"{where}.function")
    name = get(function, "name", str, "", f"{where}.name")
    if not name or name == REPLY:
        raise wrong(f"{where}.name", name, f"a name, other than {REPLY}")
    schema = get(function, "parameters", dict, {}, f"{where}.parameters")
    description = get(function, "description", str, "", f"{where}.description")
    return ToolSpec(name, description, {"type": "object", "properties": {}, **schema})


def choice(body: Mapping[str, Json], names: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """Which tools the model cannot choose this time, and whether it may speak, by `tool_choice`."""
    given = body.get("tool_choice")
    mode, allowed = given or "auto", list(names)
    if isinstance(given, dict):
        among = get(given, "allowed_tools", dict, given, "tool_choice.allowed_tools")
        mode = among.get("mode", "required")
        allowed = [_named(tool) for tool in get(among, "tools", list, [given], "tool_choice.tools")]
    if mode not in ("auto", "none", "required"):
        raise wrong("tool_choice", given, "auto, none, required or a function")
    if unknown := [name for name in allowed if name not in names]:
        raise wrong("tool_choice", unknown[0], f"a name in tools: {', '.join(names) or 'there are none'}")
    if mode == "required" and not allowed:
        raise wrong("tool_choice", given, "auto or none where there are no tools")
    withheld = names if mode == "none" else [name for name in names if name not in allowed]
    return tuple(withheld), mode != "required"


def _named(tool: Json) -> str:
    function = tool.get("function", tool) if isinstance(tool, dict) else {}
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise wrong("tool_choice", tool, "a function with a name")
    return str(function["name"])


def shape(where: str, form: Mapping[str, Json]) -> Mapping[str, Json]:
    """The schema that a reply has to have, by `response_format` or `text.format`."""
    match form.get("type", "text"):
        case "text":
            return {}
        case "json_object":
            return {"type": "object"}
        case "json_schema":
            named = get(form, "json_schema", dict, dict(form), f"{where}.json_schema")
            return get(named, "schema", dict, {"type": "object"}, f"{where}.schema")
    raise wrong(f"{where}.type", form.get("type"), "text, json_object or json_schema")


def content(where: str, given: Json) -> tuple[str, tuple[str, ...]]:
    """The text and the images of a message's content, which may be a text, a list of parts, or missing."""
    if given is None or isinstance(given, str):
        return given or "", ()
    if not isinstance(given, list):
        raise wrong(where, given, "a text or a list of parts")
    texts, images = list[str](), list[str]()
    for place, part in enumerate(given):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in _TEXTS:
            texts.append(get(part, _TEXTS[kind], str, "", f"{where}[{place}].{_TEXTS[kind]}"))
        elif kind in _IMAGES:
            images.append(_image(f"{where}[{place}].image_url", part.get("image_url")))
        else:
            raise wrong(f"{where}[{place}].type", kind, " or ".join(("text", *_IMAGES)))
    return "\n".join(texts), tuple(images)


def _image(where: str, given: Json) -> str:
    url = given.get("url") if isinstance(given, dict) else given
    if not isinstance(url, str) or not url.startswith("data:"):  # an engine would fetch it from any other (I10)
        raise wrong(where, given, "a data: URL, which holds the image itself")
    return url


class Context:
    """Messages in the kernel's order: right behind each call stands what answers it, whatever order they came in. They
    stand in a field of the request, which is named when there are too many."""

    def __init__(self, field: str, messages: Sequence[Message] = (), names: Sequence[str] = ()) -> None:
        self._field, self._count = field, len(messages)
        self._groups = [[message] for message in messages]
        self._calls = {name: group for name, group in zip(names, self._groups, strict=False) if name}

    @property
    def messages(self) -> tuple[Message, ...]:
        return tuple(message for group in self._groups for message in group)

    def add(self, message: Message) -> None:
        self._groups.append([self._counted(message)])

    def call(self, where: str, name: str, function: Mapping[str, Json]) -> None:
        """A call that the model made; `name` is its id."""
        given = get(function, "arguments", str, "", f"{where}.arguments")
        try:
            arguments = json.loads(given or "{}")
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict):
            raise wrong(f"{where}.arguments", given, "a JSON object")
        tool = get(function, "name", str, "", f"{where}.name")
        self.add(Message("assistant", action=Action(tool, arguments)))
        self._calls[name] = self._groups[-1]

    def answer(self, where: str, name: str, given: Json) -> None:
        """What the call with this id returned."""
        group = self._calls.get(name)
        if group is None or group[0].action is None:
            raise wrong(where, name, "the id of a call that stands before it")
        text, images = content(where, given)
        group.append(self._counted(Message("tool", text, tool=group[0].action.name, images=images)))

    def _counted(self, message: Message) -> Message:
        self._count += 1
        if self._count > MOST_MESSAGES:
            raise BadInput(self._field, f"more than {MOST_MESSAGES:,} messages", "at most so many")
        return message
