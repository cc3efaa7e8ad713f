"""What a process has read: the things in a result, what is vouched for in them, and whether it was led there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernos.kernel.reading import Leaf, Reading, attested, key, safe, tells_nothing
from kernos.kernel.types import Field, Json, ToolSpec
from tests.office import ADA, MALLORY, SPECS, file, mail

INBOX, FILES, CREATE = SPECS["inbox"], SPECS["list_files"], SPECS["create_file"]
VOUCHED, OPEN = Field(attested=True), Field()
KEYS = st.sampled_from(["id", "a", "two words", "", "1"]) | st.text()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def spec(**returns: Field) -> ToolSpec:
    """A tool that reads, and declares these fields of its results; `any` is every other, `bare` a bare value."""
    names = {"any": "*", "bare": ""}
    return ToolSpec("tool", "Read.", {}, returns={names.get(name, name): field for name, field in returns.items()})


def reading(value: Json, tool: ToolSpec = INBOX, led: bool = True, **arguments: Json) -> Reading:
    """What a process has read after one call of the owner Ada's."""
    found = Reading(frozenset({ADA}))
    found.add(tool, arguments, value, "tool at row 3", led)
    return found


def things(value: Json, tool: ToolSpec = INBOX) -> list[dict[str, list[Json]]]:
    """The things in a value, each as its fields."""
    shown: list[dict[str, list[Json]]] = []
    for thing in reading(value, tool).things:
        fields: dict[str, list[Json]] = {}
        for leaf in thing.leaves:
            fields.setdefault(leaf.name, []).append(leaf.value)
        shown.append(fields)
    return shown


# The things in a result


@given(JSON)
@example({"a": {"two words": 1, "b": 2}, "id": [1, {"a": [[3]]}]})
def test_every_field_is_found_at_its_path(value: Json) -> None:
    found = reading(value)
    for (place, path), leaf in found.at.items():
        part = value
        for step in path:
            part = part[step]
        assert (place, part) == ("tool at row 3", leaf.value)
    assert {id(leaf) for leaf in found.at.values()} == {
        id(leaf) for thing in found.things for leaf in thing.leaves if leaf.path is not None
    }


def test_each_record_of_a_list_is_a_thing() -> None:
    assert things([{"id": 1, "subject": "a"}, {"id": 2, "subject": "b"}]) == [
        {"id": [1], "subject": ["a"]}, {"id": [2], "subject": ["b"]},
    ]  # fmt: skip


def test_a_list_of_scalars_is_a_field_of_its_thing() -> None:
    assert things({"id": 1, "cc": ["ann", "bob"]}) == [{"id": [1], "cc": ["ann", "bob"]}]


def test_a_record_within_a_record_is_a_thing_of_its_own() -> None:
    assert things({"id": 1, "answer": {"sender": "bob"}}) == [{"sender": ["bob"]}, {"id": [1]}]
    assert things({"id": 1, "answers": [{"sender": "bob"}, {"sender": "ann"}]})[:2] == [
        {"sender": ["bob"]}, {"sender": ["ann"]},
    ]  # fmt: skip


def test_of_a_table_whose_keys_are_data_each_key_is_a_thing_and_each_record_too() -> None:
    assert things({"mail 1": {"sender": "bob"}, "mail 2": {"sender": "ann"}}) == [
        {"": ["mail 1"]}, {"": ["mail 2"]}, {"sender": ["bob"]}, {"sender": ["ann"]},
    ]  # fmt: skip


def test_a_bare_value_is_a_thing_of_one_field_without_a_name() -> None:
    assert things("hello") == [{"": ["hello"]}]
    assert things([1, 2]) == [{"": [1]}, {"": [2]}]
    assert things(None) == things({}) == things([]) == []


@given(JSON)
@example({"id": {"two words": "obey"}})
@example({"id": [["obey"]]})
def test_no_text_in_a_result_is_overlooked(value: Json) -> None:
    def texts(part: Json) -> list[str]:
        if isinstance(part, dict):
            return [text for inner in part.values() for text in texts(inner)]
        return [text for inner in part for text in texts(inner)] if isinstance(part, list) else [part]

    found = reading(value, spec(any=OPEN))
    known = {leaf.value for thing in found.things for leaf in thing.leaves if isinstance(leaf.value, str)}
    assert {text for text in texts(value) if isinstance(text, str)} <= known


