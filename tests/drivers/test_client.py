"""The client of OpenAI-compatible servers, with tools passed natively, against a server that plays a script."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from kernos.drivers.engine.client import Calls, OpenAIEngine
from kernos.kernel.errors import EngineDied, EngineError
from kernos.kernel.ports import Prompt
from kernos.kernel.types import REPLY, Action, Generation, Json, Message, ToolSpec
from tests.drivers.chat_server import ChatServer, Ending, Plain, Stream, calls, ends, models, says, serving, usage

FORM = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolSpec("weather", "tells the weather", FORM)
ORDER = ToolSpec("order", "orders a product", {"type": "object", "properties": {}})
ASKED = (Message("system", "You are a clerk."), Message("user", "Rain in Oslo?"))
HELLO = Stream([says("Hello"), ends()])


def prompt(*said: Message, offers: tuple[str, ...] = ("weather",), speak: bool = True) -> Prompt:
    return Prompt(ASKED + said, (WEATHER, ORDER), dict.fromkeys(offers, FORM), speak, 99, 0.5)


def ignore(piece: str) -> None:
    """For tests that don't watch the draft."""


@asynccontextmanager
async def engine(url: str, calls: Calls = "native", model: str = "m") -> AsyncIterator[OpenAIEngine]:
    opened = OpenAIEngine(url, model, "secret", calls)
    try:
        yield opened
    finally:
        await opened.close()


async def answer(
    server: ChatServer, prompt: Prompt, draft: Callable[[str], None] = ignore, calls: Calls = "native"
) -> Generation:
    async with engine(server.url, calls) as opened:
        return await opened.generate(prompt, draft)


async def error(*script: Stream | Plain, kind: type[EngineError] = EngineError) -> str:
    """The message of the error that an answer leads to: always one line."""
    with serving(*script, *script) as server, pytest.raises(EngineError) as raised:
        await answer(server, prompt())
    assert raised.type is kind
    assert "\n" not in str(raised.value)
    return str(raised.value)


# What comes back


async def test_a_tool_call_is_put_together_from_its_pieces() -> None:
    pieces = [
        calls("", "weather"),
        calls('{"ci'),
        calls('ty": "Os'),
        calls('lo"}'),
        ends("tool_calls"),
        usage(20, 7, 12),
    ]
    with serving(Stream(pieces)) as server:
        generation = await answer(server, prompt())
    assert generation.action == Action("weather", {"city": "Oslo"})
    assert (generation.prompt, generation.completion, generation.cached) == (20, 7, 12)


async def test_a_reply_is_drafted_piece_by_piece() -> None:
    drafts: list[str] = []
    with serving(Stream([says("Good "), says("morning"), says("!"), ends(), usage(20, 3, 0)])) as server:
        generation = await answer(server, prompt(), drafts.append)
    assert drafts == ["Good", " morning", "!"]
    assert generation.action == Action(REPLY, {"text": "Good morning!"})


async def test_a_draft_is_the_reply_even_where_a_model_begins_and_ends_with_blanks() -> None:
    drafts: list[str] = []
    with serving(Stream([says("\n\n"), says(" Good"), says(" morning"), says(" \n"), ends()])) as server:
        generation = await answer(server, prompt(), drafts.append)
    assert "".join(drafts) == generation.action.text == "Good morning"


async def test_a_call_without_arguments_has_none() -> None:
    with serving(Stream([calls("", "order"), ends("tool_calls")])) as server:
        assert (await answer(server, prompt(offers=("order",)))).action == Action("order", {})


async def test_of_several_calls_at_once_the_first_is_taken() -> None:
    pieces = [
        calls("{}", "order"),
        calls('{"city":', "weather", index=1),
        calls('"Oslo"}', index=1),
        ends("tool_calls"),
    ]
    with serving(Stream(pieces)) as server:
        assert (await answer(server, prompt(offers=("order", "weather")))).action == Action("order", {})


async def test_a_call_wins_over_words_that_a_model_writes_beside_it() -> None:
    with serving(Stream([says("Let me see."), calls("{}", "order"), ends("tool_calls")])) as server:
        assert (await answer(server, prompt(offers=("order",)))).action == Action("order", {})


