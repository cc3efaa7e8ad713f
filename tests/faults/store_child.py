"""What `test_store` runs in processes of its own, to kill, starve or race them: `python -m ... function arguments`."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kernos.drivers.store.database import Durability
from kernos.drivers.store.lock import lock
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.errors import StoreError
from kernos.kernel.journal import Entry, broken, seal
from kernos.kernel.ports import Commit
from tests.contract.rows import KEY, process


class Chain:
    """One process's rows, made one after the other."""

    def __init__(self, pid: str, store: SqlStore, text: str = "word") -> None:
        self.pid, self.store, self.text = pid, store, text
        self.status = process(pid)

    @property
    def seq(self) -> int:
        """The last row that was acknowledged; -1 before the first."""
        return self.status.seq

    async def append(self) -> int:
        """Append the next row; if that fails, the same row is the next again."""
        seq = self.seq + 1
        entry = Entry("message", {"n": seq}, {"text": f"{self.pid} {seq} {self.text}"})
        row, contents = seal(self.pid, seq, self.status.hash, float(seq), entry, KEY)
        status = replace(self.status, seq=seq, hash=row.hash, at=row.at)
        await self.store.commit(Commit([row], contents, [status], {self.pid: 0} if seq else {}))
        self.status = status
        return seq


async def length(store: SqlStore, pid: str = "p") -> int:
    """How many rows a process has, after a check that they are a whole chain."""
    records = await store.records(pid)
    contents = await store.contents([key for record in records for key in record.body["contents"].values()])
    assert broken(records, contents, await store.status(pid), KEY) == []
    return len(records)


async def append_forever(target: str, durability: Durability) -> None:
    store = SqlStore.open(target, durability)

    async def live(rows: Chain) -> None:
        while True:
            print(rows.pid, await rows.append(), flush=True)

    async with asyncio.TaskGroup() as group:
        for n in range(4):
            group.create_task(live(Chain(f"p{n}", store)))


async def until_full(file: str, make_room: Callable[[], object]) -> None:
    """Append until it fails; say why, what was acknowledged, what is there, and what is there after one more."""
    store = SqlStore.open(file)
    rows = Chain("p", store, text="word " * 2000)
    try:
        while True:
            await rows.append()
    except StoreError as error:
        print(error)
    found = await length(store)
    kept = rows.seq + 1
    make_room()
    await rows.append()
    print(kept, found, await length(store), flush=True)
    await store.close()


async def fill_file(file: str) -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    await until_full(file, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard)))


async def fill_disk(file: str) -> None:
    def mount(*options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(Path(file).parent)], check=True)

    mount("-o", "size=2m")
    await until_full(file, lambda: mount("-o", "remount,size=8m"))


async def open_once(target: str) -> None:
    print("ready", flush=True)
    sys.stdin.read()
    await SqlStore.open(target).close()
    print("opened", flush=True)


async def open_importing(target: str) -> None:
    """Say whether opening a database needed Alembic."""
    await SqlStore.open(target).close()
    print("alembic" in sys.modules, flush=True)


async def hold_file(file: str) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    print("held", flush=True)
    sys.stdin.read()


async def hold_folder(folder: str) -> None:
    with lock(Path(folder)):
        print("held", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    asyncio.run(globals()[sys.argv[1]](*sys.argv[2:]))
