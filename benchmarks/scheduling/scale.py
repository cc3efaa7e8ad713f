"""Eight GPU engines and ten thousand programs, simulated over the scheduler that ships.

    python -m benchmarks.scheduling.scale [--seed N] [--programs N]

The engines batch by themselves, as vLLM does: of the time of a decoding step Splitwise (Patel et al., ISCA 2024)
reports that it doubles from one request to 64; prompts are computed at some 10,000 tokens a second. Programs of three
kinds arrive in the gaps of Azure's trace of conversations, at 1.6 times what the engines can bear: conversations
of one to three calls, coding agents of five to fifteen (lengths from the two traces), and batch work of forty.
(a) is a gateway that sends each program to one engine, which serves first come, first served; (b) Kernos without
history; (c) Kernos with the history of a run with another seed; (d) Kernos knowing every length. Then the time of one
decision at 100 to 100,000 calls that wait: a call comes, and the first is taken.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean

from benchmarks.scheduling import virtual
from benchmarks.scheduling.loads import Call, Program, recorded
from benchmarks.scheduling.runs import Known, Result
from benchmarks.table import percentile, show
from kernos.kernel.ports import Prompt
from kernos.kernel.scheduler import Job, Scheduler
from kernos.kernel.scheduler.history import History
from kernos.kernel.scheduler.waiting import Queue, Waiting
from kernos.kernel.types import REPLY, Action, Generation

ENGINES, MOST = 8, 64
STEP, STEP_AT_MOST = 0.028, 0.056
"""Seconds of a decoding step alone and with 64 requests."""
PREFILL = 10_000.0
CACHE = 400_000
"""Tokens whose keys and values an engine keeps."""
LOAD = 1.6
TOGETHER = 16
"""So many steps are taken together, so that the simulation is not all steps."""
QUEUED = (100, 1_000, 10_000, 100_000)


class Virtual:
    """The clock of the simulation."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    monotonic = now

    def random(self) -> float:
        return 0.5

    def name(self) -> str:
        return "nobody"


class Gpu:
    """One engine. Its requests share its steps; prompts are computed one after the other, beside them."""

    slots = MOST

    def __init__(self) -> None:
        self.prompt_tokens = self.generated = 0
        self._cache: OrderedDict[str, int] = OrderedDict()
        self._kept = self._running = 0
        self._prefill = asyncio.Lock()

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        """A request of `options["whole"]` prompt tokens."""
        whole, loop = int(prompt.options["whole"]), asyncio.get_running_loop()
        began, cached = loop.time(), min(self._take(prompt.context), whole)
        self._running += 1
        try:
            async with self._prefill:
                await asyncio.sleep((whole - cached) / PREFILL)
            draft("x")
            for done in range(0, prompt.max_tokens, TOGETHER):
                step = STEP + (STEP_AT_MOST - STEP) * (self._running - 1) / (MOST - 1)
                await asyncio.sleep(min(TOGETHER, prompt.max_tokens - done) * step)
        finally:
            self._running -= 1
        self._keep(prompt.context, whole + prompt.max_tokens)
        self.prompt_tokens += whole - cached
        self.generated += prompt.max_tokens
        action = Action(REPLY, {"text": "x"})
        return Generation(action, whole, cached, prompt.max_tokens, loop.time() - began)

    def _take(self, context: str) -> int:
        held = self._cache.pop(context, 0)
        self._kept -= held
        return held

    def _keep(self, context: str, tokens: int) -> None:
        self._take(context)
        self._cache[context] = tokens
        self._kept += tokens
        while self._kept > CACHE:
            self._kept -= self._cache.popitem(last=False)[1]

    async def close(self) -> None:
        """Nothing to let go of."""


def programs(seed: int, count: int) -> list[Program]:
    """The load."""
    dice, conv, code = random.Random(seed), recorded("conv"), recorded("code")
    start = dice.randrange(len(conv))
    made = []
    for place in range(count):
        kind = dice.choices(("chat", "agent", "batch"), (70, 25, 5))[0]
        least, most = {"chat": (1, 3), "agent": (5, 15), "batch": (40, 40)}[kind]
        rows = dice.choices(code if kind == "agent" else conv, k=dice.randint(least, most))
        calls = [
            Call(row.context if not number else min(row.context, 400), max(1, row.generated), dice.uniform(0.2, 2.0))
            for number, row in enumerate(rows)
        ]
        gap = max(0.0, conv[(start + place + 1) % len(conv)].at - conv[(start + place) % len(conv)].at)
        made.append(Program(f"{kind}{place}", kind, gap, calls))
    needs = sum(sum(call.generated for call in program.calls) for program in made) * STEP_AT_MOST / MOST / ENGINES
    stretch = needs / LOAD / sum(program.arrives for program in made)
    at, arrived = 0.0, []
    for program in made:
        at += program.arrives * stretch
        arrived.append(replace(program, arrives=at))
    return arrived


