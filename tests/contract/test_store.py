"""The contract of a store: what every backend promises, run against each. A new backend joins in `BACKENDS`."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernos.drivers.store.memory import MemoryStore
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.errors import BadInput, StoreError
from kernos.kernel.journal import GENESIS, Entry, broken, row_hash, seal
from kernos.kernel.ports import Store
from kernos.kernel.types import Json, Record, Status, digest

BACKENDS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SqlStore.open(folder / "kernos.db"),
}

Append = tuple[list[Record], dict[str, bytes], Status]

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


@pytest.fixture(params=BACKENDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = BACKENDS[request.param](tmp_path)
    yield opened
    await opened.close()


def head(record: Record, why: str = "", born: float = 0.0) -> Status:
    """The status of a process whose last row this is."""
    return Status(
        record.pid, "ada", "advisor", "chat", "ready", why, 1, 20, 0.5, record.seq, record.hash, born, record.at
    )


def chain(pid: str, length: int, body: Json = None) -> list[Append]:
    """Appends of one row each, that make a whole chain."""
    appends: list[Append] = []
    previous = GENESIS
    for seq in range(length):
        entry = Entry("message", {"n": seq, "body": body}, {"text": f"{pid} says {seq}", "same": "the same in all"})
        record, contents = seal(pid, seq, previous, float(seq), entry)
        appends.append(([record], contents, head(record)))
        previous = record.hash
    return appends


async def faults(store: Store, pid: str) -> Sequence[str]:
    """What does not hold in a process's chain, as the journal sees it."""
    records = await store.records(pid)
    keys = [key for record in records for key in record.body["contents"].values()]
    status = next((status for status in await store.statuses() if status.pid == pid), None)
    return broken(records, await store.contents(keys), status)


async def test_a_process_without_rows_has_none(store: Store) -> None:
    await store.append(*chain("other", 1)[0])
    assert list(await store.records("unknown")) == []


async def test_rows_come_back_in_their_order(store: Store) -> None:
    (first,), _, _ = (appends := chain("p", 3))[0]
    (second,), _, _ = appends[1]
    (third,), contents, status = appends[2]
    await store.append([third, first], contents, status)
    await store.append([second], {}, status)
    assert list(await store.records("p")) == [first, second, third]


async def test_a_clash_names_the_row_and_leaves_nothing_behind(store: Store) -> None:
    old, new = chain("p", 2)
    await store.append(*old)
    late = {digest(b"late"): b"late"}
    with pytest.raises(StoreError, match="process p: row 0 is already there"):
        await store.append([*new[0], *old[0]], late, replace(new[2], why="never"))
    assert list(await store.records("p")) == old[0]
    assert await store.contents(list(late)) == {}
    assert list(await store.statuses()) == [old[2]]


async def test_a_row_twice_in_one_append_is_a_clash(store: Store) -> None:
    (row,), contents, status = chain("p", 1)[0]
    with pytest.raises(StoreError, match="process p: row 0"):
        await store.append([row, row], contents, status)
    assert (list(await store.records("p")), list(await store.statuses())) == ([], [])


async def test_the_same_content_is_kept_once(store: Store) -> None:
    (key, content), other = (digest(b"said"), b"said"), b"not what was said"
    for append, kept in zip(chain("p", 2), (content, other), strict=True):
        await store.append(append[0], {key: kept}, append[2])
    assert await store.contents([key, key, digest(other)]) == {key: content}


async def test_as_many_contents_as_a_long_process_has(store: Store) -> None:
    (row,), _, status = chain("p", 1)[0]
    contents = {digest(content): content for content in (b"%d" % n for n in range(1700))}
    await store.append([row], contents, status)
    assert await store.contents([*contents, digest(b"unknown"), "no hash at all"]) == contents


async def test_the_last_status_counts(store: Store) -> None:
    for append in [*chain("p", 3), *chain("q", 1)]:
        await store.append(*append)
    assert {status.pid: status.seq for status in await store.statuses()} == {"p": 2, "q": 0}


