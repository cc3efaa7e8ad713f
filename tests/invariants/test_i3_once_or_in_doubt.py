"""I3: after any crash each effect has happened exactly once, or stands in doubt; only what may be repeated is."""

from __future__ import annotations

import gc
import warnings
from collections import Counter
from pathlib import Path

import pytest

from kernos.drivers.engine.scripted import say
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import InDoubt, StoreError
from kernos.kernel.ports import Store
from kernos.kernel.types import Action, Json, canonical
from tests.support import Failing, House, World, following, serves, story

WORDS = ("hello", "find tea", "pay 30 yuan to anna", "thanks")
SCRIPT = following(
    {
        "hello": say("hello"),
        "find tea": Action("find", {"what": "tea"}),
        "find": Action("note", {"text": "tea"}),
        "note": say("noted"),
        "pay 30 yuan to anna": Action("pay", {"to": "anna", "amount": 30}),
        "pay": say("paid"),
        "thanks": say("good bye"),
    }
)
APPENDS = 38
"""How many appends the whole conversation makes."""


def clerk(world: World, store: Store | None = None) -> House:
    return House(serves(world.tools), world.tools, SCRIPT, store=store)


async def converse(house: House, kernel: Kernel) -> str:
    """What a surface does, from wherever the journal stands: the words not yet delivered, a turn for each."""
    known = await house.store.statuses()
    pid = known[0].pid if known else await kernel.spawn("clerk", "ada")
    await kernel.tick(pid)
    delivered = sum(row.kind == "message" for row in await house.store.records(pid))
    for text in WORDS[delivered:]:
        await kernel.deliver(pid, text)
        await kernel.tick(pid)
    return pid


async def whole() -> tuple[list[tuple[str, Json]], list[bytes]]:
    """The story of the conversation when nothing fails, and what the model was asked."""
    async with clerk(World()) as house:
        store = Failing(house.store, 0, durable=False)
        pid = await converse(house, house.boot(store))
        assert store.appends == APPENDS
        return story(await house.rows(pid)), asked(house)


def asked(house: House) -> list[bytes]:
    return [canonical([message.to_json() for message in prompt.messages]) for prompt in house.model.prompts]


async def answered(house: House) -> int:
    """How many model calls had an outcome in the journal."""
    known = await house.store.statuses()
    rows = await house.rows(known[0].pid) if known else []
    return sum(row.kind == "outcome" and row.body["call"] == "generate" for row in rows)


@pytest.mark.parametrize("durable", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("append", range(2, APPENDS + 1))
async def test_i3_after_a_crash_at_any_append_each_effect_happened_once_or_is_in_doubt(
    append: int, durable: bool
) -> None:
    expected, questions = await whole()
    world = World()
    async with clerk(world) as house:
        with pytest.raises(StoreError):
            await converse(house, house.boot(Failing(house.store, append, durable)))
        before, outcomes = asked(house), await answered(house)
        try:
            pid = await converse(house, house.boot())
        except InDoubt:
            assert world.done.count("pay") <= 1
            await doubted(house, world)
            return
        assert story(await house.rows(pid)) == expected
        assert asked(house) == before + questions[outcomes:]
        assert len(before) - outcomes <= 1
    counts = Counter(world.done)
    assert counts["pay"] == 1
    assert 1 <= counts["find"] <= 2 and 1 <= counts["note"] <= 2
    assert counts.total() <= 4


async def doubted(house: House, world: World) -> None:
    """A call in doubt stays so, however often the machine is started, and is never run."""
    done = list(world.done)
    (status,) = await house.store.statuses()
    rows = await house.store.records(status.pid)
    for _ in range(3):
        kernel = house.boot()
        for _ in range(2):
            with pytest.raises(InDoubt, match=f"process {status.pid}: call {rows[-1].seq}, invoke .*pay"):
                await kernel.tick(status.pid)
    assert await house.store.records(status.pid) == rows
    assert world.done == done


async def outcome_of_crash(append: int, durable: bool) -> str:
    world = World()
    async with clerk(world) as house:
        with pytest.raises(StoreError):
            await converse(house, house.boot(Failing(house.store, append, durable)))
        try:
            await converse(house, house.boot())
        except InDoubt:
            return "doubt, paid" if "pay" in world.done else "doubt, not paid"
        return "whole"


async def test_i3_only_a_crash_between_a_payments_intent_and_its_outcome_leaves_doubt() -> None:
    crashes = [(append, durable) for append in range(2, APPENDS + 1) for durable in (False, True)]
    found = Counter([await outcome_of_crash(*crash) for crash in crashes])
    assert found == {"whole": 2 * APPENDS - 4, "doubt, not paid": 1, "doubt, paid": 1}


@pytest.mark.parametrize("durable", [False, True], ids=["before the write", "after the write"])
async def test_i3_it_is_the_same_on_a_database_that_is_opened_again(tmp_path: Path, durable: bool) -> None:
    expected, _ = await whole()
    for append in range(2, APPENDS + 1, 3):
        world, file = World(), tmp_path / f"{append}.db"
        async with clerk(world, SqlStore.open(file, "crash")) as house:
            with pytest.raises(StoreError):
                await converse(house, house.boot(Failing(house.store, append, durable)))
        async with clerk(world, SqlStore.open(file, "crash")) as house:
            try:
                pid = await converse(house, house.boot())
                assert story(await house.rows(pid)) == expected
                assert world.done.count("pay") == 1
            except InDoubt:
                await doubted(house, world)
                assert world.done.count("pay") <= 1


@pytest.mark.parametrize("durable", [False, True], ids=["before the write", "after the write"])
async def test_i3_a_birth_that_could_not_be_written_leaves_nothing_open(durable: bool) -> None:
    async with clerk(World()) as house:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            with pytest.raises(StoreError):
                await house.boot(Failing(house.store, 1, durable)).spawn("clerk", "ada")
            gc.collect()
        assert [str(warning.message) for warning in warned] == []
        await converse(house, house.boot())
        assert len(await house.store.statuses()) == 1


async def test_i3_a_tool_that_is_gone_after_a_crash_is_in_doubt() -> None:
    world = World()
    async with clerk(world) as house:
        kernel = house.boot(Failing(house.store, 14, durable=False))
        with pytest.raises(StoreError):
            await converse(house, kernel)
        assert world.done == ["find"]
        del house.tools["find"]
        with pytest.raises(InDoubt, match="find"):
            await converse(house, house.boot())
