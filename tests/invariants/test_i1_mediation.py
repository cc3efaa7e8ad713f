"""I1: no model call and no tool effect happens except through a system call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.engine.scripted import say
from kernos.drivers.store.memory import MemoryStore
from kernos.kernel.errors import AnswerLost
from kernos.kernel.ports import Prompt
from kernos.kernel.types import Action, Message
from kernos.userland.lib import Process
from tests.support import Diary, House, World, runs, serves


class Yields(Awaitable[object]):
    """An awaitable that hands anything to whoever drives the coroutine."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __await__(self) -> Generator[object, None, object]:
        return (yield self.value)


FOREIGN: dict[str, Callable[[], Awaitable[object]]] = {
    "the event loop": lambda: asyncio.sleep(0),
    "a timer": lambda: asyncio.sleep(10),
    "a future": lambda: asyncio.get_running_loop().create_future(),
    "nothing": lambda: Yields(None),
    "a text": lambda: Yields("invoke"),
    "the class of a system call": lambda: Yields(Process),
}


@pytest.mark.parametrize("what", FOREIGN)
async def test_i1_a_program_that_awaits_anything_but_a_system_call_fails_and_has_done_nothing(what: str) -> None:
    world = World()

    async def program(process: Process) -> None:
        await FOREIGN[what]()
        await process.invoke("note", text="tea")

    async with House(runs(program, world.tools), world.tools) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        rows = await house.rows(pid)
        assert (status.phase, status.why, world.done) == ("exited", "failed", [])
        assert [row.kind for row in rows] == ["spawn", "exit"]
        assert rows[1].body["error"].startswith("ProgramError: a program may await system calls only")


async def test_i1_what_a_program_did_before_it_broke_the_rule_stands() -> None:
    async def program(process: Process) -> None:
        await process.send("hello")
        await asyncio.sleep(0)
        await process.send("never")

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "failed"
        assert await house.said(pid) == ["hello"]


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyError("x"), TimeoutError(), asyncio.QueueEmpty()])
async def test_i1_a_program_that_raises_ends_itself_and_not_the_kernel(error: Exception) -> None:
    async def program(process: Process) -> None:
        raise error

    async def other(process: Process) -> None:
        await process.send("still here")

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "failed"
        assert (await house.rows(pid))[-1].body["error"] == f"{type(error).__name__}: {error}"
        second, other_pid = await house.start(house.boot(station=runs(other)))
        assert (await second.tick(other_pid)).why == "done"


class Unstorable:
    """No JSON value."""


NO_MESSAGES: Any = ["hello"]
ODD: dict[str, Callable[[Process], Awaitable[Any]]] = {
    "an argument that is no JSON": lambda process: process.invoke("note", text=Unstorable()),
    "a text that is no Unicode": lambda process: process.send("\ud800"),
    "a message that is no message": lambda process: process.generate(NO_MESSAGES),
}


@pytest.mark.parametrize("what", ODD)
async def test_i1_a_system_call_that_cannot_be_journaled_ends_its_process_and_not_the_kernel(what: str) -> None:
    async def program(process: Process) -> None:
        await ODD[what](process)

    world = World()
    async with House(runs(program, world.tools), world.tools) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "failed"
        assert world.done == []


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), GeneratorExit()])
async def test_i1_a_program_cannot_stop_the_machine_that_it_runs_on(error: BaseException) -> None:
    async def program(process: Process) -> None:
        raise error

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        try:
            status = await kernel.tick(pid)
        except BaseException as raised:  # before pytest takes it for its own
            pytest.fail(f"the kernel raised {raised!r}")
        assert status.why == "failed"


async def test_i1_a_model_that_answers_with_what_cannot_be_journaled_has_not_answered() -> None:
    answers = iter([say("\ud800"), say("well")])

    async def program(process: Process) -> str:
        with suppress(AnswerLost):
            await process.generate([Message("user", "hello")])
        return (await process.generate([Message("user", "hello")])).action.text

    async with House(runs(program), script=lambda _: next(answers)) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "done"
        assert (await house.rows(pid))[-1].body["result"] == "well"


@pytest.mark.parametrize("result", [float("nan"), "\ud800"])
async def test_i1_a_result_that_cannot_be_journaled_fails_its_process_and_not_the_kernel(result: object) -> None:
    async def program(process: Process) -> object:
        return result

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).phase == "exited"


ACTIONS = st.sampled_from(
    [
        say("hello"),
        Action("find", {"what": "tea"}),
        Action("note", {"text": "tea"}),
        Action("buy", {"sku": "T-1"}),
        Action("pay", {"to": "anna", "amount": 30}),
        Action("breaks", {}),
        Action("unknown", {}),
    ]
)


@given(st.lists(ACTIONS, min_size=1, max_size=8))
async def test_i1_engines_and_tools_are_reached_only_between_an_intent_and_its_outcome(actions: list[Action]) -> None:
    world = World()
    diary = Diary(MemoryStore(), world.done)  # one list for rows and effects: it shows their order

    def choose(prompt: Prompt) -> Action:
        world.done.append("generate")
        return actions[len(prompt.messages) % len(actions)]

    async with House(serves(world.tools), world.tools, choose, store=diary) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "pay 30 yuan to anna")
        await kernel.tick(pid)
    effects = [n for n, line in enumerate(world.done) if " " not in line and line not in ("spawn", "message")]
    assert effects
    for n in effects:
        call = "generate" if world.done[n] == "generate" else f"{world.done[n]}"
        assert world.done[n - 1 : n + 2] == [f"intent {call}", call, f"outcome {call}"]


@given(st.lists(ACTIONS, max_size=8))
async def test_i1_a_program_gets_no_handle_on_a_driver(actions: list[Action]) -> None:
    """What a process hands to its program holds data only: replies are values, whatever was called."""
    world = World()
    replies: list[object] = []

    async def program(process: Process) -> None:
        for action in actions:
            replies.append(await process.generate([Message("user", "go")], ["find"]))
            if action.name != "reply":
                replies.append(await process.invoke(action.name, **action.arguments))

    async with House(runs(program, world.tools), world.tools, lambda _: say("go")) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "done"
    assert {type(reply).__module__ for reply in replies} <= {"kernos.kernel.types", "kernos.kernel.abi"}
