"""The store in a SQL database: SQLite or PostgreSQL, through SQLAlchemy Core. The tables are in `schema`.

Entry point: `SqlStore.open(file or URL)`, then the protocol `Store`.

One thread writes. Whatever arrives while it commits shares the next transaction, so that callers share the wait for
the disk; if a shared transaction fails, each job is tried alone, so that a bad one fails only its caller. Reads run in
other threads and do not wait for the writer. Whatever the database says is wrong becomes a StoreError of one sentence.
`statements` has what is written, `queries` what is read, `sqlite` and `postgres` what only one kind of database knows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Row, make_url, select, text, tuple_
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError

from kernos.drivers.store import queries
from kernos.drivers.store.database import Database, Durability
from kernos.drivers.store.migrations import prepare
from kernos.drivers.store.schema import contents, journal, processes
from kernos.drivers.store.statements import FENCED, KINDS, Rows, Values, compiled, hashed, noted, rows
from kernos.kernel.errors import (
    BadInput,
    Fenced,
    FolderBusy,
    JournalBroken,
    NotFound,
    StoreError,
    ToolError,
    Unsupported,
)
from kernos.kernel.ports import Commit, Due, Memory, Spent, Write
from kernos.kernel.types import Note, Record, RecordKind, Status

T = TypeVar("T")

HASHES_A_QUERY = 500


@dataclass(frozen=True, eq=False)
class _Job:
    """What one caller wants written at once, and who waits for it: for the new epoch, if a process is claimed."""

    rows: Rows = field(default_factory=dict)
    writes: Sequence[Write] = ()
    claim: str | None = None
    done: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class SqlStore:
    """A database, its writer thread and the jobs that wait for it. `engine` is where its connections come from."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.engine = database.engine
        self._statements = compiled(database)
        self._pending: deque[_Job] = deque()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kernos-store")
        self._held: Connection | None = None
        self._troubled = False
        self._closed = False

    @classmethod
    def open(cls, target: str | Path, durability: Durability = "power", patience: float = 5.0) -> SqlStore:
        """Open a database, and make its tables if they are not there. The folder of a file must be.

        Args:
            target: the file, or a URL (`sqlite:///file`, `postgresql://user:password@host/database`).
            durability: what an acknowledged commit survives.
            patience: for how many seconds to wait for another program that has locked something, or for a server.

        Raises:
            StoreError: it cannot be opened, is not a database of ours, or is one of a newer Kernos.
            Unsupported: the URL is of something else, or the driver is not installed.
        """
        store = cls(_database(target, durability, patience))
        try:
            with store.engine.begin() as connection:
                prepare(connection, store._database)
        except (StoreError, SQLAlchemyError) as error:
            store.engine.dispose()
            raise store._told(error) from None
        return store

    def hold(self) -> None:
        """Be the only one who gives turns to these processes by himself, until closed. Raises FolderBusy."""
        self._held = self.engine.connect()
        if not self._database.hold(self._held):
            self._held.close()
            raise FolderBusy(f"{self._database.label}: another kernos is at work on this journal")
        self._held.commit()

    def script(self, where: str, text: str) -> None:
        """Make a company's own tables, for tools that join the transaction. Raises BadInput, with `where`."""
        try:
            with self.engine.begin() as connection:
                self._database.alone(connection)
                self._database.script(connection, text)
        except SQLAlchemyError as error:
            right = "an SQL script that runs, again and again (create table if not exists ...)"
            raise BadInput(where, self._database.sentence(error), right) from None

    async def apart(self, work: Callable[[Connection], T], alone: bool = False) -> T:
        """Do something in a transaction of its own, beside the journal; `alone`: while nobody else writes."""
        self._check_open()
        return await asyncio.to_thread(self._apart, work, alone)

    def _apart(self, work: Callable[[Connection], T], alone: bool) -> T:
        try:
            with self.engine.begin() as connection:
                if alone:
                    self._database.alone(connection)
                return work(connection)
        except SQLAlchemyError as error:
            raise self._told(error) from None

    async def commit(self, commit: Commit) -> None:
        await self._written(_Job(rows(commit), commit.writes))

    async def claim(self, pid: str) -> int:
        return await self._written(_Job(claim=pid))

    async def post(self, notes: Sequence[Note]) -> None:
        await self._written(_Job({"note": noted(notes)}))

    async def drop(self, hashes: Sequence[str]) -> None:
        await self._written(_Job({"drop": [{"hash": key} for key in hashed(hashes)]}))

    async def notes(self, pid: str) -> Sequence[Note]:
        return await self._read(queries.waiting(pid), queries.as_note)

    async def due(self, now: float, root: str = "", most: int = 1_000) -> Due:
        pids = await self._read(queries.due(now, root, most), itemgetter(0))
        (wake,) = await self._read(queries.next_wake(now, root), itemgetter(0))
        return Due(pids, wake)

    async def pids(self) -> Sequence[str]:
        return await self._read(select(journal.c.pid).distinct().order_by(journal.c.pid), itemgetter(0))

    async def records(
        self, pid: str, after: int = -1, last: int | None = None, kind: RecordKind | None = None
    ) -> Sequence[Record]:
        return await self._read(queries.records(pid, after, last, kind), queries.as_record)

    async def contents(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        keys = hashed(hashes)
        found: dict[str, bytes] = {}
        for start in range(0, len(keys), HASHES_A_QUERY):
            query = select(contents).where(contents.c.hash.in_(keys[start : start + HASHES_A_QUERY]))
            found.update(await self._read(query, lambda row: (row.hash.hex(), row.content)))
        return found

    async def status(self, pid: str) -> Status | None:
        return next(iter(await self._read(queries.statuses(pid), queries.as_status)), None)

    async def statuses(self) -> Sequence[Status]:
        return await self._read(queries.statuses(), queries.as_status)

    async def tree(self, root: str) -> Spent:
        (total,) = await self._read(queries.tree(root), queries.as_sum)
        return total

    async def spent(self, owner: str, day: int) -> Spent:
        return next(iter(await self._read(queries.used(owner, day), queries.as_spent)), Spent(owner, day))

    async def memory(self, space: str, key: str) -> Memory | None:
        return next(iter(await self._read(queries.memory(space, key), queries.as_memory)), None)

    async def close(self) -> None:
        """Write what waits, end the thread, let go of the database. Calling it again does nothing."""
        self._closed = True
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        self._writer.shutdown()
        if self._held is not None:
            self._held.close()
        self.engine.dispose()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"{self._database.label}: the store is closed")

    async def _read(self, query: queries.Query, convert: Callable[[Row[Any]], T]) -> list[T]:
        self._check_open()
        return await asyncio.to_thread(self._select, query, convert)

    def _select(self, query: queries.Query, convert: Callable[[Row[Any]], T]) -> list[T]:
        try:
            with self.engine.connect() as connection:
                return [convert(row) for row in connection.execute(query)]
        except (ValueError, TypeError, AttributeError):
            changed = "a row was changed into something that is not a row"
            raise JournalBroken(f"{self._database.label}: {changed}") from None
        except SQLAlchemyError as error:
            raise self._told(error) from None

    async def _written(self, job: _Job) -> int:
        self._check_open()
        self._pending.append(job)
        if len(self._pending) == 1:  # whoever takes a job that waits already takes this one too
            self._writer.submit(self._drain)
        return await job.done

    def _drain(self) -> None:
        """Commit all that waits, and that somebody still waits for."""
        jobs: list[_Job] = []
        while self._pending:
            job = self._pending.popleft()
            if not job.done.cancelled():
                jobs.append(job)
        if jobs:
            self._settle(jobs)

    def _settle(self, jobs: Sequence[_Job]) -> None:
        try:
            epochs = self._commit(jobs)
        except Exception as error:  # Whatever it is, it is for the caller: the thread has others to serve.
            # What has cost all of them their patience would cost each alone as much again.
            if len(jobs) == 1 or self._database.hopeless(error):
                _tell(jobs, [self._told(error) for _ in jobs])
            else:
                for job in jobs:
                    self._settle([job])
        else:
            _tell(jobs, epochs)

    def _commit(self, jobs: Sequence[_Job]) -> Sequence[int]:
        if self._troubled:
            # What was opened while the database was read-only, or just then gone, stays so; the cause may have ended.
            self.engine.dispose()
            self._troubled = False
        try:
            with self.engine.begin() as connection:
                epochs = [self._claimed(connection, job.claim) if job.claim is not None else 0 for job in jobs]
                for kind, order in KINDS.items():
                    self._run(connection, kind, order, [row for job in jobs for row in job.rows.get(kind, ())])
                for write in (write for job in jobs for write in job.writes):
                    self._join(connection, write)
            return epochs
        except IntegrityError as error:
            raise (self._clash(jobs) or self._refused(jobs, error)) from None

    def _claimed(self, connection: Connection, pid: str) -> int:
        epoch: int | None = connection.exec_driver_sql(self._statements["claim"], {"pid": pid}).scalar_one_or_none()
        if epoch is None:
            raise NotFound("pid", repr(pid), "a process of this store")
        return epoch

    def _run(self, connection: Connection, kind: str, order: Sequence[str], values: list[Values]) -> None:
        if not values:
            return
        if order and len(values) > 1:
            values.sort(key=itemgetter(*order))
        if self._changed(connection, self._statements[kind], values) != len(values) and kind in FENCED:
            raise self._fenced(connection, values)

    def _changed(self, connection: Connection, statement: str, values: Sequence[Values]) -> int:
        """How many rows a statement changes. What SQLAlchemy does for each costs more than the statement."""
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(statement, values)
            return cursor.rowcount
        except self.engine.dialect.loaded_dbapi.Error as error:
            raise DBAPIError.instance(statement, None, error, self.engine.dialect.loaded_dbapi.Error) from None
        finally:
            cursor.close()

    def _fenced(self, connection: Connection, values: Iterable[Values]) -> Fenced:
        """The error that names the first process that another has claimed."""
        held = {row["pid"]: row["epoch"] for row in values}
        query = select(processes.c.pid, processes.c.epoch).where(processes.c.pid.in_(held))
        newest = {row.pid: row.epoch for row in connection.execute(query)}
        pid = next((pid for pid, epoch in held.items() if newest.get(pid) != epoch), "")
        return Fenced(f"process {pid}: another worker has taken it over")

    def _join(self, connection: Connection, write: Write) -> None:
        """Run a tool's statement. What is wrong with it is for the model to read, what is wrong with us is not."""
        try:
            done = connection.execute(text(write.sql), dict(write.values))
        except SQLAlchemyError as error:
            if not self._database.blames(error):
                raise
            raise ToolError(f"the database answered: {self._database.sentence(error)}") from None
        except (OverflowError, UnicodeEncodeError) as error:
            raise ToolError(f"the database answered: {error}") from None
        if done.returns_rows:
            raise ToolError("the statement returns records; it has to change some")
        if done.rowcount < 1:
            raise ToolError("nothing was changed: no record fits")

    def _clash(self, jobs: Sequence[_Job]) -> Exception | None:
        """The error that names the first process or row that was there already, or stands twice in one commit."""
        fresh = [row["pid"] for job in jobs for row in job.rows.get("process", ())]
        keys = [(row["pid"], row["seq"]) for job in jobs for row in job.rows.get("row", ())]
        with self.engine.connect() as connection:
            query = select(processes.c.pid).where(processes.c.pid.in_(fresh))
            known = {row.pid for row in connection.execute(query)}
            rows = select(journal.c.pid, journal.c.seq).where(tuple_(journal.c.pid, journal.c.seq).in_(keys))
            there = {(row.pid, row.seq) for row in connection.execute(rows)}
        clashes = [f"process {pid} is already there" for pid in _clashing(fresh, known)]
        clashes += [f"process {pid}: row {seq} is already there" for pid, seq in _clashing(keys, there)]
        return StoreError(clashes[0]) if clashes else None

    def _refused(self, jobs: Sequence[_Job], error: IntegrityError) -> Exception:
        """The error of a constraint that the database checks at the end of a transaction: only tools have such."""
        joined = any(job.writes for job in jobs)
        return ToolError(f"the database answered: {self._database.sentence(error)}") if joined else error

    def _told(self, error: Exception) -> Exception:
        """In one sentence, with its name, what the database could not do; any other error as it is."""
        if not isinstance(error, SQLAlchemyError):
            return error
        self._troubled = True
        return StoreError(f"{self._database.label}: {self._database.sentence(error)}")


