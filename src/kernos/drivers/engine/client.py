"""Any OpenAI-compatible model server, through the official client: vLLM, SGLang, Ollama, llama-server, clouds.

How tools are used is a setting, `calls`: "native" passes them as tools and reads tool calls back, for servers that
are dependable at it; "grammar" decodes under a schema of actions (see `grammar`); "auto" asks the server what it is:
llama.cpp gets the grammar (its own tool choice is not enforced), any other is taken at its word.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import httpx2
import openai
from openai import AsyncOpenAI

from kernos.drivers.engine import grammar
from kernos.kernel.errors import BadInput, EngineDied, EngineError
from kernos.kernel.ports import Prompt
from kernos.kernel.types import REPLY, Action, Generation, Json, Message

Calls = Literal["auto", "native", "grammar"]
Draft = Callable[[str], None]
WORDS_CHARS = 300
"""What a server says of an error is cut to this length: it may be a whole page."""
_BROKEN = (httpx2.TransportError, asyncio.IncompleteReadError, ConnectionError)


class OpenAIEngine:
    """One model on one server.

    Args:
        url: the base URL, up to and with `/v1`.
        model: the server's name for it; empty for the first that the server lists.
        key: the API key, held here and shown to nobody.
        calls: how tools are used.
        slots: how many calls the server takes at once.
        timeout: seconds without a byte after which a call has failed.
        direct: no proxy of the environment comes in between.
    """

    def __init__(
        self, url: str, model: str = "", key: str = "", calls: Calls = "auto", slots: int = 4, timeout: float = 600.0,
        direct: bool = False,
    ) -> None:  # fmt: skip
        http = openai.DefaultAsyncHttpxClient(trust_env=not direct, timeout=timeout)
        self._client = AsyncOpenAI(
            base_url=url, api_key=key or "none", timeout=timeout, max_retries=1, http_client=http
        )  # fmt: skip
        self._url, self._model, self._calls, self._slots = _shown(url), model, calls, slots

    @property
    def slots(self) -> int:
        return self._slots

    async def generate(self, prompt: Prompt, draft: Draft) -> Generation:
        """One action; see `ports.Engine`."""
        started = time.monotonic()
        with self._errors(answering=False):
            await self._detect()
            request = self._by_grammar(prompt) if self._calls == "grammar" else self._natively(prompt)
            stream = await self._client.chat.completions.create(**request)
        answer = _Answer(self._calls == "grammar", prompt.speak)
        with self._errors(answering=True):
            async with stream:
                async for chunk in stream:
                    if new := answer.take(chunk):
                        draft(new)
        return answer.finish(time.monotonic() - started)

    async def close(self) -> None:
        await self._client.close()

    async def _detect(self) -> None:
        """Settle the model's name and how to use tools, from what the server says of itself."""
        if self._model and self._calls != "auto":
            return
        page = await self._client.get("/models", cast_to=httpx2.Response)
        try:
            owners = {str(model["id"]): model.get("owned_by") for model in page.json()["data"]}
        except (ValueError, LookupError, TypeError, AttributeError):
            raise EngineError(f"{self._url} is no model server: what it has at /models is no list of models") from None
        if not owners:
            raise EngineError(f"the model server at {self._url} lists no model")
        first = next(iter(owners))
        self._model = self._model or first
        if self._calls == "auto":
            self._calls = "grammar" if owners.get(self._model, owners[first]) == "llamacpp" else "native"

    @contextmanager
    def _errors(self, answering: bool) -> Iterator[None]:
        """What goes wrong with the server, as errors of ours. A connection that fails while the server is answering
        is a death; before that it was not there."""
        server = f"the model server at {self._url}"
        try:
            yield
        except openai.APIConnectionError as error:
            if answering:
                raise EngineDied(f"{server} broke off: {_first(error)}") from None
            raise EngineError(f"cannot reach {server}: {_first(error)}") from None
        except openai.APIStatusError as error:
            raise EngineError(f"{server} refused: {error.status_code} {_words(error)}") from None
        except openai.APIError as error:
            raise EngineError(f"{server} failed: {_words(error)}") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise EngineError(f"{server} sent an event that is no JSON: {error}") from None
        except _BROKEN as error:
            raise EngineDied(f"{server} broke off: {type(error).__name__}") from None

    def _common(self, prompt: Prompt) -> dict[str, Any]:
        return {
            "model": self._model,
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def _by_grammar(self, prompt: Prompt) -> dict[str, Any]:
        schema = {"name": "action", "schema": grammar.union(prompt), "strict": True}
        form = {"type": "json_schema", "json_schema": schema}
        return {**self._common(prompt), "messages": grammar.messages(prompt), "response_format": form}

    def _natively(self, prompt: Prompt) -> dict[str, Any]:
        # The schema as it was declared, not as it is narrowed now: templates write tools at the very beginning of the
        # context, and the prefix has to stay. The kernel judges what comes back in any case.
        tools = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.schema)},
            }
            for tool in prompt.tools
            if tool.name in prompt.offers
        ]
        choice = {"tools": tools, "tool_choice": "auto" if prompt.speak else "required"} if tools else {}
        return {**self._common(prompt), "messages": _native_messages(prompt), **choice}


