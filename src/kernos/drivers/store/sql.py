"""The store in a SQL database: SQLAlchemy Core, today on SQLite. The tables are in `schema`.

Entry point: `SqlStore.open(file or URL)`, then the protocol `Store`.

One thread writes. Appends that arrive while it commits share the next transaction, so that callers share the wait for
the disk; if a shared transaction fails, each append is tried alone, so that a bad one fails only its caller. Reads run
in other threads and do not wait for the writer. Whatever the database complains about becomes a StoreError of one
sentence. What only SQLite knows is at the end of this file, and its `insert`, whose like PostgreSQL has.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from sqlalchemy import URL, Engine, Executable, Row, create_engine, event, make_url, select, tuple_
from sqlalchemy.dialects.sqlite import Insert, dialect, insert
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from kernos.drivers.store.schema import contents, journal, prepare, processes
from kernos.kernel.errors import JournalBroken, StoreError, Unsupported
from kernos.kernel.types import Json, Record, Status, canonical

Durability = Literal["power", "crash"]
"""What an acknowledged append survives: a power cut, or only the death of the process (much faster)."""

Values: TypeAlias = Mapping[str, Json]
T = TypeVar("T")

HASH = re.compile("[0-9a-f]{64}")
HASHES_A_QUERY = 500

_UPSERT = insert(processes)


def _compiled(statement: Insert) -> str:
    """A statement as SQL, once: compiling and binding it anew is half the cost of an append."""
    return str(statement.compile(dialect=dialect(paramstyle="named")))


INSERT_ROW = _compiled(insert(journal))
INSERT_CONTENT = _compiled(insert(contents).on_conflict_do_nothing(index_elements=[contents.c.hash]))
UPSERT_STATUS = _compiled(
    _UPSERT.on_conflict_do_update(
        index_elements=[processes.c.pid],
        set_={column.name: _UPSERT.excluded[column.name] for column in processes.c if not column.primary_key},
    )
)


@dataclass(frozen=True)
class _Write:
    """One append, as rows of the tables, and the caller who waits for it."""

    rows: Sequence[Values]
    contents: Sequence[Values]
    status: Values
    done: Future[None]


class SqlStore:
    """A database file, its writer thread and the appends that wait for it."""

    def __init__(self, path: str, engine: Engine) -> None:
        self._path = path
        self._engine = engine
        self._pending: deque[_Write] = deque()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kernos-store")
        self._troubled = False
        self._closed = False

    @classmethod
    def open(cls, target: str | Path, durability: Durability = "power", patience: float = 5.0) -> SqlStore:
        """Open a database, and make it if it is not there; its folder must be.

        Args:
            target: the file, or a URL (`sqlite:///file`).
            durability: what an acknowledged append survives.
            patience: for how many seconds to wait for another program that has locked the file.

        Raises:
            StoreError: it cannot be opened, is not a database, or has another schema version.
            Unsupported: the URL is not of a file of SQLite.
        """
        url = _url(target)
        store = cls(url.database or "", _sqlite(url, durability, patience))
        try:
            with store._engine.begin() as connection:
                prepare(connection, store._path)
        except (StoreError, SQLAlchemyError) as error:
            store._engine.dispose()
            raise store._told(error) from None
        return store

    async def append(self, records: Sequence[Record], contents: Mapping[str, bytes], status: Status) -> None:
        self._check_open()
        rows = [_row(record) for record in records]
        kept = [{"hash": bytes.fromhex(key), "content": content} for key, content in contents.items()]
        write = _Write(rows, kept, vars(status) | {"hash": bytes.fromhex(status.hash)}, Future())
        self._pending.append(write)
        self._writer.submit(self._drain)
        await asyncio.wrap_future(write.done)

    async def pids(self) -> Sequence[str]:
        return await self._read(select(journal.c.pid).distinct().order_by(journal.c.pid), lambda row: str(row.pid))

    async def records(self, pid: str) -> Sequence[Record]:
        query = select(journal).where(journal.c.pid == pid).order_by(journal.c.seq)
        return await self._read(query, _record)

    async def contents(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        # A row that was tampered with may name anything as a hash; nothing is stored under such a name.
        keys = [bytes.fromhex(key) for key in hashes if HASH.fullmatch(key)]
        found: dict[str, bytes] = {}
        for start in range(0, len(keys), HASHES_A_QUERY):
            query = select(contents).where(contents.c.hash.in_(keys[start : start + HASHES_A_QUERY]))
            found.update(await self._read(query, lambda row: (row.hash.hex(), row.content)))
        return found

    async def statuses(self) -> Sequence[Status]:
        return await self._read(select(processes).order_by(processes.c.born, processes.c.pid), _status)

    async def close(self) -> None:
        """Write what waits, end the thread, let go of the file. Calling it again does nothing."""
        self._closed = True
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        self._writer.shutdown()
        self._engine.dispose()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"{self._path}: the store is closed")

    async def _read(self, query: Executable, convert: Callable[[Row[Any]], T]) -> list[T]:
        self._check_open()
        return await asyncio.to_thread(self._select, query, convert)

    def _select(self, query: Executable, convert: Callable[[Row[Any]], T]) -> list[T]:
        try:
            with self._engine.connect() as connection:
                return [convert(row) for row in connection.execute(query)]
        except (ValueError, TypeError, AttributeError):
            raise JournalBroken(f"{self._path}: a row was changed into something that is not a row") from None
        except SQLAlchemyError as error:
            raise self._told(error) from None

    def _drain(self) -> None:
        """Commit all that waits. Runs once for each append, and finds nothing if an earlier run took it along."""
        writes: list[_Write] = []
        while self._pending:
            write = self._pending.popleft()
            if write.done.set_running_or_notify_cancel():
                writes.append(write)
        if writes:
            self._settle(writes)

    def _settle(self, writes: Sequence[_Write]) -> None:
        try:
            self._commit(writes)
        except Exception as error:  # Whatever it is, it is for the caller: the thread has others to serve.
            # A lock has already cost all of them their patience; each alone would wait as long again.
            together = len(writes) == 1 or _code(error) == sqlite3.SQLITE_BUSY
            for write in writes:
                if together:
                    write.done.set_exception(self._told(error))
                else:
                    self._settle([write])
        else:
            for write in writes:
                write.done.set_result(None)

    def _commit(self, writes: Sequence[_Write]) -> None:
        rows = [row for write in writes for row in write.rows]
        kept = [content for write in writes for content in write.contents]
        if self._troubled:
            # What was opened while the file was read-only, or just then gone, stays so; the cause may have ended.
            self._engine.dispose()
            self._troubled = False
        try:
            with self._engine.begin() as connection:
                if rows:
                    connection.exec_driver_sql(INSERT_ROW, rows)
                if kept:
                    connection.exec_driver_sql(INSERT_CONTENT, kept)
                connection.exec_driver_sql(UPSERT_STATUS, [write.status for write in writes])
        except IntegrityError as error:
            raise (self._clash([(row["pid"], row["seq"]) for row in rows]) or error) from None

    def _clash(self, keys: Sequence[tuple[str, int]]) -> StoreError | None:
        """The error that names the first row that was there already, or stands twice in one append."""
        query = select(journal.c.pid, journal.c.seq).where(tuple_(journal.c.pid, journal.c.seq).in_(keys))
        with self._engine.connect() as connection:
            there = {(row.pid, row.seq) for row in connection.execute(query)}
        clashes = (key for n, key in enumerate(keys) if key in there or key in keys[:n])
        return next((StoreError(f"process {pid}: row {seq} is already there") for pid, seq in clashes), None)

    def _told(self, error: Exception) -> Exception:
        """In one sentence, with the file, what the database could not do; any other error as it is."""
        if not isinstance(error, SQLAlchemyError):
            return error
        self._troubled = True
        return StoreError(f"{self._path}: {_sentence(error)}")


def _row(record: Record) -> Values:
    hashes = {"previous": bytes.fromhex(record.previous), "hash": bytes.fromhex(record.hash)}
    return vars(record) | {"body": canonical(record.body).decode()} | hashes


def _record(row: Row[Any]) -> Record:
    body = dict(json.loads(row.body))
    return Record(row.pid, row.seq, row.kind, body, row.at, row.previous.hex(), row.hash.hex())


def _status(row: Row[Any]) -> Status:
    return Status(**row._asdict() | {"hash": row.hash.hex()})


# What only SQLite knows.

SYNCHRONOUS = {"power": "FULL", "crash": "NORMAL"}

SENTENCES = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk refused to read or write",
    sqlite3.SQLITE_READONLY: "the file, one of those beside it (-wal, -shm) or the folder is read-only",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened or made in its folder",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is not a database",
    sqlite3.SQLITE_BUSY: "another program kept the file locked for too long",
}


def _url(target: str | Path) -> URL:
    text = str(target)
    with suppress(ArgumentError):
        url = make_url(text) if "://" in text else URL.create("sqlite", database=text)
        if url.drivername == "sqlite" and url.database not in (None, "", ":memory:"):
            return url
    raise Unsupported("a store is a file of SQLite: its path, or sqlite:///path")


def _sqlite(url: URL, durability: Durability, patience: float) -> Engine:
    engine = create_engine(url, connect_args={"timeout": patience})

    def connected(connection: sqlite3.Connection, _: object) -> None:
        # Written in the file once and for all. SQLite does not wait here for another process at this same switch;
        # any other trouble comes up again with the next statement.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
        # On macOS a plain fsync leaves data in the drive's cache; elsewhere this does nothing.
        connection.execute(f"PRAGMA fullfsync = {durability == 'power'}")

    event.listen(engine, "connect", connected)
    return engine


def _code(error: Exception) -> int:
    """SQLite's code for what went wrong: the low byte; the rest only says where."""
    code: int = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
    return code & 0xFF


def _sentence(error: SQLAlchemyError) -> str:
    return SENTENCES.get(_code(error), str(getattr(error, "orig", None) or "the database failed"))
