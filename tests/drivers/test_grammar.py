"""Tool use by grammar: what may be decoded, how a prompt is written, and how an answer is read while it comes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from kernos.drivers.engine.grammar import ReplyStream, action_of, answer, form, messages, said, union
from kernos.kernel.errors import EngineError
from kernos.kernel.ports import Prompt
from kernos.kernel.types import REPLY, Action, Json, Message, ToolSpec, canonical


def spec(name: str, **properties: Json) -> ToolSpec:
    form = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return ToolSpec(name, f"does {name}", form)


WEATHER = spec("weather", city={"type": "string", "enum": ["Paris", "Oslo", "北京"]})
ORDER = spec("order", sku={"type": "string"}, count={"type": "integer"})
TOOLS = {tool.name: tool for tool in (WEATHER, ORDER)}
ASKED = (Message("system", "You are a clerk."), Message("user", "下雨吗?"))


def prompt(*offered: str, speak: bool = True, said: tuple[Message, ...] = ASKED) -> Prompt:
    return Prompt(said, tuple(TOOLS.values()), {name: TOOLS[name].schema for name in offered}, speak)


def may_be_decoded(answer: Json, under: Prompt) -> bool:
    return Draft202012Validator(union(under)).is_valid(answer)


def action(name: str, **arguments: Json) -> Json:
    return {"name": name, "arguments": arguments}


# What may be decoded


def test_a_call_of_an_offered_tool_may_be_decoded() -> None:
    assert may_be_decoded(action("weather", city="Oslo"), prompt("weather", "order"))
    assert may_be_decoded(action("order", sku="a", count=1), prompt("weather", "order"))


@pytest.mark.parametrize(
    "answer",
    [
        action("order", sku="a", count=1),
        action("weather", city="Rome"),
        action("weather"),
        action("weather", city="Oslo", when="now"),
        {"name": "weather", "arguments": {"city": "Oslo"}, "why": "because"},
        {"name": "weather"},
        "Oslo",
    ],
)
def test_anything_else_may_not(answer: Json) -> None:
    assert not may_be_decoded(answer, prompt("weather"))


def test_a_reply_may_be_decoded_only_where_the_model_may_speak() -> None:
    assert may_be_decoded(action(REPLY, text="Yes."), prompt("weather"))
    assert not may_be_decoded(action(REPLY, text="Yes."), prompt("weather", speak=False))


def test_an_empty_reply_may_not_be_decoded() -> None:
    assert not may_be_decoded(action(REPLY, text=""), prompt())


def test_a_prompt_that_offers_nothing_is_an_error() -> None:
    with pytest.raises(EngineError, match="nothing to choose"):
        union(prompt(speak=False))


def test_a_tool_with_definitions_of_its_own_keeps_them() -> None:
    size = {"$defs": {"Size": {"enum": ["S", "M"]}}, "properties": {"size": {"$ref": "#/$defs/Size"}}, "type": "object"}
    other = {"$defs": {"Size": {"enum": [7]}}, "properties": {"size": {"$ref": "#/$defs/Size"}}, "type": "object"}
    under = Prompt(ASKED, offers={"shirt": size, "shoe": other})
    assert may_be_decoded(action("shirt", size="M"), under)
    assert may_be_decoded(action("shoe", size=7), under)
    assert not may_be_decoded(action("shirt", size=7), under)


# How a prompt is written


def test_a_prompt_is_written_the_same_whatever_is_offered() -> None:
    written = [messages(prompt(*offered)) for offered in ((), ("weather",), ("order",), ("weather", "order"))]
    assert written == [written[0]] * 4


def test_a_prompt_is_written_the_same_whether_the_model_may_speak_or_not() -> None:
    assert messages(prompt("weather", speak=False)) == messages(prompt("weather"))
    assert "say something to the person" in messages(prompt("weather"))[0]["content"]


def test_a_prompt_describes_every_tool_with_its_parameters_and_values() -> None:
    manual = messages(prompt())[0]["content"]
    assert '{"name": "weather", "arguments": {"city": "Paris"|"Oslo"|"北京"}}: does weather' in manual
    assert '{"name": "order", "arguments": {"sku": string, "count": integer}}: does order' in manual


def test_a_longer_conversation_begins_with_the_shorter_one() -> None:
    more = (Message("assistant", action=Action("weather", {"city": "北京"})), Message("tool", "rain", tool="weather"))
    shorter, longer = messages(prompt("weather")), messages(prompt("order", said=ASKED + more))
    assert longer[: len(shorter)] == shorter
    assert [message["role"] for message in longer[len(shorter) :]] == ["assistant", "user"]
    assert json.loads(longer[-2]["content"]) == action("weather", city="北京")
    assert "rain" in longer[-1]["content"]


def test_the_tools_are_described_even_where_there_are_no_instructions() -> None:
    written = messages(prompt(said=ASKED[1:]))
    assert [message["role"] for message in written] == ["system", "user"]
    assert "does weather" in written[0]["content"]


def test_a_prompt_that_knows_no_tools_is_plain_text_both_ways() -> None:
    hello = Message("assistant", action=Action(REPLY, {"text": "Hello!"}))
    plain = Prompt((*ASKED, hello))
    assert messages(plain)[0]["content"] == "You are a clerk."
    assert messages(plain)[-1] == {"role": "assistant", "content": "Hello!"}
    assert form(plain) is None
    assert answer(plain, " Good day. ", True) == Action(REPLY, {"text": "Good day."})
    assert said(plain, "Good d") == "Good d"


def test_a_reply_of_a_shape_is_decoded_under_it_where_no_tool_is_offered() -> None:
    shape = {"type": "array", "items": {"type": "integer"}}
    shaped = Prompt(ASKED, tuple(TOOLS.values()), shape=shape)
    assert form(shaped) == shape
    assert "does weather" in messages(shaped)[0]["content"]
    assert answer(shaped, "[1, 2]", True) == Action(REPLY, {"text": "[1, 2]"})


def test_where_tools_are_known_the_answer_is_an_action() -> None:
    under = prompt("weather")
    assert form(under) == union(under)
    assert answer(under, json.dumps(action(REPLY, text="Yes.")), True) == Action(REPLY, {"text": "Yes."})
    assert said(under, '{"name": "reply", "arguments": {"text": "Ye') == "Ye"


# How an answer is read while it comes


def _escaped(letter: str, upper: bool) -> str:
    units = letter.encode("utf-16-be")
    codes = [f"{units[place] << 8 | units[place + 1]:04x}" for place in range(0, len(units), 2)]
    return "".join(f"\\u{code.upper() if upper else code}" for code in codes)


@st.composite
def encoded(draw: st.DrawFn, text: str) -> str:
    """The text as a JSON string, each letter in one of the ways in which JSON may write it."""
    short = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
    written = []
    for letter in text:
        ways = [_escaped(letter, False), _escaped(letter, True)]
        ways += [short[letter]] if letter in short else []
        ways += [letter] if letter not in '"\\' and letter >= " " else []
        written.append(draw(st.sampled_from(ways)))
    return f'"{"".join(written)}"'


@st.composite
def pieces_of(draw: st.DrawFn, whole: str) -> Sequence[str]:
    cuts = sorted(draw(st.sets(st.integers(0, len(whole)), max_size=12))) if draw(st.booleans()) else range(len(whole))
    edges = [0, *cuts, len(whole)]
    return [whole[start:end] for start, end in zip(edges, edges[1:], strict=False)]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\/\n\t u{}😀👩‍🔬字'), max_size=30)
SPACES = st.sampled_from(["", " ", "\n  "])


@given(st.data(), TEXTS, SPACES)
def test_the_text_of_a_reply_comes_whole_however_it_is_encoded_and_cut(
    data: st.DataObject, text: str, space: str
) -> None:
    arguments = f'{{{space}"text"{space}:{space}{data.draw(encoded(text))}{space}}}'
    whole = f'{space}{{{space}"name":{space}"reply",{space}"arguments":{space}{arguments}{space}}}'
    stream, given_out = ReplyStream(), ""
    for piece in data.draw(pieces_of(whole)):
        given_out += stream.feed(piece)
        assert text.startswith(given_out), "what was given out would have to be taken back"
    assert given_out == text == action_of(whole, True).text


@given(st.data())
def test_each_letter_comes_as_soon_as_it_is_complete(data: st.DataObject) -> None:
    stream = ReplyStream()
    assert stream.feed('{"name": "reply", "arguments": {"text": "') == ""
    for letter in data.draw(TEXTS):
        assert stream.feed(data.draw(encoded(letter))[1:-1]) == letter


@given(st.data())
def test_a_call_of_a_tool_gives_no_text(data: st.DataObject) -> None:
    whole = json.dumps(action("order", text="reply", sku='{"name": "reply", "arguments": {"text": "x"}}'))
    stream = ReplyStream()
    assert "".join(stream.feed(piece) for piece in data.draw(pieces_of(whole))) == ""


# How a finished answer is read


def test_a_finished_answer_is_its_action() -> None:
    assert action_of(' {"name": "weather", "arguments": {"city": "Oslo"}}\n', True) == Action(
        "weather", {"city": "Oslo"}
    )


def test_a_reply_cut_off_at_its_token_limit_is_kept_as_far_as_it_came() -> None:
    assert action_of('{"name": "reply", "arguments": {"text": "Good morn', False) == Action(
        REPLY, {"text": "Good morn"}
    )


def test_a_call_cut_off_at_its_token_limit_is_an_error_that_says_so() -> None:
    with pytest.raises(EngineError, match="cut off at its token limit"):
        action_of('{"name": "order", "arguments": {"sku": "12', False)


@pytest.mark.parametrize(
    "answer",
    [
        "Good morning!", "", "null", "[]", '"reply"', "{}", '{"name": "order"}', '{"name": 7, "arguments": {}}',
        '{"name": "order", "arguments": "sku"}', '{"name": "order", "arguments": null}',
        '{"name": "order", "arguments": {"count": NaN}}', '{"name": "order", "arguments": {"count": 1e999}}',
    ],
)  # fmt: skip
def test_an_answer_that_is_no_action_is_an_error_that_shows_it(answer: str) -> None:
    with pytest.raises(EngineError, match=f"engine's answer .*{re.escape(repr(answer))}"):
        action_of(answer, True)


@pytest.mark.parametrize("half", ["\\ud83d", "\\ude00", "\\ude00\\ud83d", "a\\ud83dz"])
def test_half_of_a_surrogate_pair_never_reaches_the_journal(half: str) -> None:
    answer = f'{{"name": "reply", "arguments": {{"text": "{half}"}}}}'
    draft = ReplyStream().feed(answer)
    draft.encode()
    canonical(dict(action_of(answer, True).arguments))


def test_half_of_a_pair_waits_for_its_other_half_however_it_is_written() -> None:
    opening = '{"name": "reply", "arguments": {"text": "'
    for halves in (("\\ud83d", "\\ude00"), ("\ud83d", "\ude00")):
        stream = ReplyStream()
        assert [stream.feed(piece) for piece in (opening, "a" + halves[0], halves[1] + "b")] == ["", "a", "😀b"]
    assert ReplyStream().feed(f'{opening}a\ud83d"}}') == "a\ufffd"


@pytest.mark.parametrize("wrong", ["\\x41", "\\ud8zz", "\\u12", "\\"])
def test_a_draft_ends_where_its_json_does(wrong: str) -> None:
    assert ReplyStream().feed(f'{{"name": "reply", "arguments": {{"text": "Good{wrong} day"}}}}') == "Good"


def test_a_key_holds_no_half_of_a_pair_either() -> None:
    assert action_of('{"name": "order", "arguments": {"a\\ud83d": 1}}', True) == Action("order", {"a\ufffd": 1})


def test_an_answer_that_is_nested_too_deep_is_an_error() -> None:
    with pytest.raises(EngineError, match="engine's answer"):
        action_of('{"name": "order", "arguments": {"sku": ' + "[" * 100_000, True)


FRAGMENTS = st.sampled_from(
    ['{"name": "reply", "arguments": {"text": "', '"}}', '"', "{", "}", "[", ",", ":", "\\", "\\u", "\\ud8", "\\udc00",
     "\\x", "name", "arguments", "1e999", "NaN", "null", "\n", "字", "a"]
)  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=12).map("".join) | st.text(), st.booleans())
def test_no_answer_whatever_breaks_the_reader(answer: str, complete: bool) -> None:
    ReplyStream().feed(answer).encode()
    try:
        canonical(dict(action_of(answer, complete).arguments))
    except EngineError as error:
        assert "engine's answer" in str(error)
