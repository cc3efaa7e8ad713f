"""Tools of MCP servers, over the official client: programs that are started here, and addresses.

    server = McpServer("mail", Launch("mail-server"), log)
    tools = await server.tools()                     # what it lists now; kept as its pinned list
    tool = McpTool(spec, server, tools["search"])    # refused once the server lists another tool by that name

A server is opened when it is first needed and has one session, which lives in a task of its own, as what it consists of
has to be entered and left in one. A session that has ended is opened again by the next call. A call that was in flight
may have happened: what may not be repeated is then in doubt. What a server asks of its client is declined.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from mcp import StdioServerParameters, stdio_client
from mcp.client._transport import ReadStream, TransportStreams
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext, IncomingMessage
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp_types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
    CallToolResult,
    ElicitRequestParams,
    ElicitResult,
    TextContent,
    ToolListChangedNotification,
)
from referencing.exceptions import Unresolvable

from kernos.drivers.tool.schema import Checked
from kernos.kernel.errors import ToolError, Uncertain
from kernos.kernel.ports import ToolResult
from kernos.kernel.types import Json, ToolSpec

OPEN_SECONDS = 30.0
"""In which a server has to list its tools after it was started."""
PAGES = 100
_LOST = {CONNECTION_CLOSED, INTERNAL_ERROR, PARSE_ERROR, REQUEST_TIMEOUT}
"""Errors after which nobody knows what became of a call; by any other the server has refused it."""
_OVER = "Session terminated"
"""What the client says of a session that the server does not know any more."""

logging.getLogger("mcp").addHandler(logging.NullHandler())  # it logs what it raises too


@dataclass(frozen=True)
class Launch:
    """A program to be started, and spoken with over its standard input and output."""

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


@dataclass(frozen=True)
class Address:
    """A server somewhere; `sse`: over the transport of 2024."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    sse: bool = False


class McpServer:
    """One server. What it writes to its standard error goes to `log`."""

    def __init__(self, name: str, opened: Launch | Address, log: Path) -> None:
        self._name, self._opened, self._log = name, opened, log
        self._sessions: list[_Session] = []

    async def tools(self) -> Mapping[str, Json]:
        """What it lists now, by name: each with name, description and inputSchema; a tool whose schema is none is left
        out. Raises ToolError if it does not answer."""
        return (await self._session()).tools or {}

    async def call(self, pinned: Json, arguments: Mapping[str, Json], repeatable: bool) -> CallToolResult:
        """Call a tool as it was listed once. Raises Uncertain if it may have happened, ToolError if it has not, or may
        be repeated."""
        session = await self._session()
        name = pinned["name"]
        if (session.tools or {}).get(name) != pinned:
            raise ToolError(
                f"{self._name} has changed its tool {name}: it may not be called before somebody has looked "
                f"(kept in {self._log.with_suffix('.json')}; kernos mcp accept {self._name})"
            )
        try:
            return await session.client.call_tool(name, dict(arguments))
        except MCPError as error:
            if error.message == _OVER or error.code == CONNECTION_CLOSED:
                session.ended.set()
            lost = error.code in _LOST
            said = f"{self._name}: {error}"
        except Exception as error:  # an answer that is none: not of the protocol's form, or not of its own schema
            lost, said = True, f"{self._name} answered with nonsense: {error}"
        raise Uncertain(said) if lost and not repeatable else ToolError(said)

    async def close(self) -> None:
        """End the session, and the program that was started."""
        for session in self._sessions:
            await session.close()

    async def _session(self) -> _Session:
        """The session, opened if there is none. Raises ToolError."""
        self._sessions = [session for session in self._sessions if not session.over]
        if not self._sessions or self._sessions[-1].ended.is_set():
            self._sessions.append(_Session(self._transport()))
        session = self._sessions[-1]
        try:
            await asyncio.shield(session.opened)
            await session.list_tools()
        except Exception as error:
            raise ToolError(f"the MCP server {self._name} cannot be reached: {_why(error)}") from None
        return session

    @asynccontextmanager
    async def _transport(self) -> AsyncGenerator[TransportStreams]:
        where = self._opened
        if isinstance(where, Launch):
            given = StdioServerParameters(
                command=where.command, args=list(where.args), env=dict(where.env), cwd=where.cwd
            )
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("a", encoding="utf-8") as log:
                async with stdio_client(given, log) as streams:
                    yield streams
        elif where.sse:
            async with sse_client(where.url, dict(where.headers)) as streams:
                yield streams
        else:
            timeout = httpx2.Timeout(OPEN_SECONDS, read=None)  # a call may take as long as its tool may
            async with (
                httpx2.AsyncClient(headers=dict(where.headers), timeout=timeout) as client,
                streamable_http_client(where.url, http_client=client) as streams,
            ):
                yield streams


