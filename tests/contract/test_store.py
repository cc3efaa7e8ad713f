"""The contract of a store, first part: rows, contents and statuses, and that a commit is all or nothing."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernos.kernel.errors import BadInput, Fenced, StoreError
from kernos.kernel.journal import GENESIS, Entry, broken, row_hash, seal
from kernos.kernel.ports import Commit, Memory, Spent, Store
from kernos.kernel.types import Json, Record, RecordKind, digest
from tests.contract.rows import KEY, born, chain, note, process

# PostgreSQL can keep no NUL in a text. A body may hold one: JSON escapes it.
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
# No time is negative zero, which SQLite keeps as zero.
TIMES = st.floats(min_value=0, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
fresh = map("process-{}".format, itertools.count())


async def faults(store: Store, pid: str) -> Sequence[str]:
    """What does not hold in a process's chain, as the journal sees it."""
    records = await store.records(pid)
    keys = [key for record in records for key in record.body["contents"].values()]
    return broken(records, await store.contents(keys), await store.status(pid), KEY)


async def test_a_process_without_rows_has_none(store: Store) -> None:
    await store.commit(chain("other", 1)[0])
    assert (list(await store.records("unknown")), await store.status("unknown")) == ([], None)


async def test_rows_come_back_in_their_order(store: Store) -> None:
    commits = chain("p", 3)
    first, second, third = (commit.records[0] for commit in commits)
    await store.commit(Commit([third, first], {}, commits[0].statuses))
    await store.commit(Commit([second], {}, commits[2].statuses, {"p": 0}))
    assert list(await store.records("p")) == [first, second, third]


async def test_rows_of_one_part_and_of_one_kind(store: Store) -> None:
    kinds: list[RecordKind] = ["spawn", "intent", "outcome", "intent"]
    rows = [replace(commit.records[0], kind=kind) for commit, kind in zip(chain("p", 4), kinds, strict=True)]
    await store.commit(Commit(rows, {}, [process("p")]))
    for commit in chain("q", 4):
        await store.commit(commit)
    assert list(await store.records("p", after=1)) == rows[2:]
    assert list(await store.records("p", after=0, last=2)) == rows[1:3]
    assert list(await store.records("p", kind="outcome")) == [rows[2]]
    assert list(await store.records("p", after=1, kind="intent")) == [rows[3]]
    assert list(await store.records("p", last=0, kind="intent")) == []


async def test_a_clash_names_the_row_and_leaves_nothing_behind(store: Store) -> None:
    old, new = chain("p", 2)
    await store.commit(old)
    late = {digest(b"late"): b"late"}
    doubled = Commit(
        [*new.records, *old.records], late, [replace(new.statuses[0], why="never"), process("q")], {"p": 0},
        notes=[note("p", "never")], memories=[Memory("home", "never", "p", 1)], spent=[Spent("ada", 1, calls=1)],
    )  # fmt: skip
    with pytest.raises(StoreError, match="process p: row 0 is already there"):
        await store.commit(doubled)
    assert list(await store.records("p")) == old.records
    assert await store.contents(list(late)) == {}
    assert list(await store.statuses()) == old.statuses
    assert (list(await store.notes("p")), await store.memory("home", "never")) == ([], None)
    assert await store.spent("ada", 1) == Spent("ada", 1)


async def test_a_row_twice_in_one_commit_is_a_clash(store: Store) -> None:
    (commit,) = chain("p", 1)
    with pytest.raises(StoreError, match="process p: row 0"):
        await store.commit(replace(commit, records=[*commit.records, *commit.records]))
    assert (list(await store.records("p")), list(await store.statuses())) == ([], [])


@pytest.mark.parametrize("after", [0, 1])
async def test_no_process_is_born_twice(store: Store, after: int) -> None:
    commits = [born(process("p")), born(process("p", calls=7))]
    doubled = Commit([], {}, [process("p", calls=7)] * (2 - after))
    for commit in commits[:after]:
        await store.commit(commit)
    with pytest.raises(StoreError, match="process p is already there"):
        await store.commit(doubled)
    assert list(await store.statuses()) == [process("p")] * after


async def test_the_same_content_is_kept_once(store: Store) -> None:
    (key, content), other = (digest(b"said"), b"said"), b"not what was said"
    for commit, kept in zip(chain("p", 2), (content, other), strict=True):
        await store.commit(replace(commit, contents={key: kept}))
    assert await store.contents([key, key, digest(other)]) == {key: content}


async def test_as_many_contents_as_a_long_process_has(store: Store) -> None:
    contents = {digest(content): content for content in (b"%d" % n for n in range(1700))}
    await store.commit(replace(chain("p", 1)[0], contents=contents))
    assert await store.contents([*contents, digest(b"unknown"), "no hash at all"]) == contents


async def test_what_is_dropped_is_gone(store: Store) -> None:
    first, second, third = (digest(content) for content in (b"1", b"2", b"3"))
    await store.commit(Commit([], {first: b"1", second: b"2", third: b"3"}, [process("p")]))
    await store.drop([first, third, digest(b"unknown"), "no hash at all"])
    await store.drop([])
    assert await store.contents([first, second, third]) == {second: b"2"}


