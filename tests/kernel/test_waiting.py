"""The order of the calls that wait: expected rest, class, priority, shares, and ageing over all of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.kernel.scheduler.waiting import AGEING, SHARE_SECONDS, Queue, Share, Waiting, base


def call(name: str, rest: float = 1.0, owner: str = "ada", tokens: int = 100) -> Waiting:
    return Waiting(name, owner, tokens, rest)


def names(queue: Queue) -> list[str]:
    """Everything that may go, in its order, with nothing in flight between."""
    taken = []
    while found := queue.pop():
        taken.append(found.pid)
        queue.over(found, 0.0)
    return taken


@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), max_size=30))
def test_the_least_key_goes_first_and_who_left_never(calls: list[tuple[float, bool]]) -> None:
    queue, stay = Queue(), []
    for place, (rest, leaves) in enumerate(calls):
        waiting = call(str(place), rest)
        queue.push(waiting)
        if leaves:
            queue.remove(waiting)
        else:
            stay.append((rest, place))
    assert len(queue) == len(stay)
    assert names(queue) == [str(place) for _, place in sorted(stay)]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (5.0 + base(0, False, 0.0), 6.0 + base(0, False, 0.0)),
        (base(-1, False, 0.0), base(0, False, 0.0)),
        (base(0, False, 0.0), base(0, True, 0.0)),
        (base(0, False, 0.0), base(0, False, 1.0)),
        (100.0 + base(0, True, 0.0), 1.0 + base(0, False, 130.0 / AGEING)),
    ],
    ids=["less to do", "a better priority", "a person waits", "came first", "has waited long enough"],
)
def test_what_goes_first(first: float, then: float) -> None:
    assert first < then


def test_calls_with_the_same_key_go_as_they_came() -> None:
    queue = Queue()
    for name in "abc":
        queue.push(call(name))
    assert names(queue) == ["a", "b", "c"]


def served(queue: Queue, seconds: float, calls: int) -> dict[str, int]:
    """How many calls of each owner are served, if there are always some of both."""
    counts = {"ada": 0, "bob": 0}
    for owner in counts:
        for place in range(calls):
            queue.push(call(f"{owner}{place}", owner=owner))
    for _ in range(calls):
        taken = queue.pop()
        assert taken is not None
        counts[taken.owner] += 1
        queue.over(taken, seconds)
    return counts


def test_owners_with_the_same_weight_get_the_same_service() -> None:
    counts = served(Queue(), SHARE_SECONDS, 100)
    assert abs(counts["ada"] - counts["bob"]) <= 1


def test_an_owner_of_three_times_the_weight_gets_three_times_the_service() -> None:
    counts = served(Queue({"ada": Share(3.0)}), SHARE_SECONDS, 200)
    assert counts["ada"] == pytest.approx(150, abs=4)


def test_who_was_away_has_no_claim_to_what_was_not_used() -> None:
    queue = Queue()
    for place in range(100):
        queue.push(call(f"ada{place}"))
        taken = queue.pop()
        assert taken is not None
        queue.over(taken, SHARE_SECONDS)
    counts = served(queue, SHARE_SECONDS, 20)
    assert abs(counts["ada"] - counts["bob"]) <= 2


def test_within_a_share_the_shorter_call_goes_first_whoevers_it_is() -> None:
    queue = Queue()
    queue.push(call("long", 20.0, "ada"))
    queue.push(call("short", 1.0, "bob"))
    assert names(queue) == ["short", "long"]


@given(st.integers(1, 4), st.integers(1, 12))
def test_an_owner_has_no_more_calls_in_flight_than_he_may(most: int, calls: int) -> None:
    queue = Queue({"ada": Share(calls=most)})
    for place in range(calls):
        queue.push(call(str(place)))
    flying = []
    while taken := queue.pop():
        flying.append(taken)
    assert len(flying) == min(most, calls)
    queue.over(flying[0], 1.0)
    assert (queue.pop() is not None) == (calls > most)


def test_tokens_in_flight_are_bounded_but_one_call_may_always_be() -> None:
    queue = Queue({"ada": Share(tokens=250)})
    for name, tokens in (("huge", 1_000), ("small", 100)):
        queue.push(call(name, tokens=tokens, rest=float(tokens == 100)))
    huge = queue.pop()
    assert huge is not None
    assert huge.pid == "huge"
    assert queue.pop() is None
    queue.over(huge, 1.0)
    assert names(queue) == ["small"]


def test_an_owner_at_his_bound_holds_up_nobody_else() -> None:
    queue = Queue({"ada": Share(calls=1)})
    for name, owner in (("a1", "ada"), ("a2", "ada"), ("b1", "bob")):
        queue.push(call(name, owner=owner))
    first, second = queue.pop(), queue.pop()
    assert first is not None
    assert second is not None
    assert (first.pid, second.pid) == ("a1", "b1")
