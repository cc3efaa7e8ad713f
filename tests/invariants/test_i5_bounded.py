"""I5: no process passes its limits; it is told so, and ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.engine.scripted import say
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.errors import LimitExceeded
from kernos.kernel.limits import Limits, Usage, check
from kernos.kernel.types import Message, Record
from kernos.userland.lib import Process
from tests.support import House, World, runs

LONG = 500
"""More often than any limit here allows."""
TEXT = [Message("user", "one two three four")]


async def forever(process: Process) -> None:
    """Asks the model and a tool, until it is stopped; if it is not, its test fails."""
    for _ in range(LONG):
        await process.generate(TEXT)
        await process.invoke("note", text="tea")


def error(rows: list[Record]) -> str:
    return str(rows[-1].body["error"])


@pytest.mark.parametrize(
    ("limits", "name"),
    [(Limits(tokens=20), "tokens"), (Limits(calls=7), "calls"), (Limits(seconds=0.01), "seconds")],
)
async def test_i5_a_process_that_used_up_a_limit_ends_and_says_which(limits: Limits, name: str) -> None:
    world = World()
    async with House(runs(forever, world.tools, limits=limits), world.tools, lambda _: say("x")) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert (status.phase, status.why) == ("exited", "limit")
        assert error(list(await house.rows(pid))).startswith(f"limit reached: {name}: ")


@given(st.integers(0, 12))
async def test_i5_exactly_as_many_calls_are_made_as_are_allowed(calls: int) -> None:
    world = World()
    station = runs(forever, world.tools, limits=Limits(calls=calls))
    async with House(station, world.tools, lambda _: say("x")) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert status.calls == calls == len(house.model.prompts) + len(world.done)


@given(st.integers(1, 60))
async def test_i5_no_model_is_asked_once_the_tokens_are_used_up(tokens: int) -> None:
    async def talk(process: Process) -> None:
        for _ in range(LONG):
            await process.generate(TEXT)

    async with House(runs(talk, limits=Limits(tokens=tokens)), script=lambda _: say("x")) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert status.tokens - 5 < tokens <= status.tokens  # five tokens a call: the last may pass the limit, no other
        assert status.tokens == 5 * len(house.model.prompts)


async def test_i5_a_denied_call_counts_too() -> None:
    async def knock(process: Process) -> None:
        for _ in range(LONG):
            await process.invoke("nothing")

    async with House(runs(knock, limits=Limits(calls=5))) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert (status.why, status.calls) == ("limit", 5)


async def test_i5_a_program_may_catch_the_limit_and_finish_tidily() -> None:
    async def careful(process: Process) -> str:
        n = 0
        try:
            for _ in range(LONG):
                await process.now()
                n += 1
            return "never stopped"
        except LimitExceeded as reached:
            return f"{n} calls, then {reached.limit}"

    async with House(runs(careful, limits=Limits(calls=3))) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert (status.phase, status.why) == ("exited", "done")
        assert (await house.rows(pid))[-1].body["result"] == "3 calls, then calls"


async def test_i5_after_the_limit_there_is_no_further_system_call() -> None:
    async def stubborn(process: Process) -> None:
        try:
            for _ in range(LONG):
                await process.now()
        except LimitExceeded:
            await process.send("one more word")

    async with House(runs(stubborn, limits=Limits(calls=3))) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert (status.why, status.calls) == ("limit", 3)
        assert await house.said(pid) == []


async def test_i5_a_restart_gives_no_new_budget() -> None:
    async def listen(process: Process) -> None:
        for _ in range(LONG):
            await process.receive()

    async with House(runs(listen, limits=Limits(calls=3))) as house:
        kernel, pid = await house.start()
        for text in ("one", "two"):
            kernel = house.boot()
            await kernel.deliver(pid, text)
            assert (await kernel.tick(pid)).phase == "waiting"
        kernel = house.boot()
        await kernel.deliver(pid, "three")
        status = await kernel.tick(pid)
        assert (status.why, status.calls) == ("limit", 3)


async def test_i5_limits_are_those_that_the_process_was_born_with() -> None:
    world = World()
    small = runs(forever, world.tools, limits=Limits(calls=4))
    large = runs(forever, world.tools, limits=Limits(calls=400))
    async with House(small, world.tools, lambda _: say("x")) as house:
        _, pid = await house.start()
        assert (await house.boot(station=large).tick(pid)).calls == 4


async def test_i5_waiting_costs_no_time() -> None:
    async def listen(process: Process) -> None:
        await process.receive()
        await process.ask("sure?")

    async with House(runs(listen)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        for _ in range(100):
            house.clock.now()
        await kernel.deliver(pid, "hello")
        assert (await kernel.tick(pid)).seconds == 0


async def test_i5_the_time_of_a_tool_counts() -> None:
    async def slow() -> None:
        """Take ten seconds."""
        for _ in range(10_000):
            house.clock.now()  # each reading moves the clock by a millisecond

    async def program(process: Process) -> None:
        await process.invoke("slow")
        await process.invoke("slow")

    tools = [PythonTool(slow, ["reads"], False)]
    async with House(runs(program, tools, limits=Limits(seconds=9)), tools) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert (status.why, status.calls) == ("limit", 1)
        assert status.seconds == pytest.approx(10, abs=0.1)


@given(st.builds(Usage, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)),
       st.builds(Limits, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)))  # fmt: skip
def test_i5_a_call_needs_budget_left_under_every_limit(usage: Usage, limits: Limits) -> None:
    left = usage.tokens < limits.tokens and usage.calls < limits.calls and usage.seconds < limits.seconds
    try:
        check(usage, limits)
    except LimitExceeded as reached:
        assert not left
        assert getattr(usage, reached.limit) >= getattr(limits, reached.limit)
    else:
        assert left
