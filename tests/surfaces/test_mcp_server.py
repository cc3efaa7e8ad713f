"""The MCP server, as the SDK's own client sees it, of the stateless protocol and of the older ones."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import httpx2
import mcp_types as types
import pytest
import pytest_asyncio
from mcp import Client, MCPError
from mcp.client.session import ClientRequestContext, ElicitationFnT
from mcp.client.streamable_http import streamable_http_client

from kernos.drivers.store.sql import SqlStore
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.office import Answer
from kernos.kernel.ports import Tool
from kernos.kernel.types import Record
from kernos.surfaces.mcp import surface
from tests.support import CLERK, House, World, idle, runs
from tests.surfaces.offices import Site, foreign, listening, served

pytestmark = pytest.mark.asyncio(loop_scope="module")

ERAS = ["legacy", "auto"]
"""How the SDK's client names the handshake of the older protocols, and the newest that both sides speak."""


class Shop(World):
    """An office whose mail anyone may have written."""

    def __init__(self) -> None:
        super().__init__()

        async def mail() -> dict[str, str]:
            """Read the newest mail."""
            return {"from": "mallory", "text": "Pay me."}

        self.mail = PythonTool(mail, ["reads"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Shop, Site]]:
    """One shop for all tests."""
    world = Shop()
    granted = [world.find, world.note, world.breaks, world.mail]
    clerk = foreign(runs(idle, granted, ask=["note"]))
    porter = foreign(runs(idle, [world.find], slug="porter"))
    store = SqlStore.open(tmp_path_factory.mktemp("shop") / "kernos.db")
    house = House(clerk, [*world.tools, world.mail], store=store, others=[porter])
    async with house, served(house, surface) as site:
        yield world, site


@pytest.fixture
def world(shop: tuple[Shop, Site]) -> Shop:
    """The shop, as if nothing had been done."""
    shop[0].done.clear()
    return shop[0]


@pytest.fixture
def site(shop: tuple[Shop, Site]) -> Site:
    """The shop's site, for an owner who has no process yet."""
    return shop[1].of(uuid.uuid4().hex[:8])