def _shown(url: str) -> str:
    """A URL without the name and password that it may hold."""
    head, mark, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{head}{mark}{place.rpartition('@')[2]}{slash}{path}"


def _first(error: BaseException) -> str:
    """What went wrong first: each layer of the client has words of its own for it."""
    group = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
    below = group or error.__cause__ or error.__context__
    return (_first(below) if below else "") or str(error)


def _words(error: openai.APIError) -> str:
    """The server's own words, on one line."""
    said = error.body.get("message") if isinstance(error.body, dict) else error.body
    return " ".join((said if isinstance(said, str) and said else error.message).split())[:WORDS_CHARS]


def _native_messages(prompt: Prompt) -> list[dict[str, Json]]:
    """The context as the API wants it: each call is answered by the message after it, and nothing else is an answer.

    An employee's context is freer: a tool may have spoken to the person itself, a reply may have been refused, the
    beginning may have been left out. A missing answer is written as an empty one, a spare one as text.
    """
    written: list[dict[str, Json]] = []
    waiting = ""
    for place, message in enumerate(prompt.messages):
        if waiting:
            answer = message.text if message.role == "tool" else ""
            written.append({"role": "tool", "tool_call_id": waiting, "content": answer})
        if not (waiting and message.role == "tool"):
            written.append(_native_message(message, f"call_{place}"))
        waiting = f"call_{place}" if "tool_calls" in written[-1] else ""
    return [*written, {"role": "tool", "tool_call_id": waiting, "content": ""}] if waiting else written


def _native_message(message: Message, call_id: str) -> dict[str, Json]:
    if message.action is None:
        return {**grammar.plain(message)}
    if message.action.name == REPLY:
        return {"role": message.role, "content": message.action.text}
    arguments = json.dumps(dict(message.action.arguments), ensure_ascii=False)
    function = {"name": message.action.name, "arguments": arguments}
    calls = [{"id": call_id, "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


class _Answer:
    """What streams in, put together."""

    def __init__(self, by_grammar: bool, speak: bool) -> None:
        self._by_grammar, self._speak = by_grammar, speak
        self._said = grammar.ReplyStream() if by_grammar else grammar.TextStream()
        self._tool, self._arguments, self._finish = "", "", ""
        self._usage: Json = {}

    def take(self, chunk: Any) -> str:
        """Take what came; return what is new of a reply's text. The client library does not check what it reads."""
        try:
            new = self._taken(chunk)
        except (AttributeError, TypeError):
            raise EngineError(f"the model server sent an event that is no piece of an answer: {chunk!r:.80}") from None
        return new if self._speak else ""

    def _taken(self, chunk: Any) -> str:
        if chunk.usage is not None:
            self._usage = chunk.usage.model_dump()
        for choice in (chunk.choices or [])[:1]:
            self._finish = choice.finish_reason or self._finish
            for call in (choice.delta.tool_calls or [])[:1]:
                if call.index == 0 and call.function is not None:
                    self._tool += call.function.name or ""
                    self._arguments += call.function.arguments or ""
            return self._said.feed(choice.delta.content or "")
        return ""

    def finish(self, seconds: float) -> Generation:
        """The answer, when the stream has ended."""
        if not self._finish:
            raise EngineDied("the model server ended its stream without finishing the answer")
        action = self._action()
        if action.name == REPLY and not self._speak:
            raise EngineError("the model server replied with text where a tool had to be called")
        cached = (self._usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        prompt, completion = (self._usage.get(f"{side}_tokens") or 0 for side in ("prompt", "completion"))
        return Generation(action, prompt, cached, completion, seconds)

    def _action(self) -> Action:
        if self._by_grammar:
            return grammar.action_of(self._said.raw, self._finish != "length")
        if not self._tool:
            return Action(REPLY, {"text": self._said.text})
        try:
            return grammar.checked(self._tool, json.loads(self._arguments or "{}"))
        except (BadInput, ValueError, RecursionError):
            found = f"{self._tool}: {self._arguments[:80]!r}"
            raise EngineError(f"the model server returned a malformed call of {found}") from None