class Gateway:
    """Each program's calls go to one engine, first come, first served."""

    def __init__(self, engines: Sequence[Gpu]) -> None:
        self._lines = [(engine, asyncio.Semaphore(MOST)) for engine in engines]
        self._sent: dict[str, int] = {}

    async def generate(self, program: Program, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        engine, room = self._lines[self._sent.setdefault(program.name, len(self._sent) % ENGINES)]
        async with room:
            return await engine.generate(prompt, draft)

    def over(self, program: Program) -> None:
        """Nothing to learn."""


class Kernos:
    """The scheduler that ships, with all engines in one role."""

    def __init__(self, engines: Sequence[Gpu], history: History) -> None:
        named = {f"gpu{place}": engine for place, engine in enumerate(engines)}
        self._scheduler = Scheduler(named, Virtual(), roles=dict.fromkeys(named, "gpu"), history=history)

    async def generate(self, program: Program, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        job = Job(program.name, "owner", "gpu", program.kind)
        return await self._scheduler.generate(job, prompt, draft, lambda: None)

    def over(self, program: Program) -> None:
        self._scheduler.ended(program.name, gone=True)


def _mark(drafted: list[float], text: str) -> None:
    drafted.append(asyncio.get_running_loop().time())


def simulate(load: Sequence[Program], history: History | None) -> Result:
    """One run: through Kernos with this history, or through the gateway."""

    async def main() -> Result:
        engines = [Gpu() for _ in range(ENGINES)]
        way = Kernos(engines, history) if history is not None else Gateway(engines)
        result, loop = Result(), asyncio.get_running_loop()

        async def live(program: Program) -> None:
            await asyncio.sleep(program.arrives)
            whole = 0
            for call in program.calls:
                whole, asked = whole + call.new, loop.time()
                prompt = Prompt((), max_tokens=call.generated, options={"whole": whole}, context=program.name)
                drafted = list[float]()
                await way.generate(program, prompt, partial(_mark, drafted))
                result.first.setdefault(program.name, []).append(drafted[0] - asked)
                whole += call.generated
                await asyncio.sleep(call.tool)
            result.completion[program.name] = loop.time() - program.arrives
            way.over(program)

        async with asyncio.TaskGroup() as group:
            for program in load:
                group.create_task(live(program))
        result.seconds = loop.time()
        result.prompt_tokens = sum(engine.prompt_tokens for engine in engines)
        result.generated = sum(engine.generated for engine in engines)
        return result

    done: Result = virtual.run(main())
    return done


def decision_us(waiting: int) -> float:
    """Microseconds of one decision of the queue with so many calls waiting, of a thousand owners."""
    dice, queue = random.Random(waiting), Queue()
    owners = [f"owner{place}" for place in range(1_000)]
    calls = [Waiting(str(place), owners[place % 1_000], 100, dice.random() * 1e3) for place in range(waiting + 2_000)]
    for call in calls[:waiting]:
        queue.push(call)
    began = time.perf_counter()
    for call in calls[waiting:]:
        queue.push(call)
        taken = queue.pop()
        assert taken is not None
        queue.over(taken, 0.01)
    return (time.perf_counter() - began) / 2_000 * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--programs", type=int, default=10_000)
    given = parser.parse_args()
    load = programs(given.seed, given.programs)
    learnt = History()
    simulate(programs(given.seed + 1, given.programs // 4), learnt)
    runs = {"a gateway": simulate(load, None), "b cold": simulate(load, History()), "c history": simulate(load, learnt),
            "d oracle": simulate(load, Known(load, PREFILL, 1 / STEP_AT_MOST))}  # fmt: skip
    kinds = ("chat", "agent", "batch", "")
    rows = [
        [name, *(f"{fmean(run.of(kind)):.1f}" for kind in kinds), f"{percentile(run.of('chat'), 99):.1f}",
         f"{fmean(first for each in run.first.values() for first in each):.2f}",
         f"{run.prompt_tokens / 1e6:.1f}M", f"{run.generated / run.seconds:.0f}"]
        for name, run in runs.items()
    ]  # fmt: skip
    a, b, c, d = runs.values()
    times = {waiting: decision_us(waiting) for waiting in QUEUED}
    figures = {
        **{kind or "all": round(a.mean(kind) / c.mean(kind), 2) for kind in kinds},
        **{f"{kind or 'all'}_cold": round(a.mean(kind) / b.mean(kind), 2) for kind in kinds},
        "prompt_tokens": round(c.prompt_tokens / a.prompt_tokens, 3),
        "throughput": round(c.generated / c.seconds / (a.generated / a.seconds), 2),
        "to_oracle": round(c.mean() / d.mean(), 3),
        **{f"decision_us_{waiting}": round(spent, 1) for waiting, spent in times.items()},
    }  # fmt: skip
    columns = ("run", *(f"{kind or 'all'} s" for kind in kinds), "chat p99", "first token s", "prompt", "tokens/s")
    show(f"{given.programs} programs on {ENGINES} engines (simulated)", columns, rows, figures)


if __name__ == "__main__":
    main()
