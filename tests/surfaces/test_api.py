"""The native API, as a program sees it: a company behind a real socket, and who may do what there."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from kernos.boot import System
from kernos.kernel.office import Office
from kernos.kernel.ports import Caller, KeyRole
from kernos.surfaces.api.table import TABLE
from tests.surfaces.terminal import WAITERS, action, employ

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROGRAMS = (
    '''
import kernos
from kernos.kernel.types import Message


@kernos.tool(effects={"writes"})
def order(paper: int) -> str:
    """Order paper."""
    return f"ordered {paper}"


@kernos.tool(effects={"writes"})
def repaint(colour: str) -> str:
    """Repaint the office."""
    return f"repainted in {colour}"


@kernos.program
async def clerk(process: kernos.Process) -> str:
    return (await process.invoke("order", paper=5)).value


@kernos.program
async def buyer(process: kernos.Process) -> str:
    return (await process.invoke("order", paper=500)).value


@kernos.program
async def painter(process: kernos.Process) -> str:
    return (await process.invoke("repaint", colour="teal")).value


@kernos.program
async def thinker(process: kernos.Process) -> None:
    await process.generate([Message("user", "think")])
    await process.sleep(10_800)
'''
    + WAITERS
)
SIDE_CAR = """
[employees.greeter]
program = "programs.py:greeter"

[employees.sleeper]
program = "programs.py:sleeper"

[employees.thinker]
program = "programs.py:thinker"

[employees.clerk]
program = "programs.py:clerk"
tools = ["order"]
ask = ["order"]

[employees.buyer]
program = "programs.py:buyer"
tools = ["order"]

[employees.painter]
program = "programs.py:painter"
tools = ["repaint"]
"""
POLICIES = """
@id("much")
@ask("manager")
forbid(principal == Employee::"buyer", action == Action::"invoke", resource == Tool::"order");

@id("paint")
@ask("operator")
forbid(principal == Employee::"painter", action == Action::"invoke", resource == Tool::"repaint");
"""
ASKS = {"ask": "greeter", "approval of the owner": "clerk", "approval of a manager": "buyer"}
ASKS |= {"approval of the operator": "painter"}
NAMES = itertools.count()


@dataclass(frozen=True)
class Client:
    """Somebody with a key."""

    session: aiohttp.ClientSession
    secret: str

    async def asks(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        headers["Authorization"] = f"Bearer {self.secret}"
        async with self.session.request(method, path, json=body, headers=headers) as got:
            text = await got.text()
            return got.status, json.loads(text) if text else None

    async def gets(self, path: str) -> Any:
        """What a GET that is not refused gives."""
        status, answer = await self.asks("GET", path)
        assert status == 200, answer
        return answer


@dataclass(frozen=True)
class Site:
    """The company at work."""

    office: Office
    session: aiohttp.ClientSession

    async def client(self, owner: str, *roles: KeyRole, **more: Any) -> Client:
        """Somebody with a new key."""
        given: frozenset[KeyRole] = frozenset(roles) or frozenset({"member"})
        caller = Caller(f"{owner}-{next(NAMES)}", owner, given, **more)
        return Client(self.session, await self.office.keys.issue(caller))

    async def begin(self, employee: str, owner: str = "ada") -> str:
        """A new process, which has come as far as it does by itself."""
        pid = await self.office.kernel.spawn(employee, owner)
        await self.until(pid, "waiting")
        return pid

    async def until(self, pid: str, phase: str) -> None:
        """Wait until a process stands so."""
        async with self.office.kernel.events(pid) as queue:
            while (await self.office.ledger.find(pid)).phase != phase:
                await asyncio.wait_for(queue.get(), 10)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    place = employ(tmp_path_factory.mktemp("api") / "shop", PROGRAMS, SIDE_CAR)
    (place / "script.json").write_text(json.dumps([action("reply", text="hm")]))
    (place / "policies").mkdir(exist_ok=True)
    (place / "policies" / "own.cedar").write_text(POLICIES, "utf-8")
    system, listener = System(), socket.create_server(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with (
        system.office(place, base) as office,
        aiohttp.ClientSession(base) as session,
        asyncio.TaskGroup() as group,
    ):
        turns = group.create_task(office.dispatcher.serve(office.kernel))
        group.create_task(system.serve(office, listener))
        yield Site(office, session)
        office.closing.set()
        turns.cancel()


KEYS: Mapping[str, Mapping[str, Any]] = {
    "owner": {"owner": "ada", "roles": ["member"]},
    "another": {"owner": "bob", "roles": ["member"]},
    "approver": {"owner": "eve", "roles": ["approver"]},
    "operator": {"owner": "ops", "roles": ["operator"]},
    "employee's agent": {"owner": "ada", "employee": True},
    "process's agent": {"owner": "ada", "pid": True},
}


async def key(site: Site, who: str, pid: str) -> Client:
    """One of `KEYS`; an agent's is for this process, or for its employee."""
    given = dict(KEYS[who])
    owner, roles = given.pop("owner"), given.pop("roles", [])
    if given.pop("employee", False):
        given["employee"] = (await site.office.ledger.find(pid)).employee
    if given.pop("pid", False):
        given["pid"] = pid
    return await site.client(owner, *roles, **given)


