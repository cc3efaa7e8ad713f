"""A short call that comes in the middle of a long prefill. Real llama.cpp (SmolLM2); about two minutes.

    python -m benchmarks.scheduling.preemption

One call with a prompt of 1,800 tokens; a third of the way through, a call of 30 tokens that writes 8. Through Kernos,
where the long call gives way, and through llama-server by itself.
"""

from __future__ import annotations

import asyncio
import time
from statistics import fmean

from benchmarks.scheduling.engines import alone, embedded
from benchmarks.scheduling.loads import Call, Program
from benchmarks.scheduling.runs import words
from benchmarks.table import show
from kernos.drivers.clock.system import SystemClock
from kernos.kernel.ports import Prompt
from kernos.kernel.scheduler import Job, Scheduler
from kernos.kernel.scheduler.history import History
from kernos.kernel.types import Generation, Message

LONG, SHORT, WRITES = 1_800, 30, 8
ROUNDS = 3
HEAD_START = 3.0
"""Seconds after which the short call comes."""
_LONG, _SHORT = Program("long", "long", 0.0, ()), Program("short", "short", 0.0, ())


def asked(tokens: int, name: str) -> list[Message]:
    return [Message("user", words(tokens, name))]


def taught() -> History:
    """The kinds are known: one is long, the other short."""
    history = History()
    for _ in range(3):
        history.learn("long", [20.0])
        history.learn("short", [0.5])
    return history


async def kernos_round(number: int) -> tuple[float, float, Generation]:
    """Seconds of the short call, and of the long one; and what came of that."""
    engine = embedded()
    scheduler = Scheduler({"local": engine}, SystemClock(), history=taught())

    async def call(kind: str, tokens: int, writes: int) -> tuple[float, Generation]:
        started = time.perf_counter()
        prompt = Prompt(tuple(asked(tokens, f"{kind}{number}")), max_tokens=writes, options={"ignore_eos": True})
        job = Job(kind, "owner", "local", kind)
        generation = await scheduler.generate(job, prompt, lambda text: None, lambda: None)
        return time.perf_counter() - started, generation

    try:
        await engine.start()
        long = asyncio.ensure_future(call("long", LONG, WRITES))
        await asyncio.sleep(HEAD_START)
        short, _ = await call("short", SHORT, WRITES)
        seconds, generation = await long
        return short, seconds, generation
    finally:
        await engine.close()


async def alone_round(number: int) -> tuple[float, float]:
    """The same of llama-server by itself."""
    async with alone() as server:

        async def call(program: Program, tokens: int) -> float:
            started = time.perf_counter()
            made = Call(tokens, WRITES, 0.0)
            await server.ask(program, asked(tokens, f"{program.name}{number}"), made, lambda: None)
            return time.perf_counter() - started

        long = asyncio.ensure_future(call(_LONG, LONG))
        await asyncio.sleep(HEAD_START)
        return await call(_SHORT, SHORT), await long


async def measure() -> None:
    ours = [await kernos_round(number) for number in range(ROUNDS)]
    theirs = [await alone_round(number) for number in range(ROUNDS)]
    rows = [
        ["Kernos", f"{fmean(short for short, _, _ in ours):.2f}", f"{max(short for short, _, _ in ours):.2f}",
         f"{fmean(long for _, long, _ in ours):.1f}"],
        ["llama-server", f"{fmean(short for short, _ in theirs):.2f}", f"{max(short for short, _ in theirs):.2f}",
         f"{fmean(long for _, long in theirs):.1f}"],
    ]  # fmt: skip
    figures = {
        "short_s": round(fmean(short for short, _, _ in ours), 2),
        "short_alone_s": round(fmean(short for short, _ in theirs), 2),
        "long_s": round(fmean(long for _, long, _ in ours), 2),
        "long_alone_s": round(fmean(long for _, long in theirs), 2),
        "computed_again": max(generation.prompt - generation.cached for _, _, generation in ours) - LONG,
    }
    show("A short call in the middle of a prefill", ("engine", "short s", "at most", "long s"), rows, figures)


if __name__ == "__main__":
    asyncio.run(measure())
