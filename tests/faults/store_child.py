"""What `test_store` runs in processes of its own, to kill, starve or race them: `python -m ... function arguments`."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from kernos.drivers.store.lock import lock
from kernos.drivers.store.sql import Durability, SqlStore
from kernos.kernel.errors import StoreError
from kernos.kernel.journal import GENESIS, Entry, broken, seal
from kernos.kernel.types import Record, Status


class Chain:
    """One process's rows, made one after the other."""

    def __init__(self, pid: str, store: SqlStore, text: str = "word") -> None:
        self.pid, self.store, self.text = pid, store, text
        self.seq, self.previous = -1, GENESIS

    async def append(self) -> int:
        """Append the next row; if that fails, the same row is the next again."""
        seq = self.seq + 1
        entry = Entry("message", {"n": seq}, {"text": f"{self.pid} {seq} {self.text}"})
        row, contents = seal(self.pid, seq, self.previous, float(seq), entry)
        await self.store.append([row], contents, self._head(row))
        self.seq, self.previous = seq, row.hash
        return seq

    def _head(self, row: Record) -> Status:
        return Status(self.pid, "ada", "advisor", "chat", "ready", "", 0, 0, 0.0, row.seq, row.hash, 0.0, row.at)


async def length(store: SqlStore, pid: str = "p") -> int:
    """How many rows a process has, after a check that they are a whole chain."""
    records = await store.records(pid)
    contents = await store.contents([key for record in records for key in record.body["contents"].values()])
    (status,) = [status for status in await store.statuses() if status.pid == pid]
    assert broken(records, contents, status) == []
    return len(records)


async def append_forever(file: str, durability: Durability) -> None:
    store = SqlStore.open(file, durability)

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


async def open_once(file: str) -> None:
    print("ready", flush=True)
    sys.stdin.read()
    await SqlStore.open(file).close()
    print("opened", flush=True)


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
