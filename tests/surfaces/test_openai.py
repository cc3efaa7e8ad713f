"""OpenAI's API, through the real `openai` client and a real socket: each call is a system call of a process."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from kernos.drivers.engine.scripted import ScriptedEngine, say
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.errors import EngineDied, EngineError
from kernos.kernel.limits import Limits
from kernos.kernel.office import Answer
from kernos.kernel.ports import Prompt
from kernos.kernel.types import Action, Generation, Json, Message
from kernos.surfaces.http import PROCESS
from kernos.surfaces.openai import surface
from kernos.userland.lib import Process
from tests.support import CLERK, ENGINE, OWNER, House, World, idle, runs, serves
from tests.surfaces.offices import Site, foreign, listening, served

pytestmark = pytest.mark.asyncio(loop_scope="module")
ADD: Json = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
        "strict": True,
    },
}
SHOW: Json = {"type": "function", "function": {"name": "show"}}
FLAT: Json = {"type": "function", **ADD["function"]}
CALL = 'call add {"a": 2, "b": 3}'


def obey(prompt: Prompt) -> Action:
    """A model that does what the last message says: calls a tool, fails, or says it back."""
    last = prompt.messages[-1]
    verb, _, rest = last.text.partition(" ")
    if last.role == "tool":
        return say(f"it is {last.text}")
    if verb == "call":
        name, arguments = rest.split(" ", 1)
        return Action(name, json.loads(arguments))
    if verb == "fail":
        raise EngineError(rest)
    return say(last.text)


class Model(ScriptedEngine):
    """Obeys; on the word `wait` it waits, until its call is broken off; on `stumble` it fails after a word, on `die` it
    dies after one, and says another when it is asked again."""

    def __init__(self) -> None:
        super().__init__(obey, slots=8)
        self.waiting, self.broken = asyncio.Event(), asyncio.Event()
        self.died = False

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        match prompt.messages[-1].text:
            case "wait":
                await self._wait()
            case "stumble":
                draft("half ")
                raise EngineError("it stumbled")
            case "die" if not self.died:
                self.died = True
                draft("half ")
                raise EngineDied("it died")
        return await super().generate(prompt, draft)

    async def _wait(self) -> None:
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.broken.set()


async def asker(process: Process) -> None:
    """An employee with a program of ours, that asks before it answers."""
    while True:
        words = await process.receive()
        colour = await process.ask(f"In which colour, {words}?")
        await process.send(f"{words} in {colour}")


async def once(process: Process) -> None:
    """An employee with a program of ours, that ends when it has answered."""
    await process.send(await process.receive())


@dataclass
class Place:
    """What the tests of this module share: one site, one HTTP client."""

    house: House
    site: Site
    model: Model
    base: AsyncOpenAI
    names: Any

    async def client(self, **more: Any) -> AsyncOpenAI:
        """A client with a key of its own; by default for the foreign clerk."""
        secret = await self.site.key(f"key-{next(self.names)}", **{"employee": CLERK, **more})
        return self.base.with_options(api_key=secret)

    @property
    def prompt(self) -> Prompt:
        """What the model was asked last."""
        return self.model.prompts[-1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    model, world = Model(), World()
    clerk = foreign(runs(idle))
    others = [
        replace(foreign(runs(idle, limits=Limits(calls=1))), slug="pauper"),
        replace(foreign(runs(idle, limits=Limits(calls=1, soft=frozenset({"calls"})))), slug="heir"),
        replace(foreign(runs(idle)), slug="confined", engine="another"),
        replace(serves(), slug="helper"),
        replace(serves([world.pay], ask=["pay"]), slug="cashier"),
        runs(asker, slug="asker"),
        runs(once, slug="once"),
    ]
    store = SqlStore.open(tmp_path_factory.mktemp("openai") / "kernos.db")
    async with (
        House(clerk, world.tools, engine=model, store=store, others=others) as house,
        served(house, surface) as site,
        AsyncOpenAI(base_url=f"{site.url}/v1", api_key="none", max_retries=0) as base,
    ):
        yield Place(house, site, model, base, count())


@pytest_asyncio.fixture(loop_scope="module")
async def client(place: Place) -> AsyncOpenAI:
    """A client whose key may start processes of the clerk."""
    return await place.client()


def user(text: str) -> Any:
    return {"role": "user", "content": text}


async def ask(client: AsyncOpenAI, *messages: Any, **more: Any) -> tuple[Any, str]:
    """A chat completion's message, and the process that it belongs to."""
    raw = await client.chat.completions.with_raw_response.create(model="default", messages=[*messages], **more)
    return raw.parse().choices[0].message, raw.headers[PROCESS]


