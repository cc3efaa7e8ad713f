"""The journal as evidence (I7): whatever is changed after the fact, an audit finds."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kernos.drivers.engine.scripted import say
from kernos.drivers.store.memory import MemoryStore
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.journal import Entry, Journal, row_hash, seal
from kernos.kernel.ledger import Ledger
from kernos.kernel.office import Answer
from kernos.kernel.ports import Commit, Store
from kernos.kernel.types import Action, Message, Record, RecordKind, Status
from kernos.userland.lib import Process
from tests.support import OWNER, House, World, Wrapped, following, runs, serves

KEY = b"the key of this journal"
SCRIPT = {
    "hello": say("hello"),
    "find tea": Action("find", {"what": "tea"}),
    "find": Action("buy", {"sku": "T-1"}),
    "buy": say("bought"),
    "pay 30 yuan to bob": Action("pay", {"to": "anna", "amount": 30}),
    "pay": say("that was refused"),
    "break": Action("breaks", {}),
    "breaks": say("it broke"),
}


async def boss(process: Process) -> None:
    if process.state is None:
        await process.wait(await process.spawn("helper", "hello"))
        await process.remember("who", "helper")
        await process.checkpoint({"served": 1}, [Message("user", "hello")])
    await process.receive()


async def helper(process: Process) -> str:
    return await process.receive()


async def record(store: Store) -> None:
    """Two processes with calls of every outcome: returned, failed, denied, approved; a fork of one; a parent with a
    checkpoint, and its child."""
    world = World()
    station = serves(world.tools, ask=["buy"])
    others = [runs(boss, slug="boss", spawns=["helper"]), runs(helper, slug="helper")]
    async with House(station, world.tools, following(SCRIPT), store=store, others=others, key=KEY) as house:
        kernel, first = await house.start()
        _, second = await house.start(kernel)
        for pid, text in [(first, "hello"), (second, "find tea"), (first, "pay 30 yuan to bob"), (first, "break")]:
            await kernel.deliver(pid, text)
            await kernel.tick(pid)
        await kernel.answer(second, Answer("ada"))
        await kernel.signal(second, "nice", "ada", 5)
        await kernel.tick(second)
        await kernel.deliver(await kernel.fork(first, 4), "hello")
        await kernel.spawn("boss", OWNER)
        await house.run(kernel)
        assert world.done == ["find", "breaks", "buy"]
        assert await house.faults() == []


class Archive(Wrapped):
    """A store as somebody may have left it; it promises nothing."""

    def __init__(
        self, rows: Mapping[str, Sequence[Record]], stored: Mapping[str, bytes], table: Sequence[Status]
    ) -> None:
        super().__init__(MemoryStore())
        self.rows, self.stored, self.table = rows, stored, table

    @staticmethod
    def recorded() -> Archive:
        async def copy() -> Archive:
            store = MemoryStore()
            await record(store)
            table = await store.statuses()
            rows = {status.pid: await store.records(status.pid) for status in table}
            names: list[str] = []
            for row in (row for records in rows.values() for row in records):
                names += [
                    *row.body.get("contents", {}).values(),
                    *([row.body["context"]] if "context" in row.body else []),
                ]
            stored = dict(await store.contents(names))
            while more := await store.contents([part for link in stored.values() for part in _linked(link, stored)]):
                stored |= more
            return Archive(rows, stored, table)

        return asyncio.run(copy())

    async def commit(self, commit: Commit) -> None:
        raise AssertionError("an audit changes nothing")

    async def pids(self) -> Sequence[str]:
        return list(self.rows)

    async def records(
        self, pid: str, after: int = -1, last: int | None = None, kind: RecordKind | None = None
    ) -> Sequence[Record]:
        whole = after == -1 and last is None and kind is None
        rows = self.rows.get(pid, ())
        return rows if whole else [row for row in rows if row.seq > after and (last is None or row.seq <= last)]

    async def contents(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        return {key: self.stored[key] for key in hashes if key in self.stored}

    async def status(self, pid: str) -> Status | None:
        return next((status for status in self.table if status.pid == pid), None)

    async def statuses(self) -> Sequence[Status]:
        return self.table

    def faults(self) -> Sequence[str]:
        return asyncio.run(Ledger(Journal(self, KEY)).verify())

    def with_rows(self, pid: str, rows: Sequence[Record]) -> Archive:
        return Archive({**self.rows, pid: rows}, self.stored, self.table)

    def with_stored(self, stored: Mapping[str, bytes]) -> Archive:
        return Archive(self.rows, stored, self.table)

    def with_table(self, table: Sequence[Status]) -> Archive:
        return Archive(self.rows, self.stored, table)


def _linked(link: bytes, stored: Mapping[str, bytes]) -> list[str]:
    halves = [link[:32].hex(), link[32:].hex()] if len(link) == 64 else []
    return [half for half in halves if half not in stored]


WHOLE = Archive.recorded()
PLACES = [(pid, n) for pid, rows in WHOLE.rows.items() for n in range(len(rows))]
places = st.sampled_from(PLACES)
JSON = st.none() | st.booleans() | st.integers() | st.text() | st.dictionaries(st.text(), st.integers())
bodies = st.dictionaries(st.sampled_from(["call", "is", "text", "verdict", "cost", "tool", "x"]), JSON)


def test_i7_an_untouched_journal_has_no_faults() -> None:
    assert len(PLACES) > 60 and len(WHOLE.stored) > 40
    kinds = {row.kind for rows in WHOLE.rows.values() for row in rows}
    assert kinds == set(get_args(RecordKind)) - {"doubt", "late", "limit", "prune"}
    assert WHOLE.faults() == []


@given(places, st.sampled_from([field.name for field in fields(Record)]), st.data())
def test_i7_a_change_of_any_part_of_any_row_is_found(place: tuple[str, int], part: str, data: st.DataObject) -> None:
    pid, n = place
    rows = list(WHOLE.rows[pid])
    kinds = st.sampled_from(["spawn", "fork", "message", "intent", "begin", "answer", "outcome", "checkpoint", "exit"])
    parts: dict[str, st.SearchStrategy[Any]] = {
        "pid": st.text(), "seq": st.integers(), "kind": kinds, "body": bodies,
        "at": st.floats(allow_nan=False, allow_infinity=False), "previous": st.text(), "hash": st.text(),
    }  # fmt: skip
    value = data.draw(parts[part])
    assume(value != getattr(rows[n], part))
    rows[n] = replace(rows[n], **{part: value})
    assert WHOLE.with_rows(pid, rows).faults()


@given(places, st.data())
def test_i7_a_change_of_one_field_of_a_body_is_found(place: tuple[str, int], data: st.DataObject) -> None:
    pid, n = place
    rows = list(WHOLE.rows[pid])
    name = data.draw(st.sampled_from([*(key for key in rows[n].body if key != "contents"), "new"]))
    value = data.draw(JSON)
    assume(value != rows[n].body.get(name, "nothing"))
    rows[n] = replace(rows[n], body={**rows[n].body, name: value})
    assert WHOLE.with_rows(pid, rows).faults()


@given(places)
def test_i7_a_changed_row_with_a_hash_that_fits_it_is_found(place: tuple[str, int]) -> None:
    pid, n = place
    rows = list(WHOLE.rows[pid])
    changed = replace(rows[n], body={**rows[n].body, "x": 1})
    rows[n] = replace(changed, hash=row_hash(changed, KEY))
    assert WHOLE.with_rows(pid, rows).faults()


@pytest.mark.parametrize("key", [b"", b"another key"])
def test_i7_a_chain_that_was_rewritten_whole_without_its_key_is_found(key: bytes) -> None:
    pid, previous, rows = PLACES[0][0], "0" * 64, list[Record]()
    for row in WHOLE.rows[pid]:
        draft = replace(row, previous=previous, body={**row.body, "x": 1})
        rows.append(replace(draft, hash=row_hash(draft, key)))
        previous = rows[-1].hash
    table = [replace(status, hash=previous) if status.pid == pid else status for status in WHOLE.table]
    assert f"process {pid}: no row fits the key" in WHOLE.with_rows(pid, rows).with_table(table).faults()[0]


@pytest.mark.parametrize(("pid", "n"), PLACES)
def test_i7_a_removed_row_is_found(pid: str, n: int) -> None:
    rows = list(WHOLE.rows[pid])
    del rows[n]
    assert WHOLE.with_rows(pid, rows).faults()


@given(places, st.data())
def test_i7_two_rows_that_changed_places_are_found(place: tuple[str, int], data: st.DataObject) -> None:
    pid, n = place
    rows = list(WHOLE.rows[pid])
    other = data.draw(st.integers(0, len(rows) - 1).filter(lambda k: k != n))
    renumbered = data.draw(st.booleans())
    first, second = rows[n], rows[other]
    rows[n] = replace(second, seq=first.seq) if renumbered else second
    rows[other] = replace(first, seq=second.seq) if renumbered else first
    assert WHOLE.with_rows(pid, rows).faults()


@given(places, places, st.booleans())
def test_i7_an_inserted_row_is_found(place: tuple[str, int], copied: tuple[str, int], forged: bool) -> None:
    pid, n = place
    rows = list(WHOLE.rows[pid])
    row = WHOLE.rows[copied[0]][copied[1]]
    if forged:  # well made, and chained to the row before it
        row, _ = seal(pid, rows[n].seq + 1, rows[n].hash, rows[n].at, Entry("message", {"from": "eve"}), KEY)
    assert WHOLE.with_rows(pid, [*rows[: n + 1], row, *rows[n + 1 :]]).faults()


@pytest.mark.parametrize("key", WHOLE.stored)
def test_i7_a_change_or_loss_of_any_content_is_found(key: str) -> None:
    content = WHOLE.stored[key]
    for changed in (content[:-1], content + b" ", b"", bytes([content[0] ^ 1]) + content[1:]):
        assert WHOLE.with_stored({**WHOLE.stored, key: changed}).faults()
    assert WHOLE.with_stored({name: kept for name, kept in WHOLE.stored.items() if name != key}).faults()


@given(st.sampled_from(WHOLE.table), st.sampled_from([field.name for field in fields(Status)]), st.data())
def test_i7_a_change_of_the_process_table_is_found(status: Status, part: str, data: st.DataObject) -> None:
    old = getattr(status, part)
    value: Any = data.draw(st.text() if isinstance(old, str) else st.integers() | st.floats(allow_nan=False))
    assume(value != old)
    table = [replace(row, **{part: value}) if row == status else row for row in WHOLE.table]
    assert WHOLE.with_table(table).faults()


def test_i7_an_entry_of_the_process_table_without_a_journal_is_found() -> None:
    assert WHOLE.with_table([*WHOLE.table, replace(WHOLE.table[0], pid="ghost")]).faults()


async def test_i7_a_journal_whose_entry_in_the_process_table_was_removed_is_found(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    await record(SqlStore.open(file, "crash"))
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("delete from processes where pid = (select min(pid) from processes)")
    ledger = Ledger(Journal(SqlStore.open(file), KEY))
    faults = await ledger.verify()
    await ledger.close()
    assert faults == ["process p0000001: no entry in the process table"]


@pytest.mark.parametrize(
    "changed",
    [{"body": []}, {"body": "text"}, {"body": {"contents": [1]}}, {"body": {"contents": {"text": 1}}},
     {"body": {"x": float("nan")}}, {"at": float("inf")}],
)  # fmt: skip
def test_i7_a_row_that_has_lost_its_form_is_a_fault_like_any_other(changed: dict[str, Any]) -> None:
    pid, n = PLACES[3]
    rows = list(WHOLE.rows[pid])
    rows[n] = replace(rows[n], **changed)
    assert WHOLE.with_rows(pid, rows).faults()
