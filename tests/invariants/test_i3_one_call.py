"""I3 for one call: what a kernel may do again after an answer, after a failed write, and after a cancelled turn."""

from __future__ import annotations

import asyncio

import pytest

from kernos.drivers.engine.scripted import say
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import StoreError
from kernos.kernel.office import Answer
from kernos.kernel.types import Json
from kernos.userland.lib import Process
from tests.support import Failing, House, World, runs, serves, story


def payer(world: World, ask: bool = False) -> House:
    async def program(process: Process) -> str:
        words = await process.receive()
        await process.invoke("pay", to="anna", amount=30)
        return words

    return House(runs(program, world.tools, ask=["pay"] if ask else []), world.tools)


async def hired(house: House, kernel: Kernel) -> str:
    _, pid = await house.start(kernel)
    await kernel.deliver(pid, "pay 30 yuan to anna")
    return pid


async def test_i3_a_kernel_that_lives_on_does_not_repeat_an_effect_whose_outcome_it_could_not_write() -> None:
    world = World()
    async with payer(world) as house:
        kernel = house.boot(Failing(house.store, 6, durable=False))
        pid = await hired(house, kernel)
        with pytest.raises(StoreError):
            await kernel.tick(pid)
        assert world.done == ["pay"]
        assert (await kernel.tick(pid)).why == "done"
        assert world.done == ["pay"]
        assert [row.kind for row in await house.rows(pid)][-3:] == ["intent", "outcome", "exit"]


async def test_i3_a_turn_that_is_cancelled_during_a_payment_does_not_pay_again() -> None:
    began, calls = asyncio.Event(), list[str]()

    async def pay() -> None:
        """Pay, and hear nothing more."""
        calls.append("pay")
        began.set()
        await asyncio.Event().wait()

    async def program(process: Process) -> None:
        await process.invoke("pay")

    tools = [PythonTool(pay, ["pays"], False)]
    async with House(runs(program, tools), tools) as house:
        kernel, pid = await house.start()
        turn = asyncio.create_task(kernel.tick(pid))
        await began.wait()
        turn.cancel()
        await asyncio.wait([turn])
        assert turn.cancelled()
        for _ in range(2):
            assert (await kernel.tick(pid)).why == "doubt"
        assert calls == ["pay"]


@pytest.mark.parametrize("durable", [False, True], ids=["before the write", "after the write"])
async def test_i3_a_kernel_that_lives_on_after_a_failed_append_ends_as_if_it_had_not_failed(durable: bool) -> None:
    async def program(process: Process) -> str:
        await process.receive()
        found = await process.invoke("find", what="tea")
        noted = await process.invoke("note", text="tea")
        await process.send(f"{found} {noted}")
        return "done"

    async def run(append: int) -> tuple[list[tuple[str, Json]], object]:
        world = World()
        async with House(runs(program, world.tools), world.tools) as house:
            kernel = house.boot(Failing(house.store, append, durable))
            pid = await hired(house, kernel)
            try:
                await kernel.tick(pid)
            except StoreError:
                await kernel.tick(pid)
            return story(await house.rows(pid)), await house.faults()

    whole_story = await run(append=0)
    assert [await run(append) for append in range(3, 11)] == [whole_story] * 8


@pytest.mark.parametrize("approved", [True, False])
@pytest.mark.parametrize("taken", [False, True], ids=["posted", "journaled"])
async def test_i3_a_crash_between_an_answer_and_the_effect_leaves_no_doubt(approved: bool, taken: bool) -> None:
    world = World()
    async with payer(world, ask=True) as house:
        kernel = house.boot()
        pid = await hired(house, kernel)
        await kernel.tick(pid)
        await kernel.answer(pid, Answer("ada", approved=approved))
        if taken:
            await kernel.take(pid)
        assert (await house.boot().tick(pid)).why == "done"
        assert world.done == (["pay"] if approved else [])


async def test_i3_an_approved_call_that_had_begun_is_in_doubt_after_a_crash() -> None:
    world = World()
    async with payer(world, ask=True) as house:
        kernel = house.boot()
        pid = await hired(house, kernel)
        await kernel.tick(pid)
        await kernel.answer(pid, Answer("ada"))
        with pytest.raises(StoreError):
            await house.boot(Failing(house.store, 2, durable=True)).tick(pid)
        assert [row.kind for row in await house.rows(pid)][-3:] == ["intent", "answer", "begin"]
        assert (await house.boot().tick(pid)).why == "doubt"
        assert world.done == []


async def test_i3_every_try_of_one_call_has_the_same_key() -> None:
    keys: list[str] = []

    async def note(key: str) -> None:
        """Keep a note."""
        keys.append(key)

    async def program(process: Process) -> None:
        await process.invoke("note")
        await process.invoke("note")

    tools = [PythonTool(note, ["writes"], True)]
    async with House(runs(program, tools), tools) as house:
        kernel, pid = await house.start(house.boot(Failing(house.store, 3, durable=False)))
        with pytest.raises(StoreError):
            await kernel.tick(pid)
        await house.boot().tick(pid)
        assert keys[0] == keys[1] != keys[2]
        assert all(key.startswith(f"{pid}:") for key in keys)


async def test_i3_an_engine_is_asked_again_after_a_crash_for_saying_is_not_doing() -> None:
    async with House(serves(), script=lambda prompt: say(f"{len(prompt.messages)}")) as house:
        kernel = house.boot(Failing(house.store, 6, durable=False))
        pid = await hired(house, kernel)
        with pytest.raises(StoreError):
            await kernel.tick(pid)
        await house.boot().tick(pid)
        assert len(house.model.prompts) == 2
        assert await house.said(pid) == ["2"]
