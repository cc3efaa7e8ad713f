"""I8: no engine slot stands idle while a runnable call that it could take waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.clock.fixed import FixedClock
from kernos.drivers.engine.scripted import ScriptedEngine, say
from kernos.kernel import limits
from kernos.kernel.errors import EngineDied
from kernos.kernel.ports import Prompt
from kernos.kernel.scheduler import Job, Scheduler
from kernos.kernel.types import Generation, Message, Status
from kernos.userland.lib import Process
from tests.support import CLERK, House, runs


class Gated(ScriptedEngine):
    """A scripted engine whose calls last until they are let go, in any order."""

    def __init__(self, slots: int) -> None:
        super().__init__(lambda _: say("x"), slots)
        self.gates: list[asyncio.Future[None]] = []

    @property
    def busy(self) -> int:
        return len(self.gates)

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        try:
            await gate
        finally:
            self.gates.remove(gate)
        return await super().generate(prompt, draft)


async def once(process: Process) -> None:
    """Asks the model once."""
    await process.generate([Message("user", "hello")])


async def settled() -> None:
    """Let everything that can run, run until it waits: a call passes fewer turns of the loop than these."""
    for _ in range(50):
        await asyncio.sleep(0)


@asynccontextmanager
async def crowd(house: House, size: int) -> AsyncIterator[list[asyncio.Task[Status]]]:
    """As many processes, each at its model call or waiting for it; whoever is still at it in the end is sent home."""
    kernel = house.boot()
    pids = [(await house.start(kernel))[1] for _ in range(size)]
    tasks = [asyncio.create_task(kernel.tick(pid)) for pid in pids]
    await settled()
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@given(slots=st.integers(1, 4), calls=st.integers(1, 9), data=st.data())
async def test_i8_with_calls_waiting_every_slot_is_busy(slots: int, calls: int, data: st.DataObject) -> None:
    engine = Gated(slots)
    async with House(runs(once), engine=engine) as house, crowd(house, calls) as tasks:
        for left in range(calls, 0, -1):
            assert engine.busy == min(slots, left)
            data.draw(st.sampled_from(engine.gates)).set_result(None)
            await settled()
        assert engine.busy == 0
        assert all(task.done() and not task.exception() for task in tasks)


@pytest.fixture(scope="module")
def without_pauses() -> Iterator[None]:
    """Whoever died is tried again at once, as often as it takes: it is a runnable call all the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "RETRY_SECONDS", 0.0)
        patch.setattr(limits, "BREAKER_FAILURES", 1_000_000)
        yield


@pytest.mark.usefixtures("without_pauses")
@given(slots=st.integers(1, 3), calls=st.integers(1, 8), data=st.data())
async def test_i8_calls_that_are_cancelled_or_die_leave_no_slot_idle(
    slots: int, calls: int, data: st.DataObject
) -> None:
    engine = Gated(slots)
    async with House(runs(once), engine=engine) as house, crowd(house, calls) as tasks:
        while unfinished := [task for task in tasks if not task.done()]:
            assert engine.busy == min(slots, len(unfinished))
            gate = data.draw(st.sampled_from(engine.gates))
            match data.draw(st.sampled_from(["done", "cancelled", "died"])):
                case "done":
                    gate.set_result(None)
                case "died":
                    gate.set_exception(EngineDied("gone"))
                case _:
                    data.draw(st.sampled_from(unfinished)).cancel()
            await settled()
        assert engine.busy == 0
        ends = {"cancelled" if task.cancelled() else type(task.exception()).__name__ for task in tasks}
        assert ends <= {"cancelled", "EngineDied", "NoneType"}


HELLO = Prompt((Message("user", "hello"),))


async def ask(scheduler: Scheduler, pid: str, engine: str) -> None:
    await scheduler.generate(Job(pid, "ada", engine, CLERK), HELLO, lambda text: None, lambda: None)


async def test_i8_first_come_first_served_among_equals() -> None:
    engine = Gated(slots=1)
    scheduler, served = Scheduler({"one": engine}, FixedClock()), list[int]()

    async def call(number: int) -> None:
        await ask(scheduler, f"p{number}", "one")
        served.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(call(number))
        for _ in range(8):
            await settled()
            engine.gates[0].set_result(None)
    assert served == list(range(8))


async def test_i8_a_full_engine_holds_up_no_other() -> None:
    full = Gated(slots=1)
    scheduler = Scheduler({"one": full, "two": ScriptedEngine(lambda _: say("x"))}, FixedClock())
    held = asyncio.ensure_future(ask(scheduler, "p", "one"))
    await settled()
    async with asyncio.timeout(5):
        await ask(scheduler, "q", "two")
    assert not held.done()
    full.gates[0].set_result(None)
    await held


async def test_i8_engines_of_one_role_share_the_calls_that_wait() -> None:
    one, other = Gated(slots=1), Gated(slots=2)
    scheduler = Scheduler({"one": one, "two": other}, FixedClock(), roles={"one": "main", "two": "main"})
    calls = [asyncio.ensure_future(ask(scheduler, f"p{place}", "main")) for place in range(5)]
    await settled()
    assert (one.busy, other.busy) == (1, 2)
    for gate in (*one.gates, *other.gates):
        gate.set_result(None)
    await settled()
    assert one.busy + other.busy == 2
    for gate in (*one.gates, *other.gates):
        gate.set_result(None)
    await asyncio.wait(calls)


async def test_i8_the_time_in_the_queue_is_measured_and_recorded() -> None:
    engine = Gated(slots=1)
    async with House(runs(once), engine=engine) as house, crowd(house, 2) as tasks:
        for _ in range(1000):
            house.clock.now()  # each reading moves the clock by a millisecond
        for _ in tasks:
            engine.gates[0].set_result(None)
            await settled()
        queued = [row.body["cost"]["queued"] for status in await house.store.statuses()
                  for row in await house.rows(status.pid) if row.kind == "outcome"]  # fmt: skip
        assert queued[0] < 0.1
        assert queued[1] == pytest.approx(1, abs=0.1)


async def test_i8_a_slot_is_free_while_its_process_waits_for_a_person() -> None:
    async def program(process: Process) -> None:
        await once(process)
        await process.ask("well?")

    engine = Gated(slots=1)
    async with House(runs(program), engine=engine) as house, crowd(house, 2) as tasks:
        for _ in tasks:
            assert engine.busy == 1
            engine.gates[0].set_result(None)
            await settled()
        assert [task.done() for task in tasks] == [True, True]
        assert {status.why for status in await house.store.statuses()} == {"person"}
