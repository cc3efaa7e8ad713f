"""Any OpenAI-compatible model server, through the official client: vLLM, SGLang, Ollama, llama-server, clouds.

How tools are used is a setting, `calls`: "native" passes them as tools and reads tool calls back, for servers that
are dependable at it; "grammar" decodes under a schema of actions (see `grammar`); "auto" asks the server what it is:
llama.cpp gets the grammar (its own tool choice is not enforced), any other is taken at its word.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Literal

import httpx2
import openai
from openai import AsyncOpenAI

from kernos.drivers.engine import grammar
from kernos.kernel.errors import EngineDied, EngineError
from kernos.kernel.ports import Prompt
from kernos.kernel.types import REPLY, Action, Generation, Json

Calls = Literal["auto", "native", "grammar"]
Draft = Callable[[str], None]
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
    """

    def __init__(
        self, url: str, model: str = "", key: str = "", calls: Calls = "auto", slots: int = 4, timeout: float = 600.0
    ) -> None:
        self._client = AsyncOpenAI(base_url=url, api_key=key or "none", timeout=timeout, max_retries=1)
        self._url, self._model, self._calls, self._slots = url, model, calls, slots

    @property
    def slots(self) -> int:
        return self._slots

    async def generate(self, prompt: Prompt, draft: Draft) -> Generation:
        """One action; see `ports.Engine`."""
        started = time.monotonic()
        try:
            await self._detect()
            request = self._by_grammar(prompt) if self._calls == "grammar" else self._natively(prompt)
            answer = _Answer(draft, self._calls == "grammar")
            stream = await self._client.chat.completions.create(**request)
            async for chunk in stream:
                answer.take(chunk)
        except openai.APIConnectionError as error:
            raise EngineError(f"cannot reach the model server at {self._url}: {error.__cause__ or error}") from None
        except openai.APIStatusError as error:
            raise EngineError(f"the model server at {self._url} refused: {_reason(error)}") from None
        except _BROKEN as error:
            raise EngineDied(f"the model server at {self._url} broke off: {type(error).__name__}") from None
        return answer.finish(time.monotonic() - started)

    async def close(self) -> None:
        await self._client.close()

    async def _detect(self) -> None:
        """Settle the model's name and how to use tools, from what the server says of itself."""
        if self._model and self._calls != "auto":
            return
        models = (await self._client.models.list()).data
        chosen = next((model for model in models if model.id == self._model), models[0] if models else None)
        if chosen is None:
            raise EngineError(f"the model server at {self._url} lists no model")
        self._model = self._model or chosen.id
        if self._calls == "auto":
            self._calls = "grammar" if chosen.owned_by == "llamacpp" else "native"

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


def _reason(error: openai.APIStatusError) -> str:
    body: Json = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return f"{error.status_code} {message or error.message}"


def _native_messages(prompt: Prompt) -> list[dict[str, Json]]:
    """The context as the API has it: each tool's message answers the call before it."""
    written: list[dict[str, Json]] = []
    call_id = ""
    for place, message in enumerate(prompt.messages):
        if message.role == "tool":
            written.append({"role": "tool", "tool_call_id": call_id, "content": message.text})
        elif message.action is not None and message.action.name != REPLY:
            call_id = f"call_{place}"
            arguments = json.dumps(dict(message.action.arguments), ensure_ascii=False)
            function = {"name": message.action.name, "arguments": arguments}
            calls = [{"id": call_id, "type": "function", "function": function}]
            written.append({"role": "assistant", "content": None, "tool_calls": calls})
        else:
            text = message.action.text if message.action is not None else message.text
            written.append({"role": message.role, "content": text})
    return written


class _Answer:
    """What streams in, put together."""

    def __init__(self, draft: Draft, by_grammar: bool) -> None:
        self._draft, self._by_grammar = draft, by_grammar
        self._text, self._tool, self._arguments, self._finish = "", "", "", ""
        self._stream = grammar.ReplyStream()
        self._usage: Json = {}

    def take(self, chunk: Any) -> None:
        if chunk.usage is not None:
            self._usage = chunk.usage.model_dump()
        for choice in chunk.choices[:1]:
            self._finish = choice.finish_reason or self._finish
            for call in (choice.delta.tool_calls or [])[:1]:
                if call.index == 0 and call.function is not None:
                    self._tool += call.function.name or ""
                    self._arguments += call.function.arguments or ""
            if piece := choice.delta.content:
                self._text += piece
                new = self._stream.feed(piece) if self._by_grammar else piece
                if new:
                    self._draft(new)

    def finish(self, seconds: float) -> Generation:
        cached = (self._usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        prompt, completion = self._usage.get("prompt_tokens", 0), self._usage.get("completion_tokens", 0)
        return Generation(self._action(), prompt, cached, completion, seconds)

    def _action(self) -> Action:
        if not self._finish:
            raise EngineDied("the model server ended its stream without finishing the answer")
        if self._by_grammar:
            return grammar.action_of(self._text, self._finish != "length")
        if not self._tool:
            return Action(REPLY, {"text": self._text.strip()})
        try:
            arguments = json.loads(self._arguments or "{}")
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            raise EngineError(f"the model server returned a malformed call of {self._tool}: {self._arguments[:80]!r}")
        return Action(self._tool, grammar.whole(arguments))
