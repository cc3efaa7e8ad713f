"""Stopping everything: no call begins any more, whatever the processes are at, until a person has them resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from kernos.drivers.engine.scripted import say
from kernos.drivers.store.memory import MemoryStore
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.abi import Invoked
from kernos.kernel.dispatch import Kernel
from kernos.kernel.office import Answer
from kernos.kernel.ports import Commit
from kernos.kernel.types import Json, Note
from kernos.userland.lib import Process
from tests.kernel.test_signals import Held, asks, receives, sleeps, talk
from tests.support import CLERK, OWNER, House, LongCall, Program, Wrapped, runs


async def extracts(process: Process) -> Json:
    return await process.extract("a text", {"type": "object", "properties": {}})


class Slow(Wrapped):
    """A store that lets others run at every write, as one with a disk does."""

    async def commit(self, commit: Commit) -> None:
        await asyncio.sleep(0)
        await super().commit(commit)
        await asyncio.sleep(0)


async def begun(turn: asyncio.Task[object], event: asyncio.Event) -> None:
    """Wait until a call has begun; if its turn fails before, with that."""
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait({turn, waiting}, return_when=asyncio.FIRST_COMPLETED)
    assert event.is_set(), turn.result()


async def stop(kernel: Kernel) -> Sequence[str]:
    """Stop everything, and tell those that have their turns here, as a dispatcher does."""
    pids = await kernel.stop_all("bob")
    for pid in pids:
        kernel.nudge(pid)
    return pids


async def kinds(house: House, pid: str) -> list[str]:
    return [row.kind for row in await house.rows(pid)]


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
@pytest.mark.parametrize("program", [talk, extracts])
async def test_what_a_model_is_asked_is_broken_off_and_asked_again_when_a_person_resumes_it(
    program: Program, restart: bool
) -> None:
    engine = Held()
    async with House(runs(program), engine=engine) as house:
        kernel, pid = await house.start()
        turn = asyncio.create_task(kernel.tick(pid))
        await begun(turn, engine.began)
        assert await stop(kernel) == [pid]
        async with asyncio.timeout(5):
            assert (await turn).phase == "paused"
        assert engine.ended == 1
        assert await kinds(house, pid) == ["spawn", "intent", "signal"]
        engine.go_on.set()
        await house.run(kernel)
        assert (await kernel.tick(pid)).phase == "paused"
        kernel = house.boot() if restart else kernel
        assert await kernel.resume_all("bob") == [pid]
        assert (await kernel.tick(pid)).why == "done"
        assert engine.ended == 2
        assert await kernel.replay(pid) == 1
        assert await house.faults() == []


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
async def test_a_tool_that_may_be_called_again_is_broken_off(restart: bool) -> None:
    calls: list[str] = []
    began, go_on = asyncio.Event(), asyncio.Event()

    async def dig() -> str:
        """Look for something."""
        calls.append("dig")
        began.set()
        await go_on.wait()
        return "found"

    async def program(process: Process) -> Json:
        reply = await process.invoke("dig")
        assert isinstance(reply, Invoked)
        return reply.value

    tools = [PythonTool(dig, ["reads"])]
    async with House(runs(program, tools), tools) as house:
        kernel, pid = await house.start()
        turn = asyncio.create_task(kernel.tick(pid))
        await begun(turn, began)
        await stop(kernel)
        async with asyncio.timeout(5):
            assert (await turn).phase == "paused"
        assert await kinds(house, pid) == ["spawn", "intent", "signal"]
        go_on.set()
        kernel = house.boot() if restart else kernel
        await kernel.resume_all("bob")
        assert (await kernel.tick(pid)).why == "done"
        assert (await house.rows(pid))[-1].body["result"] == "found"
        assert calls == ["dig", "dig"]


async def test_a_tool_that_may_not_be_called_again_ends_and_nothing_follows() -> None:
    """The process rests at once; what the tool still does is known."""
    slow = LongCall()
    async with House(runs(slow.program, slow.tools), slow.tools) as house:
        kernel, pid = await house.start()
        turn = asyncio.create_task(kernel.tick(pid))
        await begun(turn, slow.began)
        await stop(kernel)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (await kernel.check(pid), await kinds(house, pid)) == ([], ["spawn", "intent", "signal"])
        (status,) = await house.store.statuses()
        assert (status.phase, status.why) == ("paused", "tool")
        slow.go_on.set()
        assert (await turn).phase == "paused"
        assert await kinds(house, pid) == ["spawn", "intent", "signal", "outcome"]
        await kernel.resume_all("bob")
        assert (await kernel.tick(pid)).why == "done"
        assert await house.said(pid) == ["done"]
        assert await house.faults() == []


async def test_what_else_came_during_a_tools_call_is_taken_after_it() -> None:
    slow = LongCall()

    async def program(process: Process) -> None:
        await process.invoke("wait")
        await process.receive()

    async with House(runs(program, slow.tools), slow.tools) as house:
        kernel, pid = await house.start()
        turn = asyncio.create_task(kernel.tick(pid))
        await begun(turn, slow.began)
        await kernel.deliver(pid, "hello")
        await stop(kernel)
        await kernel.signal(pid, "kill", "bob")
        kernel.nudge(pid)
        for _ in range(20):
            await asyncio.sleep(0)
        slow.go_on.set()
        assert (await turn).why == "killed"
        assert await kinds(house, pid) == ["spawn", "intent", "signal", "outcome", "message", "signal", "exit"]


async def test_who_makes_calls_without_end_makes_no_more() -> None:
    async def program(process: Process) -> None:
        while True:
            await process.now()

    async with House(runs(program), store=Slow(MemoryStore())) as house:
        kernel, pid = await house.start()
        async with kernel.events(pid) as events:
            turn = asyncio.create_task(kernel.tick(pid))
            while (await events.get()).record is None:
                pass
            await stop(kernel)
            async with asyncio.timeout(5):
                assert (await turn).phase == "paused"
        assert (await kinds(house, pid))[-1] == "signal"
        before = await house.rows(pid)
        await house.run(kernel)
        assert await house.rows(pid) == before


# Families


class Between(Wrapped):
    """Lets something happen when notes are posted, once."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.then: Callable[[], Awaitable[object]] | None = None

    async def post(self, notes: Sequence[Note]) -> None:
        then, self.then = self.then, None
        if then is not None:
            await then()
        await super().post(notes)


