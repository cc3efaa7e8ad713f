"""One operation of the API: what its row in the table says, and the route that obeys it.

    route(operation, office) -> Route

Whatever is wrong with a request is found here, before its handler is called: the role of the key, the query, the body.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kernos.kernel.errors import BadInput, Forbidden
from kernos.kernel.office import Office
from kernos.kernel.ports import Caller, KeyRole
from kernos.surfaces.http import caller_of

F = TypeVar("F", bound=BaseModel)


class Form(BaseModel):
    """What a caller sends. A field that nobody knows is an error, not a wish that goes unheard."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Nothing(Form):
    """No fields."""


@dataclass(frozen=True)
class Call:
    """A request that fits its operation. `path` are the parts of its path that vary."""

    office: Office
    request: Request
    path: Mapping[str, str]
    query: Form
    body: Form

    @property
    def caller(self) -> Caller:
        """Whose key came with it."""
        return caller_of(self.request)


@dataclass(frozen=True)
class Operation:
    """A row of the table. `handler` gives a value of the type `reply`, or a whole response of the media type `media`;
    its docstring describes it. `role` is what a key has to have for it; without one every key may, and the handler sees
    what is the caller's. `open`: no key is needed at all."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    handler: Callable[[Call], Awaitable[Any]]
    reply: Any
    body: type[Form] = Nothing
    query: type[Form] = Nothing
    role: KeyRole | None = None
    status: int = 200
    media: str = "application/json"
    open: bool = False


def route(operation: Operation, office: Office) -> Route:
    """The route that serves an operation."""
    written = TypeAdapter(operation.reply)

    async def endpoint(request: Request) -> Response:
        if operation.role and operation.role not in caller_of(request).roles:
            raise Forbidden(f"{operation.method} {operation.path} is for a key with the role {operation.role}")
        query = _form(operation.query, "query", dict(request.query_params), strict=False)
        body = _form(operation.body, "body", await _sent(request)) if operation.body is not Nothing else Nothing()
        reply = await operation.handler(Call(office, request, request.path_params, query, body))
        if isinstance(reply, Response):
            return reply
        return Response(written.dump_json(reply), operation.status, media_type=operation.media)

    return Route(operation.path, endpoint, methods=[operation.method])


async def _sent(request: Request) -> str:
    body = await request.body()
    try:
        return json.dumps(json.loads(body))
    except (ValueError, RecursionError) as error:
        raise BadInput("body", f"no JSON ({error})", "a JSON object") from None


def _form(form: type[F], where: str, sent: Any, strict: bool = True) -> F:
    """What was sent, as a form. Raises BadInput that names the first field that does not fit."""
    try:
        if strict:  # from JSON, where a list may stand for a tuple, but "1" for no number
            return form.model_validate_json(sent, strict=True)
        return form.model_validate(sent)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        known = ", ".join(form.model_fields) or "nothing"
        right = f"one of {known}" if first["type"] == "extra_forbidden" else first["msg"][:1].lower() + first["msg"][1:]
        found = "nothing" if first["type"] == "missing" else repr(first["input"])[:200]
        raise BadInput(f"{where}: {place}" if place else where, found, right) from None