async def test_a_chat_completion_is_a_system_call_of_a_process(place: Place, client: AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(model=ENGINE, messages=[user("good morning")])
    answer = raw.parse()
    assert answer.choices[0].message.content == "good morning"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None and (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 1)
    rows = await place.house.rows(raw.headers[PROCESS])
    assert [row.kind for row in rows] == ["spawn", "intent", "outcome"]
    assert (rows[0].body["owner"], rows[0].body["employee"]) == (OWNER, CLERK)


async def test_a_conversation_goes_on_in_its_process_and_another_has_its_own(client: AsyncOpenAI) -> None:
    first, pid = await ask(client, user("one"))
    _, same = await ask(client, user("one"), first.model_dump(), user("two"))
    _, other = await ask(client, user("one"))
    assert same == pid != other


async def test_of_two_calls_with_one_past_only_one_gets_the_process(client: AsyncOpenAI) -> None:
    first, pid = await ask(client, user("one"))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(client, user("one"), first.model_dump(), user(text))) for text in ("a", "b")]
    pids = {task.result()[1] for task in tasks}
    assert len(pids) == 2 and pid in pids


async def test_an_agent_that_tells_its_past_in_other_words_stays_in_its_process(client: AsyncOpenAI) -> None:
    _, pid = await ask(client, user("one"))
    assert (await ask(client, user("one"), user("I was told: one"), user("two")))[1] == pid


async def test_a_call_that_failed_is_made_again_in_the_same_process(place: Place, client: AsyncOpenAI) -> None:
    before = {status.pid for status in await place.site.office.ledger.statuses()}
    for _ in range(2):
        with pytest.raises(openai.InternalServerError, match="out of order"):
            await ask(client, user("fail out of order"))
    assert len({status.pid for status in await place.site.office.ledger.statuses()} - before) == 1


async def test_a_conversation_whose_process_was_killed_is_told_so_and_goes_on_in_another(
    place: Place, client: AsyncOpenAI
) -> None:
    first, pid = await ask(client, user("one"))
    await place.site.kernel.signal(pid, "kill", OWNER)
    history = user("one"), first.model_dump(), user("two")
    with pytest.raises(openai.BadRequestError, match="exited"):
        await ask(client, *history)
    answer, other = await ask(client, *history)
    assert answer.content == "two" and other != pid


async def test_a_process_may_be_named(place: Place, client: AsyncOpenAI) -> None:
    _, pid = await ask(client, user("one"))
    _, named = await ask(client, user("something else"), extra_headers={PROCESS: pid})
    bound = await place.client(employee="", pid=pid)
    _, fixed = await ask(bound, user("and more"))
    assert pid == named == fixed


async def test_a_process_of_another_owner_is_not_there(place: Place, client: AsyncOpenAI) -> None:
    _, pid = await ask(client, user("one"))
    stranger = await place.client(owner="bob")
    with pytest.raises(openai.NotFoundError):
        await ask(stranger, user("two"), extra_headers={PROCESS: pid})


async def test_nobody_acts_in_a_process_of_another_owner_though_he_sees_it(place: Place, client: AsyncOpenAI) -> None:
    _, pid = await ask(client, user("one"))
    operator = await place.client(owner="bob", employee="", roles=frozenset({"operator"}))
    with pytest.raises(openai.PermissionDeniedError, match=OWNER):
        await ask(operator, user("two"), extra_headers={PROCESS: pid})


async def test_a_key_for_a_process_is_for_no_other(place: Place, client: AsyncOpenAI) -> None:
    (_, one), (_, two) = await ask(client, user("one")), await ask(client, user("two"))
    with pytest.raises(openai.NotFoundError):
        await ask(await place.client(employee="", pid=one), user("more"), extra_headers={PROCESS: two})


