"""What only PostgreSQL knows; see `database`. Its driver is psycopg 3, imported when it is chosen.

A server that is away is waited for no longer than the patience of the store; when it is back, so is the store.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from kernos.drivers.store.database import Durability
from kernos.drivers.store.schema import metadata
from kernos.kernel.errors import Unsupported

SYNCHRONOUS = {"power": "on", "crash": "off"}
LOCK = 0x6B65726E6F73
"""The name of our advisory lock, a number: "kernos"."""

SENTENCES = {
    "25006": "the database is read-only",
    "40P01": "two transactions waited for each other",
    "53100": "the disk is full",
    "53300": "the server has too many connections",
    "55P03": "another program kept a row locked for too long",
    "57P03": "the server is starting or stopping",
}
BLAMED = ("21", "22", "23", "42", "P0")
"""Classes of errors that a statement or its values cause: cardinality, data, constraints, names, and raised by it."""


class Postgres:
    """A database of a server, for processes of many machines; tables of other programs may stand beside ours."""

    insert = staticmethod(insert)

    def __init__(self, url: URL, durability: Durability, patience: float) -> None:
        self.label = url.set(query={}).render_as_string(hide_password=True)
        self.engine = _engine(url.set(drivername="postgresql+psycopg"), patience)
        self._settings = (
            f"SET synchronous_commit = {SYNCHRONOUS[durability]}; SET lock_timeout = {max(1, round(patience * 1000))}"
        )
        event.listen(self.engine, "connect", self._connected)

    def alone(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")

    def hold(self, connection: Connection) -> bool:
        return bool(connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({LOCK + 1})").scalar())

    def script(self, connection: Connection, text: str) -> None:
        connection.exec_driver_sql(text)

    def stranger(self, tables: Collection[str]) -> str | None:
        taken = next((name for name in metadata.tables if name in tables), None)
        return f"another program has a table {taken} here; Kernos needs a schema of its own" if taken else None

    def sentence(self, error: SQLAlchemyError) -> str:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            return "the connection to the server was lost"
        first = (str(getattr(error, "orig", None) or error).splitlines() or ["the database failed"])[0]
        if _unreached(error):
            return f"no connection to the server: {first.rpartition('failed: ')[2].removeprefix('FATAL:').strip()}"
        return SENTENCES.get(_code(error), first)

    def blames(self, error: SQLAlchemyError) -> bool:
        # Without a code it is the driver that complains: of a value that it cannot send.
        return _code(error).startswith(BLAMED) or not (_code(error) or _unreached(error))

    def hopeless(self, error: Exception) -> bool:
        return _unreached(error)

    def _connected(self, connection: Any, _: object) -> None:
        connection.execute(self._settings)
        connection.commit()


def _engine(url: URL, patience: float) -> Engine:
    # The driver takes whole seconds, and no fewer than two.
    waits = {
        "connect_timeout": max(2, round(patience)),
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": max(2_000, round(patience * 1000)),
    }
    try:
        return create_engine(url, connect_args=waits, pool_pre_ping=True)
    except ImportError:
        raise Unsupported("PostgreSQL needs a driver: pip install 'kernos[postgres]'") from None


def _code(error: Exception) -> str:
    """The five characters by which PostgreSQL names what went wrong; none if the server did not say it."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


def _unreached(error: Exception) -> bool:
    """Whether there was no connection, or it broke."""
    broken = isinstance(error, DBAPIError) and error.connection_invalidated
    return broken or (isinstance(error, OperationalError | InterfaceError) and not _code(error))
