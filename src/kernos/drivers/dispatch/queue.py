"""Procrastinate as we use it: its tables in a schema of their own, and what outlasts a database that is gone.

Its worker ends when the database is away for a moment, and while it waits for its last jobs it no longer says that it
lives, so that others would take them over. Here every query waits until the database is back instead (`Patient`).

The tables hold nothing that the journal does not know: with all workers stopped they may be dropped at any time, and
are made again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, LiteralString, TypeVar

from procrastinate import PsycopgConnector
from procrastinate.connector import Notify
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.schema import SchemaManager
from psycopg import Connection, InterfaceError, OperationalError, connect

SCHEMA: LiteralString = "kernos_dispatch"
LOCK = 0x6B65726E6F74
"""Our advisory lock, under which one of several workers makes the tables."""
ANSWER = 5.0
"""After how many seconds without an answer a query is asked again: the connection may be dead and not know it."""
AGAIN = 0.25
"""How long to wait, in seconds, before a query is asked again."""
TELL = 1.0
"""How often, in seconds, it is told that the database is away."""

T = TypeVar("T")
Failure = (ConnectorException, OperationalError, InterfaceError, TimeoutError)
"""What a database that is away makes of a query."""

_SETTINGS: dict[str, Any] = {
    # A worker that is frozen between two statements must not keep a row locked for the others.
    "options": f"-c search_path={SCHEMA} -c idle_in_transaction_session_timeout=5s",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}


def prepare(url: str) -> None:
    """Make Procrastinate's tables, if they are not there. It blocks; run it in a thread."""
    with connect(url, **_SETTINGS) as connection:
        if _there(connection):
            return
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        if not _there(connection):
            connection.execute("CREATE SCHEMA IF NOT EXISTS " + SCHEMA)
            connection.execute(SchemaManager.get_schema())


def _there(connection: Connection[Any]) -> bool:
    # Not to_regclass: what it has once not found, it does not look for again.
    query = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'procrastinate_jobs'"
    return connection.execute(query, [SCHEMA]).fetchone() is not None


class Patient(PsycopgConnector):
    """Asks again until the database answers, or until it is `closing`, and tells what is wrong, now and then.

    A query whose answer got lost is done twice. Of those that Procrastinate makes, only fetching a job could do harm
    so: its worker holds a job that it does not know. The dispatcher looks for such jobs.
    """

    def __init__(self, url: str, troubled: Callable[[Exception], None]) -> None:
        # The pool would wait 30 s for its first connections, and between attempts ever longer: it gets no patience.
        super().__init__(conninfo=url, kwargs=_SETTINGS, min_size=0, max_size=4, timeout=1.0, reconnect_timeout=0.0)
        self.closing = False
        self._troubled, self._told = troubled, -TELL
        # It would warn of every attempt.
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

    def hurry(self) -> None:
        """From now on nothing waits for a database that is gone."""
        self.closing = True

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        await self._asked(super().execute_query_async, query, arguments)

    async def execute_query_one_async(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        return await self._asked(super().execute_query_one_async, query, arguments)

    async def execute_query_all_async(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        return await self._asked(super().execute_query_all_async, query, arguments)

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        while True:
            try:
                await super().listen_notify(on_notification, channels)
            except Failure as error:
                await self._pause(error)

    async def _asked(
        self, ask: Callable[..., Awaitable[T]], query: LiteralString, arguments: dict[str, Any]
    ) -> T:  # fmt: skip
        while True:
            try:
                async with asyncio.timeout(ANSWER):
                    return await ask(query, **arguments)
            except Failure as error:
                await self._pause(error)

    async def _pause(self, error: Exception) -> None:
        """Wait before asking again; raise what asking again would not mend."""
        away = isinstance(error, TimeoutError) or isinstance(error.__cause__, OperationalError | InterfaceError)
        if self.closing or not away:
            raise error
        now = asyncio.get_running_loop().time()
        if now - self._told >= TELL:
            self._told = now
            self._troubled(error)
        await asyncio.sleep(AGAIN)


class Jobs(JobManager):
    """Knows the engine's name for this worker; ends jobs, also those that others have ended meanwhile because it seemed
    dead, and tells of it."""

    def __init__(self, connector: Patient, ended: Callable[[], None]) -> None:
        super().__init__(connector)
        self._ended = ended
        self.worker: int | None = None

    async def register_worker(self) -> int:
        self.worker = await super().register_worker()
        return self.worker

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        with suppress(*Failure):
            await super().finish_job(job, status, delete_job)
        self._ended()
