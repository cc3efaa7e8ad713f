"""I7: what somebody does who has the whole database, is found by who has the key, and the rest by who has the anchors.

The database is a real file, and whoever changes it here uses SQLite and everything that the kernel knows, but not the
key. (Every kind of change to a row, on every store: `tests/kernel/test_journal.py`.)
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernos.drivers.clock.system import SystemClock
from kernos.drivers.engine.scripted import ScriptedEngine
from kernos.drivers.store.sql import SqlStore
from kernos.drivers.witness.file import FileWitness
from kernos.kernel.dispatch import Kernel
from kernos.kernel.journal import GENESIS, Journal, row_hash
from kernos.kernel.ledger import Ledger
from kernos.kernel.ports import Store, Witness
from kernos.kernel.state import fold
from kernos.kernel.types import Json, Record, RecordKind, Status, canonical
from kernos.userland.lib import Process
from tests.support import CLERK, ENGINE, SHIPPED, House, World, Wrapped, by_name, runs

KEY = b"known to the kernel and to nobody who keeps the database"
SECRET = bytes(range(32))
PUBLIC = Ed25519PrivateKey.from_private_bytes(SECRET).public_key().public_bytes_raw()
Hash = Callable[[Record], str]


async def clerk(process: Process) -> None:
    """Note whatever comes."""
    while (text := await process.receive()) != "bye":
        await process.invoke("note", text=text)
        await process.send(f"noted: {text}")


class Office:
    """A database and the file of its anchors, in one folder for tests only."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "journal.db"
        self.anchors = FileWitness(folder / "anchors", PUBLIC, SECRET)

    async def work(self, *said: tuple[str, str]) -> list[str]:
        """Have the kernel take these words to its processes (a new one where the pid is empty), and anchor."""
        world, pids = World(), list[str]()
        tools, store = by_name(world.tools), SqlStore.open(self.file)
        stations, engines = {CLERK: runs(clerk, world.tools)}, {ENGINE: ScriptedEngine(())}
        kernel = Kernel(store, SystemClock(), stations, engines, tools, key=KEY, witness=self.anchors, policy=SHIPPED)
        for pid, text in said:
            pids.append(pid or await kernel.spawn(CLERK, "ada"))
            await kernel.deliver(pids[-1], text)
            await kernel.tick(pids[-1])
            await kernel.anchor()
        await kernel.close()
        return pids

    def faults(self, key: bytes = KEY, witness: bool = False) -> Sequence[str]:
        """What an audit finds; also of what was signed, if there is a witness."""
        return asyncio.run(self._faults(key, FileWitness(self.folder / "anchors", PUBLIC) if witness else None))

    async def _faults(self, key: bytes, witness: Witness | None) -> Sequence[str]:
        ledger = Ledger(Journal(SqlStore.open(self.file), key), witness)
        try:
            return await ledger.verify()
        finally:
            await ledger.close()

    @contextmanager
    def sql(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            yield connection

    def rows(self, pid: str) -> list[Record]:
        with self.sql() as connection:
            found = connection.execute(
                "SELECT pid, seq, kind, body, at, previous, hash FROM journal WHERE pid = ? ORDER BY seq", [pid]
            ).fetchall()
        return [
            Record(pid, seq, kind, json.loads(body), at, previous.hex(), own.hex())
            for pid, seq, kind, body, at, previous, own in found
        ]

    def put(self, rows: Sequence[Record]) -> None:
        """Have these be all the rows of their process, and the process table say so."""
        status = fold(rows).status()
        with self.sql() as connection:
            connection.execute("DELETE FROM journal WHERE pid = ?", [status.pid])
            connection.executemany(
                "INSERT INTO journal (pid, seq, kind, body, at, previous, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(*_small(row), row.at, _raw(row.previous), _raw(row.hash)) for row in rows],
            )
            self._tell(connection, status)

    def _tell(self, connection: sqlite3.Connection, status: Status) -> None:
        values = vars(status) | {"hash": _raw(status.hash)}
        fields = ", ".join(f"{name} = :{name}" for name in values)
        connection.execute(f"UPDATE processes SET {fields} WHERE pid = :pid", values)


def _small(row: Record) -> tuple[Json, ...]:
    return row.pid, row.seq, row.kind, canonical(row.body).decode()


def _raw(digits: str) -> bytes:
    return bytes.fromhex(digits)


def chained(rows: Sequence[Record], hashed: Hash) -> list[Record]:
    """The same rows as a chain that holds by another hash."""
    made: list[Record] = []
    for row in rows:
        row = replace(row, seq=len(made), previous=made[-1].hash if made else GENESIS)
        made.append(replace(row, hash=hashed(row)))
    return made


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an office in which two processes have worked, the first in two turns with an anchor after each."""
    folder = tmp_path_factory.mktemp("recorded")
    pids = asyncio.run(Office(folder).work(("", "tea")))
    asyncio.run(Office(folder).work(("", "cake"), (pids[0], "milk")))
    return folder


@pytest.fixture
def office(recorded: Path, tmp_path: Path) -> Office:
    return copied(recorded, tmp_path / "office")


def copied(recorded: Path, folder: Path) -> Office:
    shutil.copytree(recorded, folder)
    return Office(folder)


@pytest.fixture
def pids(office: Office) -> list[str]:
    with office.sql() as connection:
        return [pid for (pid,) in connection.execute("SELECT pid FROM processes ORDER BY born")]


def test_i7_what_nobody_touched_holds(office: Office, pids: list[str]) -> None:
    assert office.faults(witness=True) == []
    assert [len(office.rows(pid)) > 5 for pid in pids] == [True, True]


# With the database, and without the key


def renamed(rows: Sequence[Record]) -> list[Record]:
    """What somebody might want: that it was done for another."""
    return [replace(rows[0], body={**rows[0].body, "owner": "mallory"}), *rows[1:]]


def plain(row: Record) -> str:
    return hashlib.sha256(
        canonical([row.pid, row.seq, row.kind, row.body, row.at, row.previous])
    ).hexdigest()  # fmt: skip


HASHES: dict[str, Hash] = {
    "no key": lambda row: row_hash(row, b""),
    "another key": lambda row: row_hash(row, b"guessed"),
    "a plain hash": plain,
    "the old hashes": lambda row: row.hash,
}
CHANGES: dict[str, Callable[[list[Record]], list[Record]]] = {
    "changed": renamed,
    "one row fewer": lambda rows: [*rows[:2], *rows[3:]],
    "one row twice": lambda rows: [*rows[:3], rows[2], *rows[3:]],
    "the same": lambda rows: rows,
}


@pytest.mark.parametrize(
    ("change", "hashed"), sorted({*product(CHANGES, HASHES)} - {("the same", "the old hashes")}), ids=" with ".join
)
def test_i7_without_the_key_nobody_makes_a_chain_that_holds(
    office: Office, pids: list[str], change: str, hashed: str
) -> None:
    office.put(chained(CHANGES[change](office.rows(pids[0])), HASHES[hashed]))
    assert office.faults() != []


def test_i7_with_the_key_a_chain_can_be_written_anew_and_only_the_anchors_tell(office: Office, pids: list[str]) -> None:
    office.put(chained(renamed(office.rows(pids[0])), lambda row: row_hash(row, KEY)))
    assert office.faults() == []
    assert len(office.faults(witness=True)) == 2


def test_i7_with_another_key_it_is_said_that_no_row_fits(office: Office, pids: list[str]) -> None:
    assert list(office.faults(b"another")) == [
        f"process {pid}: no row fits the key: the chain was rewritten, or this is not the key that it was written with"
        for pid in sorted(pids)
    ]


FIELDS = ("pid", "seq", "kind", "body", "at", "previous", "hash")


@given(data=st.data())
@settings(max_examples=80)
def test_i7_any_changed_field_of_any_row_is_found(recorded: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        office = copied(recorded, Path(folder) / "office")
        with office.sql() as connection:
            rows = connection.execute("SELECT pid, seq FROM journal ORDER BY pid, seq").fetchall()
            pid, seq = data.draw(st.sampled_from(rows))
            field = data.draw(st.sampled_from(FIELDS))
            where = "WHERE pid = ? AND seq = ?"
            (old,) = connection.execute(f"SELECT {field} FROM journal {where}", [pid, seq]).fetchone()
            new = data.draw(_other(field, old, [name for name, _ in rows]))
            assume({"pid": (new, seq), "seq": (pid, new)}.get(field) not in rows)
            connection.execute(f"UPDATE journal SET {field} = ? {where}", [new, pid, seq])
        assert office.faults() != []


def _other(field: str, old: Json, pids: Sequence[str]) -> st.SearchStrategy[Json]:
    """Another value for a field, of the kind that it should have."""
    values: dict[str, st.SearchStrategy[Json]] = {
        "pid": st.sampled_from([*pids, "p9"]),
        "seq": st.integers(0, 99),
        "kind": st.sampled_from(["message", "answer", "outcome", "exit", "late", "spawn", "prune", "nonsense"]),
        "body": st.sampled_from(["{}", "[]", "null", '{"call": "send"}', "{"]) | _touched(str(old)),
        "at": st.floats(0, 4e9),
    }
    return values.get(field, st.binary(min_size=32, max_size=32)).filter(lambda new: new != old)


def _touched(body: str) -> st.SearchStrategy[str]:
    """A body with one value changed."""
    whole = json.loads(body) if body.startswith("{") else {}
    names, values = st.sampled_from([*whole, "more"]), st.none() | st.integers() | st.text(max_size=3)
    changed = st.builds(lambda name, value: {**whole, name: value}, names, values)
    return changed.filter(lambda other: canonical(other) != canonical(whole)).map(json.dumps)


@given(data=st.data())
@settings(max_examples=40)
def test_i7_removed_moved_and_inserted_rows_are_found(recorded: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        office = copied(recorded, Path(folder) / "office")
        with office.sql() as connection:
            rows = connection.execute("SELECT pid, seq FROM journal ORDER BY pid, seq").fetchall()
            (pid, seq), (to, at) = data.draw(st.sampled_from(rows)), data.draw(st.sampled_from(rows))
            match data.draw(st.sampled_from(["remove", "swap", "insert"])):
                case "remove":
                    connection.execute("DELETE FROM journal WHERE pid = ? AND seq = ?", [pid, seq])
                case "swap":
                    assume((pid, seq) != (to, at))
                    for name, number, new, place in ((pid, seq, "?", 0), (to, at, pid, seq), ("?", 0, to, at)):
                        change = "UPDATE journal SET pid = ?, seq = ? WHERE pid = ? AND seq = ?"
                        connection.execute(change, [new, place, name, number])
                case _:
                    end = 1 + max(number for name, number in rows if name == to)
                    copy = "INSERT INTO journal SELECT ?, ?, kind, body, at, previous, hash FROM journal"
                    connection.execute(f"{copy} WHERE pid = ? AND seq = ?", [to, end, pid, seq])
        assert office.faults() != []


@pytest.mark.parametrize("change", ["DELETE FROM contents", "UPDATE contents SET content = x'2274656122'"])
def test_i7_any_changed_content_is_found(office: Office, change: str) -> None:
    with office.sql() as connection:
        keys = [key for (key,) in connection.execute("SELECT hash FROM contents WHERE content != x'2274656122'")]
    assert len(keys) > 5
    for key in keys:
        with office.sql() as connection:
            (kept,) = connection.execute("SELECT content FROM contents WHERE hash = ?", [key]).fetchone()
            connection.execute(f"{change} WHERE hash = ?", [key])
        assert office.faults() != [], kept
        with office.sql() as connection:
            connection.execute("INSERT OR REPLACE INTO contents (hash, content) VALUES (?, ?)", [key, kept])
    assert office.faults() == []


# With the database, and without the anchors


def test_i7_a_tail_that_was_cut_with_the_process_table_is_found_by_its_anchors(office: Office, pids: list[str]) -> None:
    rows = office.rows(pids[0])
    signed = {head.seq for head in asyncio.run(office.anchors.heads()) if head.pid == pids[0]}
    assert len(signed) == 2
    for last in range(1, len(rows)):
        office.put(rows[:last])
        assert office.faults() == []
        assert list(office.faults(witness=True)) == [
            f"process {pids[0]}: row {seq} was signed and is gone: the journal was cut or rewritten"
            for seq in sorted(signed)
            if seq >= last
        ]
    office.put(rows)
    assert office.faults(witness=True) == []


def test_i7_a_cut_tail_is_found_though_the_process_went_on_and_was_anchored_again(
    office: Office, pids: list[str]
) -> None:
    rows = office.rows(pids[0])
    first = min(head.seq for head in asyncio.run(office.anchors.heads()) if head.pid == pids[0])
    office.put(rows[: first + 1])
    asyncio.run(office.work((pids[0], "coffee"), (pids[0], "sugar"), (pids[0], "bye")))
    assert len(office.rows(pids[0])) > len(rows)
    assert office.faults() == []
    assert list(office.faults(witness=True)) == [
        f"process {pids[0]}: row {rows[-1].seq} is not the one that was signed: the journal was cut or rewritten"
    ]


def test_i7_a_process_that_was_removed_is_found_by_its_anchors(office: Office, pids: list[str]) -> None:
    with office.sql() as connection:
        for table in ("journal", "processes", "notes"):
            connection.execute(f"DELETE FROM {table} WHERE pid = ?", [pids[1]])
    assert office.faults() == []
    (fault,) = office.faults(witness=True)
    assert fault.startswith(f"process {pids[1]}: row ")
    assert fault.endswith("was signed and is gone: the journal was cut or rewritten")


def test_i7_an_anchor_that_was_changed_is_found(office: Office) -> None:
    anchors = office.folder / "anchors"
    anchors.write_bytes(anchors.read_bytes().replace(b'"at":1', b'"at":2', 1))
    assert list(office.faults(witness=True)) == [f"{anchors}: line 1 is not what was signed"]


# While it is written


class Meanwhile(Wrapped):
    """A store in which something happens before each thing that is read."""

    def __init__(self, inner: Store, happens: Callable[[], Awaitable[None]]) -> None:
        super().__init__(inner)
        self._happens = happens

    async def status(self, pid: str) -> Status | None:
        await self._happens()
        return await super().status(pid)

    async def records(
        self, pid: str, after: int = -1, last: int | None = None, kind: RecordKind | None = None
    ) -> Sequence[Record]:
        await self._happens()
        return await super().records(pid, after, last, kind)

    async def contents(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        await self._happens()
        return await super().contents(hashes)


async def test_i7_an_audit_of_journals_that_are_written_meanwhile_finds_nothing() -> None:
    world = World()
    async with House(runs(clerk, world.tools), world.tools, key=KEY) as house:
        kernel, pid = await house.start()

        async def happens() -> None:
            await kernel.deliver(pid, "tea")
            await kernel.tick(pid)

        await happens()
        before = len(await house.rows(pid))
        assert await Ledger(Journal(Meanwhile(house.store, happens), KEY)).verify() == []
        assert len(await house.rows(pid)) > before + 5
