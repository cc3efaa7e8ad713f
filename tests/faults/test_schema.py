"""Databases of every age and kind: new, old and newer ones, and those of other programs.

The revisions have to give exactly the tables that the code knows.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from kernos.drivers.store import migrations
from kernos.drivers.store.schema import HEAD, metadata
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.errors import StoreError, Unsupported
from tests.faults.store_child import Chain, length
from tests.faults.test_store import change_file, child, fresh, line
from tests.postgres import Server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kernos.db"


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, path: Path) -> str:
    """A new database of each kind."""
    return str(path) if request.param == "sqlite" else str(request.getfixturevalue("url"))


def test_the_head_is_the_last_revision() -> None:
    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_heads() == [HEAD]


def shape(connection: Connection) -> Any:
    """All that a database knows of our tables."""
    seen = inspect(connection)
    return {
        table: (
            [column | {"type": repr(column["type"])} for column in seen.get_columns(table)],
            seen.get_pk_constraint(table),
            [
                index | {"dialect_options": {name: str(option) for name, option in index["dialect_options"].items()}}
                for index in seen.get_indexes(table)
            ],
        )
        for table in metadata.tables
    }


async def test_the_revisions_make_the_tables_that_the_code_knows(target: str) -> None:
    store = SqlStore.open(target)
    with store.engine.begin() as connection:
        made = shape(connection)
        metadata.drop_all(connection)
        metadata.create_all(connection)
        assert made == shape(connection)
    await store.close()


async def test_an_open_database_is_opened_again_as_it_is(target: str) -> None:
    rows = Chain("p", SqlStore.open(target))
    await rows.append()
    await rows.store.close()
    rows.store = SqlStore.open(target)
    await rows.append()
    assert await length(rows.store) == 2
    await rows.store.close()


def test_only_a_database_that_is_not_up_to_date_needs_alembic(target: str) -> None:
    needed = []
    for _ in range(2):
        with fresh("open_importing", target) as process:
            needed.append(line(process))
    assert needed == ["True", "False"]


def test_many_may_open_a_new_database_at_once(target: str) -> None:
    with child("open_once", target) as one, child("open_once", target) as two, child("open_once", target) as three:
        children = (one, two, three)
        assert [line(process) for process in children] == ["ready"] * 3
        for process in children:
            process.stdin.close()
        assert [line(process) for process in children] == ["opened"] * 3


async def test_tables_of_a_newer_kernos_are_left_alone(target: str) -> None:
    store = SqlStore.open(target)
    with store.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {migrations.VERSIONS} SET version_num = '9999'")
    await store.close()
    with pytest.raises(StoreError, match="revision 9999, .* use the newer Kernos that made them$"):
        SqlStore.open(target)


def tables(path: Path) -> set[str]:
    with sqlite3.connect(path) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    return names


def test_a_database_of_kernos_0_1_is_said_to_be_one(path: Path) -> None:
    old = ("journal (pid)", "contents (hash)", "processes (pid)", "meta (name, value)")
    change_file(path, *(f"CREATE TABLE {table}" for table in old), "INSERT INTO meta VALUES ('schema', '1')")
    with pytest.raises(StoreError, match=f"^{path}: the database was made by Kernos 0.1, which .* cannot read$"):
        SqlStore.open(path)
    assert tables(path) == {"journal", "contents", "processes", "meta"}


def test_a_file_of_another_program_is_left_alone(path: Path) -> None:
    change_file(path, "CREATE TABLE songs (title)")
    with pytest.raises(StoreError, match=f"^{path}: the file is a database of another program$"):
        SqlStore.open(path)
    assert tables(path) == {"songs"}


async def test_a_company_may_add_its_tables_to_our_file(path: Path) -> None:
    await SqlStore.open(path).close()
    change_file(path, "CREATE TABLE stock (sku)", "CREATE TABLE alembic_version (version_num)")
    rows = Chain("p", SqlStore.open(path))
    await rows.append()
    await rows.store.close()


def test_a_revision_that_fails_leaves_nothing_behind(path: Path) -> None:
    change_file(path, "CREATE VIEW spent AS SELECT 1")
    with pytest.raises(StoreError, match=f"^{path}: .*spent"):
        SqlStore.open(path)
    assert tables(path) == set()


async def test_ours_and_other_tables_share_a_database_of_postgresql(server: Server, url: str) -> None:
    name = url.rpartition("/")[2]
    for table in ("stock (sku text)", "alembic_version (version_num text)", "meta (name text)"):
        server.execute(f"CREATE TABLE {table}", name)
    rows = Chain("p", SqlStore.open(url))
    await rows.append()
    assert await length(rows.store) == 1
    await rows.store.close()


def test_a_table_with_a_name_of_ours_is_left_alone(server: Server, url: str) -> None:
    server.execute("CREATE TABLE notes (text text)", url.rpartition("/")[2])
    with pytest.raises(StoreError, match="another program has a table notes here"):
        SqlStore.open(url)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "mysql://ada:secret@host/db", "sqlite+odd:///f", "://"]
)
def test_a_url_of_something_else_is_refused(url: str) -> None:
    with pytest.raises(Unsupported, match="sqlite:///path.* postgresql://") as refused:
        SqlStore.open(url)
    assert "secret" not in str(refused.value)
