"""Where values come from: the label algebra, and what the owner's words and the tools' results give leave for."""

from __future__ import annotations

import re
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.kernel.labels import Sources, join, leaves
from kernos.kernel.texts import normalise
from kernos.kernel.types import Json, Label, Parameter, Source
from tests.support import heard

LABELS = st.builds(
    Label,
    st.frozensets(st.builds(Source, st.sampled_from(["owner", "tool", "model"]), st.sampled_from("abc")), max_size=3),
    st.none() | st.frozensets(st.sampled_from("xyz")),
)
SKIN = Parameter(
    "user",
    {
        "dry": ("dry skin", "干皮", "干性"),
        "oily": ("油皮",),
        "combination_dry": ("combo dry", "混合干皮"),
        "normal": ("neither dry nor oily", "not dry or oily"),
    },
)
AGE = Parameter("user", units=("years", "岁"))
PRICE_UNITS = ("yuan", "元", "under")
INTEGER = {"type": "integer"}


def hearing(*texts: str) -> Sources:
    """What a process has read after its owner said these, in this order."""
    sources = Sources()
    for n, text in enumerate(texts):
        sources.heard(Source("owner", "ada", f"row {n}"), text)
    return sources


def said(parameter: Parameter, *texts: str, schema: Json = None, siblings: tuple[str, ...] = ()) -> list[Json]:
    return list(hearing(*texts).said(parameter, schema or {"type": "string"}, siblings))


# Normalisation


@pytest.mark.parametrize(
    "text", ["Face Wash", "face  wash", "FACE-WASH", " face_wash ", "face\n\twash", "ｆａｃｅ　ｗａｓｈ"]
)
def test_case_width_hyphens_and_spaces_make_no_difference(text: str) -> None:
    assert normalise(text) == "face wash"


@given(st.text(st.characters(codec="ascii")))
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_a_curly_apostrophe_is_an_apostrophe() -> None:
    assert normalise("it isn’t dry") == normalise("it isn't dry")


# The algebra


@given(LABELS, LABELS, LABELS)
def test_join_is_associative(a: Label, b: Label, c: Label) -> None:
    assert join([join([a, b]), c]) == join([a, join([b, c])]) == join([a, b, c])


@given(LABELS, LABELS)
def test_join_is_commutative(a: Label, b: Label) -> None:
    assert join([a, b]) == join([b, a])


@given(LABELS)
def test_join_is_idempotent_and_the_empty_label_adds_nothing(a: Label) -> None:
    assert join([a, a]) == join([a, Label()]) == join([a]) == a


@given(st.lists(LABELS, min_size=1))
def test_a_joined_value_has_all_sources_and_only_readers_that_all_allow(labels: list[Label]) -> None:
    joined = join(labels)
    assert joined.sources == reduce(frozenset.union, (label.sources for label in labels))
    for reader in "xyz":
        everywhere = all(label.readers is None or reader in label.readers for label in labels)
        assert (joined.readers is None or reader in joined.readers) is everywhere


@given(LABELS)
def test_a_label_comes_back_from_its_json(label: Label) -> None:
    assert Label.from_json(label.to_json()) == label


# What the owner said: vocabularies


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("my skin is dry", ["dry"]),
        ("我是干皮", ["dry"]),
        ("混合干皮", ["combination_dry"]),
        ("I have combo dry skin", ["combination_dry"]),
        ("combination-dry please", ["combination_dry"]),
        ("neither dry nor oily", ["normal"]),
        ("dry or oily", ["dry", "oily"]),
        ("nothing of the kind", []),
    ],
)
def test_the_longest_alias_wins(text: str, values: list[str]) -> None:
    assert said(SKIN, text) == values


@pytest.mark.parametrize("text", ["drying", "sundry", "laundry", "oilyish", "dry2"])
def test_a_latin_alias_matches_whole_words_only(text: str) -> None:
    assert said(SKIN, text) == []


def test_a_chinese_alias_matches_anywhere() -> None:
    assert said(SKIN, "应该是干皮吧") == ["dry"]


@pytest.mark.parametrize(
    "text",
    ["it is not dry", "not really dry", "it isn't dry", "I don't have dry skin", "no dry skin", "不是干皮", "没有干皮",
     "without dry skin", "not a dry skin"],
)  # fmt: skip
def test_a_negated_mention_is_no_mention(text: str) -> None:
    assert said(SKIN, text) == []


def test_a_mention_negated_with_a_curly_apostrophe_is_no_mention() -> None:
    assert said(SKIN, "it isn’t dry") == []


def test_a_negation_takes_back_what_was_said_before() -> None:
    assert said(SKIN, "I have dry skin", "no, not dry") == []
    assert said(SKIN, "dry or oily", "not dry") == ["oily"]


def test_what_is_said_after_a_negation_counts() -> None:
    assert said(SKIN, "not dry", "well, dry after all") == ["dry"]