async def test_a_server_that_counts_no_tokens_costs_none() -> None:
    with serving(HELLO) as server:
        generation = await answer(server, prompt())
    assert (generation.prompt, generation.completion, generation.cached) == (0, 0, 0)


# What is sent


async def test_only_the_offered_tools_are_passed_and_the_model_may_choose() -> None:
    with serving(HELLO) as server:
        await answer(server, prompt(offers=("weather",)))
    (body,) = server.bodies
    assert [tool["function"]["name"] for tool in body["tools"]] == ["weather"]
    assert body["tools"][0]["function"]["parameters"] == FORM
    assert body["tool_choice"] == "auto"
    assert (body["max_tokens"], body["temperature"], body["model"]) == (99, 0.5, "m")
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


async def test_a_model_that_may_not_speak_has_to_call() -> None:
    with serving(Stream([calls("{}", "order"), ends("tool_calls")])) as server:
        await answer(server, prompt(offers=("order",), speak=False))
    assert server.bodies[0]["tool_choice"] == "required"


async def test_a_reply_of_a_model_that_may_not_speak_is_an_error() -> None:
    drafts: list[str] = []
    with serving(HELLO) as server, pytest.raises(EngineError, match="replied with text where a tool had to be called"):
        await answer(server, prompt(offers=("order",), speak=False), drafts.append)
    assert drafts == []


async def test_without_tools_there_is_no_choice() -> None:
    with serving(HELLO) as server:
        await answer(server, prompt(offers=()))
    assert not {"tools", "tool_choice"} & set(server.bodies[0])


def protocol_faults(messages: list[dict[str, Json]]) -> list[str]:
    """Where messages break the rule of the API: each call is answered by the message after it, and nothing else is."""
    faults, waiting = [], None
    for message in messages:
        if message.get("tool_call_id") != waiting:
            faults.append(f"{message['role']} follows the call {waiting} with {message.get('tool_call_id')!r}")
        waiting = message["tool_calls"][0]["id"] if message.get("tool_calls") else None
    return faults


CALL = Message("assistant", action=Action("weather", {"city": "北京"}))
RESULT = Message("tool", "rain", tool="weather")
SAID = Message("assistant", action=Action(REPLY, {"text": "It rains."}))
REFUSED = Message("tool", "refused: a price", tool=REPLY)


async def test_the_context_is_written_with_each_result_answering_its_call() -> None:
    with serving(HELLO) as server:
        await answer(server, prompt(CALL, RESULT, CALL, RESULT, SAID, Message("user", "Thanks")))
    sent = server.bodies[0]["messages"]
    assert [message["role"] for message in sent] == [
        "system", "user", "assistant", "tool", "assistant", "tool", "assistant", "user",
    ]  # fmt: skip
    assert protocol_faults(sent) == []
    assert sent[2]["tool_calls"][0]["id"] != sent[4]["tool_calls"][0]["id"]
    assert json.loads(sent[2]["tool_calls"][0]["function"]["arguments"]) == {"city": "北京"}
    assert sent[3]["content"] == "rain"
    assert sent[6]["content"] == "It rains."


@pytest.mark.parametrize(
    "said",
    [(SAID, REFUSED), (CALL, RESULT, SAID, REFUSED), (CALL, SAID), (RESULT, SAID)],
    ids=["a refused reply", "a refused reply after a call", "a tool that spoke for itself", "a context that was cut"],
)
async def test_whatever_an_employee_lived_through_can_be_written_by_the_rules_of_the_api(
    said: tuple[Message, ...],
) -> None:
    with serving(HELLO) as server:
        await answer(server, prompt(*said, Message("user", "And now?")))
    sent = server.bodies[0]["messages"]
    assert protocol_faults(sent) == []
    assert all(message.text in json.dumps(sent, ensure_ascii=False) for message in said)


async def test_a_call_at_the_end_of_a_context_is_answered_too() -> None:
    with serving(HELLO) as server:
        await answer(server, prompt(CALL))
    sent = server.bodies[0]["messages"]
    assert sent[-1] == {"role": "tool", "tool_call_id": sent[-2]["tool_calls"][0]["id"], "content": ""}


# What goes wrong


