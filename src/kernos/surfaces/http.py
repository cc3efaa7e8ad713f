"""What all surfaces with a socket share: who calls, what an error looks like, and what a surface is for boot.

    surface(office) -> Surface           every such room has this one entry point; boot mounts what it returns
    caller_of(request) -> Caller         inside a route: whose key came with the request
    process_of(ledger, caller, pid)      a process that this caller may see
    sees, is_agent, may_speak            what a key opens, in all surfaces alike
    tell(office, status, words)          the owner's words, put to a process
    refused(error) -> Response           an error as the caller reads it; boot has it made of every error of a route

`Gatekeeper` stands before all routes: without a key that holds nobody gets in, except where `is_open` says so, and
nothing larger than `MOST_BYTES`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kernos.kernel.errors import (
    BadInput,
    EngineBusy,
    EngineError,
    Forbidden,
    KernosError,
    LimitExceeded,
    NotFound,
    StoreError,
    TooLarge,
    Unsupported,
)
from kernos.kernel.office import Answer, Ledger, Office
from kernos.kernel.ports import Caller, Keys
from kernos.kernel.types import Status

_STATUS: Sequence[tuple[type[KernosError], int, str]] = (
    (NotFound, 404, "not_found_error"),
    (TooLarge, 413, "invalid_request_error"),
    (BadInput, 400, "invalid_request_error"),
    (Forbidden, 403, "permission_error"),
    (LimitExceeded, 429, "rate_limit_error"),
    (EngineBusy, 503, "server_error"),
    (EngineError, 502, "server_error"),
    (StoreError, 503, "server_error"),
    (Unsupported, 501, "server_error"),
)
"""The status of an answer and OpenAI's name for it, for the first kind of error that fits."""
_OPEN = ("/api/health", "/api/openapi.json")
_CARD = re.compile(r"(/a2a/[^/]+)?/\.well-known/[\w.-]+")
PROCESS = "x-kernos-process"
"""The header in which a caller may name a process of its own, and is told which one answered."""
MOST_BYTES = 32 * 1024 * 1024
"""The body of a request may not be larger."""
BUSY_SECONDS = 1.0
"""After so long an engine that is busy may be asked again, if it did not say."""


@dataclass(frozen=True)
class Surface:
    """What boot mounts: routes with their whole paths, and what has to be open as long as they are served."""

    routes: Sequence[BaseRoute]
    lifespan: Callable[[], AbstractAsyncContextManager[None]] = nullcontext


def caller_of(request: HTTPConnection) -> Caller:
    """Whose key came with a request."""
    caller: Caller | None = request.scope.get("state", {}).get("caller")
    if caller is None:
        raise Forbidden("no key", known=False)
    return caller


def sees(caller: Caller, status: Status) -> bool:
    """Whether a process is one that this caller may know of."""
    if caller.pid:
        return status.pid == caller.pid
    if "operator" in caller.roles:
        return True
    return status.owner == caller.owner and caller.employee in ("", status.employee)


async def process_of(ledger: Ledger, caller: Caller, prefix: str) -> Status:
    """The process whose pid begins so, of those that this caller sees. Raises NotFound for none or several, just as if
    the others were not there."""
    try:
        found = [await ledger.find(prefix)]
    except NotFound:
        found = [status for status in await ledger.statuses() if status.pid.startswith(prefix)]
    found = [status for status in found if sees(caller, status)]
    if len(found) != 1:
        raise NotFound("process", repr(prefix), "the pid of a process of yours, or the beginning of one")
    return found[0]


def is_agent(caller: Caller) -> bool:
    """Whether the key was given to an agent: it stands for a process, or for the right to start one."""
    return bool(caller.pid or caller.employee)


def may_speak(caller: Caller) -> bool:
    """Whether what comes with this key may count as its owner's own words. An agent's key says so, or it may not: it
    would put words into its owner's mouth (I4)."""
    return caller.speaks or not is_agent(caller)


async def tell(office: Office, status: Status, words: str) -> None:
    """Put its owner's words to a process: they answer what it asks in words, and are a message if it asks nothing."""
    question = await office.kernel.question(status.pid)
    if question is not None and question.kind == "ask":
        await office.kernel.answer(status.pid, Answer(status.owner, text=words, to=question.seq))
    else:
        await office.kernel.deliver(status.pid, words)
    office.dispatcher.hint(status.pid)


def status_of(error: KernosError) -> tuple[int, str]:
    """The status for an error, and OpenAI's name for its kind."""
    if isinstance(error, Forbidden) and not error.known:
        return 401, "authentication_error"
    return next(((status, name) for kind, status, name in _STATUS if isinstance(error, kind)), (500, "server_error"))


def body_of(error: KernosError) -> dict[str, dict[str, str]]:
    """What is said of an error, in the form that OpenAI's clients read."""
    message = str(error).encode("utf-8", "replace").decode()  # a text may come in with half a surrogate pair
    return {"error": {"message": message, "type": status_of(error)[1], "code": error.code}}


def refused(error: KernosError) -> Response:
    """The answer for an error."""
    status, _ = status_of(error)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if isinstance(error, EngineBusy):
        headers["Retry-After"] = str(math.ceil(error.after or BUSY_SECONDS))
    return JSONResponse(body_of(error), status, headers)


async def on_error(request: Request, error: Exception) -> Response:
    """The handler that boot installs for every error of a route."""
    if isinstance(error, KernosError):
        return refused(error)
    if isinstance(error, HTTPException):
        missing = NotFound(request.url.path, request.method, "a path and method in /api/openapi.json")
        body = {"error": {"message": str(missing), "type": "not_found_error", "code": missing.code}}
        return JSONResponse(body, error.status_code, error.headers)
    return refused(KernosError("a defect of Kernos: its own output says which"))


def is_open(path: str) -> bool:
    """Whether a path is for everybody: health, the description of the API, and the cards that agents find others by."""
    return path in _OPEN or _CARD.fullmatch(path) is not None


class Gatekeeper:
    """Puts the caller that a key stands for into the state of a request; refuses a request without one, and any that
    comes from where nothing may go."""

    def __init__(self, app: ASGIApp, keys: Keys, admits: Callable[[str], bool] = lambda host: True) -> None:
        self._app, self._keys, self._admits = app, keys, admits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            client = scope.get("client")
            if client and not self._admits(client[0]):
                raise Forbidden(f"this place is sovereign, and {client[0]} is in none of its networks (networks.allow)")
            if is_open(scope["path"]):
                await self._app(scope, receive, send)
                return
            caller, receive = await identified(scope, self._keys), _bounded(scope, receive)
        except KernosError as error:
            await refused(error)(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """What brings a body that is not too large. Raises TooLarge at once if it says that it is, and else when it is."""
    came = 0

    def check(size: int) -> None:
        if size > MOST_BYTES:
            raise TooLarge("body", f"{size:,} bytes or more", f"at most {MOST_BYTES:,}")

    async def bounded() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        check(came)
        return message

    check(int(next((value for name, value in scope["headers"] if name == b"content-length"), b"0")))
    return bounded


async def identified(scope: Scope, keys: Keys) -> Caller:
    """Who the key of a request stands for at this moment. Raises Forbidden if it holds no longer, or there is none."""
    given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    scheme, _, secret = given.decode("latin-1").partition(" ")
    caller = await keys.caller(secret.strip()) if scheme.casefold() == "bearer" else None
    if caller is None:
        said = "a key that does not hold" if given else "no key"
        raise Forbidden(f"{said}: send Authorization: Bearer kn_... (kernos key add)", known=False)
    return caller