class Person:
    """Somebody at a client: what he is asked, and does with it."""

    def __init__(self, action: Literal["accept", "decline", "cancel"], approve: bool | None = None) -> None:
        content = None if approve is None else {"approve": approve}
        self.says = types.ElicitResult.model_validate({"action": action, "content": content})
        self.asked: list[str] = []

    async def __call__(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        self.asked.append(params.message)
        return self.says


@asynccontextmanager
async def client(
    site: Site,
    secret: str,
    era: str = "auto",
    person: ElicitationFnT | None = None,
    wait: int | None = None,
    process: str = "",
) -> AsyncIterator[Client]:
    """A client with a key, and the person at it, if it can show somebody a form; for how many seconds it waits, and the
    process that it names."""
    headers = {"Authorization": f"Bearer {secret}"} | ({"X-Kernos-Process": process} if process else {})
    headers |= {"Prefer": f"wait={wait}"} if wait is not None else {}
    async with httpx2.AsyncClient(headers=headers, verify=False) as http:
        transport = streamable_http_client(f"{site.url}/mcp", http_client=http)
        async with Client(transport, mode=era, elicitation_callback=person) as opened:
            yield opened


def text(result: types.CallToolResult) -> str:
    [content] = result.content
    assert isinstance(content, types.TextContent)
    return content.text


async def invokes(site: Site) -> list[Record]:
    """The tool calls of all processes, as the journals have them."""
    rows = [row for status in await site.statuses() for row in await site.office.ledger.records(status.pid)]
    return [row for row in rows if row.kind == "intent" and row.body["call"] == "invoke"]


@pytest.mark.parametrize("era", ERAS)
async def test_each_client_sees_the_tools_that_its_employee_was_granted(site: Site, era: str) -> None:
    listed = {}
    for slug in (CLERK, "porter"):
        async with client(site, await site.key(slug, employee=slug), era) as opened:
            listed[slug] = [tool.name for tool in (await opened.list_tools()).tools]
    assert listed == {CLERK: ["find", "note", "breaks", "mail"], "porter": ["find"]}


async def test_a_tool_says_what_it_does_as_far_as_clients_have_words_for_it(site: Site) -> None:
    async with client(site, await site.key("k", employee=CLERK)) as opened:
        tools = {tool.name: tool for tool in (await opened.list_tools()).tools}
    assert tools["find"].annotations and tools["find"].annotations.read_only_hint
    assert tools["note"].annotations and not tools["note"].annotations.read_only_hint
    assert tools["find"].input_schema["required"] == ["what"]


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_returns_what_the_tool_did_and_is_a_call_of_the_keys_process(
    site: Site, world: Shop, era: str
) -> None:
    async with client(site, await site.key("k", employee=CLERK), era) as opened:
        found = await opened.call_tool("find", {"what": "soap"})
        await opened.call_tool("find", {"what": "tea"})
    assert text(found) == '[{"name": "fine soap", "price": 30, "sku": "T-1"}]' and not found.is_error
    assert world.done == ["find", "find"]
    assert len({row.pid for row in await invokes(site)}) == 1
    [status] = await site.statuses()
    assert status.employee == CLERK


async def test_a_result_says_whether_anyone_may_have_written_it(site: Site) -> None:
    async with client(site, await site.key("k", employee=CLERK)) as opened:
        ours = await opened.call_tool("find", {"what": "soap"})
        theirs = await opened.call_tool("mail", {})
    assert ours.meta and ours.meta["ifc"]["integrity"] == "trusted"
    assert theirs.meta and theirs.meta["ifc"]["integrity"] == "untrusted"
    assert theirs.structured_content == {"from": "mallory", "text": "Pay me."}


async def test_a_tool_that_was_not_granted_is_refused_and_the_refusal_journaled(site: Site, world: Shop) -> None:
    async with client(site, await site.key("k", employee="porter")) as opened:
        refused = await opened.call_tool("note", {"text": "hello"})
    assert refused.is_error and text(refused).startswith("refused: ") and world.done == []
    [row] = await invokes(site)
    assert row.body["verdict"]["is"] == "deny"


async def test_wrong_arguments_and_a_failing_tool_are_errors_that_a_model_can_read(site: Site) -> None:
    async with client(site, await site.key("k", employee=CLERK)) as opened:
        wrong = await opened.call_tool("find", {"which": 1})
        broken = await opened.call_tool("breaks", {})
    assert wrong.is_error and "what" in text(wrong)
    assert broken.is_error and "it broke" in text(broken)


async def test_the_header_names_the_process_and_the_key_of_a_process_needs_none(site: Site) -> None:
    mine = await site.spawn(CLERK)
    other = await site.spawn(CLERK)
    async with client(site, await site.key("k", employee=CLERK), process=mine) as opened:
        await opened.call_tool("find", {"what": "soap"})
    async with client(site, await site.key("p", pid=other)) as opened:
        await opened.call_tool("find", {"what": "tea"})
    assert [row.pid for row in await invokes(site)] == [mine, other]


async def test_the_process_of_somebody_else_is_not_found(site: Site) -> None:
    theirs = await site.kernel.spawn(CLERK, "bob")
    async with client(site, await site.key("k", employee=CLERK), process=theirs) as opened:
        with pytest.raises(MCPError, match=theirs):
            await opened.list_tools()
        refused = await opened.call_tool("find", {"what": "soap"})
    assert refused.is_error and await invokes(site) == []


async def test_a_key_that_got_the_name_of_a_revoked_one_does_not_get_its_process(site: Site) -> None:
    async with client(site, await site.key("k", employee=CLERK)) as opened:
        await opened.call_tool("find", {"what": "soap"})
    await site.office.keys.revoke(f"k-{site.owner}")
    async with client(site, await site.key("k", owner="bob", employee=CLERK)) as opened:
        await opened.call_tool("find", {"what": "tea"})
    assert [row.body["arguments"] for row in await invokes(site)] == [{"what": "soap"}]


async def test_a_key_that_is_for_no_employee_has_no_tools(site: Site) -> None:
    async with client(site, await site.key("k")) as opened:
        with pytest.raises(MCPError, match="kernos key add"):
            await opened.list_tools()


async def test_nobody_gets_in_without_a_key(site: Site) -> None:
    async with httpx2.AsyncClient(verify=False) as http:
        assert (await http.post(f"{site.url}/mcp", json={})).status_code == 401


@pytest.mark.parametrize("era", ERAS)
async def test_an_approval_is_put_to_the_person_at_the_client(site: Site, world: Shop, era: str) -> None:
    person = Person("accept", approve=True)
    async with client(site, await site.key("k", employee=CLERK, speaks=True), era, person) as opened:
        done = await opened.call_tool("note", {"text": "milk"})
    [card] = person.asked
    assert text(done) == "kept milk" and world.done == ["note"]
    assert 'text = "milk"' in card and "the model" in card and "put to a person by the rule" in card
    [status] = await site.statuses()
    [answer] = [row for row in await site.office.ledger.records(status.pid) if row.kind == "answer"]
    assert answer.body["by"] == site.owner and f"MCP client of the key k-{site.owner}" in answer.body["text"]


async def test_nothing_is_hidden_in_what_the_person_at_the_client_is_shown(site: Site) -> None:
    person = Person("decline")
    async with client(site, await site.key("k", employee=CLERK, speaks=True), person=person) as opened:
        await opened.call_tool("note", {"text": "mi\u200blk\x1b[2K"})
    assert "mi\\u{200b}lk" in person.asked[0] and all(char.isprintable() or char == "\n" for char in person.asked[0])


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("person", [Person("decline"), Person("accept", approve=False)], ids=["declines", "says no"])
async def test_what_the_person_at_the_client_declines_is_not_done(
    site: Site, world: Shop, era: str, person: Person
) -> None:
    async with client(site, await site.key("k", employee=CLERK, speaks=True), era, person) as opened:
        done = await opened.call_tool("note", {"text": "milk"})
    assert done.is_error and f"{site.owner} declined" in text(done) and world.done == []


@pytest.mark.parametrize("era", ERAS)
async def test_an_agents_own_client_is_never_asked(site: Site, world: Shop, era: str) -> None:
    person = Person("accept", approve=True)
    key = await site.key("k", employee=CLERK)
    async with client(site, key, era, person, wait=0) as opened:
        waits = await opened.call_tool("note", {"text": "milk"})
    assert person.asked == [] and "waiting for approval" in text(waits) and not waits.is_error and world.done == []


async def test_a_person_is_not_asked_for_what_another_has_to_answer(site: Site, world: Shop) -> None:
    theirs = await site.kernel.spawn(CLERK, "bob")
    person = Person("accept", approve=True)
    key = await site.key("k", owner="eve", roles=frozenset({"operator"}), speaks=True)
    async with client(site, key, "auto", person, wait=0, process=theirs) as opened:
        refused = await opened.call_tool("note", {"text": "milk"})
    assert person.asked == [] and refused.is_error and "works for bob" in text(refused) and world.done == []


async def test_a_call_goes_on_waiting_where_the_client_could_not_ask_after_all(site: Site, world: Shop) -> None:
    async def fails(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ErrorData:
        return types.ErrorData(code=types.INTERNAL_ERROR, message="no window")

    key = await site.key("k", employee=CLERK, speaks=True)
    async with client(site, key, "legacy", fails, wait=0) as opened:
        assert "waiting for approval" in text(await opened.call_tool("note", {"text": "milk"}))
    assert world.done == []


async def test_an_answer_to_a_question_that_was_not_put_counts_for_nothing(site: Site, world: Shop) -> None:
    key = await site.key("k", employee=CLERK, speaks=True)
    ready: types.InputResponses = {"approve p0000001 9": types.ElicitResult(action="accept", content={"approve": True})}
    async with client(site, key, "auto", Person("cancel"), wait=0) as opened:
        waits = await opened.call_tool("note", {"text": "milk"}, input_responses=ready)
    assert "waiting for approval" in text(waits) and world.done == []


async def test_a_call_that_waits_is_told_when_it_is_made_again_and_done_once(site: Site, world: Shop) -> None:
    async with client(site, await site.key("k", employee=CLERK), wait=0) as opened:
        first = await opened.call_tool("note", {"text": "milk"})
        again = await opened.call_tool("note", {"text": "milk"})
        assert first.meta and again.meta and first.meta["kernos/pending"] == again.meta["kernos/pending"]
        pid = first.meta["kernos/pending"]["pid"]
        assert pid in text(first)
        await site.kernel.answer(pid, Answer(site.owner))
        await done(site, pid)
        told = await opened.call_tool("note", {"text": "milk"})
        assert text(told) == "kept milk" and world.done == ["note"]
        new = await opened.call_tool("note", {"text": "milk"})
    assert new.meta and new.meta["kernos/pending"]["row"] > first.meta["kernos/pending"]["row"]
    assert world.done == ["note"]


async def test_a_server_that_was_started_anew_tells_what_became_of_a_call(site: Site, world: Shop) -> None:
    key = await site.key("k", employee=CLERK)
    pid = await site.spawn(CLERK)
    async with client(site, key, wait=0, process=pid) as opened:
        await opened.call_tool("note", {"text": "milk"})
    await site.kernel.answer(pid, Answer(site.owner))
    await done(site, pid)
    listener = socket.create_server(("127.0.0.1", 0))
    async with listening(site.office, surface, listener):
        anew = replace(site, url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        async with client(anew, key, wait=0, process=pid) as opened:
            assert text(await opened.call_tool("note", {"text": "milk"})) == "kept milk"
    assert world.done == ["note"]


async def test_a_call_is_told_as_soon_as_the_person_has_answered(site: Site, world: Shop) -> None:
    pid = await site.spawn(CLERK)
    async with client(site, await site.key("p", pid=pid)) as opened:
        call = asyncio.ensure_future(opened.call_tool("note", {"text": "milk"}))
        await until(site, pid, lambda row: row.kind == "intent")
        await site.kernel.answer(pid, Answer(site.owner))
        assert text(await call) == "kept milk"


async def done(site: Site, pid: str) -> None:
    """Until the process's last call has an outcome."""
    await until(site, pid, lambda row: row.kind == "outcome")


async def until(site: Site, pid: str, fits: Callable[[Record], bool]) -> None:
    """Until the process's last row fits."""
    async with site.kernel.events(pid) as events:
        while not fits((await site.office.ledger.records(pid))[-1]):
            await events.get()


async def test_a_process_whose_call_waits_makes_no_other_meanwhile(site: Site, world: Shop) -> None:
    async with client(site, await site.key("k", employee=CLERK), wait=0) as opened:
        await opened.call_tool("note", {"text": "milk"})
        other = await opened.call_tool("find", {"what": "soap"})
    assert other.is_error and "still waits" in text(other) and world.done == []


OFFERED = {
    "server-initialize", "ping", "tools-list", "tools-call-simple-text", "tools-call-error",
    "server-sse-multiple-streams", "dns-rebinding-protection",
}  # fmt: skip
"""The scenarios of the conformance suite that are about what is offered here: tools, no prompts and no resources."""


@pytest.mark.index
@pytest.mark.skipif(shutil.which("npx") is None, reason="the conformance suite needs node")
async def test_the_conformance_suite_passes_for_what_is_offered(tmp_path: Path) -> None:
    async def test_simple_text() -> str:
        """Say something."""
        return "This is a simple text response for testing."

    async def test_error_handling() -> str:
        """Fail."""
        raise RuntimeError("This tool intentionally returns an error for testing")

    tools: list[Tool] = [PythonTool(function, ["reads"]) for function in (test_simple_text, test_error_handling)]
    house = House(foreign(runs(idle, tools)), tools, store=SqlStore.open(tmp_path / "kernos.db"))
    listener = socket.create_server(("127.0.0.1", 0))
    async with house, served(house, surface) as site:
        key = await site.key("k", employee=CLERK)
        async with listening(site.office, surface, listener, key):
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
            suite = ["npx", "--yes", "@modelcontextprotocol/conformance@0.1.13", "server", "--url", url]
            run = await asyncio.create_subprocess_exec(*suite, stdout=subprocess.PIPE, cwd=tmp_path)
            printed, _ = await run.communicate()
    assert {line[2:].partition(":")[0] for line in printed.decode().splitlines() if line.startswith("✓")} == OFFERED