async def test_the_last_status_counts(store: Store) -> None:
    for commit in [*chain("p", 3), *chain("q", 1)]:
        await store.commit(commit)
    assert {status.pid: status.seq for status in await store.statuses()} == {"p": 2, "q": 0}
    assert await store.status("p") == chain("p", 3)[2].statuses[0]


async def test_processes_are_listed_by_birth(store: Store) -> None:
    for pid, at in (("c", 2.0), ("a", 3.0), ("d", 1.0), ("B", 2.0), ("b", 2.0)):
        await store.commit(born(process(pid, born=at)))
    assert [status.pid for status in await store.statuses()] == ["d", "B", "b", "c", "a"]


async def test_pids_are_of_rows_and_not_of_statuses(store: Store) -> None:
    for commit in [*chain("b", 2), *chain("a", 1)]:
        await store.commit(commit)
    await store.commit(born(process("idle")))
    assert list(await store.pids()) == ["a", "b"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.dictionaries(st.text(), VALUES), why=WORDS, at=TIMES, content=st.binary())
async def test_what_goes_in_comes_out(store: Store, body: Json, why: str, at: float, content: bytes) -> None:
    record, _ = seal(next(fresh), 0, GENESIS, at, Entry("outcome", body), KEY)
    status = replace(process(record.pid, wake=at, born=at, money=at), why=why, hash=record.hash)
    letter = note(record.pid, record.pid, at, body)
    await store.commit(Commit([record], {digest(content): content}, [status], notes=[letter]))
    (back,) = await store.records(record.pid)
    assert back == record and row_hash(back, KEY) == record.hash
    assert await store.contents([digest(content)]) == {digest(content): content}
    assert (await store.status(record.pid), list(await store.notes(record.pid))) == (status, [letter])


async def test_a_large_content_comes_out(store: Store) -> None:
    (commit,) = chain("p", 1, body="å" * (1 << 20))
    large = bytes(range(256)) * (1 << 15)
    await store.commit(replace(commit, contents={digest(large): large}))
    assert await store.contents([digest(large)]) == {digest(large): large}
    assert list(await store.records("p")) == commit.records


async def test_a_body_that_is_not_json_fails_alone(store: Store) -> None:
    (commit,) = chain("p", 1)
    wrong = [replace(commit.records[0], body={"n": float("nan")})]
    with pytest.raises(BadInput):
        await store.commit(replace(commit, records=wrong))
    with pytest.raises(BadInput):
        await store.post([note("p", "odd", body={"n": float("inf")})])
    assert (list(await store.statuses()), list(await store.notes("p"))) == ([], [])
    await store.commit(commit)


async def test_a_body_changed_later_does_not_change_history(store: Store) -> None:
    body = {"words": ["said"], "pair": (1, 2)}
    record, contents = seal("p", 0, GENESIS, 0.0, Entry("message", body), KEY)
    await store.commit(Commit([record], contents, [process("p")], notes=[note("p", "said", body=body)]))
    body["words"] = ["never", "said"]
    kept: list[Record | object] = [*await store.records("p"), *await store.notes("p")]
    assert [getattr(item, "body", None) for item in kept] == [{"words": ["said"], "pair": [1, 2]}] * 2


async def test_many_processes_commit_at_once(store: Store) -> None:
    async def live(pid: str) -> None:
        for commit in chain(pid, 20):
            await store.commit(commit)

    pids = [f"p{n}" for n in range(40)]
    async with asyncio.TaskGroup() as group:
        for pid in pids:
            group.create_task(live(pid))
    assert [await faults(store, pid) for pid in pids] == [[]] * len(pids)
    assert {status.seq for status in await store.statuses()} == {19}


async def test_a_bad_commit_among_many_fails_only_its_caller(store: Store) -> None:
    taken, *rest = chain("taken", 2)
    await store.commit(taken)
    fenced = replace(rest[0], epochs={"taken": 1})
    spent = [Spent("ada", 1, calls=1)]
    commits = [replace(chain(f"p{n}", 1)[0], spent=spent) for n in range(20)]
    tasks = [asyncio.create_task(store.commit(commit)) for commit in [*commits, taken, fenced]]
    await asyncio.wait(tasks)
    *others, clash, fence = (type(task.exception()) for task in tasks)
    assert (set(others), clash, fence) == ({type(None)}, StoreError, Fenced)
    assert len(await store.statuses()) == 21
    assert await store.spent("ada", 1) == Spent("ada", 1, calls=20)


async def test_a_cancelled_commit_is_there_or_is_not(store: Store) -> None:
    pids = [f"p{n}" for n in range(200)]
    tasks = {pid: asyncio.create_task(store.commit(chain(pid, 1)[0])) for pid in pids}
    await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
    for task in tasks.values():
        task.cancel()
    await asyncio.wait(tasks.values())
    await store.commit(chain("after", 1)[0])
    there = {status.pid for status in await store.statuses()}
    assert there >= {pid for pid, task in tasks.items() if not task.cancelled()}
    assert [await faults(store, pid) for pid in sorted(there)] == [[]] * len(there)
    assert not any([list(await store.records(pid)) for pid in {*pids} - there])


async def test_closing_twice_is_closing_once(store: Store) -> None:
    await store.commit(chain("p", 1)[0])
    await store.close()
    async with asyncio.TaskGroup() as group:
        group.create_task(store.close())
        group.create_task(store.close())
