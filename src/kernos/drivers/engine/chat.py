"""The protocol of chat completions, apart from how it travels: what is sent, and what streams back.

`messages` and `form` write a prompt with tools passed natively; `stream` reads server-sent events into an `Answer`,
which puts the pieces together; `words` reads what a server says of an error. What comes in was checked by nobody.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress

import aiohttp

from kernos.drivers.engine import grammar
from kernos.kernel.errors import AnswerLost, BadInput, EngineDied, EngineError
from kernos.kernel.ports import Prompt
from kernos.kernel.types import REPLY, Action, Generation, Json, Message

WORDS_CHARS = 300
"""What a server says of an error is cut to this length: it may be a whole page."""
END_SECONDS = 1.0
"""How long a finished answer waits for the end of its stream, which leaves the connection to the next call."""


def messages(prompt: Prompt) -> list[dict[str, Json]]:
    """The context as the API wants it: each call is answered by the message after it, and nothing else is an answer.

    An employee's context is freer: a tool may have spoken to the person itself, a reply may have been refused, the
    beginning may have been left out. A missing answer is written as an empty one, a spare one as text.
    """
    written: list[dict[str, Json]] = []
    waiting = ""
    for place, message in enumerate(prompt.messages):
        if waiting:
            answer = message if message.role == "tool" else Message("tool")
            written.append({"role": "tool", "tool_call_id": waiting, "content": answer.text, **_seen(answer)})
        if not (waiting and message.role == "tool"):
            written.append(_native_message(message, f"call_{place}"))
        waiting = f"call_{place}" if "tool_calls" in written[-1] else ""
    return [*written, {"role": "tool", "tool_call_id": waiting, "content": ""}] if waiting else written


def _native_message(message: Message, call_id: str) -> dict[str, Json]:
    if message.action is None:
        return {**grammar.plain(message), **_seen(message)}
    if message.action.name == REPLY:
        return {"role": message.role, "content": message.action.text}
    arguments = json.dumps(dict(message.action.arguments), ensure_ascii=False)
    function = {"name": message.action.name, "arguments": arguments}
    calls = [{"id": call_id, "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _seen(message: Message) -> dict[str, Json]:
    """The content of a message that has images beside its text."""
    images = [{"type": "image_url", "image_url": {"url": url}} for url in message.images]
    return {"content": [{"type": "text", "text": message.text}, *images]} if images else {}


def form(name: str, schema: Json) -> Json:
    """The field `response_format` for this schema."""
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


async def stream(content: aiohttp.StreamReader, answer: Answer, draft: Callable[[str], None]) -> None:
    """Read server-sent events to the end of the answer."""
    rest = b""
    while data := await content.readany():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            if (event := line[5:].strip()) == b"[DONE]":
                return await _end(content)
            if new := answer.take(event):
                draft(new)


async def _end(content: aiohttp.StreamReader) -> None:
    if not content.at_eof():
        with suppress(aiohttp.ClientError, TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await content.readany()


class Answer:
    """What streams in, put together."""

    def __init__(self, by_grammar: bool, speak: bool) -> None:
        self._speak = speak
        self._said = grammar.ReplyStream() if by_grammar else grammar.TextStream()
        self._tool, self._arguments, self._finish = "", "", ""
        self._usage: Json = {}
        self._pieces = 0

    def take(self, event: bytes) -> str:
        """Take what came; return what is new of a reply's text."""
        try:
            chunk = json.loads(event.decode())
        except (ValueError, RecursionError) as error:
            raise EngineError(f"the model server sent an event that is no JSON: {error}") from None
        try:
            new = self._taken(chunk)
        except (AttributeError, TypeError, LookupError):
            raise EngineError(f"the model server sent an event that is no piece of an answer: {chunk!r:.80}") from None
        return new if self._speak else ""

    def _taken(self, chunk: Json) -> str:
        if chunk.get("error"):
            raise EngineError(f"the model server failed: {words(chunk)}")
        self._usage = chunk.get("usage") or self._usage
        for choice in (chunk.get("choices") or [])[:1]:
            self._finish = choice.get("finish_reason") or self._finish
            delta = choice.get("delta") or {}
            self._pieces += any(said for part, said in delta.items() if part != "role")
            for call in (delta.get("tool_calls") or [])[:1]:
                if not call.get("index") and (function := call.get("function")):
                    self._tool += function.get("name") or ""
                    self._arguments += function.get("arguments") or ""
            return self._said.feed(delta.get("content") or "")
        return ""

    def finish(self, seconds: float, about: int) -> Generation:
        """The answer, when the stream has ended. Where the server counts no tokens, each piece is one, and the
        prompt has `about` so many."""
        if not self._finish:
            raise EngineDied("the model server ended its stream without finishing the answer")
        action = self._action()
        if action.name == REPLY and not self._speak:
            raise AnswerLost("the model server replied with text where a tool had to be called")
        prompt = self._count("prompt_tokens") or about
        completion = self._count("completion_tokens") or self._pieces
        return Generation(action, prompt, self._count("prompt_tokens_details", "cached_tokens"), completion, seconds)

    def _count(self, *path: str) -> int:
        """A number of tokens; none where the server counts none."""
        count = self._usage
        for name in path:
            count = count.get(name) if isinstance(count, dict) else None
        return max(0, count) if isinstance(count, int) else 0

    def _action(self) -> Action:
        if isinstance(self._said, grammar.ReplyStream):
            return grammar.action_of(self._said.raw, self._finish != "length")
        if not self._tool:
            return Action(REPLY, {"text": self._said.text})
        try:
            return grammar.checked(self._tool, json.loads(self._arguments or "{}"))
        except (BadInput, ValueError, RecursionError):
            found = f"{self._tool}: {self._arguments[:80]!r}"
            raise AnswerLost(f"the model server returned a malformed call of {found}") from None


def words(said: Json) -> str:
    """The server's own words of an error, on one line."""
    for key in ("error", "message"):
        said = said.get(key, said) if isinstance(said, dict) else said
    return line(said if isinstance(said, str) else json.dumps(said, ensure_ascii=False))


def line(text: str) -> str:
    return " ".join(text.split())[:WORDS_CHARS]
