"""Employees as A2A agents, as the SDK's own client sees them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
from a2a.helpers import get_artifact_text, get_message_text
from a2a.server.context import ServerCallContext
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskState,
)
from a2a.utils.errors import A2AError, TaskNotFoundError

from kernos.drivers.store.sql import SqlStore
from kernos.kernel.office import Answer
from kernos.kernel.ports import Caller
from kernos.kernel.types import REPLY, Action
from kernos.surfaces.a2a import surface
from kernos.surfaces.a2a.handler import CALLER, GONE, Agent
from kernos.userland.lib import Process
from tests.support import CLERK, House, World, following, idle, runs, serves
from tests.surfaces.offices import Site, foreign, served

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKING, COMPLETED = TaskState.TASK_STATE_WORKING, TaskState.TASK_STATE_COMPLETED
SAYS = {
    "Find soap.": Action("find", {"what": "soap"}),
    "find": Action(REPLY, {"text": "It costs 30."}),
    "Hello.": Action(REPLY, {"text": "Good day."}),
    "Note milk.": Action("note", {"text": "milk"}),
    "note": Action(REPLY, {"text": "Noted."}),
}
BINDINGS = ["JSONRPC", "HTTP+JSON"]


async def host(process: Process) -> str:
    """Greets whoever tells his name."""
    await process.receive()
    name = await process.ask("What is your name?")
    await process.send(f"Hello, {name}!")
    return f"{name} was here"


async def breaks(process: Process) -> None:
    await process.receive()
    raise ValueError("a defect")


async def sleeps(process: Process) -> None:
    await process.receive()
    await process.sleep(1e6)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One office for all tests."""
    world = World()
    clerk = serves([world.find, world.note], ask=["note"])
    others = [runs(program, slug=program.__name__) for program in (host, breaks, sleeps)]
    others.append(foreign(runs(idle, slug="stranger")))
    store = SqlStore.open(tmp_path_factory.mktemp("office") / "kernos.db")
    house = House(clerk, world.tools, following(SAYS), store=store, others=others)
    async with house, served(house, surface) as site:
        yield site


@pytest.fixture
def site(shared: Site) -> Site:
    """The office, for an owner who has no process yet."""
    return shared.of(uuid.uuid4().hex[:8])


@asynccontextmanager
async def agent(
    site: Site, slug: str = CLERK, owner: str = "", binding: str = "JSONRPC", stream: bool = False, **more: Any
) -> AsyncIterator[Client]:
    """A client of an employee, with a key of its own."""
    secret = await site.key(uuid.uuid4().hex, owner, **more)
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {secret}"}, timeout=5, verify=False) as http:
        card = await A2ACardResolver(http, f"{site.url}/a2a/{slug}").get_agent_card()
        config = ClientConfig(
            streaming=stream, httpx_client=http, supported_protocol_bindings=[binding], use_client_preference=True
        )
        yield ClientFactory(config).create(card)


async def say(client: Client, text: str, task: str = "", context: str = "", **more: Any) -> list[StreamResponse]:
    """What comes of a message."""
    message = Message(
        message_id=uuid.uuid4().hex, role=Role.ROLE_USER, parts=[Part(text=text)], task_id=task, context_id=context
    )
    request = SendMessageRequest(message=message, configuration=SendMessageConfiguration(**more))
    return [response async for response in client.send_message(request)]


async def task_of(client: Client, text: str, task: str = "", context: str = "", **more: Any) -> Task:
    [response] = await say(client, text, task, context, **more)
    return response.task


def said(task: Task) -> list[str]:
    return [get_artifact_text(artifact) for artifact in task.artifacts]


async def test_everybody_may_read_the_card_of_an_employee(site: Site) -> None:
    async with httpx.AsyncClient(verify=False) as http:
        card = await A2ACardResolver(http, f"{site.url}/a2a/{CLERK}").get_agent_card()
    assert (card.name, card.description) == ("Clerk", "It keeps the office.")
    assert [(skill.name, skill.description) for skill in card.skills] == [("filing", "Finds and files things.")]
    assert card.security_schemes["key"].http_auth_security_scheme.scheme == "bearer"
    assert {interface.url for interface in card.supported_interfaces} == {f"{site.url}/a2a/{CLERK}"}


