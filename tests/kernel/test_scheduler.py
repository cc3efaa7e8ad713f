"""What becomes of calls when engines fail, and which engine of a role serves whom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from kernos.drivers.clock.fixed import FixedClock
from kernos.drivers.engine.scripted import ScriptedEngine, say
from kernos.kernel import limits
from kernos.kernel.errors import EngineBusy, EngineDied, EngineError, NotFound
from kernos.kernel.ports import Prompt
from kernos.kernel.scheduler import Job, Scheduler
from kernos.kernel.types import Generation, Message
from tests.invariants.test_i8_work_conserving import settled


class Failing(ScriptedEngine):
    """An engine that fails so many times, in this way, before it answers; while its `gate` is closed it does not."""

    def __init__(self, times: int, error: EngineError, slots: int = 4) -> None:
        super().__init__(lambda _: say("x"), slots)
        self.times, self.error, self.calls = times, error, list[str]()
        self.gate = asyncio.Event()
        self.gate.set()

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        self.calls.append(prompt.context)
        if self.times:
            self.times -= 1
            raise self.error
        await self.gate.wait()
        return await super().generate(prompt, draft)


class Slept:
    """Stands in for the sleep of the event loop: nobody waits, and how long is known."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []
        self._sleep = asyncio.sleep
        patch.setattr(asyncio, "sleep", self._slept)

    async def _slept(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await self._sleep(0)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> Slept:
    return Slept(monkeypatch)


async def ask(scheduler: Scheduler, engine: str = "one", pid: str = "p") -> Generation:
    prompt = Prompt((Message("user", "hello"),), context=pid)
    return await scheduler.generate(Job(pid, "ada", engine, "clerk"), prompt, lambda text: None, lambda: None)


async def test_a_busy_engine_is_asked_again_when_it_said(slept: Slept) -> None:
    engine = Failing(1, EngineBusy("busy", after=7.0))
    generation = await ask(Scheduler({"one": engine}, FixedClock()))
    assert slept.seconds == [7.0]
    assert generation.attempts == 2


async def test_nobody_waits_longer_than_a_minute_whatever_a_server_says(slept: Slept) -> None:
    await ask(Scheduler({"one": Failing(1, EngineBusy("busy", after=86_400.0))}, FixedClock()))
    assert slept.seconds == [limits.RETRY_MOST_SECONDS]


async def test_pauses_grow_and_are_never_the_same_for_all(slept: Slept, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, chances = FixedClock(), iter([0.0, 0.5, 1.0])
    monkeypatch.setattr(clock, "random", lambda: next(chances))
    await ask(Scheduler({"one": Failing(3, EngineDied("gone"))}, clock))
    base = limits.RETRY_SECONDS
    assert slept.seconds == pytest.approx([base * 2 * 0.5, base * 4 * 1.0, base * 8 * 1.5])


@pytest.mark.usefixtures("slept")
async def test_a_call_that_keeps_failing_fails() -> None:
    engine = Failing(99, EngineDied("gone"))
    with pytest.raises(EngineDied, match="gone"):
        await ask(Scheduler({"one": engine}, FixedClock()))
    assert len(engine.calls) == limits.ENGINE_ATTEMPTS


async def test_a_fault_of_the_call_itself_is_not_tried_again() -> None:
    engine = Failing(1, EngineError("refused: no such model"))
    with pytest.raises(EngineError, match="refused"):
        await ask(Scheduler({"one": engine}, FixedClock()))
    assert len(engine.calls) == 1


async def test_another_engine_of_the_role_takes_over_at_once(slept: Slept) -> None:
    dead, well = Failing(99, EngineDied("gone")), Failing(0, EngineDied(""))
    scheduler = Scheduler({"dead": dead, "well": well}, FixedClock(), roles={"dead": "main", "well": "main"})
    for place in range(5):
        await ask(scheduler, "main", f"p{place}")
    assert (len(well.calls), len(dead.calls)) == (5, 1)
    assert slept.seconds == [0.0]


async def broken(clock: FixedClock) -> tuple[Failing, Scheduler]:
    """An engine that has failed until it is left alone."""
    engine = Failing(limits.BREAKER_FAILURES, EngineDied("gone"))
    scheduler = Scheduler({"one": engine}, clock)
    with pytest.raises(EngineDied):
        await ask(scheduler)
    with pytest.raises(EngineError):
        await ask(scheduler)
    assert not engine.times
    return engine, scheduler


@pytest.mark.usefixtures("slept")
async def test_an_engine_that_fails_again_and_again_is_left_alone_for_a_while() -> None:
    clock = FixedClock(tick=0.0)
    engine, scheduler = await broken(clock)
    before = len(engine.calls)
    with pytest.raises(EngineError, match=r"gone \(it is not asked again for 2 s\)"):
        await ask(scheduler)
    assert len(engine.calls) == before
    assert [view.up for view in scheduler.view().engines] == [False]


@pytest.mark.usefixtures("slept")
async def test_after_that_while_one_call_tries_and_when_it_is_answered_all_may_again() -> None:
    clock = FixedClock()
    engine, scheduler = await broken(clock)
    for _ in range(int(limits.BREAKER_SECONDS * 1_000)):
        clock.now()  # each reading moves the clock by a millisecond
    engine.calls.clear()
    engine.gate.clear()
    calls = [asyncio.ensure_future(ask(scheduler, pid=pid)) for pid in "pqr"]
    await settled()
    assert engine.calls == ["p"]
    engine.gate.set()
    await asyncio.wait(calls)
    assert engine.calls == ["p", "q", "r"]
    assert [view.up for view in scheduler.view().engines] == [True]


async def test_a_process_stays_with_the_engine_that_has_its_prefix() -> None:
    engines = {name: Failing(0, EngineDied(""), slots=1) for name in "abc"}
    scheduler = Scheduler(engines, FixedClock(), roles=dict.fromkeys(engines, "main"))
    for engine in engines.values():
        engine.gate.clear()
    calls = [asyncio.ensure_future(ask(scheduler, "main", pid)) for pid in "pqr"]
    await settled()
    for engine in engines.values():
        engine.gate.set()
    await asyncio.wait(calls)
    for pid in "rqp":
        await ask(scheduler, "main", pid)
    assert [engine.calls for engine in engines.values()] == [["p", "p"], ["q", "q"], ["r", "r"]]


async def test_an_engine_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFound, match="'two'; expected one"):
        await ask(Scheduler({"one": ScriptedEngine([])}, FixedClock()), "two")
