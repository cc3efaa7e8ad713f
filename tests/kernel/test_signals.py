"""Signals: a process is paused, resumed, killed and given another priority, whatever it is at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from kernos.drivers.engine.scripted import ScriptedEngine, say
from kernos.drivers.store.memory import MemoryStore
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import BadInput, NotFound
from kernos.kernel.office import Answer
from kernos.kernel.ports import Commit, Prompt
from kernos.kernel.types import Generation, Message, Note, Signal
from kernos.userland.lib import Process
from tests.support import CLERK, OWNER, House, LongCall, Program, World, Wrapped, runs


class Held(ScriptedEngine):
    """An engine whose calls last until they are let go."""

    def __init__(self) -> None:
        super().__init__(lambda _: say("at last"))
        self.began, self.go_on, self.ended = asyncio.Event(), asyncio.Event(), 0

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        self.began.set()
        try:
            await self.go_on.wait()
        finally:
            self.ended += 1
        return await super().generate(prompt, draft)


async def talk(process: Process) -> str:
    return (await process.generate([Message("user", "hello")])).action.text


async def receives(process: Process) -> None:
    await process.receive()


async def asks(process: Process) -> None:
    await process.ask("sure?")


async def sleeps(process: Process) -> None:
    await process.sleep(1)


async def gets_leave(process: Process) -> None:
    await process.invoke("note", text="tea")


WAITING: dict[str, Program] = {"message": receives, "person": asks, "timer": sleeps}


async def signal(kernel: Kernel, pid: str, what: Signal, priority: int = 0) -> None:
    await kernel.signal(pid, what, "ada", priority)


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
@pytest.mark.parametrize("why", WAITING)
async def test_a_paused_process_gets_no_turn_and_goes_on_when_it_is_resumed(why: str, restart: bool) -> None:
    async with House(runs(WAITING[why])) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        await signal(kernel, pid, "pause")
        status = await kernel.tick(pid)
        assert (status.phase, status.why, status.wake) == ("paused", why, None)
        match why:
            case "message":
                await kernel.deliver(pid, "hello")
            case "person":
                await kernel.answer(pid, Answer("ada", text="yes"))
            case "timer":
                for _ in range(1_000):
                    house.clock.now()
        await house.run(kernel)
        assert (await kernel.tick(pid)).phase == "paused"
        kernel = house.boot() if restart else kernel
        await signal(kernel, pid, "resume")
        assert (await kernel.tick(pid)).why == "done"
        assert await house.faults() == []


async def test_who_is_paused_before_its_first_turn_has_done_nothing() -> None:
    world = World()
    async with House(runs(gets_leave, world.tools), world.tools) as house:
        kernel, pid = await house.start()
        await signal(kernel, pid, "pause")
        await house.run(kernel)
        assert world.done == []
        await signal(kernel, pid, "resume")
        await house.run(kernel)
        assert world.done == ["note"]


@pytest.mark.parametrize("what", ["pause", "resume"])
async def test_a_signal_that_is_given_twice_is_as_good_as_once(what: Signal) -> None:
    async with House(runs(receives)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        for _ in range(2):
            await signal(kernel, pid, what)
            status = await kernel.tick(pid)
            assert status.phase == ("paused" if what == "pause" else "waiting")


async def test_a_question_is_still_asked_while_its_process_is_paused() -> None:
    async with House(runs(asks)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        await signal(kernel, pid, "pause")
        await kernel.tick(pid)
        question = await house.boot().question(pid)
        assert question is not None
        assert question.text == "sure?"


@pytest.mark.parametrize("why", [*WAITING, "paused", "never run"])
async def test_a_process_is_killed_wherever_it_waits(why: str) -> None:
    async with House(runs(WAITING.get(why, receives))) as house:
        kernel, pid = await house.start()
        if why != "never run":
            await kernel.tick(pid)
        if why == "paused":
            await signal(kernel, pid, "pause")
            await kernel.tick(pid)
        await signal(kernel, pid, "kill")
        status = await house.boot().tick(pid)
        assert (status.phase, status.why, status.wake) == ("exited", "killed", None)
        assert (await house.rows(pid))[-1].body["error"] == "killed by ada"
        assert await house.faults() == []


async def test_what_came_after_a_kill_is_dropped() -> None:
    async with House(runs(receives)) as house:
        kernel, pid = await house.start()
        await signal(kernel, pid, "kill")
        await kernel.deliver(pid, "too late")
        await signal(kernel, pid, "resume")
        await house.run(kernel)
        assert [row.kind for row in await house.rows(pid)] == ["spawn", "signal", "exit"]
        assert await house.store.notes(pid) == []


@pytest.mark.parametrize("recovered", [False, True], ids=["first try", "repeated after a crash"])
async def test_a_kill_does_not_wait_for_the_end_of_a_model_call(recovered: bool) -> None:
    engine = Held()
    async with House(runs(talk), engine=engine) as house:
        kernel, pid = await house.start()
        if recovered:
            turn = asyncio.create_task(kernel.tick(pid))
            await engine.began.wait()
            turn.cancel()
            await asyncio.wait([turn])
            engine.began.clear()
            kernel = house.boot()
        turn = asyncio.create_task(kernel.tick(pid))
        await engine.began.wait()
        await signal(kernel, pid, "kill")
        kernel.nudge(pid)
        async with asyncio.timeout(5):
            assert (await turn).why == "killed"
        assert engine.ended == (2 if recovered else 1)
        assert [row.kind for row in await house.rows(pid)] == ["spawn", "intent", "signal", "exit"]


async def test_a_pause_during_a_model_call_holds_after_it() -> None:
    engine = Held()

    async def program(process: Process) -> None:
        await process.send(await talk(process))

    async with House(runs(program), engine=engine) as house:
        kernel, pid = await house.start()
        turn = asyncio.create_task(kernel.tick(pid))
        await engine.began.wait()
        await signal(kernel, pid, "pause")
        kernel.nudge(pid)
        engine.go_on.set()
        assert (await turn).phase == "paused"
        assert await house.said(pid) == []
        await signal(kernel, pid, "resume")
        assert (await house.boot().tick(pid)).why == "done"
        assert await house.said(pid) == ["at last"]
        assert len(engine.prompts) == 1


async def test_a_message_during_a_model_call_is_journaled_at_once_and_read_later() -> None:
    engine = Held()

    async def program(process: Process) -> str:
        await talk(process)
        return await process.receive()

    async with House(runs(program), engine=engine) as house:
        kernel, pid = await house.start()
        turn = asyncio.create_task(kernel.tick(pid))
        await engine.began.wait()
        await kernel.deliver(pid, "hello")
        kernel.nudge(pid)
        for _ in range(20):
            await asyncio.sleep(0)
        assert [row.kind for row in await house.rows(pid)] == ["spawn", "intent", "message"]
        engine.go_on.set()
        assert (await turn).why == "done"
        assert await kernel.replay(pid) == 2


class Slow(Wrapped):
    """A store that lets others run at every write and every look into the mailbox, as one with a disk does."""

    async def commit(self, commit: Commit) -> None:
        await asyncio.sleep(0)
        await super().commit(commit)
        await asyncio.sleep(0)

    async def notes(self, pid: str) -> Sequence[Note]:
        await asyncio.sleep(0)
        return await super().notes(pid)


@pytest.mark.parametrize("late", ["nothing", "a message"])
async def test_nothing_follows_an_exit_however_a_kill_and_the_models_answer_meet(late: str) -> None:
    """Every moment at which the answer may come is tried, before, while and after the kill is written."""
    ends = set[str]()
    for moments in range(20):
        engine = Held()
        async with House(runs(talk), engine=engine, store=Slow(MemoryStore())) as house:
            kernel, pid = await house.start()
            turn = asyncio.create_task(kernel.tick(pid))
            await engine.began.wait()
            await signal(kernel, pid, "kill")
            if late == "a message":
                await kernel.deliver(pid, "hello?")
            kernel.nudge(pid)
            for _ in range(moments):
                await asyncio.sleep(0)
            engine.go_on.set()
            assert (await turn).phase == "exited"
            await house.run(kernel)
            rows = [row.kind for row in await house.rows(pid)]
            assert rows.index("exit") == len(rows) - 1, (moments, rows)
            assert await house.faults() == []
            ends.add(" ".join(rows))
    assert len(ends) > 1


async def test_a_kill_during_a_tools_call_comes_after_its_outcome() -> None:
    """What a tool did has to be known; only saying is not doing."""
    slow = LongCall()
    async with House(runs(slow.program, slow.tools), slow.tools) as house:
        kernel, pid = await house.start()
        turn = asyncio.create_task(kernel.tick(pid))
        await slow.began.wait()
        await signal(kernel, pid, "kill")
        kernel.nudge(pid)
        slow.go_on.set()
        assert (await turn).why == "killed"
        assert [row.kind for row in await house.rows(pid)] == ["spawn", "intent", "outcome", "signal", "exit"]


async def test_the_engine_serves_the_best_priority_first_and_the_first_to_come_among_equals() -> None:
    served: list[str] = []

    class Watched(Held):
        async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
            served.append(prompt.messages[0].text)
            return await super().generate(prompt, draft)

    async def program(process: Process) -> None:
        await process.generate([Message("user", await process.receive())])

    engine = Watched()
    async with House(runs(program), engine=engine) as house:
        kernel = house.boot()
        turns = []
        for name, priority in [("first", 0), ("later", 5), ("usual", 0), ("soon", -5), ("as usual", 0)]:
            pid = await kernel.spawn(CLERK, OWNER, name)
            await signal(kernel, pid, "nice", priority)
            assert (await kernel.take(pid)).priority == priority
            turns.append(asyncio.create_task(kernel.tick(pid)))
            for _ in range(20):
                await asyncio.sleep(0)
        engine.go_on.set()
        await asyncio.wait(turns)
        assert served == ["first", "soon", "usual", "as usual", "later"]


async def test_a_priority_can_be_put_back_to_the_usual_one_and_outlives_the_kernel() -> None:
    async with House(runs(receives)) as house:
        kernel, pid = await house.start()
        for priority in (9, 0, -3):
            await signal(kernel, pid, "nice", priority)
            assert (await kernel.tick(pid)).priority == priority
        kernel = house.boot()
        await kernel.deliver(pid, "hello")
        assert (await kernel.tick(pid)).priority == -3


@pytest.mark.parametrize("what", ["pause", "resume", "kill", "nice"])
async def test_a_process_that_has_exited_takes_no_signal(what: Signal) -> None:
    async def program(process: Process) -> None:
        await process.now()

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        with pytest.raises(BadInput, match=r"an exited process \(done\)"):
            await signal(kernel, pid, what)
        with pytest.raises(NotFound):
            await signal(kernel, "nobody", what)
        assert await house.store.notes(pid) == []
