"""What only SQLite knows; see `database`."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import suppress

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from kernos.drivers.store.database import Durability

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


class Sqlite:
    """A file, for processes of one machine. The folder that it is made in must be there."""

    insert = staticmethod(insert)

    def __init__(self, url: URL, durability: Durability, patience: float) -> None:
        self.label = str(url.database)
        self.engine = create_engine(url, connect_args={"timeout": patience}, paramstyle="named")
        self._durability = durability
        event.listen(self.engine, "connect", self._connected)

    def alone(self, connection: Connection) -> None:
        # The driver would begin no transaction before a CREATE TABLE, and each would be one of its own.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def hold(self, connection: Connection) -> bool:
        return True  # the folder's lock does that

    def script(self, connection: Connection, text: str) -> None:
        # executescript of the driver would commit first: a script that fails would leave its first half.
        statement = ""
        for line in text.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                connection.exec_driver_sql(statement)
                statement = ""
        if statement.strip():
            connection.exec_driver_sql(statement)

    def stranger(self, tables: Collection[str]) -> str | None:
        return "the file is a database of another program" if tables else None

    def sentence(self, error: SQLAlchemyError) -> str:
        return SENTENCES.get(_code(error), str(getattr(error, "orig", None) or "the database failed"))

    def blames(self, error: SQLAlchemyError) -> bool:
        return not isinstance(error, DBAPIError) or _code(error) not in SENTENCES

    def hopeless(self, error: Exception) -> bool:
        return _code(error) == sqlite3.SQLITE_BUSY

    def _connected(self, connection: sqlite3.Connection, _: object) -> None:
        # Written in the file once and for all. SQLite does not wait here for another process at this same switch;
        # any other trouble comes up again with the next statement.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS[self._durability]}")
        # On macOS a plain fsync leaves data in the drive's cache; elsewhere this does nothing.
        connection.execute(f"PRAGMA fullfsync = {self._durability == 'power'}")


def _code(error: Exception) -> int:
    """SQLite's code for what went wrong: the low byte; the rest only says where."""
    code: int = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
    return code & 0xFF
