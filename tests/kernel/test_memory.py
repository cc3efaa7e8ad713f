"""What is remembered: for one employee and one owner, over processes and restarts, and only what the journal holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import JournalBroken, StoreError
from kernos.kernel.ports import Memory, Store
from kernos.kernel.types import Deny, Json
from kernos.userland.lib import Process
from tests.support import CLERK, OWNER, Failing, House, World, Wrapped, runs

BOSS = "boss"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5,
)  # fmt: skip


async def scribe(process: Process) -> Json:
    """Does as it is told: `key=value` is remembered, `key` recalled; the answer is all that was recalled."""
    seen: list[Json] = []
    while (text := await process.receive()) != "end":
        key, equals, value = text.partition("=")
        if equals:
            await process.remember(key, value or None)
        else:
            seen.append(await process.recall(key, "nothing"))
    return seen


async def told(house: House, kernel: Kernel, *words: str, employee: str = CLERK, owner: str = OWNER) -> Json:
    """What a new process answers to these words."""
    pid = await kernel.spawn(employee, owner)
    for text in (*words, "end"):
        await kernel.deliver(pid, text)
    assert (await kernel.tick(pid)).why == "done"
    return (await house.rows(pid))[-1].body["result"]


def scribes(store: Store | None = None) -> House:
    return House(runs(scribe), store=store, others=[runs(scribe, slug=BOSS)])


async def test_what_one_process_remembers_the_next_recalls() -> None:
    async with scribes() as house:
        kernel = house.boot()
        assert await told(house, kernel, "tea", "tea=green", "tea") == ["nothing", "green"]
        assert await told(house, house.boot(), "tea", "milk") == ["green", "nothing"]


async def test_the_last_that_was_remembered_counts_and_nothing_forgets_it() -> None:
    async with scribes() as house:
        kernel = house.boot()
        assert await told(house, kernel, "tea=green", "tea=black", "tea", "tea=", "tea") == ["black", "nothing"]
        assert await told(house, kernel, "tea") == ["nothing"]


@pytest.mark.parametrize(("employee", "owner"), [(BOSS, OWNER), (CLERK, "eve"), (BOSS, "eve")])
async def test_no_other_employee_and_no_other_owner_sees_it(employee: str, owner: str) -> None:
    async with scribes() as house:
        kernel = house.boot()
        await told(house, kernel, "tea=green")
        assert await told(house, kernel, "tea", employee=employee, owner=owner) == ["nothing"]


@given(VALUES)
async def test_any_json_value_comes_back_as_it_was(value: Json) -> None:
    async def program(process: Process) -> Json:
        await process.remember("x", value)
        return await process.recall("x", "nothing")

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "done"
        assert (await house.rows(pid))[-1].body["result"] == ("nothing" if value is None else value)


@pytest.mark.parametrize("durable", [False, True], ids=["before the write", "after the write"])
async def test_it_is_remembered_exactly_when_its_row_is_there(durable: bool) -> None:
    async with scribes() as house:
        kernel = house.boot()
        pid = await kernel.spawn(CLERK, OWNER, "tea=green")
        with pytest.raises(StoreError):
            await house.boot(Failing(house.store, 2, durable)).tick(pid)
        remembered = any(row.body.get("key") == "tea" for row in await house.rows(pid))
        assert remembered is durable
        assert await told(house, kernel, "tea") == (["green"] if durable else ["nothing"])


async def test_what_was_recalled_is_the_same_again_whatever_is_remembered_since() -> None:
    async with scribes() as house:
        kernel = house.boot()
        await told(house, kernel, "tea=green")
        pid = await kernel.spawn(CLERK, OWNER, "tea")
        assert (await kernel.tick(pid)).why == "message"
        await told(house, kernel, "tea=black")
        kernel = house.boot()
        await kernel.deliver(pid, "end")
        assert (await kernel.tick(pid)).why == "done"
        assert (await house.rows(pid))[-1].body["result"] == ["green"]
        assert await kernel.replay(pid) == 3


async def test_a_memory_is_no_source_that_a_consequential_argument_may_come_from() -> None:
    """What a model once noted down is the model's: neither the owner's word nor a tool's (I4)."""
    world = World()

    async def program(process: Process) -> Json:
        await process.remember("whom", "eve")
        reply = await process.invoke("pay", to=await process.recall("whom"), amount=30)
        return reply.rule if isinstance(reply, Deny) else "paid"

    async with House(runs(program, world.tools), world.tools) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        rows = await house.rows(pid)
        assert rows[-1].body["result"] == "source"
        [recalled] = [row.body for row in rows if row.body.get("is") == "recalled"]
        assert [source[0] for source in recalled["label"]["sources"]] == ["model"]


class Misled(Wrapped):
    """A store whose index of memories somebody has changed."""

    def __init__(self, inner: Store, pid: str, seq: int) -> None:
        super().__init__(inner)
        self.place = pid, seq

    async def memory(self, space: str, key: str) -> Memory | None:
        return Memory(space, key, *self.place)


PLACES = ["a birth", "its own outcome", "another memory", "a recall of the same key", "no row", "no process"]


@pytest.mark.parametrize("place", PLACES)
async def test_an_index_that_points_elsewhere_is_found_out(place: str) -> None:
    async with scribes() as house:
        await told(house, house.boot(), "tea=green", "milk=white", "tea")
        [first] = await house.store.pids()
        tea, milk, recall = [row.seq for row in await house.rows(first) if row.kind == "intent" and "key" in row.body]
        seqs = dict(zip(PLACES, [0, tea + 1, milk, recall, 99, tea], strict=True))
        kernel = house.boot(Misled(house.store, "nobody" if place == "no process" else first, seqs[place]))
        pid = await kernel.spawn(CLERK, OWNER, "tea")
        with pytest.raises(JournalBroken, match="is not where 'tea' was remembered"):
            await kernel.tick(pid)
