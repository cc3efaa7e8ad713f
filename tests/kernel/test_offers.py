"""What the monitor offers beforehand, and that nothing is offered which it would then refuse (I4)."""

from __future__ import annotations

from typing import Annotated

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import kernos
from kernos.kernel.abi import Invoke
from kernos.kernel.grants import Station
from kernos.kernel.limits import OFFERED_VALUES
from kernos.kernel.monitor import Monitor
from kernos.kernel.types import Deny, Json
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


async def limit(budget: Annotated[int | None, kernos.source("user", units=["yuan"])] = None) -> None:
    """Set a limit."""


TOOLS = ready(search, buy, limit)
GRANTED = runs(idle, TOOLS)


def offered(tool: str, *words: str, data: Json = None, station: Station = GRANTED) -> Json:
    """The properties of a tool as they are offered; None if it is not."""
    return (
        Monitor(SHIPPED)
        .offers(station.with_tools(by_name(TOOLS)), read(words, data), [tool])
        .get(tool, {})
        .get("properties")
    )


def test_a_parameter_is_narrowed_to_what_the_owner_said() -> None:
    properties = offered("search", "干皮 I guess, 25 years, 100 yuan")
    assert properties["skin"] == {"enum": ["dry"]}
    assert properties["age"] == {"enum": [25]}
    assert properties["budget"] == {"enum": [100]}


def test_an_optional_parameter_with_no_source_is_left_out() -> None:
    assert "budget" not in offered("search", "dry, 25 years")


def test_a_required_parameter_with_no_source_stays_so_that_the_model_can_call_and_be_told() -> None:
    assert offered("search")["skin"]["type"] == "string"


def test_free_text_and_parameters_of_any_source_stay_as_they_are() -> None:
    properties = offered("search", "dry, 25 years")
    assert properties["name"]["type"] == "string" and properties["page"]["type"] == "integer"


def test_a_tool_that_needs_data_is_left_out_until_a_tool_returned_some() -> None:
    assert offered("buy", "buy T-1") is None
    assert offered("buy", data={"name": "T-1"}) is None
    assert offered("buy", data=[{"sku": "T-1"}, {"sku": "T-2"}]) == {"sku": {"enum": ["T-1", "T-2"]}}


def test_only_the_latest_values_are_offered() -> None:
    values = [f"T-{n}" for n in range(OFFERED_VALUES + 9)]
    assert offered("buy", data=[{"sku": value} for value in values])["sku"]["enum"] == values[9:]


def test_an_ungranted_tool_is_not_offered() -> None:
    assert offered("search", "dry, 25 years", station=runs(idle, ready(buy))) is None


# Offers and verdicts agree: functions of one parameter each, so that a verdict is on that alone


async def one_skin(x: Annotated[str, kernos.source("user", SKIN)]) -> None:
    """Choose a skin type."""


async def one_age(x: Annotated[int, kernos.source("user", units=["years"])]) -> None:
    """Choose an age."""


async def one_size(x: Annotated[float, kernos.source("user", units=["yuan"])] = 0) -> None:
    """Choose a size."""


async def one_text(x: Annotated[str, kernos.source("data")]) -> None:
    """Choose a text."""


async def one_number(x: Annotated[int, kernos.source("data")]) -> None:
    """Choose a number."""


async def some_texts(x: Annotated[list[str], kernos.source("data")]) -> None:
    """Choose some texts."""


ONE = by_name(ready(one_skin, one_age, one_size, one_text, one_number, some_texts))
CHOOSER = runs(idle, ONE.values()).with_tools(ONE)
WORDS = st.lists(
    st.sampled_from(["dry", "oily", "干皮", "不是", "not", "25 years", "二十", "yuan", "3", "one", "2.5", ",", "100"]),
    max_size=8,
).map(" ".join)


def refused(tool: str, words: list[str], data: list[Json]) -> list[Json]:
    """The offered values that are denied when they are chosen, but for names of what a red line protects."""
    sources = read(words, [{"x": value} for value in data])
    monitor = Monitor(SHIPPED)
    schema = monitor.offers(CHOOSER, sources, [tool]).get(tool, {}).get("properties", {}).get("x", {})
    listed = schema.get("enum", [])
    verdicts = {v: monitor.judge(CHOOSER, sources, Invoke(tool, {"x": v})) for v in listed}
    return [v for v, verdict in verdicts.items() if isinstance(verdict, Deny) and verdict.rule != "redline.power"]


@pytest.mark.parametrize("tool", ["one_skin", "one_age", "one_size"])
@given(st.lists(WORDS, max_size=4))
def test_a_value_offered_from_the_owners_words_is_allowed(tool: str, words: list[str]) -> None:
    assert refused(tool, words, []) == []


@given(st.lists(st.text(min_size=1)))
@example(["KERNOS.TOML"])
def test_a_text_offered_from_data_is_allowed(data: list[str]) -> None:
    assert refused("one_text", [], list(data)) == []


@given(st.lists(st.integers()))
def test_a_number_offered_from_data_is_allowed(data: list[int]) -> None:
    assert refused("one_number", [], list(data)) == []


def test_only_values_of_the_parameters_type_are_offered_from_data() -> None:
    assert refused("one_text", [], [5, "T-1"]) == []
    assert refused("one_number", [], [True, 5, "T-1"]) == []


def test_a_list_is_narrowed_part_by_part() -> None:
    assert refused("some_texts", [], ["T-1", "T-2"]) == []


def test_a_parameter_that_may_be_null_is_judged_like_any_other() -> None:
    verdict = Monitor(SHIPPED).judge(
        GRANTED.with_tools(by_name(TOOLS)), read(["100 yuan"]), Invoke("limit", {"budget": 100})
    )
    assert not isinstance(verdict, Deny)
    assert offered("limit", "100 yuan") == {"budget": {"enum": [100]}}
    assert offered("limit") == {}
