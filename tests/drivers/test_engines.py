"""The contract of an engine: what every backend promises, run against each. A new backend joins in `BACKENDS`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from jsonschema import Draft202012Validator

from kernos.drivers.engine.client import OpenAIEngine
from kernos.drivers.engine.scripted import ScriptedEngine, say
from kernos.kernel.errors import EngineError
from kernos.kernel.ports import Engine, Prompt
from kernos.kernel.types import REPLY, Action, Json, Message
from tests.drivers.llama import KEY, ORDER, WEATHER, Managed, ask, llama_server, only

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLES: Mapping[str, Json] = {"boolean": True, "integer": 1}


def obedient(prompt: Prompt) -> Action:
    """A script that calls the first tool that it is offered with the first values that may stand there."""
    for name, schema in prompt.offers.items():
        fields = schema["properties"].items()
        return Action(
            name, {key: field["enum"][0] if "enum" in field else EXAMPLES[field["type"]] for key, field in fields}
        )
    return say("I am glad to help.")


@asynccontextmanager
async def scripted(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    yield ScriptedEngine(obedient, slots=2)


@asynccontextmanager
async def embedded(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    model: Path = request.getfixturevalue("smollm")
    yield Managed(lambda: model, context=1024, slots=2, threads=1)


@asynccontextmanager
async def remote(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async with llama_server(request.getfixturevalue("smollm")) as url:
        yield OpenAIEngine(url, key=KEY, slots=2)


BACKENDS = [
    scripted,
    pytest.param(embedded, marks=pytest.mark.model),
    pytest.param(remote, marks=pytest.mark.model),
]


@pytest_asyncio.fixture(params=BACKENDS, scope="module", loop_scope="module")
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    opening: AbstractAsyncContextManager[Engine] = request.param(request)
    async with opening as opened:
        yield opened
        await opened.close()


def ignore(piece: str) -> None:
    """For tests that don't watch the draft."""


BOTH = {"weather": WEATHER.schema, "order": ORDER.schema}


@pytest.mark.parametrize("words", ["Order 3 bottles as a gift!", "Will it rain in Rome?", "Do you like jazz?"])
async def test_an_action_is_a_call_of_an_offered_tool_with_arguments_of_its_form(engine: Engine, words: str) -> None:
    action = (await engine.generate(ask(words, BOTH), ignore)).action
    Draft202012Validator(BOTH[action.name]).validate(dict(action.arguments))


@pytest.mark.parametrize("city", ["Oslo", "Paris"])
async def test_a_parameter_narrowed_to_one_value_has_that_value(engine: Engine, city: str) -> None:
    offers = {"weather": only(WEATHER, city={"enum": [city]})}
    assert (await engine.generate(ask("Will it rain in Rome?", offers), ignore)).action == Action(
        "weather", {"city": city}
    )


async def test_a_tool_that_is_not_offered_is_not_called_whatever_is_asked(engine: Engine) -> None:
    offers = {"order": only(ORDER, count={"enum": [7]}, gift={"enum": [False]})}
    action = (await engine.generate(ask("What is the weather in Paris?", offers), ignore)).action
    assert action == Action("order", {"count": 7, "gift": False})


async def test_a_model_that_may_speak_replies_or_calls(engine: Engine) -> None:
    action = (await engine.generate(ask("Hello!", BOTH, speak=True), ignore)).action
    forms = {**BOTH, REPLY: {"properties": {"text": {"type": "string", "minLength": 1}}, "required": ["text"]}}
    Draft202012Validator(forms[action.name]).validate(dict(action.arguments))


async def test_the_drafts_of_a_reply_are_its_text(engine: Engine) -> None:
    drafts: list[str] = []
    action = (await engine.generate(ask("Tell me about Oslo.", {}, speak=True), drafts.append)).action
    assert action.name == REPLY
    assert len(drafts) > 1
    assert "".join(drafts) == action.text


async def test_a_prompt_without_tools_is_answered_in_free_text(engine: Engine) -> None:
    drafts: list[str] = []
    said = (Message("system", "You are a clerk. Be brief."), Message("user", "Tell me about Oslo."))
    generation = await engine.generate(Prompt(said, max_tokens=24), drafts.append)
    assert generation.action.name == REPLY
    assert not generation.action.text.startswith("{")
    assert "".join(drafts) == generation.action.text != ""


async def test_a_call_has_no_draft(engine: Engine) -> None:
    drafts: list[str] = []
    await engine.generate(ask("Order 3 bottles!", {"order": ORDER.schema}), drafts.append)
    assert drafts == []


async def test_tokens_are_counted(engine: Engine) -> None:
    short, long = [
        await engine.generate(ask("Rain? " * times, {"weather": WEATHER.schema}), ignore) for times in (1, 20)
    ]
    assert 0 < short.prompt < long.prompt
    assert short.completion > 0
    assert 0 <= short.cached <= short.prompt
    assert short.seconds >= 0


async def test_two_calls_at_once_get_each_its_own_answer(engine: Engine) -> None:
    assert 1 <= engine.slots <= 2
    async with asyncio.TaskGroup() as calls:
        tasks = {
            city: calls.create_task(
                engine.generate(ask("Rain?", {"weather": only(WEATHER, city={"enum": [city]})}), ignore)
            )
            for city in ("Rome", "Oslo", "Paris")
        }
    assert {city: task.result().action.arguments["city"] for city, task in tasks.items()} == {
        "Rome": "Rome", "Oslo": "Oslo", "Paris": "Paris",
    }  # fmt: skip


async def test_a_script_that_has_ended_is_an_error() -> None:
    engine = ScriptedEngine([say("Hello!")])
    assert (await engine.generate(ask("Hello?", {}, speak=True), ignore)).action.text == "Hello!"
    with pytest.raises(EngineError, match="the script has ended"):
        await engine.generate(ask("Hello?", {}, speak=True), ignore)


async def test_a_scripted_engine_keeps_what_it_was_asked() -> None:
    engine, prompt = ScriptedEngine(obedient), ask("Hello?", {}, speak=True)
    await engine.generate(prompt, ignore)
    assert engine.prompts == [prompt]