class _Session:
    """One session, from its beginning to its end, in a task of its own."""

    client: Client

    def __init__(self, transport: AbstractAsyncContextManager[TransportStreams]) -> None:
        self.ended = asyncio.Event()
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.opened.add_done_callback(lambda opened: opened.cancelled() or opened.exception())  # who asked may be gone
        self.tools: Mapping[str, Json] | None = None
        self._task = asyncio.create_task(self._live(transport))

    @property
    def over(self) -> bool:
        """Whether nothing of it is left."""
        return self._task.done()

    async def list_tools(self) -> None:
        """Have the tools that the server has now, as far as it tells of changes."""
        if self.tools is None:
            self.tools = await _listed(self.client)

    async def close(self) -> None:
        self.ended.set()
        if not self.opened.done():
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _live(self, transport: AbstractAsyncContextManager[TransportStreams]) -> None:
        try:
            async with (
                asyncio.timeout(OPEN_SECONDS) as clock,
                Client(
                    _watched(transport, self.ended), elicitation_callback=_declined, message_handler=self._told
                ) as self.client,
            ):
                await self.list_tools()
                clock.reschedule(None)
                self.opened.set_result(None)
                await self.ended.wait()
        except Exception as error:
            if not self.opened.done():
                self.opened.set_exception(error)
        finally:
            self.ended.set()

    async def _told(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self.tools = None


class McpTool(Checked):
    """A tool of a server, as the server once listed it: `pinned`."""

    def __init__(self, spec: ToolSpec, server: McpServer, pinned: Json) -> None:
        super().__init__(spec)
        self._server, self._pinned = server, pinned

    def problem(self, arguments: Mapping[str, Json]) -> str | None:
        """What is wrong with the arguments by the server's schema."""
        try:
            return super().problem(arguments)
        except Unresolvable as error:
            return f"the schema of {self._spec.name} refers to what is not there: {error}"

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        """Raises ToolError also for what the server calls an error."""
        result = await self._server.call(self._pinned, arguments, self._spec.repeatable)
        if result.is_error:
            raise ToolError(str(_value(result)))
        return ToolResult(_value(result), untrusted=_doubted(result))


class _Watched:
    """A stream of messages that says when it has come to its end."""

    def __init__(self, stream: ReadStream[SessionMessage | Exception], ended: asyncio.Event) -> None:
        self._stream, self._ended = stream, ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        return await self._stream.__anext__()

    async def receive(self) -> SessionMessage | Exception:
        return await self._stream.receive()

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> bool | None:
        self._ended.set()
        return await self._stream.__aexit__(*raised)


@asynccontextmanager
async def _watched(
    transport: AbstractAsyncContextManager[TransportStreams], ended: asyncio.Event
) -> AsyncGenerator[TransportStreams]:
    async with transport as (reads, writes):
        yield _Watched(reads, ended), writes


async def _listed(client: Client) -> dict[str, Json]:
    """All tools of a server whose schema is one."""
    found: dict[str, Json] = {}
    cursor: str | None = None
    for _ in range(PAGES):
        page = await client.list_tools(cursor=cursor, cache_mode="bypass")
        for tool in page.tools:
            if _sound(tool.input_schema):
                described = tool.description or ""
                found[tool.name] = {"name": tool.name, "description": described, "inputSchema": tool.input_schema}
        cursor = page.next_cursor
        if not cursor:
            break
    return found


def _sound(schema: Json) -> bool:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError:
        return False
    return bool(schema.get("type") == "object")


async def _declined(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    """A server's question to a person: there is nobody who could see to whom the answer goes."""
    return ElicitResult(action="decline")


def _value(result: CallToolResult) -> Json:
    """What was returned: as structure if there is one, also in a text; otherwise the text; or all that is no text."""
    if result.structured_content is not None:
        return result.structured_content
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    if len(texts) < len(result.content):
        return [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content]
    text = "\n".join(texts)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict | list) else text


def _doubted(result: CallToolResult) -> bool:
    """Whether the server marks a result as one that a stranger may have written. A mark never makes it better."""
    mark = (result.meta or {}).get("ifc")
    return isinstance(mark, dict) and mark.get("integrity", "trusted") != "trusted"


def _why(error: BaseException) -> str:
    """The first thing that went wrong, of several that went wrong together."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"no answer within {OPEN_SECONDS:g} s"
    return str(error) or type(error).__name__