async def test_a_foreign_agent_has_no_card_and_without_a_key_nobody_is_served(site: Site) -> None:
    async with httpx.AsyncClient(verify=False) as http:
        assert (await http.get(f"{site.url}/a2a/stranger/.well-known/agent-card.json")).status_code == 404
        assert (await http.post(f"{site.url}/a2a/{CLERK}", json={})).status_code == 401


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_message_starts_a_process_of_the_employee_and_its_reply_is_the_tasks_artifact(
    site: Site, binding: str
) -> None:
    async with agent(site, binding=binding) as client:
        task = await task_of(client, "Find soap.")
    assert task.status.state == COMPLETED and said(task) == ["It costs 30."]
    assert [get_message_text(message) for message in task.history] == ["Find soap."]
    [status] = await site.statuses()
    assert (status.pid, status.owner, status.employee) == (task.context_id, site.owner, CLERK)


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_stream_gives_the_task_first_and_then_what_changes(site: Site, binding: str) -> None:
    async with agent(site, binding=binding, stream=True) as client:
        responses = await say(client, "Find soap.")
    kinds = [response.WhichOneof("payload") for response in responses]
    assert kinds[0] == "task" and kinds[-1] == "status_update" and "artifact_update" in kinds
    assert responses[-1].status_update.status.state == COMPLETED


async def test_the_context_goes_on_with_another_task_and_the_first_one_stays_as_it_is(site: Site) -> None:
    async with agent(site) as client:
        first = await task_of(client, "Find soap.")
        second = await task_of(client, "Hello.", context=first.context_id)
        assert second.context_id == first.context_id and second.id != first.id
        assert said(second) == ["Good day."]
        assert await client.get_task(GetTaskRequest(id=first.id)) == first
        listed = await client.list_tasks(ListTasksRequest(context_id=first.context_id))
        assert {task.id for task in listed.tasks} == {first.id, second.id}
    assert len(await site.statuses()) == 1


async def test_a_task_that_is_over_takes_no_message(site: Site) -> None:
    async with agent(site) as client:
        task = await task_of(client, "Hello.")
        with pytest.raises(A2AError, match="name its context"):
            await say(client, "Hello.", task=task.id)


async def test_a_question_of_the_employees_is_answered_by_the_next_message(site: Site) -> None:
    async with agent(site, "host") as client:
        asks = await task_of(client, "Hi!")
        assert asks.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
        assert get_message_text(asks.status.message) == "What is your name?"
        done = await task_of(client, "Ada", task=asks.id)
    assert done.id == asks.id and done.status.state == COMPLETED
    assert said(done) == ["Hello, Ada!", "Ada was here"]
    assert [get_message_text(message) for message in done.history] == ["Hi!", "What is your name?", "Ada"]


async def test_an_approval_is_shown_and_given_elsewhere(site: Site) -> None:
    async with agent(site) as client:
        waits = await task_of(client, "Note milk.")
        assert waits.status.state == TaskState.TASK_STATE_AUTH_REQUIRED
        card = get_message_text(waits.status.message)
        assert 'text = "milk"' in card and f"kernos approve {waits.context_id}" in card
        await site.kernel.answer(waits.context_id, Answer(site.owner))
    async with agent(site, stream=True) as client:
        events = [event async for event in client.subscribe(SubscribeToTaskRequest(id=waits.id))]
    assert events[-1].status_update.status.state == COMPLETED


async def test_who_does_not_wait_is_told_of_the_task_at_once(site: Site) -> None:
    async with agent(site, "sleeps") as client:
        task = await task_of(client, "Good night.", return_immediately=True)
        assert task.status.state in (TaskState.TASK_STATE_SUBMITTED, WORKING)


async def test_who_waits_for_a_process_that_is_paused_is_told_of_the_task_as_it_stands(site: Site) -> None:
    async with agent(site, "sleeps") as client:
        task = await task_of(client, "Good night.", return_immediately=True)
        await site.kernel.signal(task.context_id, "pause", site.owner)
        waits = await task_of(client, "Are you there?", context=task.context_id)
    assert waits.status.state in (TaskState.TASK_STATE_SUBMITTED, WORKING)


async def test_nobody_is_waited_for_whose_client_has_gone(site: Site) -> None:
    looks = iter([False, True])

    async def gone() -> bool:
        return next(looks)

    message = Message(message_id="1", role=Role.ROLE_USER, parts=[Part(text="Good night.")])
    context = ServerCallContext(state={CALLER: Caller("k", site.owner), GONE: gone})
    await Agent(site.office, "sleeps").on_message_send(SendMessageRequest(message=message), context)
    assert list(looks) == []


