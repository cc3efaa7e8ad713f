"""The kernel's own cost: one system call, a journal's growth, and the command line's start.

    python -m benchmarks.syscall

- A program makes 2,000 `invoke` calls of an empty read-only tool; each passes limits, monitor, labels and two durable
  commits on SQLite (full sync). Timed one by one. The peer in the same run is the bare minimum for the same promise:
  two single-row commits with full sync through the standard library's sqlite3, and nothing else.
- A conversation of 1,000 turns with an engine that answers at once: bytes added to the journal per turn (rows, contents
  and the process table, by their lengths), around turn 10 and around turn 1,000.
- `kernos --help` and `kernos ps`, each as a whole process, the median of seven.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import kernos
from benchmarks.table import percentile, show
from kernos.drivers.clock.system import SystemClock
from kernos.drivers.engine.scripted import ScriptedEngine, say
from kernos.drivers.policy.cedar import CedarPolicy
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.dispatch import Kernel
from kernos.kernel.grants import Grant, Station
from kernos.kernel.limits import Limits
from kernos.kernel.ports import Prompt
from kernos.kernel.types import Action, Snapshot
from kernos.userland.employee import Brief, employee

CALLS, TURNS, STARTS = 2_000, 1_000, 7
WINDOW = 5
"""Turns on either side of the turn that is measured."""
PLENTY = Limits(tokens=10**9, calls=10**9, seconds=10**9)


@kernos.tool(effects={"reads"})
async def look_up(word: Annotated[str, kernos.source("user")]) -> str:
    """Look a word up."""
    return word


async def overhead(folder: Path) -> list[float]:
    """Milliseconds of each call."""
    times: list[float] = []

    async def caller(process: kernos.Process) -> None:
        await process.receive()
        for _ in range(CALLS):
            started = time.perf_counter()
            await process.invoke("look_up", word="kernos")
            times.append((time.perf_counter() - started) * 1e3)

    def program(snapshot: Snapshot) -> Coroutine[Any, Any, None]:
        return caller(kernos.Process(snapshot))

    station = Station("caller", "caller", program, "none", {"look_up": Grant("look_up")}, (), PLENTY)
    store = SqlStore.open(folder / "overhead.db", "power")
    kernel = Kernel(store, SystemClock(), {"caller": station}, {}, {"look_up": look_up}, policy=CedarPolicy())
    pid = await kernel.spawn("caller", "owner")
    await kernel.deliver(pid, "look up kernos")
    await kernel.tick(pid)
    await kernel.close()
    return times[CALLS // 20 :]


def floor(folder: Path) -> list[float]:
    """Milliseconds of two bare commits, one after the other."""
    database = sqlite3.connect(folder / "floor.db", isolation_level=None)
    database.execute("pragma journal_mode = wal")
    database.execute("pragma synchronous = full")
    database.execute("create table rows (body text)")
    times = []
    for _ in range(CALLS):
        started = time.perf_counter()
        for _ in range(2):
            database.execute("insert into rows values (?)", ("x" * 400,))
        times.append((time.perf_counter() - started) * 1e3)
    database.close()
    return times[CALLS // 20 :]


async def growth(folder: Path) -> list[int]:
    """Bytes that each turn of one long conversation added."""

    def answer(prompt: Prompt) -> Action:
        last = prompt.messages[-1]
        if last.role == "user":
            return Action("look_up", {"word": "kernos"})
        return say(f"The word of turn {sum(m.role == 'user' for m in prompt.messages):4} is kernos, as you said.")

    brief = Brief("You look words up.", {"look_up": look_up.spec}, window=4096)
    grants = {"look_up": Grant("look_up")}
    station = Station(
        "clerk", "employee", lambda snapshot: employee(kernos.Process(snapshot), brief), "echo", grants, (), PLENTY
    )
    file = folder / "growth.db"
    engines = {"echo": ScriptedEngine(answer)}
    kernel = Kernel(
        SqlStore.open(file, "crash"),
        SystemClock(),
        {"clerk": station},
        engines,
        {"look_up": look_up},
        policy=CedarPolicy(),
    )
    pid = await kernel.spawn("clerk", "owner")
    sizes = [stored(file)]
    for turn in range(TURNS + WINDOW):
        await kernel.deliver(pid, f"Please look up kernos, for the {turn:4}th time.")
        await kernel.tick(pid)
        sizes.append(stored(file))
    await kernel.close()
    return [after - before for before, after in zip(sizes, sizes[1:], strict=False)]


def stored(file: Path) -> int:
    """The bytes of everything in the database, table by table and column by column."""
    total = 0
    with sqlite3.connect(file) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            columns = [row[1] for row in database.execute(f"pragma table_info({table})")]
            lengths = " + ".join(f"coalesce(length(cast({column} as blob)), 0)" for column in columns)
            total += database.execute(f"select coalesce(sum({lengths}), 0) from {table}").fetchone()[0]
    return total


def around(turns: list[int], turn: int) -> float:
    """Mean bytes of the turns around this one, counted from 1."""
    return statistics.mean(turns[turn - 1 - WINDOW : turn + WINDOW])


def start(*arguments: str) -> float:
    """Seconds that the command takes as a whole process, the median."""
    command = shutil.which("kernos", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    assert command is not None
    times = []
    for _ in range(STARTS):
        started = time.perf_counter()
        subprocess.run([command, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    """Measure, print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        times, bare = asyncio.run(overhead(folder)), floor(folder)
        turns = asyncio.run(growth(folder))
        (folder / ".kernos").mkdir()
        (folder / "growth.db").rename(folder / ".kernos" / "journal.db")
        help_s, ps_s = start("--help"), start("ps", "-C", name)
    early, late = around(turns, 10), around(turns, 1_000)
    figures = {
        "p50_ms": round(percentile(times, 50), 3),
        "p99_ms": round(percentile(times, 99), 3),
        "bytes_per_turn_10": round(early),
        "bytes_per_turn_1000": round(late),
        "help_s": round(help_s, 3),
        "ps_s": round(ps_s, 3),
        "floor_p50_ms": round(percentile(bare, 50), 3),
        "floor_p99_ms": round(percentile(bare, 99), 3),
    }
    rows = [
        ("one system call, p50", f"{figures['p50_ms']} ms", "under 2 ms", f"{figures['floor_p50_ms']} ms"),
        ("one system call, p99", f"{figures['p99_ms']} ms", "under 10 ms", f"{figures['floor_p99_ms']} ms"),
        ("bytes a turn, at turn 10", figures["bytes_per_turn_10"], "", ""),
        ("bytes a turn, at turn 1,000", figures["bytes_per_turn_1000"], f"within 20 % ({late / early - 1:+.0%})", ""),
        ("kernos --help", f"{help_s:.2f} s", "under 0.3 s", ""),
        ("kernos ps", f"{ps_s:.2f} s", "under 0.5 s", ""),
    ]
    show("The kernel's own cost (SQLite, full sync)", ("what", "measured", "goal", "two bare commits"), rows, figures)


if __name__ == "__main__":
    main()
