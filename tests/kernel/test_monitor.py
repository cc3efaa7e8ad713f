"""The reference monitor: every verdict of its table (I4, I9); what it offers beforehand is in test_offers."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernos
from kernos.kernel.abi import AskPerson, Generate, Invoke, Now, Random, Receive, Request, Send
from kernos.kernel.grants import Station
from kernos.kernel.labels import Sources
from kernos.kernel.monitor import Monitor
from kernos.kernel.types import Allow, Ask, Asked, Deny, Json, Verdict
from tests.support import SHIPPED, by_name, idle, read, ready, runs

SKIN = {"dry": ["干皮"], "oily": ["油皮"]}


async def search(
    skin: Annotated[str, kernos.source("user", SKIN)],
    age: Annotated[int, kernos.source("user", units=["years"])],
    name: Annotated[str, kernos.source("user")] = "",
    budget: Annotated[int, kernos.source("user", units=["yuan"])] = 0,
    page: int = 1,
) -> None:
    """Search."""


async def buy(sku: Annotated[str, kernos.source("data")]) -> None:
    """Buy."""


async def buy_all(sku: Annotated[list[str], kernos.source("data")]) -> None:
    """Buy several."""


TOOLS = ready(search, buy, buy_all)
MONITOR = Monitor(SHIPPED)
GRANTED = runs(idle, TOOLS)


def judge(request: Request, *words: str, data: Json = None, station: Station = GRANTED) -> Verdict:
    return MONITOR.judge(station.with_tools(by_name(TOOLS)), read(words, data), request)


# The table, row by row


def test_a_tool_without_a_grant_is_denied() -> None:
    verdict = judge(Invoke("buy", {"sku": "T-1"}), data={"sku": "T-1"}, station=runs(idle, ready(search)))
    assert verdict == Deny("grant", "clerk is not granted the tool buy")


def test_a_granted_tool_that_is_not_there_is_denied() -> None:
    verdict = MONITOR.judge(GRANTED, Sources(), Invoke("buy", {"sku": "T-1"}))
    assert isinstance(verdict, Deny) and verdict.rule == "grant"


def test_telling_a_model_of_an_ungranted_tool_is_denied() -> None:
    verdict = judge(Generate((), ("search", "buy")), station=runs(idle, ready(search)))
    assert verdict == Deny("grant", "clerk is not granted: buy")


def test_a_grant_is_judged_before_a_schema() -> None:
    verdict = judge(Invoke("buy", {"nonsense": 1}), station=runs(idle))
    assert isinstance(verdict, Deny) and verdict.rule == "grant"


@pytest.mark.parametrize(
    "arguments",
    [{}, {"skin": "dry"}, {"skin": 1, "age": 25}, {"skin": "dry", "age": "old"}, {"skin": "dry", "age": 25, "x": 1}],
)
def test_arguments_of_another_form_are_denied_by_the_schema(arguments: dict[str, Json]) -> None:
    verdict = judge(Invoke("search", arguments), "dry, 25 years")
    assert isinstance(verdict, Deny) and verdict.rule == "schema"


def test_what_the_owner_never_said_is_denied_and_named() -> None:
    verdict = judge(Invoke("search", {"skin": "dry", "age": 25}), "something for me")
    assert verdict == Deny("source", "ask the customer for: skin, age", ("skin", "age"))


def test_what_the_owner_said_otherwise_is_denied_with_the_quote() -> None:
    verdict = judge(Invoke("search", {"skin": "oily", "age": 25}), "干皮, 25 years")
    assert verdict == Deny("source", "skin: not 'oily': the customer said “干皮”, which is 'dry'")


def test_what_no_tool_returned_is_denied_even_if_the_owner_said_it() -> None:
    verdict = judge(Invoke("buy", {"sku": "T-9"}), "buy T-9", data={"sku": "T-1"})
    assert verdict == Deny("source", "sku: no tool has returned 'T-9'; look it up first")


def test_what_a_tool_returned_is_no_word_of_the_owner() -> None:
    verdict = judge(Invoke("search", {"skin": "dry", "age": 25}), data={"skin": "dry", "age": 25})
    assert isinstance(verdict, Deny) and verdict.missing == ("skin", "age")


def test_every_part_of_a_list_needs_its_source() -> None:
    data = [{"sku": "T-1"}, {"sku": "T-2"}]
    assert isinstance(judge(Invoke("buy_all", {"sku": ["T-1", "T-2"]}), data=data), Allow)
    assert isinstance(judge(Invoke("buy_all", {"sku": ["T-1", "T-3"]}), data=data), Deny)


@pytest.mark.parametrize(("text", "allowed"), [("it is 30 yuan", True), ("it is 20 yuan", False), ("hello", True)])
def test_a_claim_without_a_source_is_denied(text: str, allowed: bool) -> None:
    station = runs(idle, claims={"a price": r"\d+ yuan"})
    verdict = judge(Send(text), data="now 30 yuan only", station=station)
    expected = Deny("claim", "“20 yuan” is a price that no tool returned: do not mention it")
    assert verdict == (Allow("every process may") if allowed else expected)


def test_a_grant_that_asks_asks_with_the_evidence() -> None:
    station = runs(idle, TOOLS, ask=["buy"])
    verdict = judge(Invoke("buy", {"sku": "T-1"}), data={"sku": "T-1"}, station=station)
    assert verdict == Ask(
        "approval", "clerk may use buy only when a person agrees.", {"sku": "find at row 2.sku: “T-1”"},
        (
            Asked(
                "buy", {"sku": "T-1"}, "approval", "clerk may use buy only when a person agrees.",
                evidence={"sku": "find at row 2.sku: “T-1”"}, effects=("writes",),
            ),
        ),
    )  # fmt: skip


def test_a_person_is_not_asked_about_what_is_denied_anyway() -> None:
    assert isinstance(judge(Invoke("buy", {"sku": "T-1"}), station=runs(idle, TOOLS, ask=["buy"])), Deny)


def test_the_rest_is_allowed_with_the_evidence() -> None:
    arguments = {"skin": "dry", "age": 25, "name": "Silk", "page": 3}
    verdict = judge(Invoke("search", arguments), "Silk for dry skin, 25 years")
    assert isinstance(verdict, Allow) and verdict.rule == "granted"
    assert {name: text.split(": ")[1] for name, text in verdict.evidence.items()} == {
        "skin": "“dry”", "age": "“25”", "name": "“silk”",
    }  # fmt: skip


@pytest.mark.parametrize("request_", [Receive(), Now(), Random(), AskPerson("how?"), Send("hello"), Generate(())])
def test_what_reaches_nothing_outside_needs_no_grant(request_: Request) -> None:
    assert isinstance(judge(request_, station=runs(idle)), Allow)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(by_name(TOOLS))), st.dictionaries(st.sampled_from(["skin", "age", "sku", "x"]), JSON))
def test_whatever_the_arguments_there_is_a_verdict(tool: str, arguments: dict[str, Json]) -> None:
    assert isinstance(judge(Invoke(tool, arguments), "dry, 25 years", data={"sku": "T-1"}), Allow | Deny)


async def anything(skin: Annotated[Any, kernos.source("user", SKIN)]) -> None:
    """Take anything."""


@pytest.mark.parametrize("value", [{"a": 1}, [["dry"]]])
def test_a_value_of_an_open_schema_that_cannot_be_a_word_is_denied(value: Json) -> None:
    tools = ready(anything)
    verdict = Monitor(SHIPPED).judge(
        runs(idle, tools).with_tools(by_name(tools)), read(["dry"]), Invoke("anything", {"skin": value})
    )
    assert isinstance(verdict, Deny)
