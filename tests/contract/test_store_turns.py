"""The contract of a store, second part: who may write, whose turn it is, what is counted, and tools that join."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from kernos.drivers.store.memory import MemoryStore
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.errors import Fenced, NotFound, StoreError, ToolError, Unsupported
from kernos.kernel.ports import Commit, Due, Memory, Spent, Store, Write
from kernos.kernel.types import Note, Phase, Status, digest
from tests.contract.rows import born, chain, note, process

# --- claims


async def test_claims_count_up_from_one(store: Store) -> None:
    await store.commit(born(process("p"), process("q")))
    assert [await store.claim("p"), await store.claim("p"), await store.claim("q")] == [1, 2, 1]


async def test_what_is_not_there_cannot_be_claimed(store: Store) -> None:
    with pytest.raises(NotFound, match="'nobody'"):
        await store.claim("nobody")


async def test_the_newest_claim_writes_and_earlier_ones_write_nothing(store: Store) -> None:
    first, second = chain("p", 2)
    await store.commit(first)
    old, new = await store.claim("p"), await store.claim("p")
    key = digest(b"late")
    late = replace(
        second, epochs={"p": old}, contents={key: b"late"}, notes=[note("p", "never")],
        memories=[Memory("home", "never", "p", 1)], spent=[Spent("ada", 1, calls=1)],
    )  # fmt: skip
    with pytest.raises(Fenced, match="process p: another worker has taken it over"):
        await store.commit(late)
    assert (list(await store.records("p")), await store.contents([key])) == (first.records, {})
    assert (await store.status("p"), list(await store.notes("p"))) == (first.statuses[0], [])
    assert (await store.memory("home", "never"), await store.spent("ada", 1)) == (None, Spent("ada", 1))
    await store.commit(replace(second, epochs={"p": new}))
    assert await store.status("p") == second.statuses[0]


async def test_one_lost_process_stops_the_whole_commit(store: Store) -> None:
    await store.commit(born(process("parent"), process("child")))
    epochs = {"parent": await store.claim("parent"), "child": await store.claim("child")}
    await store.claim("child")
    both = Commit([], {}, [process("parent", calls=1), process("child", calls=1), process("new")], epochs)
    with pytest.raises(Fenced, match="process child"):
        await store.commit(both)
    assert {(status.pid, status.calls) for status in await store.statuses()} == {("parent", 0), ("child", 0)}


async def test_a_claim_holds_for_rows_without_a_status_too(store: Store) -> None:
    first, second = chain("p", 2)
    await store.commit(first)
    epoch = await store.claim("p")
    with pytest.raises(Fenced):
        await store.commit(Commit(second.records, {}, [], {"p": epoch - 1}))
    await store.commit(Commit(second.records, {}, [], {"p": epoch}))
    assert len(await store.records("p")) == 2


async def test_nobody_holds_a_process_that_is_not_there(store: Store) -> None:
    with pytest.raises(Fenced, match="process p"):
        await store.commit(Commit([], {}, [process("p")], {"p": 0}))
    assert list(await store.statuses()) == []


async def test_of_many_claims_at_once_each_gets_its_own(store: Store) -> None:
    await store.commit(born(process("p")))
    claims = [asyncio.create_task(store.claim("p")) for _ in range(30)]
    missing = asyncio.create_task(store.claim("nobody"))
    await asyncio.wait([*claims, missing])
    assert sorted(claim.result() for claim in claims) == list(range(1, 31))
    assert isinstance(missing.exception(), NotFound)


# --- notes


async def test_notes_come_in_the_order_in_which_they_were_posted(store: Store) -> None:
    await store.commit(born(process("p"), process("q")))
    await store.post([note("p", "one", at=9.0), note("q", "other"), note("p", "two", at=1.0)])
    await store.post([note("p", "three")])
    assert [waiting.id for waiting in await store.notes("p")] == ["one", "two", "three"]
    assert list(await store.notes("q")) == [note("q", "other")]


async def test_a_note_that_waits_is_not_put_there_again(store: Store) -> None:
    await store.post([note("p", "one"), note("p", "one"), note("p", "two")])
    again = Note("one", "p", "message", {"text": "something else"}, 5.0)
    await store.post([again])
    await store.commit(Commit([], {}, [process("p")], notes=[again, note("p", "three")]))
    assert list(await store.notes("p")) == [note("p", "one"), note("p", "two"), note("p", "three")]


async def test_notes_are_taken_with_the_rows_that_journal_them_or_not_at_all(store: Store) -> None:
    first, second = chain("p", 2)
    await store.commit(first)
    await store.post([note("p", "one"), note("p", "two"), note("p", "three")])
    taking = replace(second, taken=["one", "three", "never posted"])
    with pytest.raises(Fenced):
        await store.commit(replace(taking, epochs={"p": 5}))
    assert len(await store.notes("p")) == 3
    await store.commit(taking)
    assert list(await store.notes("p")) == [note("p", "two")]


# --- turns


def sleeper(pid: str, wake: float | None, root: str = "", at: float = 0.0) -> Status:
    return process(pid, "waiting", wake, root, at=at)


async def test_due_are_those_whose_time_has_come_or_who_have_a_note(store: Store) -> None:
    await store.commit(
        born(sleeper("ready", 0.0), sleeper("now", 100.0), sleeper("later", 101.5), sleeper("soon", 100.5))
    )
    await store.commit(born(sleeper("silent", None), sleeper("written to", None)))
    await store.post([note("written to", "one", at=50.0), note("written to", "two", at=60.0)])
    assert await store.due(100.0) == Due(["ready", "written to", "now"], 100.5)
    assert await store.due(-1.0) == Due(["written to"], 0.0)
    due = await store.due(200.0)
    assert (set(due.pids), due.next) == ({"ready", "now", "later", "soon", "written to"}, None)


async def test_nothing_is_due_in_an_empty_store(store: Store) -> None:
    assert await store.due(1e12) == Due([], None)


async def test_a_note_to_nobody_gives_nobody_a_turn(store: Store) -> None:
    await store.post([note("nobody", "one")])
    assert await store.due(1.0) == Due([], None)


async def test_those_whose_turn_came_first_go_first(store: Store) -> None:
    await store.commit(born(sleeper("slept", 70.0, at=1.0), sleeper("ready since 80", 0.0, at=80.0)))
    await store.commit(born(sleeper("ready since 60", 0.0, at=60.0), sleeper("noted", None), sleeper("both", 90.0)))
    await store.post([note("both", "early", at=10.0), note("noted", "75", at=75.0)])
    order = ["both", "ready since 60", "slept", "noted", "ready since 80"]
    assert list((await store.due(100.0)).pids) == order
    assert list((await store.due(100.0, most=2)).pids) == order[:2]


async def test_one_tree_is_due_for_itself(store: Store) -> None:
    await store.commit(born(sleeper("a", 1.0), sleeper("a1", None, "a"), sleeper("a2", 5.0, "a")))
    await store.commit(born(sleeper("b", 1.0), sleeper("b1", None, "b"), sleeper("b2", 4.0, "b")))
    await store.post([note("a1", "one"), note("b1", "other")])
    assert await store.due(2.0, root="a") == Due(["a1", "a"], 5.0)
    assert await store.due(2.0, root="unknown") == Due([], None)


async def test_a_turn_that_was_had_is_over(store: Store) -> None:
    await store.commit(born(sleeper("p", 1.0)))
    await store.post([note("p", "one")])
    await store.commit(Commit([], {}, [sleeper("p", None)], {"p": 0}, taken=["one"]))
    assert await store.due(10.0) == Due([], None)


# --- sums and memories


async def test_a_tree_has_used_what_its_processes_have(store: Store) -> None:
    def working(pid: str, root: str, phase: Phase = "ready") -> Status:
        return process(pid, phase, root=root, calls=2, tokens=30, money=0.25, seconds=1.5)

    await store.commit(born(working("a", "a"), working("a1", "a"), working("b", "b"), working("a2", "a", "exited")))
    assert await store.tree("a") == Spent("", 0, 6, 90, 0.75, 4.5)
    assert await store.tree("b") == Spent("", 0, 2, 30, 0.25, 1.5)
    assert await store.tree("unknown") == Spent("", 0)


async def test_what_an_owner_spends_in_a_day_adds_up(store: Store) -> None:
    one, two = Spent("ada", 20_000, 1, 100, 0.5, 2.0), Spent("ada", 20_000, 1, 50, 0.25, 1.0)
    await store.commit(replace(born(process("p")), spent=[one, Spent("bob", 20_000, 9), one]))
    await store.commit(replace(born(process("q")), spent=[two, Spent("ada", 20_001, 7)]))
    assert await store.spent("ada", 20_000) == Spent("ada", 20_000, 3, 250, 1.25, 5.0)
    assert await store.spent("ada", 20_001) == Spent("ada", 20_001, 7)
    assert await store.spent("eve", 20_000) == Spent("eve", 20_000)


async def test_the_latest_memory_of_a_key_counts(store: Store) -> None:
    first, other = Memory("home", "name", "p", 3), Memory("work", "name", "p", 4)
    await store.commit(replace(born(process("p")), memories=[first, other]))
    await store.commit(replace(born(process("q")), memories=[Memory("home", "name", "q", 1), first]))
    await store.commit(replace(born(process("r")), memories=[Memory("home", "age", "r", 0)]))
    await store.commit(Commit([], {}, [process("q")], {"q": 0}, memories=[Memory("home", "name", "q", 2)]))
    assert await store.memory("home", "name") == Memory("home", "name", "q", 2)
    assert (await store.memory("work", "name"), await store.memory("work", "age")) == (other, None)


async def test_sums_and_memories_of_many_at_once(store: Store) -> None:
    commits = [
        replace(born(process(f"p{n}")), spent=[Spent("ada", n % 3, calls=1)], memories=[Memory("s", "k", f"p{n}", n)])
        for n in range(60)
    ]
    async with asyncio.TaskGroup() as group:
        for commit in commits:
            group.create_task(store.commit(commit))
    assert [(await store.spent("ada", day)).calls for day in range(3)] == [20] * 3
    assert await store.memory("s", "k") in [commit.memories[0] for commit in commits]


# --- tools that join the transaction

STOCK = Write("UPDATE stock SET n = n - :taken WHERE sku = :sku", {"sku": "T-1", "taken": 2})


async def stocked(database: SqlStore) -> None:
    """A table of a company beside ours, with five of T-1."""
    with database.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE stock (sku VARCHAR PRIMARY KEY, n INTEGER NOT NULL CHECK (n >= 0))")
        connection.exec_driver_sql("INSERT INTO stock VALUES ('T-1', 5), ('T-2', 5)")


def stock(database: SqlStore) -> int:
    with database.engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT n FROM stock WHERE sku = 'T-1'").scalar_one())


async def test_an_effect_joins_its_row_in_one_transaction(database: SqlStore) -> None:
    await stocked(database)
    first, second = chain("p", 2)
    await database.commit(replace(first, writes=[STOCK, STOCK]))
    with pytest.raises(Fenced):
        await database.commit(replace(second, epochs={"p": 7}, writes=[STOCK]))
    with pytest.raises(StoreError, match="row 0 is already there"):
        await database.commit(replace(first, statuses=[], writes=[STOCK]))
    assert (stock(database), list(await database.records("p"))) == (1, first.records)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (STOCK, "the database answered: .*[Cc]onstraint"),
        (replace(STOCK, values={"sku": "T-9", "taken": 1}), "nothing was changed: no record fits"),
        (Write("SELECT n FROM stock", {}), "the statement returns records"),
        (Write("UPDATE stocks SET n = 0", {}), "the database answered: .*stocks"),
        (Write("UPDATE stock SET n = :n", {}), "the database answered: .*parameter"),
        (replace(STOCK, values={"sku": "T-1", "taken": 1 << 70}), "the database answered: "),
        (replace(STOCK, values={"sku": "half a pair \ud800", "taken": 1}), "the database answered: "),
        (Write("UPDATE stock SET n = :n", {"n": {"not": "a number"}}), "the database answered: "),
        (Write("UPDATE stock SET", {}), "the database answered: .*(syntax|incomplete)"),
    ],
)
async def test_an_effect_that_fails_leaves_no_row_and_tells_the_model(
    database: SqlStore, write: Write, said: str
) -> None:
    await stocked(database)
    taking = Write("UPDATE stock SET n = n - 4 WHERE sku = 'T-1'", {})
    with pytest.raises(ToolError, match=f"^{said}"):
        await database.commit(replace(chain("p", 1)[0], writes=[taking, write]))
    assert (stock(database), list(await database.records("p")), await database.status("p")) == (5, [], None)


async def test_an_effect_that_fails_fails_only_its_caller(database: SqlStore) -> None:
    await stocked(database)
    commits = [replace(chain(f"p{n}", 1)[0], writes=[STOCK]) for n in range(6)]
    tasks = [asyncio.create_task(database.commit(commit)) for commit in commits]
    await asyncio.wait(tasks)
    assert sorted(type(task.exception()).__name__ for task in tasks) == ["NoneType"] * 2 + ["ToolError"] * 4
    assert (stock(database), len(await database.statuses())) == (1, 2)


async def test_nothing_joins_a_transaction_in_memory() -> None:
    store = MemoryStore()
    with pytest.raises(Unsupported, match="cannot join"):
        await store.commit(replace(chain("p", 1)[0], writes=[STOCK]))
    assert list(await store.statuses()) == []