DEEDS: Mapping[str, tuple[str, str, Any]] = {
    "see a process": ("GET", "/api/processes/{pid}", None),
    "read its journal": ("GET", "/api/processes/{pid}/journal", None),
    "give it a priority": ("POST", "/api/processes/{pid}/signals", {"signal": "nice", "priority": 3}),
    "send it a message": ("POST", "/api/processes/{pid}/messages", {"text": "hello"}),
    "kill it": ("DELETE", "/api/processes/{pid}", None),
    "begin another": ("POST", "/api/processes", {"employee": "sleeper"}),
    "begin another with words": ("POST", "/api/processes", {"employee": "sleeper", "text": "go"}),
    "begin one of another employee": ("POST", "/api/processes", {"employee": "greeter"}),
    "see engines": ("GET", "/api/engines", None),
    "list keys": ("GET", "/api/keys", None),
    "stop everything": ("POST", "/api/stop", None),
}
MAY = """
deed                           | owner | another | approver | operator | employee's agent | process's agent
see a process                  |  200  |   404   |   404    |   200    |       200        |       200
read its journal               |  200  |   404   |   404    |   200    |       200        |       200
give it a priority             |  202  |   404   |   404    |   202    |       403        |       403
send it a message              |  202  |   404   |   404    |   403    |       403        |       403
kill it                        |  202  |   404   |   404    |   202    |       403        |       403
begin another                  |  201  |   201   |   201    |   201    |       201        |       403
begin another with words       |  201  |   201   |   201    |   201    |       403        |       403
begin one of another employee  |  201  |   201   |   201    |   201    |       403        |       403
see engines                    |  200  |   200   |   200    |   200    |       200        |       200
list keys                      |  403  |   403   |   403    |   200    |       403        |       403
stop everything                |  403  |   403   |   403    |   200    |       403        |       403
"""


def cells(table: str) -> list[tuple[str, str, str]]:
    """Each cell of a table with its row and its column."""
    head, *lines = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return [(line[0], who, cell) for line in lines for who, cell in zip(head[1:], line[1:], strict=True)]


@pytest.mark.parametrize(("deed", "who", "status"), cells(MAY))
async def test_a_role_opens_what_it_is_for_and_no_more(site: Site, deed: str, who: str, status: str) -> None:
    pid = await site.begin("sleeper")
    client = await key(site, who, pid)
    method, path, body = DEEDS[deed]
    got, answer = await client.asks(method, path.format(pid=pid), body)
    assert got == int(status), answer
    if got >= 400:
        assert set(answer["error"]) == {"message", "type", "code"}


ANSWER = """
question                  | owner | another | approver | operator | employee's agent | process's agent
ask                       |  202  |   404   |   404    |   403    |       403        |       403
approval of the owner     |  202  |   404   |   404    |   403    |       403        |       403
approval of a manager     |  403  |   404   |   202    |   202    |       403        |       403
approval of the operator  |  403  |   404   |   404    |   202    |       403        |       403
"""


@pytest.mark.parametrize(("question", "who", "status"), cells(ANSWER))
async def test_a_question_is_answered_by_whom_it_is_for(site: Site, question: str, who: str, status: str) -> None:
    pid = await site.begin(ASKS[question])
    client = await key(site, who, pid)
    cards = {card["question"]["pid"]: card for card in await client.gets("/api/approvals")}
    assert (pid in cards) is (status != "404")
    assert status == "404" or cards[pid]["yours"] is (status == "202")
    got, answer = await client.asks("POST", f"/api/approvals/{pid}", {"text": "Bo"})
    assert got == int(status), answer
    if got == 202:
        await site.until(pid, "exited")
        rows = await site.office.ledger.records(pid)
        assert [row.body["by"] for row in rows if row.kind == "answer"] == [KEYS[who]["owner"]]
    else:
        assert (await site.office.ledger.find(pid)).phase == "waiting"


