"""What it costs that processes survive: calls, resuming, sleepers, many at once, and a worker that dies.

    python -m benchmarks.durability

- A system call: a program makes 1,000 `invoke` calls of an empty read-only tool, timed one by one; on SQLite with both
  durabilities and on PostgreSQL. Peers in the same run, each in an environment of its own: steps of DBOS that do
  nothing, on SQLite and on PostgreSQL, and a LangGraph node that does nothing, with its SQLite checkpointer. Three
  rounds, so that a busy moment of the machine hits all of them.
- Resuming: one turn of a process that a new kernel has to bring back, with 10, 1,000 and 10,000 calls behind it, and
  the same where its program makes a checkpoint at every 100th.
- 10,000 sleepers, half of which wait for the time and half for a message: the resident memory of a kernel and its
  dispatcher over them, less what it is over none; their start-up; and 50 of each kind that are woken one by one, from
  the moment that they should be to the row that says so (timer), or from sending to the exit that is seen (message).
- Calls per second of 1, 10 and 100 processes at once, in one kernel.
- Takeover: two workers on one PostgreSQL; the one that has a process at work is killed with SIGKILL. Seconds until the
  other has written the process's next row, the longest of three.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import kernos
from benchmarks import peers
from benchmarks.peers.postgres import cluster
from benchmarks.table import percentile, show
from kernos.drivers.clock.system import SystemClock
from kernos.drivers.dispatch.local import LocalDispatcher
from kernos.drivers.policy.cedar import CedarPolicy
from kernos.drivers.store.database import Durability
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.dispatch import Kernel
from kernos.kernel.grants import Grant, Station
from kernos.kernel.journal import Journal
from kernos.kernel.ledger import Ledger
from kernos.kernel.limits import Limits
from kernos.kernel.types import Json

CALLS, ROUNDS = 1_000, 3
BEHIND = (10, 1_000, 10_000)
MARK = 100
"""Calls from one checkpoint to the next."""
SLEEPERS, WOKEN = 10_000, 50
HEAD_START = 15.0
"""Seconds from the birth of the last sleeper to the first that wakes: the kernel is begun anew in between."""
APART = 0.1
"""Seconds between two that wake."""
CROWDS = (1, 10, 100)
TAKEOVERS = 3
OWNER = "owner"
KEY = b"the key of the chains of this benchmark"
ENDLESS = Limits(tokens=None, calls=None, seconds=None)


@kernos.tool(effects={"reads"})
async def look_up(word: str) -> str:
    """Look a word up."""
    return word


@kernos.tool(effects={"reads"})
async def linger(seconds: float) -> int:
    """Take some time. Returns in which operating system's process."""
    await asyncio.sleep(seconds)
    return os.getpid()


async def caller(process: kernos.Process, times: list[float]) -> Json:
    """Call a tool so often, with a checkpoint now and then; then wait for a message. Its first says how often."""
    count, mark = map(int, (process.state or await process.receive()).split())
    for number in range(1, count + 1):
        started = time.perf_counter()
        await process.invoke("look_up", word="kernos")
        times.append((time.perf_counter() - started) * 1e3)
        if number == mark:
            await process.checkpoint(f"{count - number} {mark}")
    return await process.receive()


async def sleeper(process: kernos.Process) -> Json:
    """Sleep until a message comes, or for so many seconds."""
    seconds = await process.receive()
    return await (process.receive() if seconds == "message" else process.sleep(float(seconds)))


async def worker(process: kernos.Process) -> Json:
    """Never idle, never done."""
    while True:
        await process.invoke("linger", seconds=0.02)