@pytest.mark.parametrize("arguments", ['{"city": ', "Oslo", "[]", '"Oslo"', '{"city": NaN}'])
async def test_malformed_arguments_are_an_error_that_names_the_tool(arguments: str) -> None:
    assert "weather" in await error(Stream([calls(arguments, "weather"), ends("tool_calls")]))


async def test_a_refused_connection_is_an_error_that_names_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    async with engine(url) as opened:
        with pytest.raises(EngineError, match=f"^cannot reach the model server at {url}: [^\n]+$") as raised:
            await opened.generate(prompt(), ignore)
    assert raised.type is EngineError


@pytest.mark.parametrize("ending", ["broken", "short"])
async def test_a_stream_cut_in_the_middle_is_the_death_of_the_engine(ending: Ending) -> None:
    assert await error(Stream([says("Good mor")], ending), kind=EngineDied)


async def test_a_refusal_carries_the_servers_own_words() -> None:
    body = json.dumps({"error": {"message": "the context is too long", "type": "bad", "code": 400}})
    assert "400 the context is too long" in await error(Plain(body, 400))


async def test_a_refusal_without_words_carries_its_status() -> None:
    assert "403" in await error(Plain("<html>no\nentry</html>", 403, "text/html"))


async def test_an_error_in_the_middle_of_a_stream_carries_the_servers_own_words() -> None:
    assert "out of memory" in await error(Stream([says("Good"), {"error": {"message": "out of\nmemory"}}]))
    assert "out of memory" in await error(Stream([says("Good"), {"error": "out of memory"}]))


async def test_an_event_that_is_no_json_is_an_error() -> None:
    assert "no JSON" in await error(Stream([says("Good"), "{nonsense"]))


@pytest.mark.parametrize("event", [7, [], {"choices": [7]}, {"choices": [{"delta": {"content": 7}}]}])
async def test_an_event_that_is_no_piece_of_an_answer_is_an_error(event: Json) -> None:
    assert "no piece of an answer" in await error(Stream([event, ends()]))


async def test_an_event_that_says_nothing_is_passed_over() -> None:
    with serving(Stream([{}, {"choices": None}, says("Hello"), ends()])) as server:
        assert (await answer(server, prompt())).action.text == "Hello"


# Finding out what the server is


@pytest.mark.parametrize(("owner", "by_grammar"), [("llamacpp", True), ("vllm", False), ("library", False)])
async def test_auto_decodes_by_grammar_on_llama_cpp_and_calls_natively_elsewhere(owner: str, by_grammar: bool) -> None:
    said = '{"name": "reply", "arguments": {"text": "Hello"}}' if by_grammar else "Hello"
    drafts: list[str] = []
    with serving(Stream([says(said), ends()]), models=models(owner, "a", "b")) as server:
        async with engine(server.url, "auto", "") as opened:
            generation = await opened.generate(prompt(), drafts.append)
    assert generation.action.text == "".join(drafts) == "Hello"
    assert ("response_format" in server.bodies[0], "tools" in server.bodies[0]) == (by_grammar, not by_grammar)
    assert server.bodies[0]["model"] == "a"


async def test_the_server_is_asked_what_it_is_only_once() -> None:
    with serving(HELLO, HELLO) as server:
        async with engine(server.url, "auto", "") as opened:
            for _ in range(2):
                await opened.generate(prompt(), ignore)
    assert server.paths == ["/v1/models", "/v1/chat/completions", "/v1/chat/completions"]


async def test_a_server_without_a_model_is_an_error() -> None:
    with serving(models=models("vllm")) as server:
        async with engine(server.url, "auto", "") as opened:
            with pytest.raises(EngineError, match="lists no model"):
                await opened.generate(prompt(), ignore)


@pytest.mark.parametrize("page", ["<html>Welcome</html>", "[]", '{"data": 7}', '{"data": [{"name": "m"}]}', ""])
async def test_a_page_that_is_no_model_server_is_an_error(page: str) -> None:
    with serving(models=Plain(page, kind="text/html")) as server:
        async with engine(server.url, "auto", "") as opened:
            with pytest.raises(EngineError, match="is no model server"):
                await opened.generate(prompt(), ignore)