async def mother(process: Process) -> None:
    await talk(process)
    child = await process.spawn("child")
    await process.receive()
    await process.send("wake up, resume!", to=child)
    await process.wait(child)


async def child(process: Process) -> None:
    await process.spawn("grandchild")
    await process.receive()
    await process.send("I am awake")


async def grandchild(process: Process) -> None:
    await process.send("I live")


def household(engine: Held | None = None) -> House:
    others = [runs(child, slug="child", spawns=["grandchild"]), runs(grandchild, slug="grandchild")]
    return House(
        runs(mother, spawns=["child"]), store=Between(), others=others, engine=engine, script=lambda _: say("so be it")
    )


async def test_a_child_that_is_born_after_all_were_stopped_does_not_start() -> None:
    """Its mother has not yet taken note that she is stopped, and stops it when she does."""
    engine = Held()
    async with household(engine) as house:
        kernel, pid = await house.start()
        turn = asyncio.create_task(kernel.tick(pid))
        await begun(turn, engine.began)
        assert await kernel.stop_all("bob") == [pid]
        engine.go_on.set()
        assert (await turn).phase == "waiting"
        await house.run(kernel)
        statuses = await house.store.statuses()
        assert [status.phase for status in statuses] == ["paused", "paused"]
        assert await kinds(house, statuses[1].pid) == ["spawn", "signal"]
        assert (await house.rows(statuses[1].pid))[1].body == {"signal": "pause", "halt": True, "by": "bob"}


async def test_who_is_born_while_all_are_stopped_is_stopped_too() -> None:
    async with household() as house:
        kernel, pid = await house.start()
        assert isinstance(house.store, Between)

        async def family() -> None:
            await kernel.tick(pid)
            await kernel.tick((await house.store.statuses())[1].pid)

        house.store.then = family
        assert len(await kernel.stop_all("bob")) == 3
        await house.run(kernel)
        assert [status.phase for status in await house.store.statuses()] == ["paused"] * 3
        assert [await house.said(status.pid) for status in await house.store.statuses()] == [[]] * 3


