"""I6: re-running a program against its journal makes the same calls, or reports the first one that differs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.clock.system import SystemClock
from kernos.drivers.engine.scripted import say
from kernos.drivers.store.memory import MemoryStore
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.abi import Invoked
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import ReplayDiverged, StoreError
from kernos.kernel.ports import Answer
from kernos.kernel.types import Deny, Generation, Json, Message, canonical
from kernos.userland.lib import Process
from tests.support import Failing, House, Program, World, runs

STEPS = st.lists(
    st.sampled_from(["now", "random", "send", "find", "buy", "breaks", "unknown", "generate", "receive", "ask"]),
    max_size=12,
)


def walk(steps: Sequence[str], seen: list[object]) -> Program:
    """A program that takes these steps and shows what it saw."""

    async def program(process: Process) -> None:
        for step in [*steps, "receive"]:
            match step:
                case "now" | "random" | "receive":
                    seen.append(await getattr(process, step)())
                case "send":
                    seen.append(await process.send(f"seen {len(seen)}"))
                case "ask":
                    seen.append(await process.ask("which?"))
                case "generate":
                    reply: Generation = await process.generate([Message("user", f"{len(seen)}")], ["find"])
                    seen.append(reply.action)
                case "find":
                    seen.append(await process.invoke("find", what=f"tea {len(seen)}"))
                case "buy":
                    seen.append(await process.invoke("buy", sku="T-1"))
                case _:
                    seen.append(await process.invoke(step))

    return program


async def push(kernel: Kernel, pid: str) -> None:
    """Run a process until it waits for a message with none left, answering whatever it asks."""
    while (status := await kernel.tick(pid)).why == "person":
        await kernel.answer(pid, Answer("ada", text=f"answer {status.calls}"))


@given(STEPS, st.integers(0, 3))
async def test_i6_a_program_sees_the_same_again_and_nothing_is_done_twice(steps: list[str], restarts: int) -> None:
    world = World()
    seen: list[object] = []
    house = House(runs(walk(steps, seen), world.tools), world.tools, lambda prompt: say(f"{len(seen)}"))
    async with house:
        kernel, pid = await house.start()
        for _ in range(steps.count("receive")):
            await kernel.deliver(pid, "hello")
        await push(kernel, pid)
        first, rows = list(seen), await house.rows(pid)
        done, asked = list(world.done), len(house.model.prompts)
        for _ in range(restarts):
            seen.clear()
            await push(house.boot(), pid)
            assert seen == first
        assert (await house.rows(pid), world.done, len(house.model.prompts)) == (rows, done, asked)
    assert len(first) == len(steps)


@given(STEPS, st.integers(2, 30), st.booleans())
async def test_i6_what_a_program_saw_before_a_crash_it_sees_again(steps: list[str], append: int, durable: bool) -> None:
    world = World()
    seen: list[object] = []
    steps = [step for step in steps if step not in ("buy", "receive")]
    async with House(runs(walk(steps, seen), world.tools), world.tools, lambda _: say("x")) as house:
        kernel, pid = await house.start(house.boot(Failing(house.store, append, durable)))
        with suppress(StoreError):
            await push(kernel, pid)
        first = list(seen)
        seen.clear()
        await push(house.boot(), pid)
        assert seen[: len(first)] == first
        assert len(seen) == len(steps)


async def test_i6_now_and_random_are_the_same_again_on_a_real_clock() -> None:
    seen: list[list[float]] = []

    async def program(process: Process) -> None:
        seen.append([await process.now(), await process.random(), await process.now(), await process.random()])
        await process.receive()

    station = runs(program)
    store = MemoryStore()
    kernels = [Kernel(store, SystemClock(), {"clerk": station}, {}, {}) for _ in range(3)]
    pid = await kernels[0].spawn("clerk", "ada")
    for kernel in kernels:
        await kernel.tick(pid)
        await kernel.close()
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][1] != seen[0][3]
    assert 0 <= seen[0][1] < 1


def say_all(*texts: str) -> Program:
    async def program(process: Process) -> None:
        for text in texts:
            await process.send(text)
        await process.receive()

    return program


@pytest.mark.parametrize(
    ("changed", "seq"),
    [(["a", "x", "c"], 3), (["x", "b", "c"], 1), (["a", "b", "x"], 5), (["b", "a", "c"], 1), (["a", "b"], 5),
     (["a", "c"], 3)],
)  # fmt: skip
async def test_i6_a_changed_program_is_reported_with_its_first_call_that_differs(changed: list[str], seq: int) -> None:
    async with House(runs(say_all("a", "b", "c"))) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        before = await house.rows(pid)
        second = house.boot(station=runs(say_all(*changed)))
        for _ in range(2):
            with pytest.raises(ReplayDiverged) as caught:
                await second.tick(pid)
            assert (caught.value.pid, caught.value.seq) == (pid, seq)
            assert caught.value.recorded == "send " + canonical({"text": "abc"[seq // 2]}).decode()
        assert await house.rows(pid) == before


@pytest.mark.parametrize("changed", ["other arguments", "another tool", "another call"])
async def test_i6_the_report_names_both_calls(changed: str) -> None:
    def calling(tool: str, **arguments: Json) -> Program:
        async def program(process: Process) -> None:
            await (process.invoke(tool, **arguments) if tool else process.now())
            await process.receive()

        return program

    new = {
        "other arguments": (calling("find", what="milk"), '"what":"milk"'),
        "another tool": (calling("note", text="tea"), '"tool":"note"'),
        "another call": (calling(""), "now"),
    }
    world = World()
    async with House(runs(calling("find", what="tea"), world.tools), world.tools) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        program, made = new[changed]
        with pytest.raises(ReplayDiverged, match=r"call 1 differs.*recorded invoke.*tea.*, now .*") as caught:
            await house.boot(station=runs(program, world.tools)).tick(pid)
        assert made in caught.value.made
        assert world.done == ["find"]


@pytest.mark.parametrize("texts", [(), ("a",)])
async def test_i6_a_program_that_ends_before_its_past_is_reported(texts: tuple[str, ...]) -> None:
    async def shorter(process: Process) -> None:
        for text in texts:
            await process.send(text)

    async with House(runs(say_all("a", "b", "c"))) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        with pytest.raises(ReplayDiverged):
            await house.boot(station=runs(shorter)).tick(pid)


async def test_i6_a_program_that_does_more_at_its_end_goes_on() -> None:
    async def longer(process: Process) -> str:
        await say_all("a", "b")(process)
        await process.send("c")
        return "done"

    async with House(runs(say_all("a", "b"))) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        kernel = house.boot(station=runs(longer))
        await kernel.deliver(pid, "go on")
        assert (await kernel.tick(pid)).why == "done"
        assert await house.said(pid) == ["a", "b", "c"]


async def test_i6_a_program_that_takes_chance_for_itself_is_found_out() -> None:
    chance = random.Random(1)

    async def program(process: Process) -> None:
        await process.send(f"{chance.random()}")
        await process.receive()

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        with pytest.raises(ReplayDiverged):
            await house.boot().tick(pid)


async def unsorted() -> Json:
    """Return fields in another order than the alphabet's."""
    return [{"sku": "T-1", "name": "tea"}]


ECHOES = {
    "the order of a result's fields": lambda process: process.invoke("unsorted"),
    "the time in the queue": lambda process: process.generate([Message("user", "hello")]),
}


@pytest.mark.parametrize("what", ECHOES)
async def test_i6_a_program_sees_of_a_reply_exactly_what_is_recorded(what: str) -> None:
    async def program(process: Process) -> None:
        reply: Invoked | Deny | Generation = await ECHOES[what](process)
        await process.send(f"{reply}")
        await process.receive()

    tools = [PythonTool(unsorted, ["reads"], False)]
    async with House(runs(program, tools), tools, lambda _: say("x")) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        await house.boot().tick(pid)


async def test_i6_a_call_that_was_not_recorded_is_made() -> None:
    world = World()

    async def program(process: Process) -> None:
        await process.send("a")
        await process.invoke("find", what="tea")

    async with House(runs(program, world.tools), world.tools) as house:
        kernel, pid = await house.start(house.boot(Failing(house.store, 3, durable=False)))
        with pytest.raises(Exception, match="the machine stopped"):
            await kernel.tick(pid)
        assert world.done == []
        await house.boot().tick(pid)
        assert world.done == ["find"]