def kernel_on(
    url: str, durability: Durability, times: list[float] | None = None, hint: Callable[[str], None] | None = None
) -> Kernel:
    """A kernel with these programs. The milliseconds of a caller's calls are appended to `times`."""
    spent = times if times is not None else []
    programs: dict[str, Any] = {"caller": lambda process: caller(process, spent), "sleeper": sleeper, "worker": worker}

    def station(name: str) -> Station:
        grants = {tool: Grant(tool) for tool in ("look_up", "linger")}
        return Station(
            name, name, lambda snapshot: programs[name](kernos.Process(snapshot)), "none", grants, limits=ENDLESS
        )  # fmt: skip

    stations = {name: station(name) for name in programs}
    store, tools = SqlStore.open(url, durability), {"look_up": look_up, "linger": linger}
    return Kernel(
        store, SystemClock(), stations, {}, tools, key=KEY, hint=hint or (lambda pid: None), policy=CedarPolicy()
    )


async def overhead(url: str, durability: Durability) -> list[float]:
    """Milliseconds of each call."""
    times: list[float] = []
    kernel = kernel_on(url, durability, times)
    await kernel.tick(await kernel.spawn("caller", OWNER, f"{CALLS} 0"))
    await kernel.close()
    return times


async def resume(url: str, calls: int, mark: int) -> float:
    """Seconds of a turn for which a process has to be brought back."""
    kernel = kernel_on(url, "crash")
    pid = await kernel.spawn("caller", OWNER, f"{calls} {mark}")
    await kernel.tick(pid)
    await kernel.close()
    kernel = kernel_on(url, "power")
    await kernel.deliver(pid, "go on")
    started = time.perf_counter()
    status = await kernel.tick(pid)
    seconds = time.perf_counter() - started
    assert status.why == "done", status
    await kernel.close()
    return seconds