async def test_without_a_key_that_holds_nothing_is_served(site: Site) -> None:
    client = await site.client("ada")
    assert (await client.asks("GET", "/api/processes"))[0] == 200
    [name] = [caller.key for caller in await site.office.keys.callers() if caller.key.startswith("ada-")][-1:]
    await site.office.keys.revoke(name)
    for secret in (client.secret, "kn_guessed", ""):
        status, answer = await Client(site.session, secret).asks("GET", "/api/processes")
        assert (status, answer["error"]["type"]) == (401, "authentication_error")


async def test_a_card_is_allowed_in_part_or_declined_but_not_for_always(site: Site) -> None:
    ada, pid = await site.client("ada"), await site.begin("clerk")
    [card] = [card for card in await ada.gets("/api/approvals") if card["question"]["pid"] == pid]
    assert card["question"]["calls"][0]["arguments"] == {"paper": 5}
    status, answer = await ada.asks("POST", f"/api/approvals/{pid}", {"scope": "always"})
    assert (status, "kernos approve --always" in answer["error"]["message"]) == (400, True)
    assert (await ada.asks("POST", f"/api/approvals/{pid}", {"chosen": [7]}))[0] == 400
    assert (await ada.asks("POST", f"/api/approvals/{pid}", {"approved": False}))[0] == 202
    await site.until(pid, "exited")
    assert not [row for row in await site.office.ledger.records(pid) if row.body.get("value") == "ordered 5"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/api/processes", {}, "body: employee: found nothing"),
        ("/api/processes", {"employee": 7}, "body: employee: found 7; expected input should be a valid string"),
        ("/api/processes", {"employee": "x", "priority": 1}, "body: priority: found 1; expected one of employee, text"),
        ("/api/processes", {"employee": "nobody"}, "employee: found 'nobody'"),
        ("/api/processes", [], "body: found []"),
    ],
)
async def test_what_is_wrong_with_a_request_is_said_with_its_field(site: Site, path: str, body: Any, said: str) -> None:
    status, answer = await (await site.client("ada")).asks("POST", path, body)
    assert (status, answer["error"]["code"]) == (400, "K100")
    assert answer["error"]["message"].startswith(said)


async def test_what_is_no_json_and_what_is_no_path_is_refused_in_the_same_form(site: Site) -> None:
    ada = await site.client("ada")
    headers = {"Authorization": f"Bearer {ada.secret}"}
    async with site.session.post("/api/processes", data="{", headers=headers) as got:
        assert (got.status, (await got.json())["error"]["code"]) == (400, "K100")
    assert (await ada.asks("GET", "/api/nothing"))[0] == 404
    assert (await ada.asks("POST", "/api/engines"))[0] == 405
    assert (await ada.asks("GET", "/api/processes/zzzzzzzz/journal?after=soon"))[0] == 400


async def test_the_beginning_of_a_pid_is_enough_if_only_one_of_the_callers_begins_so(site: Site) -> None:
    ann = await site.client("ann")
    pid = await site.begin("sleeper", "ann")
    assert (await ann.gets(f"/api/processes/{pid[:5]}"))["process"]["pid"] == pid
    assert (await ann.gets(f"/api/processes/{pid[:1]}"))["process"]["pid"] == pid
    assert [known["pid"] for known in await ann.gets("/api/processes")] == [pid]


async def test_a_process_is_begun_told_and_read_through_the_api(site: Site) -> None:
    zoe = await site.client("zoe")
    status, begun = await zoe.asks("POST", "/api/processes", {"employee": "greeter", "text": "good day"})
    pid = begun["pid"]
    assert (status, begun["owner"], begun["employee"]) == (201, "zoe", "greeter")
    await site.until(pid, "waiting")
    assert (await zoe.gets(f"/api/processes/{pid}"))["question"]["text"] == "What is your name?"
    await zoe.asks("POST", f"/api/approvals/{pid}", {"text": "Zoe"})
    await site.until(pid, "exited")
    rows = await zoe.gets(f"/api/processes/{pid}/journal?after=1")
    assert [row["seq"] for row in rows] == list(range(2, 2 + len(rows)))
    assert (await zoe.asks("POST", f"/api/processes/{pid}/messages", {"text": "more"}))[0] == 400


async def followed(site: Site, client: Client, pid: str, last: int | None = None) -> AsyncIterator[dict[str, str]]:
    """The events of a process, each by its fields."""
    headers = {"Authorization": f"Bearer {client.secret}"} | ({"Last-Event-ID": str(last)} if last is not None else {})
    async with site.session.get(f"/api/processes/{pid}/events", headers=headers) as got:
        assert got.headers["Content-Type"].startswith("text/event-stream")
        event: dict[str, str] = {}
        async for line in got.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                event[name] = value
            elif "data" in event:
                yield event
                event = {}


