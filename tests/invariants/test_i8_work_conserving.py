"""I8: no engine slot stands idle while a runnable call that it could take waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.clock.fixed import FixedClock
from kernos.drivers.engine.scripted import ScriptedEngine, say
from kernos.kernel.errors import EngineDied
from kernos.kernel.ports import Prompt
from kernos.kernel.scheduler import Scheduler
from kernos.kernel.types import Generation, Message, Status
from kernos.userland.lib import Process
from tests.support import House, runs


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


async def test_i8_first_come_first_served() -> None:
    scheduler = Scheduler({"one": ScriptedEngine([], slots=1)}, FixedClock())
    served: list[int] = []

    async def call(number: int) -> None:
        async with scheduler.slot("one"):
            served.append(number)
            await settled()

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(call(number))
    assert served == list(range(8))


async def test_i8_a_full_engine_holds_up_no_other() -> None:
    scheduler = Scheduler({"one": ScriptedEngine([]), "two": ScriptedEngine([])}, FixedClock())
    async with scheduler.slot("one"), asyncio.timeout(5), scheduler.slot("two") as (engine, _):
        assert engine.slots == 1


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