@pytest.mark.parametrize("binding", BINDINGS)
async def test_to_cancel_a_task_kills_its_process(site: Site, binding: str) -> None:
    async with agent(site, "sleeps", binding=binding) as client:
        task = await task_of(client, "Good night.", return_immediately=True)
        cancelled = await client.cancel_task(CancelTaskRequest(id=task.id))
        assert cancelled.status.state == TaskState.TASK_STATE_CANCELED
        with pytest.raises(A2AError):
            await client.cancel_task(CancelTaskRequest(id=task.id))
    [status] = await site.statuses()
    assert (status.phase, status.why) == ("exited", "killed")


async def test_a_program_that_breaks_is_a_failed_task_that_says_why(site: Site) -> None:
    async with agent(site, "breaks") as client:
        task = await task_of(client, "Go.")
    assert task.status.state == TaskState.TASK_STATE_FAILED and "a defect" in get_message_text(task.status.message)


async def test_the_task_of_somebody_else_is_not_found(site: Site) -> None:
    async with agent(site) as client:
        task = await task_of(client, "Hello.")
    async with agent(site, owner="bob") as client:
        with pytest.raises(TaskNotFoundError):
            await client.get_task(GetTaskRequest(id=task.id))
        with pytest.raises(TaskNotFoundError):
            await client.cancel_task(CancelTaskRequest(id=task.id))
        with pytest.raises(TaskNotFoundError):
            await say(client, "Hello.", context=task.context_id)
        assert not (await client.list_tasks(ListTasksRequest())).tasks
    async with agent(site, "host") as client:
        with pytest.raises(TaskNotFoundError):
            await client.get_task(GetTaskRequest(id=task.id))


@pytest.mark.parametrize("name", ["", "nothing", "p0000001", "p0000001.99", "nobody.1"])
async def test_the_name_of_no_task_is_not_found(site: Site, name: str) -> None:
    async with agent(site) as client:
        await task_of(client, "Hello.")
        with pytest.raises(A2AError):
            await client.get_task(GetTaskRequest(id=name))


async def test_an_agents_key_does_not_speak_for_its_owner(site: Site) -> None:
    async with agent(site, employee=CLERK) as client:
        with pytest.raises(A2AError, match="may not speak"):
            await say(client, "Hello.")
    async with agent(site, employee=CLERK, speaks=True) as client:
        task = await task_of(client, "Hello.")
    assert said(task) == ["Good day."]
    async with agent(site, employee=CLERK) as client:
        with pytest.raises(A2AError, match="may not speak"):
            await client.cancel_task(CancelTaskRequest(id=task.id))
    async with agent(site, employee="host", speaks=True) as client:
        with pytest.raises(A2AError, match="host"):
            await say(client, "Hello.")


async def test_an_operator_may_cancel_the_task_of_another_owner_and_not_put_words_into_his_mouth(site: Site) -> None:
    async with agent(site, "sleeps") as client:
        task = await task_of(client, "Good night.", return_immediately=True)
    async with agent(site, "sleeps", owner="eve", roles=frozenset({"operator"})) as client:
        with pytest.raises(A2AError, match="may not speak"):
            await say(client, "Pay me.", context=task.context_id)
        cancelled = await client.cancel_task(CancelTaskRequest(id=task.id))
    assert cancelled.status.state == TaskState.TASK_STATE_CANCELED


async def test_a_message_without_text_is_refused(site: Site) -> None:
    async with agent(site) as client:
        with pytest.raises(A2AError, match="no text"):
            await say(client, " ")


async def test_clients_of_the_older_protocol_are_served(site: Site) -> None:
    async with agent(site) as _, httpx.AsyncClient(verify=False) as http:
        secret = await site.key("old")
        message = {"kind": "message", "messageId": "1", "role": "user", "parts": [{"kind": "text", "text": "Hello."}]}
        call = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": message}}
        headers = {"Authorization": f"Bearer {secret}"}
        answer = (await http.post(f"{site.url}/a2a/{CLERK}", json=call, headers=headers)).json()
    assert answer["result"]["status"]["state"] == "completed"
    assert answer["result"]["artifacts"][0]["parts"][0]["text"] == "Good day."
