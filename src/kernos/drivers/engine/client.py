"""Any OpenAI-compatible model server, over HTTP: vLLM, SGLang, Ollama, llama-server, clouds.

How tools are used is a setting, `calls`: "native" passes them as tools and reads tool calls back, for servers that
are dependable at it; "grammar" decodes under a schema of actions (see `grammar`); "auto" asks the server what it is:
llama.cpp gets the grammar (its own tool choice is not enforced), any other is taken at its word. A prompt without
tools, or one that offers none and gives the reply a shape, is answered in plain text in any case.

Nothing is tried again here, which is the scheduler's to decide, except on a connection that had stood idle: that one
may have broken unseen. The client is written by hand on `aiohttp`, as a gateway spends most of its time in it.
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from kernos.drivers.engine import chat, grammar
from kernos.kernel.errors import BadInput, EngineBusy, EngineDied, EngineError
from kernos.kernel.ports import Prompt
from kernos.kernel.types import Generation, Json, tokens_about

Calls = Literal["auto", "native", "grammar"]
Hints = Literal["", "openai", "vllm", "sglang"]
Draft = Callable[[str], None]
_WORDS_BYTES = 65_536
_BUSY = (429, 503)


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
        hints: what the server is, if it is to be told of priorities (vLLM with `--scheduling-policy priority`, SGLang
            with `--enable-priority-scheduling`) or of contexts that share a prefix (OpenAI).
    """

    def __init__(
        self, url: str, model: str = "", key: str = "", calls: Calls = "auto", slots: int = 4, timeout: float = 600.0,
        direct: bool = False, hints: Hints = "",
    ) -> None:  # fmt: skip
        self._base, self._url, self._key = url.rstrip("/"), _shown(url), key
        self._model, self._calls, self._slots, self._hints = model, calls, slots, hints
        self._timeout, self._direct = timeout, direct
        self._session: aiohttp.ClientSession | None = None

    @property
    def slots(self) -> int:
        return self._slots

    async def generate(self, prompt: Prompt, draft: Draft) -> Generation:
        """One action; see `ports.Engine`. Cancelling it closes the connection, by which the server knows."""
        started = time.monotonic()
        with self._errors():
            await self._detect()
            by_grammar = self._calls == "grammar" and bool(prompt.offers or (prompt.tools and not prompt.shape))
            request = self._by_grammar(prompt) if by_grammar else self._natively(prompt)
            answer = chat.Answer(by_grammar, prompt.speak)
            async with await self._send("POST", "/chat/completions", request) as response:
                await chat.stream(response.content, answer, draft)
        return answer.finish(time.monotonic() - started, tokens_about(message.text for message in prompt.messages))

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _detect(self) -> None:
        """Settle the model's name and how to use tools, from what the server says of itself."""
        if self._model and self._calls != "auto":
            return
        async with await self._send("GET", "/models") as response:
            page = await response.read()
        try:
            owners = {str(model["id"]): model.get("owned_by") for model in json.loads(page)["data"]}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise EngineError(f"{self._url} is no model server: what it has at /models is no list of models") from None
        if not owners:
            raise EngineError(f"the model server at {self._url} lists no model")
        first = next(iter(owners))
        self._model = self._model or first
        if self._calls == "auto":
            self._calls = "grammar" if owners.get(self._model, owners[first]) == "llamacpp" else "native"

    async def _send(self, method: str, path: str, body: Json = None) -> aiohttp.ClientResponse:
        """The beginning of an answer that is no refusal."""
        session = self._opened()
        while True:
            connection = SimpleNamespace(reused=False)
            try:
                response = await session.request(method, self._base + path, json=body, trace_request_ctx=connection)
                break
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if not connection.reused:
                    raise
            except (ValueError, aiohttp.NonHttpUrlClientError):  # their words may hold a password
                what = "its URL, its key or where it redirects to is malformed"
                raise EngineError(f"cannot reach the model server at {self._url}: {what}") from None
        if response.status // 100 != 2:
            raise await self._refusal(response)
        return response

    def _opened(self) -> aiohttp.ClientSession:
        """The session, on the loop that runs."""
        if self._session is None:
            named = _shown(self._base) != self._base  # the URL's name and password are sent in the same header
            bearer = {"Authorization": f"Bearer {self._key}"} if self._key and not named else {}
            watch = aiohttp.TraceConfig()
            watch.on_connection_reuseconn.append(_reused)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, resolver=_Resolver()),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=bearer,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=self._timeout),
                proxy=None if self._direct else _proxy(self._base),
                trace_configs=[watch],
            )
        return self._session

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What goes wrong with the server, as errors of ours. Where no connection came about it was not there; one
        that fails is a death."""
        server = f"the model server at {self._url}"
        try:
            yield
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise EngineDied(f"cannot reach {server}: {_first(error)}") from None
        except aiohttp.ClientResponseError as error:
            raise EngineError(f"{server} failed: {chat.line(error.message)}") from None
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise EngineDied(f"{server} broke off: {_first(error)}") from None

    async def _refusal(self, response: aiohttp.ClientResponse) -> EngineError:
        async with response:
            body = b""
            while len(body) < _WORDS_BYTES and (data := await response.content.readany()):
                body += data
        said: Json = body.decode("utf-8", "replace")
        with suppress(ValueError, RecursionError):
            said = json.loads(said)
        words = f"the model server at {self._url} refused: {response.status} {chat.words(said) or response.reason}"
        return EngineBusy(words, _after(response)) if response.status in _BUSY else EngineError(words)

    def _common(self, prompt: Prompt) -> dict[str, Any]:
        return {
            **prompt.options,
            "model": self._model,
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
            **self._hinted(prompt),
        }

    def _hinted(self, prompt: Prompt) -> dict[str, Json]:
        if self._hints == "openai":
            return {"prompt_cache_key": prompt.context} if prompt.context else {}
        sooner = {"vllm": prompt.priority, "sglang": -prompt.priority}  # SGLang takes the highest first
        return {"priority": sooner[self._hints]} if self._hints else {}

    def _by_grammar(self, prompt: Prompt) -> dict[str, Any]:
        if any(message.images for message in prompt.messages):
            raise BadInput("messages", "images", f"text: by grammar the model at {self._url} sees none")
        form = chat.form("action", grammar.union(prompt))
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
        choice: dict[str, Json] = (
            {"tools": tools, "tool_choice": "auto" if prompt.speak else "required"} if tools else {}
        )
        if tools and self._hints:  # of an unknown server it is not known whether it takes this field
            choice["parallel_tool_calls"] = False
        shape = {"response_format": chat.form("reply", dict(prompt.shape))} if prompt.shape else {}
        return {**self._common(prompt), "messages": chat.messages(prompt), **choice, **shape}


class _Resolver(AbstractResolver):
    """Looks names up in the interpreter, where the gate of sovereign mode sees it: uvloop does it in C."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await asyncio.to_thread(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        return [
            ResolveResult(hostname=host, host=str(place[0]), port=int(place[1]), family=kind, proto=proto, flags=0)
            for kind, _, proto, _, place in found
        ]

    async def close(self) -> None:
        """Nothing to let go of."""