async def test_pieces_are_streamed_as_they_come(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="default", messages=[user("all is 好")], stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    assert [delta.content for delta in deltas[1:-1]] == ["all ", "is ", "好"]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 4
    assert len({chunk.id for chunk in chunks}) == 1


async def test_a_streamed_call_of_a_tool_comes_as_deltas(client: AsyncOpenAI) -> None:
    async with client.chat.completions.stream(model="default", messages=[user(CALL)], tools=[ADD]) as stream:
        kinds = [event.type async for event in stream]
        choice = (await stream.get_final_completion()).choices[0]
    assert "tool_calls.function.arguments.done" in kinds
    assert choice.finish_reason == "tool_calls" and choice.message.tool_calls is not None
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"a": 2, "b": 3}


async def test_a_tool_of_the_agents_own_goes_round(place: Place, client: AsyncOpenAI) -> None:
    called, pid = await ask(client, user(CALL), tools=[ADD])
    [call] = called.tool_calls
    assert (called.content, call.function.name, json.loads(call.function.arguments)) == (None, "add", {"a": 2, "b": 3})
    result = {"role": "tool", "tool_call_id": call.id, "content": "5"}
    answer, same = await ask(client, user(CALL), called.model_dump(exclude_none=True), result, tools=[ADD])
    assert (answer.content, same) == ("it is 5", pid)
    assert [tool.name for tool in place.prompt.tools] == ["add"]
    assert place.prompt.messages[1:] == (
        Message("assistant", action=Action("add", {"a": 2, "b": 3})), Message("tool", "5", tool="add"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "offered", "speaks"),
    [
        ("auto", {"add", "show"}, True),
        ("none", set(), True),
        ("required", {"add", "show"}, False),
        ({"type": "function", "function": {"name": "add"}}, {"add"}, False),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [SHOW]}}, {"show"}, True),
    ],
)
async def test_a_tool_choice_narrows_what_the_model_may_do(
    place: Place, client: AsyncOpenAI, choice: Any, offered: set[str], speaks: bool
) -> None:
    await ask(client, user("hello"), tools=[ADD, SHOW], tool_choice=choice)
    assert ({*place.prompt.offers}, place.prompt.speak) == (offered, speaks)
    assert [tool.name for tool in place.prompt.tools] == ["add", "show"]


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        ({"type": "text"}, {}),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}}, {"type": "array"}),
    ],
)
async def test_a_response_format_gives_the_reply_its_shape(
    place: Place, client: AsyncOpenAI, form: Any, shape: Json
) -> None:
    await ask(client, user("hello"), response_format=form)
    assert place.prompt.shape == shape


async def test_an_answer_that_was_cut_says_so(client: AsyncOpenAI) -> None:
    create = client.chat.completions.create
    cut = await create(model="default", messages=[user("hello")], max_tokens=1)
    assert cut.choices[0].finish_reason == "length"
    response = await client.responses.create(model="default", input="hello", max_output_tokens=1)
    assert response.status == "incomplete" and response.output_text == "hello"


async def test_options_reach_the_engine(place: Place, client: AsyncOpenAI) -> None:
    await ask(client, user("hello"), stop=["\n"], seed=7, top_p=0.5, temperature=0.3, max_tokens=9)
    prompt = place.prompt
    assert prompt.options == {"stop": ["\n"], "seed": 7, "top_p": 0.5}
    assert (prompt.temperature, prompt.max_tokens) == (0.3, 9)


async def test_contents_of_every_form_are_read(place: Place, client: AsyncOpenAI) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    parts = [{"type": "text", "text": "look"}, picture, {"type": "text", "text": "closely"}]
    await ask(client, {"role": "developer", "content": "Be kind."}, {"role": "user", "content": parts}, user("now"))
    assert place.prompt.messages[:2] == (
        Message("system", "Be kind."),
        Message("user", "look\nclosely", images=("data:image/png;base64,AA",)),
    )


async def test_a_wrong_request_is_answered_with_400(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="n: found 2") as error:
        await client.chat.completions.create(model="default", messages=[user("hello")], n=2)
    assert error.value.code == "K100"


async def test_a_key_that_does_not_hold_opens_nothing(place: Place) -> None:
    with pytest.raises(openai.AuthenticationError):
        await ask(place.base.with_options(api_key="kn_wrong"), user("hello"))


async def test_an_unknown_model_is_not_found_and_those_that_are_there_are_named(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=ENGINE):
        await client.chat.completions.create(model="gpt-9", messages=[user("hello")])


