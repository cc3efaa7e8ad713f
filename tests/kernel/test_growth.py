"""A journal grows by what is new in each call, never by the whole context again."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.engine.scripted import say
from kernos.drivers.store.memory import MemoryStore
from kernos.kernel.context import EMPTY, chain, parts
from kernos.kernel.ports import Commit, Prompt
from kernos.kernel.types import Action, Message, canonical, digest
from tests.support import House, Wrapped, serves

MESSAGES = st.lists(st.builds(Message, st.sampled_from(["user", "system", "tool"]), st.text()), max_size=6)


class Scale(Wrapped):
    """Weighs what a store keeps: rows, and contents that were not there yet."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.bytes = 0
        self.seen: set[str] = set()

    async def commit(self, commit: Commit) -> None:
        await super().commit(commit)
        self.bytes += sum(len(canonical(asdict(record))) for record in commit.records)
        self.bytes += sum(len(content) for key, content in commit.contents.items() if key not in self.seen)
        self.seen |= commit.contents.keys()


def numbered(prompt: Prompt) -> Action:
    return say(f"reply to {prompt.messages[-1].text}")


async def weights(turns: int, window: int, restart: int = 0) -> list[int]:
    """The bytes that each turn of a conversation added; with `restart`, by a new kernel every so many turns."""
    scale, added = Scale(), list[int]()
    async with House(serves(window=window), script=numbered, store=scale) as house:
        kernel, pid = await house.start()
        for turn in range(turns):
            if restart and turn % restart == restart - 1:
                kernel = house.boot()
            before = scale.bytes
            await kernel.deliver(pid, f"message {turn:04}")
            await kernel.tick(pid)
            added.append(scale.bytes - before)
        assert await house.faults() == []
    return added


async def test_a_late_turn_costs_no_more_bytes_than_an_early_one() -> None:
    added = await weights(turns=200, window=100_000)
    assert added[190] == pytest.approx(added[10], rel=0.2)


async def test_turns_cost_no_more_bytes_when_the_window_slides() -> None:
    added = await weights(turns=200, window=150)
    assert sum(added[150:200]) == pytest.approx(sum(added[100:150]), rel=0.2)


async def test_a_restart_stores_nothing_again() -> None:
    restarted, whole = [sum(await weights(60, 100_000, restart)) for restart in (7, 0)]
    assert restarted == pytest.approx(whole, abs=60)  # the digits of times differ


@given(MESSAGES, MESSAGES, MESSAGES)
def test_two_contexts_share_the_links_of_their_common_beginning(
    common: list[Message], one: list[Message], other: list[Message]
) -> None:
    _, first = chain([*common, *one], set())
    _, second = chain([*common, *other], set(first))
    assert len(second) <= 2 * len(other)


@given(MESSAGES)
def test_a_context_is_found_again_from_its_head(messages: list[Message]) -> None:
    head, fresh = chain(messages, set())
    found = []
    while head != EMPTY:
        assert digest(fresh[head]) == head
        head, message = parts(fresh[head])
        found.append(fresh[message])
    assert found[::-1] == [message.content for message in messages]


@given(MESSAGES, MESSAGES)
def test_different_contexts_have_different_heads(one: list[Message], other: list[Message]) -> None:
    assert (chain(one, set())[0] == chain(other, set())[0]) is (one == other)
