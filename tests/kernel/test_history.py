"""How much a task still needs, as far as its kind tells."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.engine.scripted import say
from kernos.kernel.limits import KINDS, LEAST_REST, TASKS
from kernos.kernel.scheduler.history import KNOWN, LEVEL_SECONDS, SAMPLES, History, tasks_of
from kernos.kernel.types import Json, Message, Record, RecordKind
from kernos.userland.lib import Process
from tests.support import CLERK, House, runs

seconds = st.floats(0.1, 50.0)


def taught(*tasks: list[float]) -> History:
    history = History()
    for calls in tasks:
        history.learn("clerk", calls)
    return history


def spend(history: History, *calls: float) -> None:
    """Have the process make these calls, and begin another one."""
    for call in calls:
        history.began("p", "clerk")
        history.served("p", call)
        history.answered("p")
    history.began("p", "clerk")


def test_of_a_regular_kind_the_rest_is_what_is_left() -> None:
    history = taught(*[[2.0, 3.0, 4.0]] * KNOWN)
    spend(history)
    assert history.rest("p") == pytest.approx(9.0)
    spend(history, 2.0)
    assert history.rest("p") == pytest.approx(7.0)
    history.served("p", 1.5)
    assert history.rest("p") == pytest.approx(5.5)


def test_the_likely_short_ones_of_a_mixed_kind_go_before_a_task_that_is_surely_as_long_as_their_mean() -> None:
    mixed = taught([1.0], [1.0], [1.0], [37.0])
    sure = taught(*[[10.0]] * 4)
    for history in (mixed, sure):
        spend(history)
    assert mixed.rest("p") < sure.rest("p")


def test_a_task_that_has_outlived_its_kind_is_taken_for_as_long_as_it_was() -> None:
    history = taught(*[[1.0]] * 10)
    spend(history, 1.0, 1.0, 1.0)
    assert history.rest("p") >= 3.0


def test_a_call_that_takes_longer_than_its_kind_ever_did_still_has_a_rest() -> None:
    history = taught(*[[1.0]] * 10)
    spend(history)
    history.served("p", 5.0)
    assert history.rest("p") == LEAST_REST


@given(st.lists(seconds, min_size=2, max_size=8))
def test_of_an_unknown_kind_who_had_more_comes_later(calls: list[float]) -> None:
    history, rests = History(), []
    for call in calls:
        spend(history, call)
        rests.append(history.rest("p"))
    assert all(one <= other for one, other in pairwise(rests))
    assert rests[-1] >= sum(calls)


def test_equals_of_an_unknown_kind_stand_in_one_level() -> None:
    history = History()
    spend(history, LEVEL_SECONDS / 3)
    first = history.rest("p")
    spend(history, LEVEL_SECONDS / 3)
    assert history.rest("p") == first


@given(st.lists(st.lists(seconds, min_size=1, max_size=5), min_size=KNOWN, max_size=20), st.integers(0, 3))
def test_the_rest_lies_between_the_least_and_the_mean_of_what_the_kind_needed(
    tasks: list[list[float]], made: int
) -> None:
    history = taught(*tasks)
    rests = [sum(task[made:]) for task in tasks if len(task) > made]
    spend(history, *[0.001] * made)
    if len(rests) >= KNOWN:
        assert min(rests) * 0.999 <= history.rest("p") <= sum(rests) / len(rests) * 1.001


def test_a_task_that_is_over_teaches_its_kind_and_the_latest_count() -> None:
    history = History()
    for length in [9.0] * SAMPLES + [1.0] * SAMPLES:
        spend(history, length)
        history.ended("p")
    spend(history)
    assert history.rest("p") == pytest.approx(1.0)


def test_of_tasks_that_nobody_ends_only_the_latest_are_known() -> None:
    history = History()
    for number in range(TASKS + 2):
        history.began(f"p{number}", "clerk")
        history.began("busy", "clerk")
    known = history.at_work()
    assert len(known) == TASKS and "busy" in known and "p0" not in known


def test_a_kind_that_was_not_met_for_long_is_forgotten() -> None:
    history = taught(*[[1.0]] * KNOWN)
    spend(history)
    assert history.rest("p") == pytest.approx(1.0)
    for number in range(KINDS):
        history.learn(f"other {number}", [1.0])
    assert history.rest("p") == pytest.approx(LEVEL_SECONDS)


def test_who_is_at_no_task_has_no_rest() -> None:
    history = History()
    spend(history, 1.0)
    history.ended("p")
    assert history.rest("p") == 0.0
    assert history.at_work() == ()


async def test_what_a_process_journals_tells_what_its_task_needed() -> None:
    async def twice(process: Process) -> None:
        """Asks the model twice."""
        for _ in range(2):
            await process.generate([Message("user", "hello")])

    async with House(runs(twice), script=lambda prompt: say("x")) as house:
        for _ in range(KNOWN):
            kernel, pid = await house.start()
            await kernel.tick(pid)
        [(kind, calls)] = tasks_of(CLERK, await house.store.records(pid))
        assert (kind, len(calls)) == (CLERK, 2)


def row(what: RecordKind, **body: Json) -> Record:
    return Record("p", 0, what, body, 0.0, "", "")


def did(call: str, **more: Json) -> Record:
    return row("intent", call=call, **more)


COST = row("outcome", cost={"seconds": 1.5})


@pytest.mark.parametrize(
    ("rows", "tasks"),
    [
        ([did("generate"), COST], []),
        ([COST, did("receive"), COST, row("exit")], [1, 1]),
        ([COST, did("invoke"), COST, did("ask")], [2]),
        ([row("exit")], []),
        ([did("generate", kind="clerk/1"), COST], [1]),
    ],
    ids=["goes on", "two turns", "asks a person", "made no call", "an agent that never says it is done"],
)
def test_the_tasks_in_a_journal(rows: list[Record], tasks: list[int]) -> None:
    assert [len(calls) for _, calls in tasks_of(CLERK, rows)] == tasks