async def _reused(
    _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceConnectionReuseconnParams
) -> None:
    context.trace_request_ctx.reused = True


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for this server, found once: aiohttp would ask at each call, in a thread."""
    with suppress(ValueError):  # a URL that is none is told of at the call
        parts, proxies = urlsplit(url), getproxies()
        return None if proxy_bypass(parts.hostname or "") else proxies.get(parts.scheme) or proxies.get("all")
    return None


def _shown(url: str) -> str:
    """A URL without the name and password that it may hold."""
    head, mark, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{head}{mark}{place.rpartition('@')[2]}{slash}{path}"


def _first(error: BaseException) -> str:
    """What went wrong first: each layer of the client has words of its own for it."""
    group = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
    below = group or error.__cause__
    return (_first(below) if below else "") or chat.line(str(error)) or type(error).__name__


def _after(response: aiohttp.ClientResponse) -> float | None:
    """In how many seconds the server wants to be asked again. A date is counted from the server's own clock."""
    said, asked = response.headers.get("Retry-After", ""), response.headers.get("retry-after-ms", "")
    with suppress(ValueError):
        return _seconds(float(asked) / 1000)
    with suppress(ValueError):
        return _seconds(float(said))
    with suppress(ValueError, TypeError):  # TypeError: of two dates one has no zone
        wait = parsedate_to_datetime(said) - parsedate_to_datetime(response.headers.get("Date", ""))
        return _seconds(wait.total_seconds())
    return None


def _seconds(count: float) -> float | None:
    return max(0.0, count) if math.isfinite(count) else None
