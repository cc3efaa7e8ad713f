"""Many agents, few slots: what it costs to go from one to another. Real llama.cpp (SmolLM2); about ten minutes.

    python -m benchmarks.scheduling.switching

6, 24 and 96 agents take turns on two slots, each with a context of 1,500 tokens, of which they share 1,300; each has
two turns of 20 new tokens and 4 generated ones. The first token of such a turn is compared with computing the context
again. Swapping out and in is timed by itself.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import fmean

from benchmarks.scheduling.engines import SMOLLM, model
from benchmarks.scheduling.runs import words
from benchmarks.table import percentile, show
from kernos.drivers.clock.system import SystemClock
from kernos.drivers.engine.embedded import EmbeddedEngine
from kernos.kernel.ports import Prompt
from kernos.kernel.scheduler import Job, Scheduler
from kernos.kernel.types import Message

CROWDS = (6, 24, 96)
SHARED, OWN, NEW = 1_300, 200, 20
AGAIN = 3
"""So many contexts are computed from nothing, to compare."""


class Timed(EmbeddedEngine):
    """The embedded engine with its swaps timed, in milliseconds."""

    out: list[float]
    back: list[float]

    async def save(self, slot: int, name: str) -> None:
        started = time.perf_counter()
        await super().save(slot, name)
        self.out.append((time.perf_counter() - started) * 1e3)

    async def restore(self, slot: int, name: str) -> bool:
        started = time.perf_counter()
        found = await super().restore(slot, name)
        self.back.append((time.perf_counter() - started) * 1e3)
        return found


class Agent:
    """One agent and its conversation."""

    def __init__(self, number: int) -> None:
        self.pid = f"agent{number}"
        self.messages = [Message("system", words(SHARED, "shared")), Message("user", words(OWN, self.pid))]

    async def turn(self, scheduler: Scheduler) -> float:
        """One turn; seconds to its first token."""
        started, first = time.perf_counter(), list[float]()

        def took(text: str) -> None:
            first.append(time.perf_counter() - started)

        prompt = Prompt(tuple(self.messages), max_tokens=4, options={"ignore_eos": True})
        generation = await scheduler.generate(Job(self.pid, "owner", "local", "agent"), prompt, took, lambda: None)
        self.messages += [Message("assistant", action=generation.action), Message("user", words(NEW, self.pid))]
        return first[0]


async def crowd(size: int) -> tuple[list[float], Timed, float]:
    """Seconds to the first token of each turn; the engine with its times; gigabytes on disk."""
    engine = Timed(model, context=2_048, slots=2)
    engine.out, engine.back = [], []
    scheduler, agents = Scheduler({"local": engine}, SystemClock()), [Agent(number) for number in range(size)]
    try:
        for agent in agents:
            await agent.turn(scheduler)
        engine.out, engine.back = [], []
        times = [await agent.turn(scheduler) for _ in range(2) for agent in agents]
        return times, engine, _saved() / 1e9
    finally:
        await engine.close()


def _saved() -> int:
    """Bytes of saved states on disk."""
    folders = Path(tempfile.gettempdir()).glob("kernos-states-*")
    return sum(file.stat().st_size for folder in folders for file in folder.iterdir())


async def recompute() -> list[float]:
    """Seconds to the first token when the whole context has to be computed."""
    times = []
    for number in range(AGAIN):
        engine = EmbeddedEngine(model, context=2_048, slots=2)
        try:
            await engine.start()
            times.append(await Agent(number).turn(Scheduler({"local": engine}, SystemClock())))
        finally:
            await engine.close()
    return times


async def measure() -> None:
    again = fmean(await recompute())
    rows, figures = [], dict[str, float]()
    for size in CROWDS:
        times, engine, disk = await crowd(size)
        out, back = fmean(engine.out), fmean(engine.back)
        rows.append([size, f"{fmean(times):.2f}", f"{percentile(times, 99):.2f}", f"{again:.1f}",
                     f"{again / fmean(times):.0f}", f"{out:.0f}", f"{back:.0f}", f"{disk:.2f}"])  # fmt: skip
        figures |= {
            f"sooner_{size}": round(again / fmean(times), 1),
            f"swap_ms_{size}": round(out + back, 1),
            f"swap_cheaper_{size}": round(again * 1e3 / (out + back)),
            f"disk_gb_{size}": round(disk, 2),
        }
        print(f"{size} agents done", flush=True)
    columns = ("agents", "first token s", "p99", "recompute s", "times sooner", "swap out ms", "swap in ms", "disk GB")
    show(f"Agents taking turns on two slots ({SMOLLM})", columns, rows, figures)


if __name__ == "__main__":
    asyncio.run(measure())
