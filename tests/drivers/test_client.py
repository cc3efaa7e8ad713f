"""The client of OpenAI-compatible servers, with tools passed natively, against a server that plays a script."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.engine.client import Calls, Hints, OpenAIEngine
from kernos.drivers.engine.grammar import TextStream
from kernos.drivers.network.gate import Gate
from kernos.kernel.errors import AnswerLost, BadInput, EngineBusy, EngineDied, EngineError
from kernos.kernel.ports import Prompt
from kernos.kernel.types import REPLY, Action, Generation, Json, Message, ToolSpec
from tests.drivers.chat_server import (
    ChatServer,
    Ending,
    Plain,
    Silence,
    Stream,
    Turn,
    calls,
    chunk,
    ends,
    models,
    says,
    serving,
    usage,
)

FORM = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolSpec("weather", "tells the weather", FORM)
ORDER = ToolSpec("order", "orders a product", {"type": "object", "properties": {}})
ASKED = (Message("system", "You are a clerk."), Message("user", "Rain in Oslo?"))
HELLO = Stream([says("Hello"), ends()])
KEPT = replace(HELLO, ending="kept")


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


async def error(*script: Turn, kind: type[EngineError] = EngineError) -> str:
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


@given(pieces=st.lists(st.text(st.sampled_from(" \n\u3000ab\ud83d\ude00"), max_size=4)))
def test_a_text_is_the_same_however_it_is_cut(pieces: list[str]) -> None:
    whole, cut = TextStream(), TextStream()
    whole.feed("".join(pieces))
    assert "".join(map(cut.feed, pieces)) == cut.text == whole.text == whole.text.strip()
    assert cut.text.encode().decode() == cut.text


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


async def test_where_a_server_counts_no_tokens_each_piece_is_one_and_the_prompt_is_guessed() -> None:
    words = [chunk({"role": "assistant", "content": ""}), says("Good "), says("morning"), ends()]
    with serving(Stream(words), Stream([calls("{}", "order"), ends()])) as server:
        said, called = await answer(server, prompt()), await answer(server, prompt(offers=("order",)))
    assert (said.prompt, said.completion, said.cached) == (29 // 3, 2, 0)
    assert (called.prompt, called.completion) == (29 // 3, 1)


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


@pytest.mark.parametrize("ways", ["native", "grammar"])
async def test_a_prompt_without_tools_is_free_text_in_both_ways_of_calling(ways: Calls) -> None:
    with serving(HELLO) as server:
        generation = await answer(server, Prompt(ASKED), calls=ways)
    assert generation.action == Action(REPLY, {"text": "Hello"})
    assert not {"tools", "tool_choice", "response_format"} & set(server.bodies[0])
    assert server.bodies[0]["messages"][0] == {"role": "system", "content": "You are a clerk."}


@pytest.mark.parametrize("ways", ["native", "grammar"])
@pytest.mark.parametrize("tools", [(), (WEATHER,)], ids=["no tools", "tools that are not offered"])
async def test_a_shape_is_passed_as_the_schema_of_the_reply(ways: Calls, tools: tuple[ToolSpec, ...]) -> None:
    with serving(HELLO) as server:
        await answer(server, Prompt(ASKED, tools, shape=FORM), calls=ways)
    schema = {"name": "reply", "schema": FORM, "strict": True}
    assert server.bodies[0]["response_format"] == {"type": "json_schema", "json_schema": schema}


async def test_sampling_options_are_passed_as_they_are_and_replace_nothing_of_ours() -> None:
    options = {"stop": ["END"], "top_p": 0.3, "seed": 7, "stream": False, "model": "another"}
    with serving(HELLO) as server:
        await answer(server, replace(prompt(), options=options))
    assert server.bodies[0].items() >= {**options, "stream": True, "model": "m"}.items()


@pytest.mark.parametrize(
    ("hints", "told"),
    [("", {}), ("openai", {"prompt_cache_key": "p7"}), ("vllm", {"priority": 3}), ("sglang", {"priority": -3})],
)
async def test_a_server_is_told_of_priorities_and_contexts_only_if_it_is_known_to_listen(
    hints: Hints, told: dict[str, Json]
) -> None:
    with serving(HELLO) as server:
        opened = OpenAIEngine(server.url, "m", calls="native", hints=hints)
        await opened.generate(replace(prompt(), priority=3, context="p7"), ignore)
        await opened.close()
    fields = {"priority", "prompt_cache_key", "cache_salt"} & set(server.bodies[0])
    assert {name: server.bodies[0][name] for name in fields} == told
    assert server.bodies[0].get("parallel_tool_calls") is (False if hints else None)


IMAGE = "data:image/png;base64,iVBORw0KGgo="
LOOK = Message("user", "What is this?", images=(IMAGE, "https://example.com/b.png"))
SEEN = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": IMAGE}},
    {"type": "image_url", "image_url": {"url": "https://example.com/b.png"}},
]


async def test_images_stand_beside_the_text_of_their_message() -> None:
    with serving(HELLO) as server:
        await answer(server, prompt(LOOK))
    assert server.bodies[0]["messages"][-1] == {"role": "user", "content": SEEN}


async def test_an_image_that_a_tool_returned_is_part_of_its_answer() -> None:
    with serving(HELLO) as server:
        await answer(server, prompt(CALL, replace(LOOK, role="tool", tool="weather")))
    sent = server.bodies[0]["messages"]
    assert sent[-1] == {"role": "tool", "tool_call_id": sent[-2]["tool_calls"][0]["id"], "content": SEEN}


async def test_by_grammar_an_image_is_bad_input_and_nothing_is_sent() -> None:
    with serving(HELLO) as server, pytest.raises(BadInput, match="sees none"):
        await answer(server, prompt(LOOK), calls="grammar")
    assert server.bodies == []


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
    assert "weather" in await error(Stream([calls(arguments, "weather"), ends("tool_calls")]), kind=AnswerLost)


async def test_a_refused_connection_is_an_error_that_names_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    async with engine(url) as opened:
        with pytest.raises(EngineDied, match=f"^cannot reach the model server at {url}: [^\n]+$") as raised:
            await opened.generate(prompt(), ignore)
    assert raised.type is EngineDied


@pytest.mark.parametrize("ending", ["broken", "short"])
async def test_a_stream_cut_in_the_middle_is_the_death_of_the_engine(ending: Ending) -> None:
    assert await error(Stream([says("Good mor")], ending), kind=EngineDied)


async def test_a_refusal_carries_the_servers_own_words() -> None:
    body = json.dumps({"error": {"message": "the context is too long", "type": "bad", "code": 400}})
    assert "400 the context is too long" in await error(Plain(body, 400))


async def test_a_refusal_without_words_carries_its_status() -> None:
    assert "403" in await error(Plain("<html>no\nentry</html>", 403, "text/html"))


NOT_NOW = json.dumps({"error": {"message": "too many calls"}})


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Sun, 22 Nov 2026 09:00:30 GMT"}, 30.0),
        ({"Retry-After": "Sun, 22 Nov 2026 08:59:00 GMT"}, 0.0),
        ({"Retry-After": "7", "retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "Sun, 22 Nov 2026 09:00:30 -0000"}, None),
        ({}, None),
    ],
)
async def test_a_busy_server_says_when_it_wants_to_be_asked_again(
    status: int, headers: dict[str, str], after: float | None
) -> None:
    words = f"refused: {status} too many calls"
    with serving(Plain(NOT_NOW, status, headers=headers)) as server, pytest.raises(EngineBusy, match=words) as raised:
        await answer(server, prompt())
    assert raised.value.after == after


async def test_an_error_in_the_middle_of_a_stream_carries_the_servers_own_words() -> None:
    assert "out of memory" in await error(Stream([says("Good"), {"error": {"message": "out of\nmemory"}}]))
    assert "out of memory" in await error(Stream([says("Good"), {"error": "out of memory"}]))


async def test_an_answer_that_is_not_of_this_world_is_an_error() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}}")
        writer.write(b"220 mail.example.com ESMTP\r\n")
        writer.close()

    there = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with there, engine(f"http://127.0.0.1:{there.sockets[0].getsockname()[1]}/v1") as opened:
        with pytest.raises(EngineError, match="^the model server at [^ ]+ failed: [^\n]+$"):
            await opened.generate(prompt(), ignore)


@pytest.mark.parametrize(
    "url",
    ["http://bob:hunter2@127.0.0.1:port/v1", "http://bob:hunter2@[::1/v1", "ftp://bob:hunter2@127.0.0.1/v1", "//", ""],
)
async def test_a_url_that_is_none_is_an_error_without_its_password(url: str) -> None:
    async with engine(url) as opened:
        with pytest.raises(EngineError, match=r"^cannot reach .* is malformed$") as raised:
            await opened.generate(prompt(), ignore)
    assert "hunter2" not in str(raised.value)


async def test_a_key_that_cannot_be_sent_is_an_error_that_does_not_show_it() -> None:
    with serving() as server:
        opened = OpenAIEngine(server.url, "m", "hunter2\n", "native")
        with pytest.raises(EngineError, match=r"^cannot reach .* is malformed$"):
            await opened.generate(prompt(), ignore)
        await opened.close()


@pytest.mark.parametrize("to", ["ftp://127.0.0.1/", "http://bob:hunter2@{place}/v1/chat/completions", "http://["])
async def test_a_redirect_that_leads_nowhere_is_an_error(to: str) -> None:
    async def away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}}")
        target = to.format(place="{}:{}".format(*writer.get_extra_info("sockname")))
        writer.write(f"HTTP/1.1 307 Away\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    there = await asyncio.start_server(away, "127.0.0.1", 0)
    async with there, engine(f"http://127.0.0.1:{there.sockets[0].getsockname()[1]}/v1") as opened:
        with pytest.raises(EngineError, match=r"^cannot reach .* is malformed$"):
            await opened.generate(prompt(), ignore)


async def test_an_event_that_is_no_json_is_an_error() -> None:
    assert "no JSON" in await error(Stream([says("Good"), "{nonsense"]))


@pytest.mark.parametrize("event", [7, [], {"choices": [7]}, {"choices": [{"delta": {"content": 7}}]}])
async def test_an_event_that_is_no_piece_of_an_answer_is_an_error(event: Json) -> None:
    assert "no piece of an answer" in await error(Stream([event, ends()]))


async def test_an_event_that_says_nothing_is_passed_over() -> None:
    with serving(Stream([{}, {"choices": None}, says("Hello"), ends()])) as server:
        assert (await answer(server, prompt())).action.text == "Hello"


# Connections


async def test_calls_one_after_another_share_a_connection() -> None:
    with serving(KEPT, KEPT) as server:
        async with engine(server.url) as opened:
            for _ in range(2):
                await opened.generate(prompt(), ignore)
    first, second = server.ports
    assert first == second


async def test_an_idle_connection_that_broke_is_replaced_by_a_fresh_one() -> None:
    with serving(KEPT, Silence(hangs_up=True), HELLO) as server:
        async with engine(server.url) as opened:
            for _ in range(2):
                assert (await opened.generate(prompt(), ignore)).action.text == "Hello"
    first, idle, fresh = server.ports
    assert first == idle != fresh


async def test_an_engine_that_was_closed_opens_again() -> None:
    with serving(KEPT, KEPT) as server:
        async with engine(server.url) as opened:
            for _ in range(2):
                await opened.generate(prompt(), ignore)
                await opened.close()
    first, second = server.ports
    assert first != second


async def test_a_fresh_connection_that_breaks_is_the_death_of_the_engine_and_nothing_is_tried_again() -> None:
    with serving(KEPT, Silence(hangs_up=True), Silence(hangs_up=True), HELLO) as server:
        async with engine(server.url) as opened:
            await opened.generate(prompt(), ignore)
            with pytest.raises(EngineDied, match="broke off"):
                await opened.generate(prompt(), ignore)
    assert len(server.ports) == 3


async def test_a_connection_that_breaks_in_the_middle_of_an_answer_is_not_replaced() -> None:
    with serving(KEPT, Stream([says("Good mor")], "broken"), HELLO) as server:
        async with engine(server.url) as opened:
            await opened.generate(prompt(), ignore)
            with pytest.raises(EngineDied, match="broke off"):
                await opened.generate(prompt(), ignore)
    assert len(server.ports) == 2


async def test_a_server_that_is_silent_for_too_long_is_a_death() -> None:
    with serving(Silence()) as server:
        opened = OpenAIEngine(server.url, "m", calls="native", timeout=0.05)
        with pytest.raises(EngineDied, match="broke off: Timeout"):
            await opened.generate(prompt(), ignore)
        await opened.close()
        assert await asyncio.to_thread(server.left.wait, 5)


@pytest.mark.parametrize("turn", [Silence(), Stream([says("Good")], "held")], ids=["computing", "answering"])
async def test_the_server_sees_at_once_that_a_call_was_cancelled(turn: Turn) -> None:
    with serving(turn) as server:
        async with engine(server.url) as opened:
            said = asyncio.Event()
            call = asyncio.create_task(opened.generate(prompt(), lambda piece: said.set()))
            await (said.wait() if isinstance(turn, Stream) else asyncio.to_thread(server.asked.wait, 5))
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await asyncio.to_thread(server.left.wait, 5)


async def test_the_key_is_sent_or_the_name_and_password_of_the_url() -> None:
    with serving(HELLO, HELLO) as server:
        await answer(server, prompt())
        async with engine(server.url.replace("//", "//bob:hunter2@")) as opened:
            await opened.generate(prompt(), ignore)
    assert server.keys == ["Bearer secret", "Basic Ym9iOmh1bnRlcjI="]


@pytest.mark.parametrize("direct", [False, True])
async def test_a_proxy_of_the_environment_comes_in_between_unless_the_way_is_to_be_direct(
    direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(HELLO) as proxy, serving(HELLO) as server:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        opened = OpenAIEngine(server.url, "m", calls="native", direct=direct)
        await opened.generate(prompt(), ignore)
        await opened.close()
    assert (len(proxy.paths), len(server.paths)) == ((0, 1) if direct else (1, 0))


def test_i10_a_name_is_looked_up_where_the_gate_sees_it_on_any_loop() -> None:
    async def call() -> None:
        async with engine("http://undeclared.example/v1") as opened:
            await opened.generate(prompt(), ignore)

    refused = pytest.raises(EngineError, match=r"undeclared\.example may not be looked up")
    with Gate(["127.0.0.0/8"]).closed(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, refused:
        runner.run(call())


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