async def test_a_key_for_one_employee_is_for_no_other(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError, match=CLERK):
        await client.chat.completions.create(model="pauper", messages=[user("hello")])


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_monitor_refuses_is_answered_with_403_and_the_reason(place: Place, stream: bool) -> None:
    client = await place.client(employee="confined")
    with pytest.raises(openai.PermissionDeniedError, match=f"{ENGINE}.*rule grant"):
        await client.chat.completions.create(model=ENGINE, messages=[user("hello")], stream=stream)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_limit_is_answered_with_429(place: Place, stream: bool) -> None:
    client = await place.client(employee="pauper")
    first, _ = await ask(client, user("one"))
    with pytest.raises(openai.RateLimitError, match="calls"):
        await client.chat.completions.create(
            model="default", messages=[user("one"), first.model_dump(), user("two")], stream=stream
        )


async def test_a_call_waits_for_the_person_who_is_asked_for_more(place: Place) -> None:
    client, kernel = await place.client(employee="heir"), place.site.kernel
    first, pid = await ask(client, user("one"))
    async with kernel.events(pid) as queue:
        second = asyncio.ensure_future(ask(client, user("one"), first.model_dump(), user("two")))
        while (event := await queue.get()).record is None or event.record.kind != "limit":
            pass
    assert not second.done()
    await kernel.answer(pid, Answer(OWNER))
    assert (await second)[0].content == "two"


async def test_a_model_that_fails_before_its_first_word_has_a_status(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.InternalServerError, match="no luck"):
        await client.chat.completions.create(model="default", messages=[user("fail no luck")], stream=True)


@pytest.mark.parametrize(("word", "why"), [("stumble", "it stumbled"), ("die", "began again")])
async def test_a_stream_whose_words_do_not_count_ends_with_an_error(client: AsyncOpenAI, word: str, why: str) -> None:
    stream = await client.chat.completions.create(model="default", messages=[user(word)], stream=True)
    with pytest.raises(openai.APIError, match=why):
        async for _ in stream:
            pass


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_away_ends_its_call(place: Place, client: AsyncOpenAI, stream: bool) -> None:
    place.model.waiting.clear()
    place.model.broken.clear()
    body = {"model": "default", "messages": [user("wait")], "stream": stream}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {client.api_key}"}) as session:
        call = asyncio.ensure_future(session.post(f"{place.site.url}/v1/chat/completions", json=body))
        await place.model.waiting.wait()
        call.cancel()
        await asyncio.wait({call})
    async with asyncio.timeout(5):
        await place.model.broken.wait()


async def test_engines_and_employees_are_models(place: Place) -> None:
    client = await place.client(employee="")
    owners = {model.id: model.owned_by async for model in client.models.list()}
    assert owners[ENGINE] == "engine" and owners["helper"] == owners[CLERK] == "employee"
    assert (await client.models.retrieve(ENGINE)).id == ENGINE
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-9")


async def test_a_key_of_one_employees_is_shown_no_other(place: Place, client: AsyncOpenAI) -> None:
    assert {model.id async for model in client.models.list()} == {ENGINE, CLERK}
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("helper")


async def test_embeddings_are_refused_where_no_engine_offers_them(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="one that makes vectors"):
        await client.embeddings.create(model=ENGINE, input="hello", encoding_format="float")


async def test_a_response_goes_on_from_the_one_before(place: Place, client: AsyncOpenAI) -> None:
    one = await client.responses.create(model="default", instructions="Be brief.", input="one")
    assert one.output_text == "one" and one.usage is not None and one.usage.output_tokens == 1
    two = await client.responses.create(
        model="default", instructions="Be long.", input="two", previous_response_id=one.id
    )
    assert two.previous_response_id == one.id and pid_of(two.id) == pid_of(one.id)
    assert place.prompt.messages == (
        Message("system", "Be long."), Message("user", "one"), Message("assistant", action=say("one")),
        Message("user", "two"),
    )  # fmt: skip


