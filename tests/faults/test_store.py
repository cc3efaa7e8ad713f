"""What the store on disk does when the world breaks: a killed process, a full disk, a file that is not ours.

Children are real processes, see `store_child`. They speak over pipes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from kernos.drivers.store.lock import lock
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.errors import FolderBusy, JournalBroken, StoreError
from tests.faults.store_child import Chain, length
from tests.forking import Child

NOBODY = 65534
IN_OWN_MOUNTS = ("unshare", "--user", "--map-root-user", "--mount")


def child(name: str, *words: object) -> Child:
    """A process that runs one of the functions of `store_child`."""
    return Child("tests.faults.store_child", name, *words)


@contextmanager
def fresh(name: str, *words: object, within: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """The same in one that has imported nothing before."""
    command = [*within, sys.executable, "-m", "tests.faults.store_child", name, *map(str, words)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: Child | subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kernos.db"


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of a user whom file permissions bind, as whom the test runs: root would write anywhere."""
    root = os.geteuid() == 0
    import_module("alembic.command")  # Python itself may stand where only root can read.
    folder = Path(tempfile.mkdtemp())
    if root:
        os.chown(folder, NOBODY, -1)
        os.seteuid(NOBODY)
    yield folder
    folder.chmod(0o700)
    if root:
        os.seteuid(0)
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, path: Path) -> str:
    """A new database of each kind."""
    return str(path) if request.param == "sqlite" else str(request.getfixturevalue("url"))


@pytest.mark.parametrize("durability", ["power", "crash"])
async def test_kill_loses_nothing_that_was_acknowledged(target: str, durability: str) -> None:
    with child("append_forever", target, durability) as process:
        acknowledged = [line(process).split() for _ in range(200)]
        process.kill()
        rest = process.stdout.read()
    # The kill may cut the last line short.
    acknowledged += [words.split() for words in rest.splitlines(keepends=True) if words.endswith("\n")]
    last = {pid: int(seq) for pid, seq in acknowledged}
    store = SqlStore.open(target)
    assert {pid: seq + 1 <= await length(store, pid) <= seq + 2 for pid, seq in last.items()} == dict.fromkeys(
        last, True
    )
    await store.close()


@pytest.mark.parametrize(
    ("name", "within", "sentence"),
    [
        ("fill_file", (), "the disk refused to read or write"),
        ("fill_disk", IN_OWN_MOUNTS, "the disk is full"),
    ],
)
def test_no_room_left(path: Path, name: str, within: tuple[str, ...], sentence: str) -> None:
    if within and (
        not shutil.which(within[0]) or subprocess.run([*within, "true"], stderr=subprocess.DEVNULL).returncode
    ):
        pytest.skip("this machine lets nobody mount a small disk")
    with fresh(name, path, within=within) as process:
        assert line(process) == f"{path}: {sentence}"
        kept, found, after = (int(word) for word in line(process).split())
    assert kept == found > 0
    assert after == kept + 1


def permit(folder: Path, mode: int) -> None:
    for file in folder.iterdir():
        file.chmod(mode)


async def test_a_read_only_file_is_said_so_until_it_is_not(unprivileged: Path) -> None:
    file = unprivileged / "kernos.db"
    await SqlStore.open(file).close()
    permit(unprivileged, 0o444)
    store = SqlStore.open(file)
    rows = Chain("p", store)
    with pytest.raises(StoreError, match=f"^{file}: the file, .* is read-only$"):
        await rows.append()
    assert (list(await store.records("p")), list(await store.statuses())) == ([], [])
    permit(unprivileged, 0o644)
    await rows.append()
    assert await length(store) == 1
    await store.close()


def test_a_read_only_folder_is_said_so(unprivileged: Path) -> None:
    unprivileged.chmod(0o555)
    with pytest.raises(
        StoreError, match=f"^{unprivileged}/kernos.db: the file cannot be opened or made in its folder$"
    ):
        SqlStore.open(unprivileged / "kernos.db")
    with pytest.raises(StoreError, match=f"^{unprivileged}: the folder cannot be locked: Permission denied$"):
        lock(unprivileged)


