"""The server: one endpoint for the stateless protocol and for clients of the older ones.

    surface(office) -> Surface
    Tools.list(context, …)     the tools of the caller's employee
    Tools.call(context, …)     one call, put to the person at the client where that is allowed

Who may answer an approval here: the person at the client of a key that `speaks`, for a process of his own, where the
owner is the approver. Any other client may be the very agent whose call it is, and no agent answers for a person.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request

from kernos.kernel.abi import Invoke
from kernos.kernel.errors import BadInput, KernosError
from kernos.kernel.office import Answer, Office, Pending, Question
from kernos.kernel.ports import Caller
from kernos.kernel.types import Status
from kernos.surfaces.http import PROCESS, Surface, caller_of
from kernos.surfaces.mcp.calls import Calls
from kernos.surfaces.mcp.results import failed, result_of, tool_of, waits
from kernos.userland.cards import card

PATIENCE_SECONDS = 30.0
"""So long a call waits for a person; less if the client says so (`Prefer: wait=5`)."""
_FORM = {
    "type": "object",
    "properties": {"approve": {"type": "boolean", "title": "Allow this call, once"}},
    "required": ["approve"],
}

Context = ServerRequestContext[dict[str, Any], Request]


def surface(office: Office) -> Surface:
    """The endpoint `/mcp`."""
    tools = Tools(office)
    server = Server[dict[str, Any]](
        "kernos", version=office.version, on_list_tools=tools.list, on_call_tool=tools.call
    )  # fmt: skip
    app = server.streamable_http_app(host=urlsplit(office.base).hostname or "127.0.0.1")
    return Surface(app.routes, server.session_manager.run)


class Tools:
    """What clients may list and call."""

    def __init__(self, office: Office) -> None:
        self._office, self._calls = office, Calls(office)

    async def list(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """The tools that the caller's employee was granted."""
        try:
            employee = await self._calls.employee(caller_of(_request(context)), _named(context))
        except KernosError as error:
            raise MCPError(types.INVALID_PARAMS, str(error), {"code": error.code}) from None
        return types.ListToolsResult(tools=[tool_of(spec) for spec in employee.tools])

    async def call(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """One call."""
        caller = caller_of(_request(context))
        request = Invoke(params.name, params.arguments or {})
        try:
            status = await self._calls.process(caller, _named(context))
            done = await self._calls.make(status, request)
            if isinstance(done, Pending):
                asked = await self._ask(context, params, caller, status, done)
                if isinstance(asked, types.InputRequiredResult):
                    return asked
                done = await self._calls.settled(done, request, _patience(context))
            return waits(done) if isinstance(done, Pending) else result_of(done)
        except KernosError as error:
            return failed(str(error))

    async def _ask(
        self, context: Context, params: types.CallToolRequestParams, caller: Caller, status: Status, pending: Pending
    ) -> types.InputRequiredResult | None:
        """Put an approval to the person at the client, if he may answer it. Newer clients are sent the question as the
        result of the call, and make it again with the answer; older ones are asked while it waits."""
        question = pending.question
        if question is None or not _may_answer(context, caller, status, question):
            return None
        form = types.ElicitRequestFormParams(message=card(question), requested_schema=_FORM)
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            key = f"approve {question.pid} {question.seq}"
            given = (params.input_responses or {}).get(key)
            if given is None:
                return types.InputRequiredResult(input_requests={key: types.ElicitRequest(params=form)})
        else:
            given = None
            with suppress(MCPError):  # a client that could not ask after all
                given = await context.session.elicit_form(form.message, _FORM, context.request_id)
        if isinstance(given, types.ElicitResult):
            await self._answer(caller, question, given)
        return None

    async def _answer(self, caller: Caller, question: Question, given: types.ElicitResult) -> None:
        """The person's answer, once; a form that was closed is none."""
        if given.action == "cancel":
            return
        approved = given.action == "accept" and (given.content or {}).get("approve") is True
        text = f"in the MCP client of the key {caller.key}"
        with suppress(BadInput):  # somebody else was first
            answer = Answer(caller.owner, approved, text, scope="once", to=question.seq)
            await self._office.kernel.answer(question.pid, answer)
        self._office.dispatcher.hint(question.pid)


def _may_answer(context: Context, caller: Caller, status: Status, question: Question) -> bool:
    capabilities = context.session.client_capabilities
    form = capabilities.elicitation if capabilities else None
    able = form is not None and (form.form is not None or form.url is None)
    reached = context.session.can_send_request or context.protocol_version in MODERN_PROTOCOL_VERSIONS
    his = caller.speaks and status.owner == caller.owner and question.approver == "owner"
    return able and reached and his and question.kind == "approval"


def _request(context: Context) -> Request:
    assert context.request is not None  # every call comes by HTTP
    return context.request


def _named(context: Context) -> str:
    """The process that a client asks for."""
    return _request(context).headers.get(PROCESS, "")


def _patience(context: Context) -> float:
    """For how many seconds a call may wait."""
    name, _, seconds = _request(context).headers.get("prefer", "").partition("=")
    return min(float(seconds), PATIENCE_SECONDS) if name == "wait" and seconds.isdecimal() else PATIENCE_SECONDS