@pytest.mark.parametrize("words", ["good morning", CALL], ids=["text", "call"])
async def test_a_response_is_kept_in_the_journal_and_cannot_be_deleted(
    place: Place, client: AsyncOpenAI, words: str
) -> None:
    made = await client.responses.create(model=ENGINE, input=words, tools=[FLAT], max_output_tokens=9)
    with pytest.raises(openai.APIStatusError, match="the journal keeps what happened") as refused:
        await client.responses.delete(made.id)
    assert refused.value.status_code == 405 and refused.value.response.headers["Allow"] == "GET"
    kept = await client.responses.retrieve(made.id)
    assert (kept.id, kept.status, kept.output, kept.usage) == (made.id, made.status, made.output, made.usage)
    assert kept.max_output_tokens == 9
    stranger = place.base.with_options(api_key=await place.site.of("eve").key(f"k{len(words)}"))
    for name, asks in ((made.id, stranger), (made.id + "0", client), (made.id.rpartition("_")[0] + "_", client)):
        with pytest.raises(openai.NotFoundError):
            await asks.responses.retrieve(name)


def pid_of(response: str) -> str:
    return response.split("_")[1]


async def test_a_response_goes_on_from_the_journal_after_a_restart(place: Place, client: AsyncOpenAI) -> None:
    called = await client.responses.create(model="default", input=CALL, tools=[FLAT])
    [call] = called.output
    assert call.type == "function_call" and json.loads(call.arguments) == {"a": 2, "b": 3}
    listener = socket.create_server(("127.0.0.1", 0))
    again = client.with_options(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
    async with listening(place.site.office, surface, listener):
        answer = await again.responses.create(
            model="default", previous_response_id=called.id, tools=[FLAT],
            input=[{"type": "function_call_output", "call_id": call.call_id, "output": "5"}],
        )  # fmt: skip
        for name in (called.id + "0", called.id.rpartition("_")[0] + "_"):
            with pytest.raises(openai.NotFoundError):
                await again.responses.create(model="default", previous_response_id=name, input="hello")
    assert answer.output_text == "it is 5" and pid_of(answer.id) == pid_of(called.id)


async def test_a_response_of_another_owner_is_not_there(place: Place, client: AsyncOpenAI) -> None:
    one = await client.responses.create(model="default", input="one")
    stranger = await place.client(owner="bob")
    with pytest.raises(openai.NotFoundError):
        await stranger.responses.create(model="default", input="two", previous_response_id=one.id)


async def test_a_streamed_response_tells_each_step(client: AsyncOpenAI) -> None:
    stream = await client.responses.create(model="default", input="all is well", stream=True)
    events = [event async for event in stream]
    assert [event.type.removeprefix("response.") for event in events] == [
        "created", "in_progress", "output_item.added", "content_part.added", *["output_text.delta"] * 3,
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == [*range(len(events))]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "all is well"
    [last] = [event for event in events if event.type == "response.completed"]
    assert last.response.output_text == "all is well" and last.response.usage is not None


async def test_a_streamed_response_may_be_a_call(client: AsyncOpenAI) -> None:
    async with client.responses.stream(model="default", input=CALL, tools=[FLAT]) as stream:
        kinds = [event.type.removeprefix("response.") async for event in stream]
        final = await stream.get_final_response()
    assert kinds[2:] == [
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    assert final.output[0].type == "function_call" and final.output[0].name == "add"


async def test_a_streamed_response_that_fails_ends_with_an_error(client: AsyncOpenAI) -> None:
    stream = await client.responses.create(model="default", input="stumble", stream=True)
    with pytest.raises(openai.APIError, match="it stumbled"):
        async for _ in stream:
            pass


async def test_tools_that_the_server_would_run_are_refused(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="web_search"):
        await client.responses.create(model="default", input="hello", tools=[{"type": "web_search"}])


async def test_an_employee_is_talked_with_as_with_a_model(place: Place) -> None:
    client = await place.client(employee="")
    completion = client.chat.completions.with_raw_response.create
    first = await completion(model="helper", messages=[user("good morning")])
    said = first.parse().choices[0].message
    second = await completion(
        model="helper",
        messages=[user("good morning"), said.model_dump(exclude_none=True), user("good night")],  # type: ignore[list-item]
    )
    assert (said.content, second.parse().choices[0].message.content) == ("good morning", "good night")
    assert first.headers[PROCESS] == second.headers[PROCESS]
    assert await place.house.said(first.headers[PROCESS]) == ["good morning", "good night"]


async def test_an_employees_answer_is_not_cut(place: Place) -> None:
    client = await place.client(employee="")
    answer = await client.chat.completions.create(model="helper", messages=[user("hello")], max_tokens=1)
    assert answer.choices[0].finish_reason == "stop"


async def test_an_employees_words_are_streamed(place: Place) -> None:
    client = await place.client(employee="")
    stream = await client.chat.completions.create(model="helper", messages=[user("all is well")], stream=True)
    pieces = [chunk.choices[0].delta.content async for chunk in stream]
    assert [piece for piece in pieces if piece] == ["all ", "is ", "well"]


async def test_the_next_words_answer_what_an_employee_asks(place: Place) -> None:
    client = await place.client(employee="")
    first = await client.chat.completions.create(model="asker", messages=[user("a chair")])
    question = first.choices[0].message
    assert question.content == "In which colour, a chair?"
    history: list[Any] = [user("a chair"), {"role": "assistant", "content": question.content}, user("red")]
    second = await client.chat.completions.create(model="asker", messages=history)
    assert second.choices[0].message.content == "a chair in red"


async def test_an_employee_that_waits_for_an_approval_answers_when_it_has_it(place: Place) -> None:
    client, kernel = await place.client(employee=""), place.site.kernel
    pid = await kernel.spawn("cashier", OWNER)
    words: Any = user('call pay {"to": "bob", "amount": 5}')
    async with kernel.events(pid) as queue:
        create = client.chat.completions.create
        asked = asyncio.ensure_future(create(model="cashier", messages=[words], extra_headers={PROCESS: pid}))
        while (event := await queue.get()).record is None or event.record.body.get("tool") != "pay":
            pass
    assert not asked.done()
    await kernel.answer(pid, Answer(OWNER))
    place.site.office.dispatcher.hint(pid)
    assert (await asked).choices[0].message.content == "it is paid 5 to bob"


async def test_who_talks_with_an_employee_whose_program_has_ended_gets_another_process(place: Place) -> None:
    create = (await place.client(employee="")).chat.completions.with_raw_response.create
    first = await create(model="once", messages=[user("one")])
    history: list[Any] = [user("one"), {"role": "assistant", "content": "one"}, user("two")]
    second = await create(model="once", messages=history)
    assert [raw.parse().choices[0].message.content for raw in (first, second)] == ["one", "two"]
    assert first.headers[PROCESS] != second.headers[PROCESS]


async def test_an_agents_key_talks_with_an_employee_only_if_it_speaks_for_the_owner(place: Place) -> None:
    history: list[Any] = [user("one"), {"role": "assistant", "content": "one"}, user("two")]
    client, before = await place.client(employee="helper"), len(await place.site.statuses())
    for messages in (history[:1], history):
        with pytest.raises(openai.PermissionDeniedError, match="speak"):
            await client.chat.completions.create(model="helper", messages=messages)
    assert len(await place.site.statuses()) == before
    speaking = await place.client(employee="helper", speaks=True)
    await speaking.chat.completions.create(model="helper", messages=history[:1])
    answer = await speaking.chat.completions.create(model="helper", messages=history)
    assert answer.choices[0].message.content == "two"


@pytest.mark.model
async def test_a_small_real_model_answers_streams_and_calls(smollm: Path, tmp_path: Path) -> None:
    from kernos.drivers.engine.embedded import EmbeddedEngine

    engine = EmbeddedEngine(lambda: smollm, context=2048, slots=1)
    store = SqlStore.open(tmp_path / "kernos.db")
    async with House(foreign(runs(idle)), engine=engine, store=store) as house, served(house, surface) as site:
        secret = await site.key("laptop", employee=CLERK)
        async with AsyncOpenAI(base_url=f"{site.url}/v1", api_key=secret, max_retries=0) as client:
            stream = await client.chat.completions.create(
                model=ENGINE, messages=[user("Say hello.")], stream=True, max_tokens=12,
                stream_options={"include_usage": True},
            )  # fmt: skip
            chunks = [chunk async for chunk in stream]
            assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens > 0
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            called, _ = await ask(client, user("Add 2 and 3."), tools=[ADD], tool_choice="required", max_tokens=60)
            assert called.tool_calls[0].function.name == "add"
            with pytest.raises(openai.APIStatusError, match="image"):
                picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
                await ask(client, {"role": "user", "content": [picture]}, max_tokens=5)
