"""Responses: what a request asks for, and what an answer looks like, whole or streamed. Pure.

    asked = read(body, past, names)
    recorded(name, call, asked, answered)                                an earlier answer, out of the journal
    response = Response(name, call, model, at, asked, most)
    response.whole(generation)                                           the answer
    response.begin(), response.pieces([...]), response.end(text, generation)   the same as server-sent events

A response goes on from the one that it names: `past` is the context of that, its answer included, and `names` are the
ids of the calls in it. Instructions take the place of those that stand at its beginning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii as quoted

from kernos.kernel.abi import Generate
from kernos.kernel.types import REPLY, Action, Generation, Json, Message, Record
from kernos.surfaces.openai import fields
from kernos.surfaces.openai.fields import Asked, Context, get, wrong

_ECHOED: Mapping[str, Json] = {
    "instructions": None, "max_output_tokens": None, "metadata": {}, "parallel_tool_calls": True,
    "previous_response_id": None, "reasoning": {"effort": None, "summary": None}, "service_tier": "default",
    "store": True, "temperature": 0.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
    "top_p": 1.0, "truncation": "disabled", "user": None,
}  # fmt: skip
"""What a response says of its request, and what that is if the request does not say."""


def read(body: Mapping[str, Json], past: Sequence[Message] = (), names: Sequence[str] = ()) -> Asked:
    """What a request asks for. Raises BadInput that names the field."""
    own = fields.tools(body)
    withheld, speak = fields.choice(body, [tool.name for tool in own])
    call = Generate(
        _messages(body, past, names), (), withheld, speak, fields.most_tokens(body, "max_output_tokens"),
        get(body, "temperature", float, 0.0), own,
        fields.shape("text.format", get(get(body, "text", dict, {}), "format", dict, {}, "text.format")),
        fields.options(body),
    )  # fmt: skip
    return Asked(get(body, "model", str, ""), call, get(body, "stream", bool, False), True, _echo(body))


def recorded(name: str, call: str, asked: Record, answered: Record) -> dict[str, Json]:
    """A response as the journal has it: the rows of a model call, and of what the model answered."""
    body, most = asked.body, asked.body["max_tokens"]
    generation = Generation(Action(**answered.body["action"]), **answered.body["cost"])
    told = Asked("", Generate(()), echo=_echo({"temperature": body["temperature"], "max_output_tokens": most}))
    return Response(name, call, body.get("engine", "default"), asked.at, told, most).whole(generation)


def _echo(body: Mapping[str, Json]) -> dict[str, Json]:
    return {name: usual if body.get(name) is None else body[name] for name, usual in _ECHOED.items()}


def _messages(body: Mapping[str, Json], past: Sequence[Message], names: Sequence[str]) -> tuple[Message, ...]:
    instructions = get(body, "instructions", str, "")
    if instructions and past and past[0].role == "system":
        past, names = past[1:], names[1:]
    context = Context("input", past, names)
    given = body.get("input")
    if isinstance(given, str):
        context.add(Message("user", given))
    else:
        for place, item in enumerate(get(body, "input", list, [])):
            if not isinstance(item, dict):
                raise wrong(f"input[{place}]", item, "an object")
            _add(context, f"input[{place}]", item)
    if not context.messages:
        raise wrong("input", given, "a text or a list of items")
    head = (Message("system", instructions),) if instructions else ()
    return (*head, *context.messages)


def _add(context: Context, where: str, item: Mapping[str, Json]) -> None:
    match item.get("type", "message"):
        case "message":
            _message(context, where, item)
        case "function_call":
            context.call(where, get(item, "call_id", str, "", f"{where}.call_id"), item)
        case "function_call_output":
            name = get(item, "call_id", str, "", f"{where}.call_id")
            context.answer(f"{where}.call_id", name, item.get("output"))
        case "reasoning":
            pass
        case kind:
            raise wrong(f"{where}.type", kind, "message, function_call or function_call_output")


def _message(context: Context, where: str, item: Mapping[str, Json]) -> None:
    text, images = fields.content(f"{where}.content", item.get("content"))
    match item.get("role"):
        case "system" | "developer":
            context.add(Message("system", text))
        case "user":
            context.add(Message("user", text, images=images))
        case "assistant":
            context.add(Message("assistant", action=Action(REPLY, {"text": text})))
        case role:
            raise wrong(f"{where}.role", role, "system, developer, user or assistant")


def spent(generation: Generation) -> dict[str, Json]:
    """What an answer cost."""
    return {
        "input_tokens": generation.prompt,
        "input_tokens_details": {"cached_tokens": generation.cached, "cache_write_tokens": 0},
        "output_tokens": generation.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": generation.prompt + generation.completion,
    }


class Response:
    """An answer in the making. `name` is its id and in those of its parts, `call` is the id of a call that it makes,
    `at` is when it was asked for; with `most` tokens it was cut."""

    def __init__(self, name: str, call: str, model: str, at: float, asked: Asked, most: float) -> None:
        self._call, self._most = call, most
        self._frame = {
            "id": name, "object": "response", "created_at": int(at), "background": False, "error": None,
            "incomplete_details": None, "model": model, **asked.echo,
        }  # fmt: skip
        self._message = f"msg_{call}"
        self._count = 0
        self._spoken = False
        self._at = {"item_id": self._message, "output_index": 0, "content_index": 0}
        delta = json.dumps({"type": "response.output_text.delta", **self._at, "logprobs": []})[:-1]
        self._before = f"event: response.output_text.delta\ndata: {delta}".encode()

    def whole(self, generation: Generation) -> dict[str, Json]:
        """The answer in one piece."""
        cut = generation.completion >= self._most and generation.action.name == REPLY
        status = "incomplete" if cut else "completed"
        why = {"incomplete_details": {"reason": "max_output_tokens"}} if cut else {}
        item = self._item(generation.action, status)
        return {**self._frame, **why, "status": status, "output": [item], "usage": spent(generation)}

    def begin(self) -> bytes:
        """The first events: that it has begun."""
        begun = {**self._frame, "status": "in_progress", "output": [], "usage": None}
        named = ("response.created", "response.in_progress")
        return b"".join([self._event(name, {"response": begun}) for name in named])

    def pieces(self, texts: Sequence[str]) -> bytes:
        """An event for each piece of the text."""
        return self._opening() + b"".join(map(self._delta, texts))

    def end(self, text: str, generation: Generation) -> bytes:
        """The last events: the item is whole, and so is the response."""
        whole = self.whole(generation)
        [item] = whole["output"]
        parts = self._closing(text, item) if item["type"] == "message" else self._calling(item)
        done = self._event("response.output_item.done", {"output_index": 0, "item": item})
        return parts + done + self._event(f"response.{whole['status']}", {"response": whole})

    def _opening(self) -> bytes:
        if self._spoken:
            return b""
        self._spoken = True
        begun = {**self._item(Action(REPLY, {}), "in_progress"), "content": []}
        added = self._event("response.output_item.added", {"output_index": 0, "item": begun})
        return added + self._event("response.content_part.added", {**self._at, "part": _text("")})

    def _closing(self, text: str, item: Mapping[str, Json]) -> bytes:
        done = self._event("response.output_text.done", {**self._at, "text": text, "logprobs": []})
        part = self._event("response.content_part.done", {**self._at, "part": item["content"][0]})
        return self._opening() + done + part

    def _calling(self, item: Mapping[str, Json]) -> bytes:
        at = {"item_id": item["id"], "output_index": 0}
        begun = {**item, "arguments": "", "status": "in_progress"}
        added = self._event("response.output_item.added", {"output_index": 0, "item": begun})
        delta = self._event("response.function_call_arguments.delta", {**at, "delta": item["arguments"]})
        told = {**at, "name": item["name"], "arguments": item["arguments"]}
        return added + delta + self._event("response.function_call_arguments.done", told)

    def _item(self, action: Action, status: str) -> dict[str, Json]:
        if action.name == REPLY:
            said = [_text(action.text)]
            return {"id": self._message, "type": "message", "status": status, "role": "assistant", "content": said}
        arguments = json.dumps(dict(action.arguments), ensure_ascii=False)
        named = {"id": f"fc_{self._call}", "type": "function_call", "status": status, "call_id": self._call}
        return {**named, "name": action.name, "arguments": arguments}

    def _delta(self, text: str) -> bytes:
        self._count += 1
        return b'%b, "sequence_number": %d, "delta": %b}\n\n' % (self._before, self._count - 1, quoted(text).encode())

    def _event(self, name: str, data: Mapping[str, Json]) -> bytes:
        told = {"type": name, "sequence_number": self._count, **data}
        self._count += 1
        return f"event: {name}\ndata: {json.dumps(told)}\n\n".encode()


def _text(text: str) -> dict[str, Json]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