def test_a_file_that_is_not_a_database_is_left_alone(path: Path) -> None:
    path.write_text("Dear diary, " * 1000)
    with pytest.raises(StoreError, match=f"^{path}: the file is not a database$"):
        SqlStore.open(path)
    assert path.read_text() == "Dear diary, " * 1000


async def test_a_damaged_file_is_said_so(path: Path) -> None:
    rows = Chain("p", SqlStore.open(path, "crash"), text="word " * 100)
    for _ in range(100):
        await rows.append()
    await rows.store.close()
    damage(path)
    store = SqlStore.open(path)
    with pytest.raises(StoreError, match=f"^{path}: the file is damaged$"):
        await length(store)
    await store.close()


def damage(path: Path) -> None:
    whole = path.read_bytes()
    start, end = len(whole) // 4, len(whole) * 3 // 4
    path.write_bytes(whole[:start] + b"\xff" * (end - start) + whole[end:])


@pytest.mark.parametrize(
    "change", ["body = '{'", "hash = 'mine'", "previous = 7", "body = 7.5", "body = x'ff00'", "hash = 3"]
)
async def test_a_row_that_is_no_row_is_a_broken_journal(path: Path, change: str) -> None:
    rows = Chain("p", SqlStore.open(path))
    await rows.append()
    change_file(path, f"UPDATE journal SET {change}")
    with pytest.raises(JournalBroken, match=f"^{path}: "):
        await rows.store.records("p")
    await rows.append()
    await rows.store.close()


def change_file(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


async def test_a_file_locked_by_another_program(path: Path) -> None:
    store = SqlStore.open(path, patience=0.05)
    rows = Chain("p", store)
    with child("hold_file", path) as process:
        assert line(process) == "held"
        with pytest.raises(StoreError, match=f"^{path}: another program kept the file locked for too long$"):
            await rows.append()
        assert list(await store.records("p")) == []
    await rows.append()
    assert await length(store) == 1
    await store.close()


async def test_a_lock_costs_those_who_wait_their_patience_once(path: Path) -> None:
    store = SqlStore.open(path, patience=0.2)
    with child("hold_file", path) as process:
        assert line(process) == "held"
        appends = [asyncio.create_task(Chain(f"p{n}", store).append()) for n in range(50)]
        async with asyncio.timeout(5):
            await asyncio.wait(appends)
        assert {type(append.exception()) for append in appends} == {StoreError}
    await Chain("p", store).append()
    assert [status.pid for status in await store.statuses()] == ["p"]
    await store.close()


async def test_closing_writes_what_waits_and_ends_the_store(path: Path) -> None:
    store = SqlStore.open(path)
    appends = [asyncio.create_task(Chain(f"p{n}", store).append()) for n in range(50)]
    started = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(started.set_result, None)
    await started
    await store.close()
    assert [await append for append in appends] == [0] * 50
    for use in (Chain("late", store).append, store.statuses):
        with pytest.raises(StoreError, match="the store is closed"):
            await use()
    again = SqlStore.open(path)
    assert len(await again.statuses()) == 50
    await again.close()


async def test_a_url_opens_the_same_file_as_its_path(path: Path) -> None:
    rows = Chain("p", SqlStore.open(f"sqlite:///{path}"))
    await rows.append()
    await rows.store.close()
    again = SqlStore.open(str(path))
    assert await length(again) == 1
    await again.close()


def test_a_held_folder_is_busy_until_its_holder_is_killed(tmp_path: Path) -> None:
    with child("hold_folder", tmp_path) as process:
        assert line(process) == "held"
        with pytest.raises(FolderBusy, match=rf"^{tmp_path}: .* \(process {process.pid}\)$"):
            lock(tmp_path)
        process.kill()
        process.wait()
        with lock(tmp_path), pytest.raises(FolderBusy, match=rf"\(process {os.getpid()}\)$"):
            lock(tmp_path)
    held = lock(tmp_path)
    held.release()
    held.release()
    lock(tmp_path).release()


def test_a_folder_that_is_not_there_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the folder cannot be locked: No such file or directory"):
        lock(tmp_path / "nowhere")