async def rate(url: str, crowd: int) -> float:
    """Calls per second of so many processes at once."""
    each = max(20, CALLS // crowd)
    kernel = kernel_on(url, "power")
    pids = [await kernel.spawn("caller", OWNER, f"{each} 0") for _ in range(crowd)]
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for pid in pids:
            group.create_task(kernel.tick(pid))
    seconds = time.perf_counter() - started
    await kernel.close()
    return crowd * each / seconds


async def lay(url: str, count: int) -> tuple[list[str], list[str]]:
    """Put so many to sleep, half until a message comes; then those who will wake. The pids of messages and timers that
    will be looked at."""
    kernel = kernel_on(url, "crash")

    async def some(texts: Iterator[str]) -> list[str]:
        pids = []
        for text in texts:
            pids.append(await kernel.spawn("sleeper", OWNER, text))
            await kernel.tick(pids[-1])
        return pids

    texts = iter(["message", "3600"] * (count // 2))
    async with asyncio.TaskGroup() as group:
        for _ in range(32):
            group.create_task(some(texts))
    messages = await some(iter(["message"] * WOKEN))
    timers = await some(str(HEAD_START + APART * number) for number in range(WOKEN))
    await kernel.close()
    return messages, timers


@dataclass(frozen=True)
class Woken:
    """What a kernel over sleepers came to: resident bytes, seconds to start, and milliseconds to wake one."""

    resident: int
    start: float
    messages: list[float]
    timers: list[float]


async def wake(url: str, messages: Sequence[str], timers: Sequence[str]) -> Woken:
    """Start a kernel and a dispatcher over those who sleep; send to some, and see when others woke."""
    ledger = Ledger(Journal(SqlStore.open(url), KEY))
    started, dispatcher = time.perf_counter(), LocalDispatcher()
    kernel = kernel_on(url, "power", hint=dispatcher.hint)
    serving = asyncio.create_task(dispatcher.serve(kernel))
    await kernel.due()
    start = time.perf_counter() - started
    first = (await ledger.records(timers[0]))[-1].body["until"]
    assert time.time() < first, "the first has overslept before anybody was there to wake it: HEAD_START is too short"
    told = [await answered(kernel, pid) for pid in messages]
    late = [await overslept(ledger, pid) for pid in timers]
    resident = in_memory()
    serving.cancel()
    await asyncio.wait([serving])
    await kernel.close()
    return Woken(resident, start, told, late)


def in_memory() -> int:
    """Resident bytes of this process of the operating system."""
    return int(Path("/proc/self/statm").read_text("utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def answered(kernel: Kernel, pid: str) -> float:
    """Milliseconds from a message to the exit of who waited for it."""
    async with kernel.events(pid) as events:
        started = time.perf_counter()
        await kernel.deliver(pid, "wake up")
        while (event := await events.get()).record is None or event.record.kind != "exit":
            pass
        return (time.perf_counter() - started) * 1e3


async def overslept(ledger: Ledger, pid: str) -> float:
    """Milliseconds from when a sleep was to end to the row that says so; waits for it."""
    while True:
        rows = await ledger.records(pid)
        if rows[-1].kind == "exit":
            break
        await asyncio.sleep(APART)
    asked, ended = (row for row in rows if row.body.get("call") == "sleep")
    return float(ended.at - asked.body["until"]) * 1e3


def sleepers(url: str, count: int) -> Woken:
    """Lay them, and wake some in a process of its own, so that only these are in its memory."""
    messages, timers = asyncio.run(lay(url, count))
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_woken, url, messages, timers).result()


def _woken(url: str, messages: list[str], timers: list[str]) -> Woken:
    return asyncio.run(wake(url, messages, timers))


def serve(url: str) -> None:
    """A worker beside others, until it is killed."""
    from kernos.drivers.dispatch.procrastinate import ProcrastinateDispatcher

    async def work() -> None:
        dispatcher = ProcrastinateDispatcher(url, SystemClock())
        await dispatcher.serve(kernel_on(url, "power", hint=dispatcher.hint))

    asyncio.run(work())


async def takeover(url: str) -> float:
    """Seconds from the death of a worker to the next row of the last of its processes."""
    kernel = kernel_on(url, "power")
    ledger = Ledger(Journal(SqlStore.open(url), KEY))
    crew = [get_context("spawn").Process(target=serve, args=(url,)) for _ in range(2)]
    for member in crew:
        member.start()
    held: dict[str, int] = {}
    while set(held.values()) != {member.pid for member in crew}:
        await kernel.spawn("worker", OWNER)
        await asyncio.sleep(0.5)
        held = {status.pid: await holder(ledger, status.pid) for status in await ledger.statuses()}
    crew[0].kill()
    killed = time.time()
    last = [await written(ledger, pid, killed) for pid, member in held.items() if member == crew[0].pid]
    crew[1].kill()
    await kernel.close()
    return max(last) - killed


async def holder(ledger: Ledger, pid: str) -> int:
    """In which worker a process has run last; 0 for none yet."""
    values = (row.body["value"] for row in reversed(await ledger.records(pid)) if row.kind == "outcome")
    return int(next(values, 0))


async def written(ledger: Ledger, pid: str, after: float) -> float:
    """When a process has written a row after that time; waits for it."""
    while True:
        times = [row.at for row in await ledger.records(pid) if row.at > after]
        if times:
            return times[0]
        await asyncio.sleep(0.05)


def costs(folder: Path, database: Callable[[str], str]) -> dict[str, list[float]]:
    """Milliseconds of calls and steps, ours and the peers', by figure."""
    measures: dict[str, Callable[[int], list[float]]] = {
        "sqlite": lambda n: asyncio.run(overhead(f"sqlite:///{folder}/power{n}.db", "power")),
        "sqlite_crash": lambda n: asyncio.run(overhead(f"sqlite:///{folder}/crash{n}.db", "crash")),
        "postgres": lambda n: asyncio.run(overhead(database(f"calls{n}"), "power")),
        "langgraph": lambda n: peers.steps("langgraph", f"{folder}/langgraph{n}.db", CALLS),
        "dbos": lambda n: peers.steps("dbos", f"sqlite:///{folder}/dbos{n}.sqlite", CALLS),
        "dbos_postgres": lambda n: peers.steps("dbos", database(f"dbos{n}"), CALLS),
    }
    times: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(ROUNDS):
        for name, measure in measures.items():
            times[name] += measure(number)[CALLS // 20 :]
    return times


def measured(folder: Path, database: Callable[[str], str]) -> dict[str, float]:
    """All figures."""
    figures: dict[str, float] = {}
    for name, times in costs(folder, database).items():
        figures |= {f"{name}_p50_ms": percentile(times, 50), f"{name}_p99_ms": percentile(times, 99)}
    for calls in BEHIND:
        for name, mark in (("", 0), ("_checkpoints", MARK)):
            url = f"sqlite:///{folder}/resume{calls}{name}.db"
            figures[f"resume_{calls}{name}_s"] = asyncio.run(resume(url, calls, mark))
    for crowd in CROWDS:
        figures[f"sqlite_{crowd}_calls_s"] = asyncio.run(rate(f"sqlite:///{folder}/crowd{crowd}.db", crowd))
        figures[f"postgres_{crowd}_calls_s"] = asyncio.run(rate(database(f"crowd{crowd}"), crowd))
    nobody, many = (sleepers(f"sqlite:///{folder}/asleep{count}.db", count) for count in (0, SLEEPERS))
    return figures | {
        "sleepers_wake_ms": percentile([*many.timers, *many.messages], 99),
        "sleepers_timer_p50_ms": percentile(many.timers, 50), "sleepers_timer_p99_ms": percentile(many.timers, 99),
        "sleepers_message_p50_ms": percentile(many.messages, 50),
        "sleepers_message_p99_ms": percentile(many.messages, 99),
        "sleepers_mb": (many.resident - nobody.resident) / 1e6,
        "sleepers_start_s": many.start, "sleepers_start_empty_s": nobody.start,
        "takeover_s": max(asyncio.run(takeover(database(f"takeover{number}"))) for number in range(TAKEOVERS)),
    }  # fmt: skip


def main() -> None:
    """Measure, print."""
    with tempfile.TemporaryDirectory() as name, cluster() as database:
        figures = {name: round(value, 3) for name, value in measured(Path(name), database).items()}

    def ms(name: str) -> str:
        return f"{figures[f'{name}_p50_ms']} / {figures[f'{name}_p99_ms']} ms"

    rows = [
        ("a call, p50 / p99: SQLite, power", ms("sqlite"), f"LangGraph {ms('langgraph')}, DBOS {ms('dbos')}"),
        ("SQLite, crash", ms("sqlite_crash"), ""),
        ("PostgreSQL", ms("postgres"), f"DBOS {ms('dbos_postgres')}"),
    ]
    for calls in BEHIND:
        plain, marked = figures[f"resume_{calls}_s"], figures[f"resume_{calls}_checkpoints_s"]
        rows.append((f"resume after {calls:,} calls", f"{plain} s", f"with checkpoints {marked} s"))
    for crowd in CROWDS:
        rates = [f"{figures[f'{kind}_{crowd}_calls_s']:,.0f}" for kind in ("sqlite", "postgres")]
        rows.append((f"calls per second of {crowd} processes", rates[0], f"PostgreSQL {rates[1]}"))
    rows += [
        (f"{SLEEPERS:,} sleepers: memory", f"{figures['sleepers_mb']} MB", ""),
        ("start", f"{figures['sleepers_start_s']} s", f"over none {figures['sleepers_start_empty_s']} s"),
        ("woken by the time, p50 / p99", ms("sleepers_timer"), "goal 100 ms"),
        ("woken by a message, p50 / p99", ms("sleepers_message"), "goal 100 ms"),
        ("takeover, the longest", f"{figures['takeover_s']} s", "goal 10 s"),
    ]
    show("Durable processes", ("what", "measured", "beside"), rows, figures)


if __name__ == "__main__":
    main()