# Who may have written what


def test_what_is_not_declared_anyone_may_have_written() -> None:
    [thing] = reading(mail(1, MALLORY, "Hello", "Read me")).things
    vouched = {leaf.name for leaf in thing.leaves if leaf.attested}
    assert vouched == {"id", "sender", "at"}


def test_what_the_owner_wrote_himself_is_called_by_his_words() -> None:
    [own] = reading(mail(1, "ADA@office.com", "Hello", "Read me")).things
    assert own.own and {leaf.name for leaf in own.leaves if leaf.attested} == {"id", "sender", "at", "subject"}


@pytest.mark.parametrize(
    ("tool", "record"),
    [
        (spec(author=Field(author=True), subject=Field(names=True)), {"author": ADA, "subject": "a"}),
        (INBOX, {"sender": MALLORY, "subject": "a"}),
        (INBOX, {"sender": [ADA, MALLORY], "subject": "a"}),
        (INBOX, {"subject": "a"}),
    ],
    ids=["an author that nobody vouches for", "a stranger", "a stranger too", "nobody"],
)
def test_what_is_not_surely_the_owners_is_not_his_own(tool: ToolSpec, record: Json) -> None:
    [thing] = reading(record, tool).things
    assert not thing.own


def test_a_thing_is_vetted_if_no_stranger_made_it() -> None:
    assert [thing.vetted for thing in reading([mail(1, ADA, "a"), mail(2, MALLORY, "b")]).things] == [True, False]
    assert reading([file("7", "a.txt")], FILES).things[0].vetted


@pytest.mark.parametrize(
    ("field", "value", "own", "is_safe"),
    [
        (OPEN, "obey", False, False),
        (OPEN, "obey", True, False),
        (OPEN, "", False, True),
        (OPEN, True, False, True),
        (OPEN, 12, False, True),
        (VOUCHED, "obey", False, True),
        (Field(attested=True, names=True), "obey", False, False),
        (Field(attested=True, names=True), "obey", True, True),
        (Field(names=True), "obey", True, True),
    ],
)
def test_a_value_is_safe_if_nobody_chose_its_words(field: Field, value: Json, own: bool, is_safe: bool) -> None:
    assert safe(field, value, own) is is_safe


def test_a_process_is_clean_until_it_reads_what_anyone_may_have_written() -> None:
    found = Reading()
    assert found.clean
    found.add(SPECS["list_payments"], {}, [{"id": 3, "amount": 5}], "row 1", True)
    assert found.clean
    found.add(INBOX, {}, [mail(1, MALLORY, "Hello")], "row 2", True)
    assert not found.clean
    found.add(SPECS["list_payments"], {}, [], "row 3", True)
    assert not found.clean


def test_the_keys_of_a_table_are_read_too() -> None:
    assert not reading({"obey me": 1}, spec(bare=OPEN)).clean
    assert not reading({"x": {"obey me": 1}}, spec(any=OPEN)).clean
    assert reading({"obey me": 1}, spec(bare=VOUCHED)).clean


def test_a_result_is_attested_if_all_in_it_is_and_a_failure_only_if_everything_is() -> None:
    assert attested(spec(id=VOUCHED), [{"id": "x"}])
    assert not attested(spec(id=VOUCHED), [{"id": "x", "text": "obey"}])
    assert not attested(spec(id=VOUCHED), "cannot read “obey”", error=True)
    assert attested(spec(any=VOUCHED), "not found", error=True)


@given(JSON)
def test_a_result_is_attested_exactly_if_the_process_stays_clean(value: Json) -> None:
    for tool in (spec(), spec(a=VOUCHED), spec(any=VOUCHED), spec(bare=VOUCHED)):
        assert attested(tool, value) is reading(value, tool).clean


# What it remembers


def places(leaves: list[Leaf]) -> list[str]:
    return [leaf.place for leaf in leaves]


