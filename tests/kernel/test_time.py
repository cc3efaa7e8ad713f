"""Time: a sleeper is a row until its time has come, and a clock that is set back confuses nobody."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from kernos.kernel.types import Json
from kernos.userland.lib import Process
from tests.support import HandClock, House, runs

START = HandClock().time


async def nap(process: Process) -> Json:
    before = await process.now()
    await process.sleep(60)
    return [before, await process.now()]


def sleeping() -> tuple[House, HandClock]:
    house, clock = House(runs(nap)), HandClock()
    house.clock = clock
    return house, clock


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
async def test_a_sleeper_wakes_when_its_time_has_come_and_not_before(restart: bool) -> None:
    house, clock = sleeping()
    async with house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert (status.phase, status.why, status.wake) == ("waiting", "timer", START + 60)
        clock.time = START + 59.999
        if restart:
            kernel = house.boot()
        due = await kernel.due()
        assert (due.pids, due.next) == ([], START + 60)
        assert await kernel.tick(pid) == status
        clock.time = START + 60
        assert (await kernel.due()).pids == [pid]
        assert (await kernel.tick(pid)).why == "done"
        assert (await house.rows(pid))[-1].body["result"] == [START, START + 60]


async def test_a_restart_does_not_make_a_sleep_any_longer() -> None:
    house, clock = sleeping()
    async with house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        clock.time = START + 45
        for _ in range(3):
            assert (await house.boot().tick(pid)).wake == START + 60
        assert sum(row.kind == "intent" for row in await house.rows(pid)) == 2


async def test_a_message_does_not_wake_a_sleeper() -> None:
    house, clock = sleeping()
    async with house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        await kernel.deliver(pid, "wake up")
        status = await kernel.tick(pid)
        assert (status.phase, status.why, status.wake) == ("waiting", "timer", START + 60)
        assert (await kernel.due()).pids == []
        clock.time = START + 61
        assert (await kernel.tick(pid)).why == "done"


@pytest.mark.parametrize("seconds", [0, -5, 0.0])
async def test_no_time_at_all_is_over_at_once(seconds: float) -> None:
    async def program(process: Process) -> None:
        await process.sleep(seconds)

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "done"


@pytest.mark.parametrize("seconds", [math.inf, math.nan])
async def test_a_time_that_is_no_number_fails_the_program_and_not_the_kernel(seconds: float) -> None:
    async def program(process: Process) -> None:
        await process.sleep(seconds)

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "failed"
        assert await house.faults() == []


async def test_a_clock_that_is_set_back_does_not_turn_the_rows_around() -> None:
    async def program(process: Process) -> Json:
        return [await process.receive(), await process.now(), await process.receive()]

    house, clock = House(runs(program)), HandClock()
    house.clock = clock
    async with house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        clock.time = START - 3_600
        await kernel.deliver(pid, "one")
        await kernel.tick(pid)
        kernel = house.boot()
        await kernel.deliver(pid, "two")
        assert (await kernel.tick(pid)).why == "done"
        rows = await house.rows(pid)
        assert all(before.at <= after.at for before, after in pairwise(rows))
        assert rows[-1].body["result"] == ["one", START - 3_600, "two"]
        assert await kernel.replay(pid) == 3
        assert await house.faults() == []


async def test_a_sleeper_sleeps_on_when_the_clock_is_set_back() -> None:
    house, clock = sleeping()
    async with house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        clock.time = START - 3_600
        kernel = house.boot()
        assert (await kernel.due()).next == START + 60
        assert (await kernel.tick(pid)).why == "timer"
        clock.time = START + 60
        assert (await kernel.tick(pid)).why == "done"


async def test_messages_posted_before_and_after_the_clock_was_set_back_keep_their_order() -> None:
    async def program(process: Process) -> Json:
        return [await process.receive(), await process.receive()]

    house, clock = House(runs(program)), HandClock()
    house.clock = clock
    async with house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "first")
        clock.time = START - 10
        await kernel.deliver(pid, "second")
        assert (await kernel.tick(pid)).why == "done"
        assert (await house.rows(pid))[-1].body["result"] == ["first", "second"]
