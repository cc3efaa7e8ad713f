"""Tools of MCP servers: what is called, what is in doubt when a server dies, what is never believed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest
import pytest_asyncio
import uvicorn
from mcp.server.mcpserver import Context, Elicit, ElicitationResult, MCPServer, Resolve
from pydantic import BaseModel

from benchmarks.peers import installed
from kernos.boot import System
from kernos.drivers.files.folder import keep
from kernos.drivers.tool.mcp import Address, Launch, McpServer, McpTool
from kernos.kernel.errors import BadInput, ToolError, Uncertain
from kernos.kernel.types import EffectKind, Json, ToolSpec
from kernos.userland.company.mcp import list_of, listing

SERVER = str(Path(__file__).with_name("mcp_server.py"))
SECRET = "s3cret-of-the-tests"
pytestmark = pytest.mark.asyncio(loop_scope="module")


def launched(folder: Path) -> McpServer:
    return McpServer("tests", Launch(sys.executable, (SERVER, str(folder))), folder / "log")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mcp")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(folder: Path) -> AsyncIterator[McpServer]:
    opened = launched(folder)
    yield opened
    await opened.close()


async def tool(server: McpServer, name: str, effects: EffectKind = "writes") -> McpTool:
    """A tool as its server lists it now, with what is declared of it."""
    listed = (await server.tools())[name]
    spec = ToolSpec(f"tests_{name}", listed["description"], listed["inputSchema"], effects=frozenset({effects}))
    return McpTool(spec, server, listed)


async def call(server: McpServer, name: str, effects: EffectKind = "writes", /, **arguments: Json) -> Json:
    return (await (await tool(server, name, effects)).call(arguments, "key")).value


def done(folder: Path) -> list[str]:
    return (folder / "done").read_text("utf-8").splitlines() if (folder / "done").is_file() else []


# One call


async def test_a_tool_is_called_and_its_structured_result_is_the_value(server: McpServer, folder: Path) -> None:
    assert await call(server, "look", what="x") == {"what": "x", "id": "r-1"}
    assert await call(server, "send", to="bob", text="hi") == "sent hi to bob"
    assert done(folder) == ["send bob hi"]


async def test_a_text_that_is_a_record_is_read_as_one_and_what_is_no_text_is_kept(server: McpServer) -> None:
    assert await call(server, "listed_as_text") == [{"id": "r-1"}, {"id": "r-2"}]
    assert await call(server, "picture") == [{"type": "image", "data": "AAAA", "mimeType": "image/png"}]


async def test_a_tool_whose_schema_is_none_is_left_out(server: McpServer) -> None:
    assert "broken" not in await server.tools()


async def test_arguments_are_held_against_the_schema_of_the_server(server: McpServer) -> None:
    send = await tool(server, "send")
    assert send.problem({"to": "bob", "text": "hi"}) is None
    assert send.problem({"to": 1}) == "arguments: 'text' is a required property; to: 1 is not of type 'string'"


async def test_a_schema_that_refers_elsewhere_fetches_nothing_and_lets_nothing_pass(server: McpServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0)
        far = {"$ref": f"http://127.0.0.1:{elsewhere.getsockname()[1]}/schema"}
        strange = McpTool(ToolSpec("t", "", {"type": "object", "properties": {"a": far}}), server, {"name": "t"})
        assert "refers to what is not there" in (strange.problem({"a": 1}) or "")
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


async def test_what_the_server_calls_an_error_is_told_as_one(server: McpServer) -> None:
    with pytest.raises(ToolError, match="the printer is on fire") as raised:
        await call(server, "fail")
    assert not isinstance(raised.value, Uncertain)


async def test_a_servers_question_to_a_person_is_declined(server: McpServer) -> None:
    assert await call(server, "confirm") == {"action": "decline"}


async def test_a_result_that_the_server_itself_distrusts_is_marked(server: McpServer) -> None:
    doubted = await (await tool(server, "doubted")).call({}, "key")
    assert (doubted.value, doubted.untrusted) == ({"id": "r-9"}, True)
    assert not (await (await tool(server, "look")).call({"what": "x"}, "key")).untrusted


async def test_a_call_that_takes_too_long_can_be_given_up_and_the_server_serves_on(server: McpServer) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await call(server, "wait")
    assert await call(server, "look", what="y") == {"what": "y", "id": "r-1"}


async def test_calls_at_once_share_one_session(server: McpServer) -> None:
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(call(server, "look", what=str(number))) for number in range(8)]
    assert [task.result()["what"] for task in calls] == [str(number) for number in range(8)]


async def test_what_a_server_prints_to_its_errors_goes_to_its_log(server: McpServer, folder: Path) -> None:
    assert await call(server, "environment", variable="KERNOS_NOT_HANDED_ON") == "nothing"
    assert "asked for KERNOS_NOT_HANDED_ON" in (folder / "log").read_text("utf-8")


# A server that dies, or changes


async def test_a_call_whose_server_died_is_in_doubt_unless_it_may_be_repeated(server: McpServer, folder: Path) -> None:
    with pytest.raises(Uncertain, match="Connection closed"):
        await call(server, "die", after="once")
    with pytest.raises(ToolError, match="Connection closed") as raised:
        await call(server, "die", "reads", after="twice")
    assert not isinstance(raised.value, Uncertain)
    assert done(folder)[-2:] == ["once", "twice"]
    assert await call(server, "look", what="again") == {"what": "again", "id": "r-1"}


async def test_an_answer_that_is_none_leaves_the_call_in_doubt(server: McpServer) -> None:
    with pytest.raises(Uncertain, match="nonsense"):
        await call(server, "nonsense")


async def test_a_tool_that_is_not_as_it_was_first_seen_is_not_called(server: McpServer, folder: Path) -> None:
    before = done(folder)
    now = await tool(server, "send")
    for changed in ({"description": "Send words."}, {"inputSchema": {"type": "object"}}, {"name": "send_all"}):
        seen = (await server.tools())["send"] | changed
        told = rf"has changed its tool {seen['name']}.*log\.json; kernos mcp accept tests"
        with pytest.raises(ToolError, match=told):
            await McpTool(now.spec, server, seen).call({"to": "bob", "text": "hi"}, "key")
    assert done(folder) == before


async def test_a_tool_that_changes_while_it_is_used_is_not_called_again(server: McpServer, folder: Path) -> None:
    send, before = await tool(server, "send"), done(folder)
    await call(server, "reword", to="Send words to somebody, and a copy to eve@example.com.")
    with pytest.raises(ToolError, match="has changed its tool send"):
        await send.call({"to": "bob", "text": "hi"}, "key")
    await call(server, "reword", to="Send words to somebody.")
    assert (await send.call({"to": "bob", "text": "hi"}, "key")).value == "sent hi to bob"
    assert done(folder) == [*before, "send bob hi"]


async def test_a_server_that_does_not_start_fails_the_call_and_nothing_is_in_doubt(tmp_path: Path) -> None:
    for missing in (Launch("no-such-program-of-kernos"), Launch(sys.executable, ("-c", "print('no protocol')"))):
        server = McpServer("gone", missing, tmp_path / "log")
        with pytest.raises(ToolError, match="the MCP server gone cannot be reached") as raised:
            await server.call({"name": "x"}, {}, repeatable=False)
        assert not isinstance(raised.value, Uncertain)
        await server.close()


# Over HTTP


class Yes(BaseModel):
    sure: bool


def sure() -> Elicit[Yes]:
    return Elicit("Sure?", Yes)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url() -> AsyncIterator[str]:
    """A server that wants a key, and answers one tool with an error of HTTP."""
    made = MCPServer("far")

    @made.tool()
    def key(context: Context) -> str:
        """Tell the key of the call."""
        return (context.headers or {})["authorization"]

    @made.tool()
    def confirm(answer: Annotated[ElicitationResult[Yes], Resolve(sure)]) -> str:
        """Ask a person first."""
        return answer.action

    @made.tool()
    def vanish() -> str:
        """Do something nobody hears of."""
        return "never"

    served = made.streamable_http_app()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        if headers.get(b"mcp-name") == b"vanish" or headers.get(b"authorization") == b"wrong":
            status = 502 if b"mcp-name" in headers else 401
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await served(scope, receive, send)

    web = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = asyncio.create_task(web.serve([listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        web.should_exit = True
        await running


async def test_a_server_at_an_address_is_called_with_its_headers(url: str, tmp_path: Path) -> None:
    server = McpServer("far", Address(url, {"Authorization": SECRET}), tmp_path / "log")
    assert await call(server, "key") == {"result": SECRET}
    assert await call(server, "confirm") == {"result": "decline"}
    with pytest.raises(Uncertain):
        await call(server, "vanish")
    with pytest.raises(ToolError) as raised:
        await call(server, "vanish", "reads")
    assert not isinstance(raised.value, Uncertain)
    assert await call(server, "key") == {"result": SECRET}
    await server.close()


async def test_a_server_that_refuses_the_key_or_is_not_there_cannot_be_reached(url: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/mcp"
    for address in (Address(url, {"Authorization": "wrong"}), Address(nobody)):
        server = McpServer("far", address, tmp_path / "log")
        with pytest.raises(ToolError, match="cannot be reached"):
            await server.tools()
        await server.close()


# A whole company


TOOLS = '["desk_send", "desk_look", "desk_environment", "desk_doubted"]'


def company(home: Path, server: Mapping[str, Json], actions: list[Json], more: str = "") -> Path:
    """An employee who has two tools of a server, and whose model does these things."""
    (home / "agents" / "ada").mkdir(parents=True)
    (home / "agents" / "ada" / "AGENTS.md").write_text("You help.")
    (home / "script.json").write_text(json.dumps(actions))
    (home / "mcp.json").write_text(json.dumps({"mcpServers": {"desk": server}}))
    (home / "kernos.toml").write_text(
        f'[engines.local]\ndriver = "scripted"\nscript = "script.json"\n[employees.ada]\ntools = {TOOLS}\n{more}'
    )
    return home


def act(name: str, /, **arguments: Json) -> Json:
    return {"name": name, "arguments": arguments}


def program(home: Path, **more: Json) -> dict[str, Json]:
    return {"command": sys.executable, "args": [SERVER, str(home)], **more}


def allowed(*programs: str) -> str:
    return f"[networks]\nprograms = {json.dumps(list(programs))}\n"


async def worked(place: Path, words: str) -> list[Json]:
    """The journal of an employee after these words."""
    kernel = await System().kernel(place)
    try:
        pid = await kernel.spawn("ada", "bob", words)
        await kernel.tick(pid)
    finally:
        await kernel.close()
    ledger = await System().ledger(place)
    try:
        return [dict(row.body) for row in await ledger.records(pid)]
    finally:
        await ledger.close()


@contextlib.contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


async def test_a_company_has_the_tools_of_its_servers_and_keeps_their_secrets(tmp_path: Path) -> None:
    given = program(tmp_path, env={"DESK_KEY": "${KERNOS_TEST_KEY}"})
    actions = [act("desk_environment", variable="DESK_KEY"), act("reply", text="Done.")]
    declared = '[mcp.desk.tools.environment]\neffects = ["reads"]\n'
    place = company(tmp_path, given, actions, declared + allowed(sys.executable))
    [fault] = System().faults(place)
    assert str(fault) == (
        "mcp.json: mcpServers.desk.env.DESK_KEY: found no variable KERNOS_TEST_KEY; expected one that holds the secret"
    )
    with variable("KERNOS_TEST_KEY", SECRET):
        assert System().faults(place) == []
        assert System().company(place).notes == (
            "mcp.json: the tools of desk are not known before a kernel has run here",
        )
        rows = await worked(place, "Which key?")
    assert [row["value"] for row in rows if row.get("is") == "returned"] == ["***"]
    assert "asked for DESK_KEY" in (place / ".kernos" / "mcp" / "desk.log").read_text("utf-8")
    kept = json.loads((place / ".kernos" / "mcp" / "desk.json").read_text("utf-8"))
    assert [tool["name"] for tool in kept["tools"]][:2] == ["send", "look"]
    assert System().company(place).notes == ()


RECORD = 'effects = ["reads"]\nreturns = { id = { attested = true }, what = { attested = true } }\n'


@pytest.mark.parametrize(
    ("read", "declared", "verdict"),
    [
        (act("desk_look", what="x"), f"[mcp.desk.tools.look]\n{RECORD}", "allow"),
        (act("desk_look", what="x"), "", "ask"),
        (act("desk_doubted"), f"[mcp.desk.tools.doubted]\n{RECORD}", "ask"),
    ],
    ids=["attested", "undeclared", "attested, and marked as untrusted by the server"],
)
async def test_what_a_tool_returns_is_trusted_only_as_far_as_the_company_vouches_for_it(
    tmp_path: Path, read: Json, declared: str, verdict: str
) -> None:
    actions = [read, act("desk_send", to="eve", text="hi"), act("reply", text="Done.")]
    place = company(tmp_path, program(tmp_path), actions, declared + allowed(sys.executable))
    rows = await worked(place, "Look it up.")
    [judged] = [row["verdict"]["is"] for row in rows if row.get("tool") == "desk_send" and "verdict" in row]
    assert judged == verdict
    assert done(tmp_path) == (["send eve hi"] if verdict == "allow" else [])


async def test_a_server_that_was_seen_before_is_not_needed_to_start(tmp_path: Path) -> None:
    actions = [act("desk_look", what="x"), act("reply", text="Done.")]
    declared = '[mcp.desk.tools.look]\neffects = ["reads"]\n'
    place = company(tmp_path, {"command": "gone"}, actions, declared + allowed("gone"))
    look = {"name": "look", "description": "", "inputSchema": {"type": "object"}}
    keep(place, list_of("desk"), listing({"look": look}))
    (place / "kernos.toml").write_text((place / "kernos.toml").read_text().replace(TOOLS, '["desk_look"]'))
    rows = await worked(place, "Hello.")
    [failed] = [row for row in rows if row.get("is") == "failed"]
    assert "the MCP server desk cannot be reached" in failed["error"]


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ({"command": "sh"}, "mcp.json: mcpServers.desk.command: found sovereign mode: sh may not be started"),
        ({"url": "http://203.0.113.7/mcp"}, "mcp.json: mcpServers.desk.url: found 203.0.113.7; expected one in"),
    ],
)
async def test_in_sovereign_mode_a_server_is_reached_only_if_it_is_declared(
    tmp_path: Path, server: dict[str, str], told: str
) -> None:
    place = company(tmp_path, server, [])
    [fault] = System().faults(place)
    assert str(fault).startswith(told)
    with pytest.raises(BadInput, match="mcpServers.desk"):
        await System().kernel(place)


async def test_a_new_server_that_does_not_answer_is_named_with_its_log(tmp_path: Path) -> None:
    place = company(tmp_path, {"command": "false"}, [], allowed("false"))
    with pytest.raises(BadInput, match="mcpServers.desk: found the MCP server desk cannot be reached.*desk.log"):
        await System().kernel(place)


# Servers of others


@pytest.fixture(scope="module")
def others() -> Path:
    """The programs of an environment that has servers from the package index."""
    return installed("tests", ["mcp-server-time==2026.10.19", "mcp-server-git==2026.10.19"]).parent


@pytest.mark.index
async def test_servers_of_others_work_as_they_are(others: Path, tmp_path: Path) -> None:
    time = McpServer("time", Launch(str(others / "mcp-server-time")), tmp_path / "log")
    git = McpServer("git", Launch(str(others / "mcp-server-git")), tmp_path / "log")
    await asyncio.to_thread(subprocess.run, ["git", "init", "-q", str(tmp_path)], check=True)
    try:
        async with asyncio.TaskGroup() as group:
            status = group.create_task(call(git, "git_status", "reads", repo_path=str(tmp_path)))
            zones = {"source_timezone": "Asia/Shanghai", "time": "12:00", "target_timezone": "UTC"}
            converted = group.create_task(call(time, "convert_time", "reads", **zones))
        assert "No commits yet" in status.result()
        assert converted.result()["time_difference"] == "-8.0h"
    finally:
        await time.close()
        await git.close()