async def test_processes_are_listed_by_birth(store: Store) -> None:
    for pid, born in (("c", 2.0), ("a", 3.0), ("d", 1.0), ("b", 2.0)):
        (row,), contents, status = chain(pid, 1)[0]
        await store.append([row], contents, replace(status, born=born))
    assert [status.pid for status in await store.statuses()] == ["d", "b", "c", "a"]


async def test_an_append_may_bring_a_status_alone(store: Store) -> None:
    status = chain("p", 1)[0][2]
    await store.append([], {}, status)
    assert (list(await store.statuses()), list(await store.records("p"))) == ([status], [])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.dictionaries(st.text(), VALUES), why=WORDS, at=TIMES, content=st.binary())
async def test_what_goes_in_comes_out(store: Store, body: Json, why: str, at: float, content: bytes) -> None:
    record, _ = seal(next(fresh), 0, GENESIS, at, Entry("outcome", body))
    status = head(record, why, born=at)
    await store.append([record], {digest(content): content}, status)
    (back,) = await store.records(record.pid)
    assert back == record and row_hash(back) == record.hash
    assert await store.contents([digest(content)]) == {digest(content): content}
    assert status in await store.statuses()


async def test_a_large_content_comes_out(store: Store) -> None:
    (row,), _, status = chain("p", 1, body="å" * (1 << 20))[0]
    large = bytes(range(256)) * (1 << 15)
    await store.append([row], {digest(large): large}, status)
    assert await store.contents([digest(large)]) == {digest(large): large}
    assert list(await store.records("p")) == [row]


async def test_a_body_that_is_not_json_fails_alone(store: Store) -> None:
    (row,), contents, status = chain("p", 1)[0]
    with pytest.raises(BadInput):
        await store.append([replace(row, body={"n": float("nan")})], contents, status)
    assert list(await store.statuses()) == []
    await store.append([row], contents, status)


async def test_a_body_changed_later_does_not_change_history(store: Store) -> None:
    body = {"words": ["said"], "pair": (1, 2)}
    record, contents = seal("p", 0, GENESIS, 0.0, Entry("message", body))
    await store.append([record], contents, head(record))
    body["words"] = ["never", "said"]
    assert [row.body for row in await store.records("p")] == [{"words": ["said"], "pair": [1, 2]}]


async def test_many_processes_append_at_once(store: Store) -> None:
    async def live(pid: str) -> None:
        for append in chain(pid, 20):
            await store.append(*append)

    pids = [f"p{n}" for n in range(40)]
    async with asyncio.TaskGroup() as group:
        for pid in pids:
            group.create_task(live(pid))
    assert [await faults(store, pid) for pid in pids] == [[]] * len(pids)
    assert {status.seq for status in await store.statuses()} == {19}


async def test_a_clash_among_many_appends_fails_only_its_caller(store: Store) -> None:
    taken = chain("taken", 1)[0]
    await store.append(*taken)
    appends = [chain(f"p{n}", 1)[0] for n in range(20)] + [taken]
    tasks = [asyncio.create_task(store.append(*append)) for append in appends]
    await asyncio.wait(tasks)
    *others, clash = [task.exception() for task in tasks]
    assert others == [None] * 20 and isinstance(clash, StoreError)
    assert len(await store.statuses()) == 21


async def test_a_cancelled_append_is_there_or_is_not(store: Store) -> None:
    pids = [f"p{n}" for n in range(200)]
    tasks = {pid: asyncio.create_task(store.append(*chain(pid, 1)[0])) for pid in pids}
    await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
    for task in tasks.values():
        task.cancel()
    await asyncio.wait(tasks.values())
    await store.append(*chain("after", 1)[0])
    there = {status.pid for status in await store.statuses()}
    assert there >= {pid for pid, task in tasks.items() if not task.cancelled()}
    assert [await faults(store, pid) for pid in sorted(there)] == [[]] * len(there)
    assert not any([list(await store.records(pid)) for pid in {*pids} - there])


async def test_closing_twice_is_closing_once(store: Store) -> None:
    await store.append(*chain("p", 1)[0])
    await store.close()
    async with asyncio.TaskGroup() as group:
        group.create_task(store.close())
        group.create_task(store.close())
