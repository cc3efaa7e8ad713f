"""What OpenAI's APIs ask for, read without a server; and how a conversation is known again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.engine.scripted import say
from kernos.kernel.errors import BadInput
from kernos.kernel.types import REPLY, Json, Message
from kernos.surfaces.http import refused
from kernos.surfaces.openai import chat, responses
from kernos.surfaces.openai.fields import MOST_MESSAGES, MOST_TOOLS
from kernos.surfaces.openai.routes import Contexts
from kernos.surfaces.openai.threads import Threads, answered, beginnings, failed

ADD: Json = {"type": "function", "function": {"name": "add"}}
FETCHED: Json = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data"}}


def user(text: str) -> Any:
    return {"role": "user", "content": text}


@given(st.permutations([("a", "1"), ("b", "2"), ("c", "3")]))
def test_each_answer_stands_behind_its_call_whatever_order_they_came_in(answers: list[tuple[str, str]]) -> None:
    function = {"name": "add", "arguments": "{}"}
    calls = [{"id": name, "type": "function", "function": function} for name in "abc"]
    results = [{"role": "tool", "tool_call_id": name, "content": text} for name, text in answers]
    read = chat.messages([user("go"), {"role": "assistant", "tool_calls": calls}, *results])
    assert [message.text for message in read] == ["go", "", "1", "", "2", "", "3"]
    items = [{"type": "function_call", "call_id": name, **function} for name in "abc"]
    outputs = [{"type": "function_call_output", "call_id": name, "output": text} for name, text in answers]
    assert responses.read({"input": [user("go"), *items, *outputs]}).call.messages == read


WRONG: Sequence[tuple[Mapping[str, Json], str]] = (
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "king", "content": ""}]}, r"messages\[0\].role"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, r"messages\[0\].content\[0\].type"),
    ({"messages": [{"role": "user", "content": [FETCHED]}]}, r"messages\[0\].content\[0\].image_url"),
    ({"messages": [user("a")] * (MOST_MESSAGES + 1)}, "messages: found more than 10,000"),
    ({"messages": [{"role": "tool", "tool_call_id": "x", "content": ""}]}, r"messages\[0\].tool_call_id"),
    ({"n": 2}, "n: found 2"),
    ({"logprobs": True}, "logprobs"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"temperature": "hot"}, "temperature"),
    ({"stream": "yes"}, "stream"),
    ({"stop": 7}, "stop"),
    ({"stop": False}, "stop"),
    ({"stop": ["\n", 7]}, "stop"),
    ({"seed": 1.5}, "seed"),
    ({"top_p": "most"}, "top_p"),
    ({"presence_penalty": True}, "presence_penalty"),
    ({"frequency_penalty": []}, "frequency_penalty"),
    ({"logit_bias": [5]}, "logit_bias"),
    ({"logit_bias": {"5": "much"}}, "logit_bias"),
    ({"logit_bias": {"soap": 1}}, "logit_bias"),
    ({"tools": [{"type": "web_search"}]}, r"tools\[0\].type"),
    ({"tools": [ADD, ADD]}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": REPLY}}]}, r"tools\[0\].name"),
    ({"tools": [{"type": "function", "name": f"n{number}"} for number in range(MOST_TOOLS + 1)]}, "tools: found 1,025"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [ADD], "tool_choice": {"type": "function", "function": {"name": "sub"}}}, "tool_choice"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
)


@pytest.mark.parametrize(("fields", "place"), WRONG)
def test_what_is_wrong_is_named_by_its_place(fields: Mapping[str, Json], place: str) -> None:
    with pytest.raises(BadInput, match=f"^{place}"):
        chat.read({"messages": [user("hello")], **fields})


def test_options_of_the_right_types_are_passed_on() -> None:
    given: dict[str, Json] = {
        "stop": "x", "seed": 7, "top_p": 1, "presence_penalty": 0, "frequency_penalty": -0.5, "logit_bias": {"5": -1}
    }  # fmt: skip
    assert chat.read({"messages": [user("hello")], **given}).call.options == given
    assert chat.read({"messages": [user("hello")], **dict.fromkeys(given)}).call.options == {}


def test_calls_and_items_count_as_messages() -> None:
    calls = [{"id": f"{number}", "function": {"name": "add"}} for number in range(MOST_MESSAGES)]
    with pytest.raises(BadInput, match="^messages: found more than 10,000"):
        chat.messages([user("go"), {"role": "assistant", "tool_calls": calls}])
    with pytest.raises(BadInput, match="^input: found more than 10,000"):
        responses.read({"input": [user("go")] * (MOST_MESSAGES + 1)})


def test_contexts_are_kept_while_they_are_few_and_small() -> None:
    contexts = Contexts(count=2, chars=10)
    for name, text in (("one", "12345"), ("two", "12345"), ("two", "1234")):
        contexts.keep(name, (Message("user", text),))
    assert contexts.of("one") and contexts.of("two")
    contexts.keep("three", (Message("user", "1234567"),))
    assert [bool(contexts.of(name)) for name in ("one", "two", "three")] == [False, False, True]
    for name in ("four", "five"):
        contexts.keep(name, (Message("user", "1"),))
    assert [bool(contexts.of(name)) for name in ("three", "four", "five")] == [False, True, True]


def test_an_error_that_repeats_half_a_surrogate_pair_can_be_sent() -> None:
    answer = refused(BadInput("model", "gpt\ud800", "a name"))
    assert answer.status_code == 400 and b"gpt?" in answer.body


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.booleans()), max_size=30))
def test_a_process_is_given_only_what_goes_on_from_where_it_stands(steps: list[tuple[int, str, bool]]) -> None:
    threads, talks, pasts = Threads(), [tuple[Message, ...]() for _ in range(4)], dict[str, tuple[Message, ...]]()
    for talk, word, fails in steps:
        messages = (*talks[talk], Message("user", word))
        heads = beginnings(messages)
        pid, places = threads.take("key", heads)
        assert pasts.get(pid, ()) == messages[: len(pasts.get(pid, ()))]
        pid = pid or f"p{len(pasts)}"
        if fails:
            threads.put(pid, (*places, failed("key", heads)))
            pasts.setdefault(pid, ())
            continue
        answer = Message("assistant", action=say("yes"))
        threads.put(pid, answered("key", heads, answer))
        pasts[pid] = talks[talk] = (*messages, answer)


def test_only_so_many_places_are_kept() -> None:
    threads = Threads(kept=1)
    heads = beginnings([Message("user", "one")])
    for pid in ("first", "second"):
        threads.put(pid, (failed("key", heads),))
    assert threads.take("key", heads)[0] == "second" and threads.take("key", heads)[0] == ""
