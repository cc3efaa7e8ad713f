"""The addresses under `/v1`. A key stands for a process, or for the right to start one; every call of a model is a
system call of that process.

    surface(office)        what boot mounts
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from kernos.kernel.errors import BadInput, NotFound
from kernos.kernel.office import Office
from kernos.kernel.ports import Caller
from kernos.kernel.types import EMPTY, REPLY, Generation, Json, Message
from kernos.surfaces.http import PROCESS, Surface, body_of, caller_of, process_of
from kernos.surfaces.openai import chat, embeddings, responses
from kernos.surfaces.openai.fields import Asked, wrong
from kernos.surfaces.openai.seats import VECTORS, Seat, Seats
from kernos.surfaces.openai.stream import Flow, Form, attended, events
from kernos.surfaces.openai.threads import beginnings

CONTEXTS = 1_000
"""Of so many responses the context is kept in memory; of others it is read from the journal."""
CONTEXT_CHARS = 64 * 1024 * 1024
"""Contexts of responses are kept up to so many characters together."""
_NAME = 24
"""So many digits of a context's hash name what follows it."""
Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


def surface(office: Office) -> Surface:
    """The routes of OpenAI's API."""
    api = Api(office)
    addresses: Sequence[tuple[str, str, Endpoint]] = (
        ("POST", "/v1/chat/completions", api.chat),
        ("POST", "/v1/responses", api.responses),
        ("GET", "/v1/responses/{name}", api.response),
        ("DELETE", "/v1/responses/{name}", api.forget),
        ("GET", "/v1/models", api.models),
        ("GET", "/v1/models/{name:path}", api.model),
        ("POST", "/v1/embeddings", api.embeddings),
    )
    return Surface([Route(path, _until_gone(endpoint), methods=[method]) for method, path, endpoint in addresses])


def _until_gone(endpoint: Endpoint) -> Endpoint:
    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it

    return answered


async def _body(request: Request) -> dict[str, Json]:
    text = await request.body()
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise BadInput("body", repr(text[:80]), "a JSON object")
    return body


class Contexts:
    """The contexts of the latest responses, by name."""

    def __init__(self, count: int = CONTEXTS, chars: int = CONTEXT_CHARS) -> None:
        self._count, self._chars, self._held = count, chars, 0
        self._kept: OrderedDict[str, Sequence[Message]] = OrderedDict()

    def keep(self, name: str, messages: Sequence[Message]) -> None:
        """Keep one, and drop the oldest of those that are too many."""
        self._held += _chars(messages) - _chars(self._kept.pop(name, ()))
        self._kept[name] = messages
        while len(self._kept) > self._count or self._held > self._chars:
            self._held -= _chars(self._kept.popitem(last=False)[1])

    def of(self, name: str) -> Sequence[Message]:
        """The one of this name; none if it is not kept."""
        return self._kept.get(name, ())


