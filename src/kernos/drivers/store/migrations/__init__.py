"""The revisions of the tables, and `prepare`, which brings a database to the newest one when it is opened.

A revision is a module in `versions`, written for Alembic. Nothing of it is imported for a database that is up to date.
The revision of a database stands in a table of our own, so that a company may use Alembic in the same database.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, Table, Text, inspect, select

from kernos.drivers.store.database import Database
from kernos.drivers.store.schema import HEAD
from kernos.kernel.errors import StoreError

VERSIONS = "kernos_version"
_META = "meta"
"""A table of Kernos 0.1, which knew no revisions."""

_versions = Table(VERSIONS, MetaData(), Column("version_num", Text))


def prepare(connection: Connection, database: Database) -> None:
    """Make or change the tables in this transaction. Raises StoreError for a database that is not ours to change."""
    if _revision(connection) == HEAD:
        return
    database.alone(connection)
    found = _revision(connection)
    if found == HEAD:  # Another process was faster.
        return
    if found is None:
        _check(set(inspect(connection).get_table_names()), database)
    _upgrade(connection, database, found)


def _revision(connection: Connection) -> str | None:
    there = inspect(connection).has_table(VERSIONS)
    return connection.scalar(select(_versions.c.version_num)) if there else None


def _check(tables: set[str], database: Database) -> None:
    """Judge a database that has no revision by the tables that it has."""
    if {_META, "journal", "contents", "processes"} <= tables:
        raise StoreError(f"{database.label}: the database was made by Kernos 0.1, which this version cannot read")
    if reason := database.stranger(tables):
        raise StoreError(f"{database.label}: {reason}")


def _upgrade(connection: Connection, database: Database, found: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config(attributes={"connection": connection, "versions": VERSIONS})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    try:
        command.upgrade(config, "head")
    except CommandError:
        unknown = f"the tables have revision {found}, which this version does not know (its own is {HEAD})"
        raise StoreError(f"{database.label}: {unknown}; use the newer Kernos that made them") from None