async def test_only_a_person_has_a_process_go_on_never_another_process() -> None:
    async with household() as house:
        kernel, pid = await house.start()
        await house.run(kernel)
        _, younger, youngest = [status.pid for status in await house.store.statuses()]
        await kernel.stop_all("bob")
        await house.run(kernel)
        await kernel.signal(pid, "resume", "bob")
        await kernel.deliver(pid, "wake it")
        await house.run(kernel)
        assert "message" in await kinds(house, younger), "its mother has spoken to it"
        assert (await kernel.tick(younger)).phase == "paused"
        assert await house.said(younger) == []
        assert await kernel.resume_all("bob") == [younger], "the youngest had ended, the mother is awake"
        await house.run(kernel)
        assert await house.said(younger) == ["I am awake"]
        assert await house.said(youngest) == ["I live"]


# All of them


async def ends(process: Process) -> None:
    await process.now()


async def test_everybody_who_lives_rests_and_nobody_else_is_touched() -> None:
    others = [runs(program, slug=program.__name__) for program in (receives, sleeps, ends)]
    async with House(runs(asks), others=others) as house:
        kernel = house.boot()
        pids = [await kernel.spawn(slug, OWNER) for slug in (CLERK, "receives", "sleeps", "ends")]
        for pid in pids:
            await kernel.tick(pid)
        assert await stop(kernel) == pids[:3]
        await house.run(kernel)
        assert [status.phase for status in await house.store.statuses()] == ["paused"] * 3 + ["exited"]
        await kernel.answer(pids[0], Answer("ada", text="yes"))
        await kernel.deliver(pids[1], "hello")
        for _ in range(1_000):
            house.clock.now()
        await house.run(kernel)
        assert [status.phase for status in await house.store.statuses()] == ["paused"] * 3 + ["exited"]
        assert await kernel.resume_all("bob") == pids[:3]
        await house.run(kernel)
        assert [status.why for status in await house.store.statuses()] == ["done"] * 4
        assert await house.faults() == []


async def test_who_rests_already_is_not_stopped_again() -> None:
    async with House(runs(receives)) as house:
        kernel, pid = await house.start()
        for _ in range(3):
            await stop(kernel)
            assert (await kernel.tick(pid)).phase == "paused"
        assert await kinds(house, pid) == ["spawn", "signal"]
        assert await house.store.notes(pid) == []


async def test_a_stop_that_nobody_has_taken_yet_is_lifted_too() -> None:
    async with House(runs(ends)) as house:
        kernel, pid = await house.start()
        await kernel.stop_all("bob")
        assert await kernel.resume_all("bob") == [pid]
        assert (await kernel.tick(pid)).why == "done"
        assert await kernel.resume_all("bob") == await kernel.stop_all("bob") == []


async def test_a_pause_that_a_stop_comes_upon_no_longer_waits_for_the_model() -> None:
    engine = Held()
    async with House(runs(talk), engine=engine) as house:
        kernel, pid = await house.start()
        turn = asyncio.create_task(kernel.tick(pid))
        await begun(turn, engine.began)
        await kernel.signal(pid, "pause", "ada")
        kernel.nudge(pid)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not turn.done()
        await stop(kernel)
        async with asyncio.timeout(5):
            assert (await turn).phase == "paused"
        assert engine.ended == 1


async def test_nothing_is_lost_however_a_stop_and_the_models_answer_meet() -> None:
    """Every moment at which the answer may come is tried, before, while and after the stop is written."""
    ends = set[str]()

    for moments in range(20):
        engine = Held()
        async with House(runs(talk), engine=engine, store=Slow(MemoryStore())) as house:
            kernel, pid = await house.start()
            turn = asyncio.create_task(kernel.tick(pid))
            await begun(turn, engine.began)
            await stop(kernel)
            for _ in range(moments):
                await asyncio.sleep(0)
            engine.go_on.set()
            status = await turn
            assert status.phase in ("paused", "exited"), moments
            ends.add(" ".join(await kinds(house, pid)))
            await kernel.resume_all("bob")
            await house.run(kernel)
            assert (await house.store.statuses())[0].why == "done"
            assert [kind for kind in await kinds(house, pid) if kind in ("intent", "outcome")] == ["intent", "outcome"]
            assert await house.faults() == []
    assert len(ends) > 1