async def test_events_come_live_and_after_a_break_from_the_journal(site: Site) -> None:
    ada, pid = await site.client("ada"), await site.begin("greeter")
    seen = []
    async for event in followed(site, ada, pid):
        seen.append(event)
        if json.loads(event["data"])["kind"] == "intent" and len(seen) == 2:
            await ada.asks("POST", f"/api/approvals/{pid}", {"text": "Ada"})
    rows = await ada.gets(f"/api/processes/{pid}/journal")
    assert [json.loads(event["data"]) for event in seen] == rows
    assert rows[-1]["kind"] == "exit"
    again = [int(event["id"]) async for event in followed(site, ada, pid, last=2)]
    assert again == [row["seq"] for row in rows][3:]
    status, _ = await ada.asks("GET", f"/api/processes/{pid}/events", **{"Last-Event-ID": str(rows[-1]["seq"])})
    assert status == 204


async def test_events_end_with_the_key(site: Site) -> None:
    ada, pid = await site.client("ada"), await site.begin("sleeper")
    name = [caller.key for caller in await site.office.keys.callers()][-1]
    async for event in followed(site, ada, pid):
        if event["id"] == "1":
            await site.office.keys.revoke(name)
    assert (await ada.asks("GET", f"/api/processes/{pid}"))[0] == 401


async def test_an_operator_makes_and_revokes_keys(site: Site) -> None:
    ops = await site.client("ops", "operator")
    form = {"name": "robot", "owner": "ada", "employee": "greeter", "speaks": True}
    status, issued = await ops.asks("POST", "/api/keys", form)
    assert status == 201
    robot = Client(site.session, issued["key"])
    assert [worker["slug"] for worker in await robot.gets("/api/employees")] == ["greeter"]
    assert {"key": "robot", "speaks": True}.items() <= next(
        known for known in await ops.gets("/api/keys") if known["key"] == "robot"
    ).items()
    assert issued["key"] not in json.dumps(await ops.gets("/api/keys"))
    assert (await ops.asks("POST", "/api/keys", form))[0] == 400
    assert (await ops.asks("POST", "/api/keys", {"name": "x", "employee": "nobody"}))[0] == 400
    assert (await ops.asks("DELETE", "/api/keys/robot"))[0] == 200
    assert (await robot.asks("GET", "/api/employees"))[0] == 401
    assert (await ops.asks("DELETE", "/api/keys/robot"))[0] == 404


async def test_an_agent_with_a_key_that_speaks_says_its_owners_words(site: Site) -> None:
    robot = await site.client("ada", employee="sleeper", speaks=True)
    status, begun = await robot.asks("POST", "/api/processes", {"employee": "sleeper", "text": "go"})
    assert status == 201
    [message] = [row for row in await site.office.ledger.records(begun["pid"]) if row.kind == "message"]
    assert message.body["text"] == "go"


async def test_what_is_stopped_stays_so_until_it_is_resumed(site: Site) -> None:
    ops, pid = await site.client("ops", "operator"), await site.begin("sleeper")
    _, stopped = await ops.asks("POST", "/api/stop")
    assert pid in stopped["pids"]
    await site.until(pid, "paused")
    _, resumed = await ops.asks("POST", "/api/resume")
    assert pid in resumed["pids"]
    await site.until(pid, "waiting")


async def test_only_its_owner_and_operators_learn_of_a_process_from_the_engines(site: Site) -> None:
    pid = await site.begin("thinker", "ida")
    for client in (await site.client("ida"), await site.client("ops", "operator")):
        assert pid in [known["pid"] for known in (await client.gets("/api/engines"))["processes"]]
    assert pid not in json.dumps(await (await site.client("bob")).gets("/api/engines"))


async def test_health_and_the_description_need_no_key(site: Site) -> None:
    for path in ("/api/health", "/api/openapi.json"):
        async with site.session.get(path) as got:
            assert got.status == 200


async def test_the_description_has_every_operation_and_no_loose_end(site: Site) -> None:
    async with site.session.get("/api/openapi.json") as got:
        described = await got.json()
    operations = {
        (method.upper(), path): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) == {(row.method, row.path) for row in TABLE}
    assert len({operation["operationId"] for operation in operations.values()}) == len(TABLE)
    for (_, path), operation in operations.items():
        named = {part["name"] for part in operation["parameters"] if part["in"] == "path"}
        assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}
        assert operation["summary"]
    text = json.dumps(described)
    used = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert used == set(described["components"]["schemas"])
