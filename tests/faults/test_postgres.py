"""The store on PostgreSQL when the server goes away, comes back, is held up, or was never there."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from kernos.drivers.store.database import Durability
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.errors import Fenced, StoreError, ToolError, Unsupported
from kernos.kernel.ports import Spent, Write
from kernos.kernel.types import digest
from tests.contract.rows import born, chain, process
from tests.faults.store_child import Chain, length
from tests.postgres import Server


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    opened = SqlStore.open(url, patience=2.0)
    yield opened
    await opened.close()


@pytest.mark.parametrize("end", [Server.stop, Server.kill])
async def test_a_server_that_comes_back_finds_the_store_working(
    store: SqlStore, server: Server, end: Callable[[Server], None]
) -> None:
    rows = Chain("p", store)
    await rows.append()
    await asyncio.to_thread(end, server)
    for use in (rows.append, store.statuses, rows.append):
        async with asyncio.timeout(5):
            with pytest.raises(
                StoreError, match=r"^postgresql://kernos:\*\*\*@127.0.0.1:\d+/\w+: .*connection"
            ) as away:
                await use()
        assert "secret" not in str(away.value) and "\n" not in str(away.value)
    await asyncio.to_thread(server.start)
    await rows.append()
    assert await length(store) == 2


@pytest.mark.parametrize("end", [Server.stop, Server.kill])
async def test_a_commit_whose_server_ends_is_said_to_have_lost_it(
    store: SqlStore, server: Server, url: str, end: Callable[[Server], None]
) -> None:
    rows = Chain("p", store)
    await rows.append()
    other = psycopg.connect(url)
    other.execute("SELECT * FROM processes FOR UPDATE")
    append = asyncio.create_task(rows.append())
    await blocked(other)
    await asyncio.to_thread(end, server)
    other.close()
    await asyncio.wait((append,))
    error = append.exception()
    await asyncio.to_thread(server.start)
    if error is None:  # whoever held the row was told to go first, and the commit was through before it was told too
        assert end is Server.stop
    else:
        assert isinstance(error, StoreError)
        assert str(error).endswith(": the connection to the server was lost")
        await rows.append()
    assert await length(store) == 2


async def blocked(observer: psycopg.Connection[Any]) -> None:
    """Return when somebody waits for a row that another holds."""

    def wait() -> None:
        while not observer.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone():
            pass

    async with asyncio.timeout(5):
        await asyncio.to_thread(wait)


async def test_all_who_wait_for_a_server_that_is_away_hear_of_it_at_once(store: SqlStore, server: Server) -> None:
    await asyncio.to_thread(server.stop)
    appends = [asyncio.create_task(Chain(f"p{n}", store).append()) for n in range(200)]
    async with asyncio.timeout(5):
        await asyncio.wait(appends)
    assert {type(append.exception()) for append in appends} == {StoreError}


async def test_a_connection_lost_while_nobody_used_it_costs_nobody_anything(store: SqlStore, server: Server) -> None:
    rows = Chain("p", store)
    await rows.append()
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    await rows.append()
    assert await length(store) == 2


async def test_a_row_locked_for_too_long_is_said_so_and_holds_up_nobody_else(url: str) -> None:
    store = SqlStore.open(url, patience=0.05)
    held, free = Chain("held", store), Chain("free", store)
    await held.append()
    with psycopg.connect(url) as other:
        other.execute("SELECT * FROM processes FOR UPDATE")
        with pytest.raises(StoreError, match=": another program kept a row locked for too long$"):
            await held.append()
        await free.append()
    await held.append()
    assert (await length(store, "held"), await length(store, "free")) == (2, 1)
    await store.close()


async def test_workers_that_write_the_same_rows_do_not_wait_for_each_other_for_ever(url: str) -> None:
    shared = {digest(content): content for content in (b"%d" % n for n in range(40))}

    async def work(name: str, store: SqlStore, backwards: bool) -> None:
        order = list(reversed(shared)) if backwards else list(shared)
        days = range(20, 0, -1) if backwards else range(1, 21)
        commits = [
            replace(commit, contents={key: shared[key] for key in order}, spent=[Spent("ada", day, 1) for day in days])
            for n in range(20)
            for commit in chain(f"{name}{n}", 1)
        ]
        async with asyncio.TaskGroup() as group:
            for commit in commits:
                group.create_task(store.commit(commit))

    stores = [SqlStore.open(url), SqlStore.open(url)]
    async with asyncio.TaskGroup() as group:
        for name, store in zip("ab", stores, strict=True):
            group.create_task(work(name, store, name == "b"))
    assert (await stores[0].spent("ada", 7)).calls == 40
    for store in stores:
        await store.close()


async def test_a_claim_by_another_worker_stops_a_commit_that_has_begun(store: SqlStore, url: str) -> None:
    await store.commit(born(process("p")))
    epoch = await store.claim("p")
    with psycopg.connect(url) as other:
        other.execute("UPDATE processes SET epoch = epoch + 1")
        commit = asyncio.create_task(store.commit(replace(chain("p", 1)[0], epochs={"p": epoch})))
        await blocked(other)
    with pytest.raises(Fenced, match="process p"):
        await commit
    assert list(await store.records("p")) == []


async def test_a_constraint_that_is_checked_at_the_end_is_for_the_model(store: SqlStore, server: Server) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE slots (at integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    booking = Write("INSERT INTO slots VALUES (:at)", {"at": 9})
    await store.commit(replace(chain("p", 1)[0], writes=[booking]))
    with pytest.raises(ToolError, match="^the database answered: duplicate key"):
        await store.commit(replace(chain("q", 1)[0], writes=[booking]))
    assert await store.status("q") is None


@pytest.mark.parametrize(("durability", "setting"), [("power", "on"), ("crash", "off")])
async def test_what_survives_a_power_cut_is_waited_for(url: str, durability: Durability, setting: str) -> None:
    store = SqlStore.open(url, durability)
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == setting
    await store.close()


def test_a_database_that_is_not_there(server: Server) -> None:
    with pytest.raises(StoreError, match='no connection to the server: database "nowhere" does not exist$'):
        SqlStore.open(server.url("nowhere"))


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"postgresql://ada:secret@127.0.0.1:{free.getsockname()[1]}/db?sslpassword=secret"
        with pytest.raises(StoreError, match="no connection to the server: Connection refused$") as refused:
            SqlStore.open(url)
    assert "secret" not in str(refused.value)


def test_a_driver_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(Unsupported, match=r"pip install 'kernos\[postgres\]'"):
        SqlStore.open("postgresql://ada@host/db")