def test_the_last_word_counts() -> None:
    assert said(SKIN, "dry", "no: oily") == ["oily"]
    assert said(SKIN, "dry", "oily", "what do you have?") == ["oily"]


def test_the_evidence_is_a_quote_with_its_place() -> None:
    (quote,) = hearing("hello", "I have Dry-Skin").said(SKIN, {}).values()
    assert (quote.text, quote.source.place) == ("dry skin", "row 1")
    assert str(quote) == "ada at row 1: “dry skin”"


# What the owner said: numbers


@pytest.mark.parametrize("text", ["25", "I am 25 years old", "二十五岁", "twenty-five"])
def test_a_number_may_be_said_in_any_way(text: str) -> None:
    assert said(AGE, text, schema=INTEGER) == [25]


def test_a_number_with_its_unit_hides_bare_ones() -> None:
    assert said(AGE, "25 years, and 300 of something", schema=INTEGER) == [25]


def test_a_number_with_a_siblings_unit_is_not_meant() -> None:
    assert said(AGE, "under 80, please", schema=INTEGER, siblings=PRICE_UNITS) == []
    assert said(AGE, "80 yuan, 25", schema=INTEGER, siblings=PRICE_UNITS) == [25]


def test_a_number_outside_its_bounds_is_not_meant() -> None:
    schema = {"type": "integer", "minimum": 18, "maximum": 110}
    assert said(AGE, "17 or 18 or 110 or 111", schema=schema) == [18, 110]


def test_a_fraction_is_no_integer_but_is_a_number() -> None:
    assert said(AGE, "2.5", schema=INTEGER) == []
    assert said(AGE, "2.5", schema={"type": "number"}) == [2.5]


def test_a_vague_number_counts_only_beside_its_unit() -> None:
    assert said(AGE, "推荐一款，this one", schema=INTEGER) == []
    assert said(AGE, "八岁", schema=INTEGER) == [8]


def test_of_numbers_with_their_unit_the_last_counts() -> None:
    assert said(AGE, "25 years", "sorry, 52 years", schema=INTEGER) == [52]


# What the owner said: free text


@pytest.mark.parametrize(
    ("value", "there"), [("Anna", True), ("to anna", True), ("Ann", False), ("bob", False), ("", False), (" - ", False)]
)
def test_free_text_has_a_source_where_the_owner_said_it_word_for_word(value: str, there: bool) -> None:
    assert (hearing("pay it to Anna, please").spoken(value) is not None) is there


@given(st.text(st.characters(categories=["L", "N"]), min_size=1), st.text(st.characters(codec="ascii")))
def test_whatever_the_owner_says_has_a_source(word: str, more: str) -> None:
    sources = hearing(f"{more} {word} {more}")
    assert sources.spoken(word) is not None


# What tools returned


def learned(value: Json) -> Sources:
    sources = Sources()
    sources.learned(Source("tool", "find", "row 3"), value)
    return sources


def test_what_a_tool_returned_has_a_source_with_its_field() -> None:
    quote = learned([{"sku": "T-1", "more": [{"price": 30}]}]).returned(30)
    assert quote is not None and quote.source == Source("tool", "find", "row 3.price")


def test_values_of_a_field_come_oldest_first_and_once() -> None:
    sources = learned([{"sku": "b"}, {"sku": "a"}, {"sku": "b"}, {"name": "c"}])
    assert sources.field("sku") == ["b", "a"]
    assert sources.field("unknown") == []


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.text()) | st.none()))
def test_every_scalar_that_a_tool_returned_is_found_again(value: dict[str, Json]) -> None:
    sources = learned(value)
    for name, leaf in leaves(value):
        assert sources.returned(leaf) is not None and leaf in sources.field(name)


def test_what_no_tool_returned_has_no_source() -> None:
    sources = learned({"sku": "T-1"})
    sources.heard(*heard("T-2"))
    assert sources.returned("T-2") is None and sources.returned("T") is None


def test_data_has_a_source_only_exactly_as_it_was_returned() -> None:
    assert learned({"file": "annual-report"}).returned("ANNUAL_REPORT") is None


def test_a_statement_has_a_source_inside_a_result_or_in_the_owners_words() -> None:
    sources = learned({"text": "it costs 30 yuan today"})
    sources.heard(*heard("my budget is 50 yuan"))
    price = re.compile(r"\d+ yuan", re.IGNORECASE)
    assert sources.states(price, "30 Yuan") and sources.states(price, "50 yuan")
    assert not sources.states(price, "40 yuan")


def test_a_number_inside_a_name_is_a_statement_of_that_number_and_of_no_part_of_it() -> None:
    sources = Sources()
    sources.learned(Source("tool", "find", "row 3"), [{"name": "Clear Lotion SPF50+", "sku": "SU-001"}])
    number = re.compile(r"\d+")
    assert sources.states(number, "50")
    assert not sources.states(number, "5")
    assert not sources.states(number, "1")