class Api:
    """What is done at each address."""

    def __init__(self, office: Office) -> None:
        self._office, self._seats = office, Seats(office)
        self._contexts = Contexts()

    async def chat(self, request: Request) -> Response:
        """Chat completions."""
        asked = chat.read(await _body(request))
        seat = await self._seat(request, asked)
        clock = self._office.clock
        form = chat.Chat(clock.name(), self._model(asked), clock.now(), asked, _most(seat, asked))
        return await self._answer(request, seat, asked, form)

    async def responses(self, request: Request) -> Response:
        """Responses, which may go on from an earlier one."""
        body = await _body(request)
        previous = str(body.get("previous_response_id") or "")
        pid, past = await self._past(previous) if previous else ("", ())
        heads = [EMPTY, *beginnings(past)]
        calls = [f"call_{head[:_NAME]}" if _calls(message) else "" for head, message in zip(heads, past, strict=False)]
        asked = responses.read(body, past, calls)
        seat = await self._seat(request, asked, pid)
        last = seat.heads[-1][:_NAME]
        name = f"resp_{seat.pid}_{last}"
        now, most = self._office.clock.now(), _most(seat, asked)
        form = responses.Response(name, f"call_{last}", self._model(asked), now, asked, most)
        return await self._answer(request, seat, asked, form, name)

    async def response(self, request: Request) -> Response:
        """An earlier response, as the journal has it."""
        name, caller, ledger = request.path_params["name"], caller_of(request), self._office.ledger
        pid, head = _parts(name)
        try:
            status = await process_of(ledger, caller, pid)
            asked, answered = await ledger.generated(status.pid, head)
        except NotFound:
            raise NotFound("response", repr(name), "the id of a response of yours that a model gave") from None
        return JSONResponse(responses.recorded(name, f"call_{head}", asked, answered))

    async def forget(self, request: Request) -> Response:
        """What happened cannot be taken back."""
        kept = BadInput("method", "DELETE", "GET: the journal keeps what happened, and only its owner can prune it")
        return JSONResponse(body_of(kept), 405, {"Allow": "GET"})

    async def models(self, request: Request) -> Response:
        """All engines and employees that the caller may ask for."""
        known = self._known(caller_of(request))
        return JSONResponse({"object": "list", "data": [_shown(name, owner) for name, owner in known.items()]})

    async def model(self, request: Request) -> Response:
        """One engine or employee."""
        name, known = request.path_params["name"], self._known(caller_of(request))
        if name not in known:
            raise NotFound("model", repr(name), " or ".join(known))
        return JSONResponse(_shown(name, known[name]))

    async def embeddings(self, request: Request) -> Response:
        """Vectors of texts, made by an engine that embeds."""
        asked = embeddings.read(await _body(request))
        caller, named = caller_of(request), request.headers.get(PROCESS, "")
        seat = await self._seats.seat(caller, asked.model, VECTORS, named)
        embedded = await attended(request, self._seats.embedded(seat, asked.texts))
        return JSONResponse(embeddings.whole(asked, embedded), headers={PROCESS: seat.pid})

    def _known(self, caller: Caller) -> dict[str, str]:
        employees = [slug for slug in self._office.employees if caller.employee in ("", slug)]
        return dict.fromkeys(employees, "employee") | dict.fromkeys(self._office.engines, "engine")

    def _model(self, asked: Asked) -> str:
        return asked.model or "default"

    async def _seat(self, request: Request, asked: Asked, pid: str = "") -> Seat:
        named = request.headers.get(PROCESS, "")
        if pid and named not in ("", pid):
            raise wrong(PROCESS, named, f"{pid}, to which the previous response belongs")
        heads = beginnings(asked.call.messages)
        return await self._seats.seat(caller_of(request), asked.model, heads, pid or named)

    async def _answer(
        self, request: Request, seat: Seat, asked: Asked, form: Form, keep: str = ""
    ) -> Response:  # fmt: skip
        """Have a request answered, whole or streamed. What goes wrong before the first piece has its own status."""
        headers = {PROCESS: seat.pid}

        async def work(draft: Callable[[str], None]) -> Generation:
            generation = await self._seats.answer(seat, asked, draft)
            if keep:
                self._contexts.keep(keep, (*asked.call.messages, Message("assistant", action=generation.action)))
            return generation

        if not asked.stream:
            generation = await attended(request, work(lambda text: None))
            return JSONResponse(form.whole(generation), headers=headers)
        flow = Flow(work)
        try:
            first = await attended(request, flow.batch())
        except BaseException:
            flow.close()
            raise
        if not first:
            flow.result()
        return StreamingResponse(events(flow, first, form), media_type="text/event-stream", headers=headers)

    async def _past(self, name: str) -> tuple[str, Sequence[Message]]:
        """The process of a response, and its context with the answer."""
        pid, head = _parts(name)
        if kept := self._contexts.of(name):
            return pid, kept
        try:
            return pid, await self._office.ledger.context(pid, head)
        except NotFound:
            raise NotFound("previous_response_id", repr(name), "the id of a response") from None


def _parts(name: str) -> tuple[str, str]:
    """The process of a response, and the beginning of its context's hash; no hash begins so if the name has none."""
    pid, _, head = name.removeprefix("resp_").rpartition("_")
    return pid, head or name


def _most(seat: Seat, asked: Asked) -> float:
    """With how many tokens an answer was cut: an employee's never is, whatever its model calls came to in all."""
    return math.inf if seat.employee else asked.call.max_tokens


def _calls(message: Message) -> bool:
    return message.action is not None and message.action.name != REPLY


def _chars(messages: Sequence[Message]) -> int:
    """How many characters messages have, about."""
    actions = (message.action for message in messages if message.action)
    spoken = sum(len(message.text) + sum(map(len, message.images)) for message in messages)
    return spoken + sum(len(str(action.arguments)) for action in actions)


def _shown(name: str, owner: str) -> dict[str, Json]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}
