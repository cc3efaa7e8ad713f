"""One run of a load: every program makes its calls one after the other, and what came of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from benchmarks.scheduling.loads import PREFIX, Call, Program
from benchmarks.table import percentile
from kernos.drivers.clock.system import SystemClock
from kernos.kernel.ports import Clock, Engine, Prompt, SlotEngine
from kernos.kernel.scheduler import Job, Scheduler
from kernos.kernel.scheduler.history import History
from kernos.kernel.types import REPLY, Action, Message

_WORDS = (
    "time year people way day man thing woman life child world school state family student group country problem hand "
    "part place case week company system program question work government number night point home water room mother "
    "area money story fact month lot right study book eye job word business issue side kind head house service friend "
    "father power hour game line end member law car city community name president team minute idea body information"
).split()


def words(count: int, seed: str) -> str:
    """Text of about so many tokens: common words are one each."""
    dice = random.Random(seed)
    return " ".join(dice.choice(_WORDS) for _ in range(count))


SYSTEM = words(PREFIX - 10, "the shared beginning")


@dataclass
class Result:
    """What came of a run: per program the seconds from arrival to end, per call those to its first token, and what the
    engine computed."""

    completion: dict[str, float] = field(default_factory=dict)
    first: dict[str, list[float]] = field(default_factory=dict)
    prompt_tokens: int = 0
    generated: int = 0
    seconds: float = 0.0
    least: int = 0
    """The prompt tokens that had to be computed at least: each once, the shared beginning once for all, and the last
    token of an answer when its conversation goes on."""

    @property
    def rate(self) -> float:
        """Generated tokens a second."""
        return self.generated / self.seconds

    def mean(self, kind: str = "") -> float:
        """Mean completion, of one kind or of all, in seconds."""
        return fmean(self.of(kind))

    def of(self, kind: str) -> list[float]:
        return [seconds for name, seconds in self.completion.items() if name.startswith(kind)]

    def row(self, kind: str) -> list[str]:
        """Mean, p50, p99 and the first token's mean and p99, in seconds."""
        done = self.of(kind)
        first = [seconds for name, each in self.first.items() if name.startswith(kind) for seconds in each]
        figures = [fmean(done), percentile(done, 50), percentile(done, 99), fmean(first), percentile(first, 99)]
        return [f"{figure:.1f}" for figure in figures]


Ask = Callable[[Program, Sequence[Message], Call, Callable[[], None]], Awaitable[str]]
"""Makes one call of a program in its context; `began` is to be called at the first token. Returns what was said."""


async def run(load: Sequence[Program], ask: Ask, over: Callable[[Program], None] = lambda program: None) -> Result:
    """Run a load."""
    loop, result = asyncio.get_running_loop(), Result()
    start = loop.time()

    async def live(program: Program) -> None:
        await asyncio.sleep(start + program.arrives - loop.time())
        came = loop.time()
        messages = [Message("system", SYSTEM)]
        for place, call in enumerate(program.calls):
            messages.append(Message("user", words(call.new - 6, f"{program.name}/{place}")))
            asked = loop.time()

            def began(asked: float = asked) -> None:
                result.first.setdefault(program.name, []).append(loop.time() - asked)

            said = await ask(program, messages, call, began)
            messages.append(Message("assistant", action=Action(REPLY, {"text": said})))
            if place < len(program.calls) - 1:
                await asyncio.sleep(call.tool)
        result.completion[program.name] = loop.time() - came
        over(program)

    async with asyncio.TaskGroup() as group:
        for program in load:
            group.create_task(live(program))
    result.seconds = loop.time() - start
    return result


class Known(History):
    """A history that knows the load: the oracle. `prefill` and `decode` are prompt and generated tokens a second."""

    def __init__(self, load: Sequence[Program], prefill: float, decode: float) -> None:
        super().__init__()
        self._load = {program.name: program for program in load}
        self._prefill, self._decode = prefill, decode

    def rest(self, pid: str) -> float:
        task = self.task(pid)
        left = self._load[pid].calls[task.calls :] if task and pid in self._load else ()
        whole = sum(call.new / self._prefill + call.generated / self._decode for call in left)
        return max(0.05, whole - (task.now if task else 0.0))


class Kernos:
    """A load through the kernel's scheduler. `history` is what earlier runs have taught."""

    def __init__(self, engine: Engine | SlotEngine, history: History | None = None, clock: Clock | None = None) -> None:
        self.scheduler = Scheduler({"local": engine}, clock or SystemClock(), history=history)
        self.computed = self.generated = self._calls = 0
        self._written: dict[str, int] = {}
        self._needed: dict[str, int] = {}

    async def ask(self, program: Program, messages: Sequence[Message], call: Call, began: Callable[[], None]) -> str:
        heard = False

        def draft(text: str) -> None:
            nonlocal heard
            if not heard:
                heard = True
                began()

        prompt = Prompt(tuple(messages), max_tokens=call.generated, options={"ignore_eos": True})
        job = Job(program.name, "owner", "local", program.kind)
        generation = await self.scheduler.generate(job, prompt, draft, lambda: None)
        before = self._written.get(program.name, 0)
        self._needed[program.name] = generation.prompt - before
        self._written[program.name] = before + generation.completion
        self.computed += generation.prompt - generation.cached
        self.generated += generation.completion
        self._calls += 1
        return generation.action.text

    def least(self) -> int:
        """See `Result.least`."""
        return sum(self._needed.values()) - (len(self._needed) - 1) * PREFIX + self._calls - len(self._needed)

    def over(self, program: Program) -> None:
        self.scheduler.ended(program.name, gone=True)