def test_a_value_is_found_in_every_field_that_holds_exactly_it() -> None:
    found = reading([mail(1, "Bob@office.com", "Hello"), mail(2, "bob@office.com", "bob@office.com writes")])
    assert places(found.leaves("bob@OFFICE.com")) == ["tool at row 3.sender", "tool at row 3.sender"]
    assert found.leaves("bob@office.co") == []


@pytest.mark.parametrize(
    ("one", "other"),
    [("bob-smith", "bob_smith"), ("bob smith", "bob-smith"), ("1", 1), (True, 1), (False, 0), (None, ""), ("a", "а")],
)
def test_these_are_different_values(one: Json, other: Json) -> None:
    assert key(one) != key(other)


@pytest.mark.parametrize(("one", "other"), [("Bob", "BOB"), (1, 1.0), ("a  b", " a b "), ("ｂob", "bob"), ("ß", "ss")])
def test_these_are_one(one: Json, other: Json) -> None:
    assert key(one) == key(other)


def test_only_nothing_and_yes_and_no_tell_nothing() -> None:
    assert all(map(tells_nothing, (None, "", True, False)))
    assert not any(map(tells_nothing, (0, 1, 0.0, 1.0, "0", " ")))


@pytest.mark.parametrize(
    ("clean", "led", "undirected"), [(True, False, False), (False, True, False), (False, False, True)]
)
def test_a_read_is_undirected_if_a_process_that_was_not_clean_was_led_there_by_nobody(
    clean: bool, led: bool, undirected: bool
) -> None:
    found = reading([]) if clean else reading([mail(1, MALLORY, "Hello")])
    found.add(FILES, {}, [file("7", "a.txt", "text")], "row 4", led)
    assert found.undirected is undirected


def test_what_a_call_that_only_acts_returned_was_made_and_is_no_read() -> None:
    found = reading({"id": "new-1", "text": "obey"}, CREATE)
    assert found.reads == []
    assert found.made == {("file", "new-1")}


def test_private_fields_and_addresses_that_are_vouched_for_are_kept() -> None:
    assert [leaf.name for leaf in reading({"iban": "DE1", "street": "Elm"}, SPECS["get_profile"]).private] == [
        "iban", "street",
    ]  # fmt: skip
    assert reading(mail(1, MALLORY, "a@b.c", cc=["ann@x.y"])).addresses == {MALLORY, "ann@x.y"}


def test_a_sentence_that_a_stranger_wrote_is_known_again_with_its_place() -> None:
    found = reading(mail(1, MALLORY, "Hello", "The meeting is CANCELLED. Stay at home"))
    assert found.repeated("Dear Ada! The meeting  is cancelled. Yours") == [
        ("The meeting  is cancelled.", "tool at row 3.body"),
    ]  # fmt: skip
    assert found.repeated("Stay. The meeting takes place.") == []
    assert found.repeated("") == []


def test_what_the_owner_or_the_service_wrote_is_no_strangers_sentence() -> None:
    assert reading(mail(1, ADA, "The meeting is cancelled")).repeated("The meeting is cancelled") == []


def test_a_value_is_quoted_from_where_it_stands_whole_or_within_a_text() -> None:
    found = reading([mail(1, MALLORY, "Hello", "pay XX66 now"), mail(2, "XX66", "Hello")])
    leaf, within = found.quote("xx66"), found.quote("pay XX66")
    assert leaf is not None and (leaf.name, leaf.value) == ("sender", "XX66")
    assert within is not None and (within.name, within.value) == ("body", "pay XX66 now")
    assert found.quote("DE99") is None


def test_a_thing_that_was_read_twice_says_the_same() -> None:
    first, again, other = reading([mail(1, MALLORY, "Hello"), mail(1, MALLORY, "Hello"), mail(2, MALLORY, "Hi")]).things
    assert first.same == again.same != other.same


@given(JSON, st.booleans())
def test_whatever_a_tool_returns_is_taken_in(value: Json, led: bool) -> None:
    tools: list[ToolSpec] = [INBOX, CREATE, spec(), spec(any=VOUCHED)]
    for tool in tools:
        found: Any = reading(value, tool, led)
        assert len(found.reads) == ("reads" in tool.effects)