def _tell(jobs: Sequence[_Job], results: Sequence[int | Exception]) -> None:
    """Tell those who wait, in their loop, what came of it: all of them at once, for waking a loop costs a system
    call."""
    told = [(job.done, result) for job, result in zip(jobs, results, strict=True)]
    for loop in {done.get_loop() for done, _ in told}:
        with suppress(RuntimeError):  # it is closed: nobody waits there any more
            loop.call_soon_threadsafe(_hear, [(done, result) for done, result in told if done.get_loop() is loop])


def _hear(told: Sequence[tuple[asyncio.Future[int], int | Exception]]) -> None:
    for done, result in told:
        if done.done():  # whoever waited was cancelled
            continue
        if isinstance(result, Exception):
            done.set_exception(result)
        else:
            done.set_result(result)


def _clashing(keys: Sequence[T], there: set[T]) -> Iterable[T]:
    return (key for n, key in enumerate(keys) if key in there or key in keys[:n])


def _database(target: str | Path, durability: Durability, patience: float) -> Database:
    """The kind of database that a path or a URL means; its module is imported only then."""
    written = str(target)
    url = None
    with suppress(ArgumentError):
        url = make_url(written) if "://" in written else URL.create("sqlite", database=written)
    if url and url.drivername == "postgresql":
        from kernos.drivers.store.postgres import Postgres

        return Postgres(url, durability, patience)
    if url and url.drivername == "sqlite" and url.database not in (None, "", ":memory:"):
        from kernos.drivers.store.sqlite import Sqlite

        return Sqlite(url, durability, patience)
    raise Unsupported("a store is a file of SQLite (its path, or sqlite:///path) or a postgresql:// URL")
