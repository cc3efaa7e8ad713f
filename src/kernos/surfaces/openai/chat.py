"""Chat completions: what a request asks for, and what an answer looks like, whole or streamed. Pure.

asked = read(body)
chat = Chat(name, model, at, asked)
chat.whole(generation)                                       the answer
chat.begin(), chat.pieces([...]), chat.end(text, generation) the same as server-sent events
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from kernos.kernel.abi import Generate
from kernos.kernel.types import REPLY, Action, Generation, Json, Message
from kernos.surfaces.openai import fields
from kernos.surfaces.openai.fields import Asked, Context, get, wrong


def read(body: Mapping[str, Json]) -> Asked:
    """What a request asks for. Raises BadInput that names the field."""
    if get(body, "n", int, 1) != 1:
        raise wrong("n", body["n"], "1: ask again for another answer")
    if body.get("logprobs") or body.get("top_logprobs"):
        raise wrong("logprobs", True, "none: engines do not tell them")
    own = fields.tools(body)
    withheld, speak = fields.choice(body, [tool.name for tool in own])
    call = Generate(
        messages(get(body, "messages", list, [])), (), withheld, speak,
        fields.most_tokens(body, "max_completion_tokens", "max_tokens"), get(body, "temperature", float, 0.0), own,
        fields.shape("response_format", get(body, "response_format", dict, {})), fields.options(body),
    )  # fmt: skip
    told = get(body, "stream_options", dict, {}).get("include_usage") is True
    return Asked(get(body, "model", str, ""), call, get(body, "stream", bool, False), told)


def messages(given: Sequence[Json]) -> tuple[Message, ...]:
    """The context of a request."""
    if not given:
        raise wrong("messages", given, "at least one message")
    context = Context("messages")
    for place, message in enumerate(given):
        where = f"messages[{place}]"
        if not isinstance(message, dict):
            raise wrong(where, message, "an object")
        _add(context, where, message)
    return context.messages


def _add(context: Context, where: str, message: Mapping[str, Json]) -> None:
    match message.get("role"):
        case "system" | "developer":
            context.add(Message("system", fields.content(f"{where}.content", message.get("content"))[0]))
        case "user":
            text, images = fields.content(f"{where}.content", message.get("content"))
            context.add(Message("user", text, images=images))
        case "tool":
            name = get(message, "tool_call_id", str, "", f"{where}.tool_call_id")
            context.answer(f"{where}.tool_call_id", name, message.get("content"))
        case "assistant":
            _assistant(context, where, message)
        case role:
            raise wrong(f"{where}.role", role, "system, developer, user, assistant or tool")


def _assistant(context: Context, where: str, message: Mapping[str, Json]) -> None:
    text, _ = fields.content(f"{where}.content", message.get("content"))
    calls = get(message, "tool_calls", list, [], f"{where}.tool_calls")
    if text or not calls:
        context.add(Message("assistant", action=Action(REPLY, {"text": text})))
    for place, call in enumerate(calls):
        at = f"{where}.tool_calls[{place}]"
        if not isinstance(call, dict):
            raise wrong(at, call, "an object")
        context.call(at, get(call, "id", str, "", f"{at}.id"), get(call, "function", dict, {}, f"{at}.function"))


def spent(generation: Generation) -> dict[str, Json]:
    """What an answer cost."""
    return {
        "prompt_tokens": generation.prompt,
        "completion_tokens": generation.completion,
        "total_tokens": generation.prompt + generation.completion,
        "prompt_tokens_details": {"cached_tokens": generation.cached},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


class Chat:
    """An answer in the making. `name` is in its ids, `at` is when it was asked for; with `most` tokens it was cut."""

    def __init__(self, name: str, model: str, at: float, asked: Asked, most: float) -> None:
        self._call, self._usage, self._most = f"call_{name}", asked.usage, most
        self._head = {"id": f"chatcmpl-{name}", "object": "chat.completion", "created": int(at), "model": model}
        self._head["system_fingerprint"] = None
        before = _event(self._chunk({"content": "?"}))
        self._before, _, self._after = before.rpartition(b'"?"')

    def whole(self, generation: Generation) -> dict[str, Json]:
        """The answer in one piece."""
        action = generation.action
        said: dict[str, Json] = {"role": "assistant", "content": action.text, "refusal": None, "annotations": []}
        if action.name != REPLY:
            said |= {"content": None, "tool_calls": [self._called(action)]}
        choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": self._finish(generation)}
        return {**self._head, "choices": [choice], "usage": spent(generation)}

    def begin(self) -> bytes:
        """The first event: who speaks."""
        return _event(self._chunk({"role": "assistant", "content": "", "refusal": None}))

    def pieces(self, texts: Sequence[str]) -> bytes:
        """An event for each piece of the text."""
        return b"".join([self._before + quoted(text).encode() + self._after for text in texts])

    def end(self, text: str, generation: Generation) -> bytes:
        """The last events: a call, if the model made one, why it ended, and what it cost if that is to be told."""
        events = []
        if generation.action.name != REPLY:
            called = {"index": 0, **self._called(generation.action)}
            arguments = called["function"]["arguments"]
            called["function"] = {**called["function"], "arguments": ""}
            more = {"index": 0, "function": {"arguments": arguments}}
            events += [self._chunk({"tool_calls": [called]}), self._chunk({"tool_calls": [more]})]
        events.append(self._chunk({}, self._finish(generation)))
        if self._usage:
            events.append({**self._chunk({}), "choices": [], "usage": spent(generation)})
        return b"".join(map(_event, events)) + b"data: [DONE]\n\n"

    def _called(self, action: Action) -> dict[str, Json]:
        arguments = json.dumps(dict(action.arguments), ensure_ascii=False)
        return {"id": self._call, "type": "function", "function": {"name": action.name, "arguments": arguments}}

    def _chunk(self, delta: Mapping[str, Json], finish: str | None = None) -> dict[str, Json]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage: dict[str, Any] = {"usage": None} if self._usage else {}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice], **usage}

    def _finish(self, generation: Generation) -> str:
        if generation.action.name != REPLY:
            return "tool_calls"
        return "length" if generation.completion >= self._most else "stop"


def _event(data: Json) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()
