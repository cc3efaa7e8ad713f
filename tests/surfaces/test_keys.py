"""Keys of the API: what is kept of them, whom they stand for, and how long; in both databases, and at the command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from kernos.drivers.clock.fixed import FixedClock
from kernos.drivers.store.keys import LIFE, SqlKeys
from kernos.drivers.store.schema import keys as table
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.errors import BadInput, NotFound
from kernos.kernel.ports import Caller
from tests.support import OWNER, House, idle, runs
from tests.surfaces.terminal import detached, employ, kernos
from tests.surfaces.test_processes import PROGRAMS, SIDE_CAR

ADA = Caller("laptop", OWNER, frozenset({"member", "operator"}))


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database of each kind."""
    return str(tmp_path / "kernos.db") if request.param == "sqlite" else str(request.getfixturevalue("url"))


@pytest.fixture
async def keys(target: str) -> AsyncIterator[SqlKeys]:
    opened = SqlKeys(SqlStore.open(target), FixedClock())
    yield opened
    await opened.close()


async def test_a_key_stands_for_its_caller_and_another_text_for_nobody(keys: SqlKeys) -> None:
    secret = await keys.issue(ADA)
    assert await keys.caller(secret) == ADA
    for other in (secret[:-1], secret + "x", secret.lower(), "", "kn_"):
        assert await keys.caller(other) is None


async def test_the_database_holds_no_secret(keys: SqlKeys, target: str) -> None:
    secret = await keys.issue(ADA)
    store = SqlStore.open(target)
    [row] = await store.apart(lambda connection: connection.execute(select(table)).all())
    await store.close()
    assert secret.removeprefix("kn_") not in repr(row)
    assert len(secret.removeprefix("kn_")) >= 43  # 256 bits


async def test_a_revoked_key_opens_nothing_and_its_name_is_free_again(keys: SqlKeys) -> None:
    secret = await keys.issue(ADA)
    assert await keys.caller(secret) == ADA
    await keys.revoke("laptop")
    assert await keys.caller(secret) is None
    assert await keys.callers() == []
    with pytest.raises(NotFound):
        await keys.revoke("laptop")
    again = await keys.issue(ADA)
    assert (await keys.caller(secret), await keys.caller(again)) == (None, ADA)


async def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_remembered(keys: SqlKeys) -> None:
    secret = await keys.issue(ADA)
    async with asyncio.TaskGroup() as group:
        looking = [group.create_task(keys.caller(secret)) for _ in range(8)]
        group.create_task(keys.revoke("laptop"))
    assert {looked.result() for looked in looking} <= {ADA, None}
    assert await keys.caller(secret) is None


async def test_a_name_is_taken_as_long_as_its_key_holds(keys: SqlKeys) -> None:
    await keys.issue(ADA)
    with pytest.raises(BadInput, match="'laptop'.*no other key has"):
        await keys.issue(Caller("laptop", "bob"))


async def test_a_key_that_another_worker_revoked_ends_within_seconds(target: str) -> None:
    here = SqlKeys(SqlStore.open(target), FixedClock(tick=1.0))  # a second passes with each call
    there = SqlKeys(SqlStore.open(target), FixedClock())
    secret = await here.issue(ADA)
    assert await here.caller(secret) == ADA
    await there.revoke("laptop")
    found = [await here.caller(secret) for _ in range(10)]
    assert found.count(ADA) < LIFE
    assert found[-1] is None
    for keys in (here, there):
        await keys.close()


async def test_a_lent_key_is_written_nowhere(keys: SqlKeys, target: str) -> None:
    secret = keys.lend(ADA)
    assert await keys.caller(secret) == ADA
    assert await keys.callers() == []
    other = SqlKeys(SqlStore.open(target), FixedClock())
    assert await other.caller(secret) is None
    await other.close()


@pytest.mark.parametrize(
    ("caller", "wrong"),
    [
        (Caller("", OWNER), "key"),
        (Caller("two words", OWNER), "key"),
        (Caller("robot", " "), "key: owner"),
        (Caller("robot", OWNER, frozenset({"operator"}), employee="clerk"), "key: roles"),
        (Caller("robot", OWNER, frozenset({"member", "approver"}), pid="abcd"), "key: roles"),
        (Caller("robot", OWNER, pid="abcd"), "key: process"),
    ],
)
async def test_what_cannot_be_a_key_is_none(keys: SqlKeys, caller: Caller, wrong: str) -> None:
    with pytest.raises(BadInput) as refused:
        await keys.issue(caller)
    assert refused.value.where == wrong
    assert await keys.callers() == []


async def test_an_agents_key_is_for_a_process_of_its_owner_only(tmp_path: Path) -> None:
    async with House(runs(idle), store=SqlStore.open(tmp_path / "kernos.db")) as house:
        pid = await house.boot().spawn("clerk", OWNER)
        assert isinstance(house.store, SqlStore)
        keys = SqlKeys(house.store, house.clock)
        with pytest.raises(NotFound, match="a process of bob"):
            await keys.issue(Caller("robot", "bob", pid=pid))
        robot = Caller("robot", OWNER, pid=pid)
        assert await keys.caller(await keys.issue(robot)) == robot


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return employ(tmp_path_factory.mktemp("keys") / "shop", PROGRAMS, SIDE_CAR)


def test_the_command_makes_lists_and_revokes_keys(shop: Path) -> None:
    assert kernos("key", "list", home=shop).out.startswith("no keys yet")
    made = kernos("key", "add", "robot", "--owner", "ada", "--employee", "agent", "--speaks", home=shop)
    assert made.code == 0 and made.out.startswith("kn_") and len(made.out.split()) == 1
    greeter = detached(shop, "greeter")
    assert kernos("key", "add", "voice", "--process", greeter[:6], home=shop).code == 0
    listed = kernos("key", "list", home=shop).out
    assert "robot  an agent's, processes of agent for ada, whose words are its owner's" in listed
    assert f"voice  an agent's, process {greeter} for ada\n" in listed
    assert made.out.strip() not in listed
    assert kernos("key", "revoke", "robot", home=shop).out == "robot: revoked\n"
    assert "robot" not in kernos("key", "list", home=shop).out


def test_the_command_says_what_is_wrong(shop: Path) -> None:
    assert (
        "--employee: found 'boss2'; expected agent or assistant"
        in kernos("key", "add", "x", "--employee", "boss2", home=shop).complaint
    )
    assert "member alone" in kernos("key", "add", "x", "--employee", "boss", "--role", "operator", home=shop).complaint
