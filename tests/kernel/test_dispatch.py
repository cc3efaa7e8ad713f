"""Processes are born, get messages, take turns, and are watched; errors of engine and store leave a call open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from kernos.drivers.engine.scripted import ScriptedEngine, say
from kernos.drivers.store.memory import MemoryStore
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.errors import AnswerLost, BadInput, EngineDied, EngineError, JournalBroken, StoreError
from kernos.kernel.limits import ENGINE_ATTEMPTS, LIVE_PROCESSES, Limits
from kernos.kernel.office import Answer
from kernos.kernel.ports import Commit, Prompt, Store
from kernos.kernel.types import Action, Generation, Message, Note, Record, RecordKind
from kernos.userland.lib import Process
from tests.support import CLERK, OURS, OWNER, House, LongCall, World, Wrapped, runs, serves


class Fragile(ScriptedEngine):
    """A scripted engine that fails so many times first."""

    def __init__(self, failures: int, error: EngineError) -> None:
        super().__init__(lambda _: say("at last"))
        self.failures, self.error = failures, error

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        if self.failures:
            self.failures -= 1
            draft("half a se")
            raise self.error
        return await super().generate(prompt, draft)


class Unhurried(Wrapped):
    """A store that lets others run before it does anything, as one with a disk does."""

    async def commit(self, commit: Commit) -> None:
        await asyncio.sleep(0)
        await super().commit(commit)

    async def claim(self, pid: str) -> int:
        await asyncio.sleep(0)
        return await super().claim(pid)

    async def notes(self, pid: str) -> Sequence[Note]:
        await asyncio.sleep(0)
        return await super().notes(pid)

    async def records(
        self, pid: str, after: int = -1, last: int | None = None, kind: RecordKind | None = None
    ) -> Sequence[Record]:
        await asyncio.sleep(0)
        return await super().records(pid, after, last, kind)


async def ask_once(process: Process) -> str:
    return (await process.generate([Message("user", "hello")])).action.text


async def listen(process: Process) -> list[str]:
    return [await process.receive() for _ in range(3)]


async def test_a_process_is_born_with_what_its_station_grants() -> None:
    world = World()
    station = serves(world.tools, ask=["pay"], limits=Limits(tokens=1_000))
    async with House(station, world.tools) as house:
        _, pid = await house.start()
        (row,) = await house.rows(pid)
        assert (row.seq, row.kind) == (0, "spawn")
        assert (row.body["owner"], row.body["employee"], row.body["engine"]) == ("ada", CLERK, "local")
        assert {grant["tool"] for grant in row.body["grants"] if grant["ask"]} == {"pay"}
        assert row.body["limits"] == {"tokens": 1_000}


async def test_a_process_may_be_born_with_its_first_message() -> None:
    async with House(runs(listen)) as house:
        kernel = house.boot()
        pid = await kernel.spawn(CLERK, "ada", "one")
        assert [row.kind for row in await house.rows(pid)] == ["spawn", "message"]
        for text in ("two", "three"):
            await kernel.deliver(pid, text)
        assert (await kernel.tick(pid)).why == "done"
        assert (await house.rows(pid))[-1].body["result"] == ["one", "two", "three"]


async def test_no_process_is_born_of_an_employee_that_is_not_there() -> None:
    async with House(runs(listen)) as house:
        with pytest.raises(BadInput, match="employee: found 'boss'; expected clerk"):
            await house.boot().spawn("boss", "ada")
        assert await house.store.statuses() == []


async def test_a_process_that_waits_runs_no_further_until_there_is_news() -> None:
    async with House(serves()) as house:
        kernel, pid = await house.start()
        first = await kernel.tick(pid)
        assert (first.phase, first.why) == ("waiting", "message")
        assert await kernel.tick(pid) == first


async def test_messages_are_received_in_their_order_and_once() -> None:
    async with House(runs(listen)) as house:
        kernel, pid = await house.start()
        for text in ("one", "two"):
            await kernel.deliver(pid, text)
        assert (await kernel.tick(pid)).why == "message"
        await kernel.deliver(pid, "three")
        assert (await kernel.tick(pid)).why == "done"
        assert (await house.rows(pid))[-1].body["result"] == ["one", "two", "three"]


@pytest.mark.parametrize("restart", [False, True])
async def test_nothing_can_be_delivered_to_a_process_that_exited(restart: bool) -> None:
    async with House(runs(ask_once), script=[say("x")]) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        kernel = house.boot() if restart else kernel
        with pytest.raises(BadInput, match="an exited process"):
            await kernel.deliver(pid, "hello?")
        assert await kernel.tick(pid) == status


async def test_a_journal_that_does_not_hold_is_not_run() -> None:
    class Forged(Wrapped):
        async def records(
            self, pid: str, after: int = -1, last: int | None = None, kind: RecordKind | None = None
        ) -> Sequence[Record]:
            whole = [row for row in await self.inner.records(pid) if kind in (None, row.kind)]
            return whole[after + 1 : -1]

    async with House(serves()) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        with pytest.raises(JournalBroken, match=f"process {pid}: row 0: the process table says that row 1 is the last"):
            await house.boot(Forged(house.store)).tick(pid)


async def test_a_process_whose_employee_is_gone_cannot_be_recovered() -> None:
    async with House(serves()) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        with pytest.raises(BadInput, match=f"process {pid}: found an employee clerk that this folder no longer has"):
            await house.boot(station=replace(house.station, slug="boss")).tick(pid)


async def test_an_engine_that_dies_is_tried_again_and_the_draft_taken_back() -> None:
    async with House(runs(ask_once), engine=Fragile(ENGINE_ATTEMPTS - 1, EngineDied("gone"))) as house:
        kernel, pid = await house.start()
        async with kernel.events(pid) as queue:
            assert (await kernel.tick(pid)).why == "done"
            events = [queue.get_nowait() for _ in range(queue.qsize())]
        kinds = [event.kind for event in events if event.kind != "record"]
        assert kinds == [*["draft", "redraft"] * (ENGINE_ATTEMPTS - 1), "draft", "draft"]
        (outcome,) = [row for row in await house.rows(pid) if row.kind == "outcome"]
        assert outcome.body["cost"]["attempts"] == ENGINE_ATTEMPTS


@pytest.mark.parametrize(("failures", "error"), [(ENGINE_ATTEMPTS, EngineDied("gone")), (1, EngineError("nonsense"))])
async def test_an_engine_that_fails_leaves_the_call_open_for_another_tick(failures: int, error: EngineError) -> None:
    async with House(runs(ask_once), engine=Fragile(failures, error)) as house:
        kernel, pid = await house.start()
        with pytest.raises(EngineError, match=str(error)):
            await kernel.tick(pid)
        assert [row.kind for row in await house.rows(pid)] == ["spawn", "intent"]
        assert (await kernel.tick(pid)).why == "done"
        assert [row.kind for row in await house.rows(pid)] == ["spawn", "intent", "outcome", "exit"]


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
async def test_i5_an_answer_of_no_use_is_counted_and_told_to_the_program_and_not_asked_for_again(restart: bool) -> None:
    async def program(process: Process) -> str:
        try:
            await process.generate([Message("user", "hello")])
        except AnswerLost as error:
            await process.ask(f"{error}: go on?")
        return (await process.generate([Message("user", "hello")])).action.text

    async with House(runs(program), engine=Fragile(1, AnswerLost("cut off"))) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "person"
        lost = next(row for row in await house.rows(pid) if row.kind == "outcome")
        assert (lost.body["is"], lost.body["error"], lost.body["cost"]["completion"]) == ("lost", "cut off", 1)
        kernel = house.boot() if restart else kernel
        await kernel.answer(pid, Answer(OWNER, text="yes"))
        assert (await kernel.tick(pid)).why == "done"
        assert await kernel.replay(pid) == 3
        assert await house.faults() == []


async def test_a_program_that_cannot_do_without_an_answer_fails_when_it_is_of_no_use() -> None:
    async with House(runs(ask_once), engine=Fragile(1, AnswerLost("cut off"))) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "failed"
        assert (await house.rows(pid))[-1].body["error"] == "AnswerLost: cut off"


async def test_a_tool_that_fails_is_a_value_for_the_program() -> None:
    world = World()

    async def program(process: Process) -> object:
        reply = await process.invoke("breaks")
        return getattr(reply, "error", None)

    async with House(runs(program, world.tools), world.tools) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "done"
        assert (await house.rows(pid))[-1].body["result"] == "RuntimeError: it broke"


async def test_who_watches_sees_rows_with_their_contents_and_the_draft_word_by_word() -> None:
    async with House(serves(), script=[say("good morning")]) as house:
        kernel, pid = await house.start()
        async with kernel.events(pid) as queue:
            await kernel.deliver(pid, "hello")
            assert queue.empty()
            await kernel.tick(pid)
            events = [queue.get_nowait() for _ in range(queue.qsize())]
        assert [event.text for event in events if event.kind == "draft"] == ["good ", "morning"]
        assert [event.record for event in events if event.kind == "record"] == list(await house.rows(pid))[1:]
        await kernel.deliver(pid, "again")
        assert queue.empty()


async def test_a_draft_that_must_be_judged_is_not_shown_before_it_is() -> None:
    async with House(serves(claims={"a price": r"\d+ yuan"}), script=[say("only 5 yuan"), say("hello")]) as house:
        kernel, pid = await house.start()
        async with kernel.events(pid) as queue:
            await kernel.deliver(pid, "hi")
            await kernel.tick(pid)
            events = [queue.get_nowait() for _ in range(queue.qsize())]
        assert [event for event in events if event.kind == "draft"] == []
        assert await house.said(pid) == ["hello"]


async def test_two_ticks_at_once_are_one_turn_after_the_other() -> None:
    async with House(runs(ask_once), script=[say("x")], store=Unhurried(MemoryStore())) as house:
        kernel, pid = await house.start()
        async with asyncio.TaskGroup() as group:
            turns = [group.create_task(kernel.tick(pid)) for _ in range(3)]
        assert {turn.result().why for turn in turns} == {"done"}
        assert len(house.model.prompts) == 1


async def busy(process: Process) -> list[str]:
    for _ in range(10):
        await process.now()
    return await listen(process)


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
async def test_messages_that_come_while_a_process_runs_are_all_received(restart: bool) -> None:
    store: Store = Unhurried(MemoryStore())
    async with House(runs(busy), store=store) as house:
        kernel, pid = await house.start()
        kernel = house.boot() if restart else kernel
        async with asyncio.TaskGroup() as group:
            group.create_task(kernel.tick(pid))
            for text in ("one", "two", "three"):
                group.create_task(kernel.deliver(pid, text))
        assert (await kernel.tick(pid)).why == "done"
        assert sorted((await house.rows(pid))[-1].body["result"]) == ["one", "three", "two"]
        assert await house.faults() == []


class NoMail(Wrapped):
    """A store that cannot take notes."""

    async def post(self, notes: Sequence[Note]) -> None:
        raise StoreError("no mail today")


async def test_a_message_that_cannot_be_written_does_not_end_the_turn_that_runs() -> None:
    slow = LongCall()
    async with House(runs(slow.program, slow.tools), slow.tools, store=NoMail(MemoryStore())) as house:
        kernel, pid = await house.start()
        turn = asyncio.create_task(kernel.tick(pid))
        await slow.began.wait()
        with pytest.raises(StoreError):
            await kernel.deliver(pid, "hello")
        slow.go_on.set()
        assert (await turn).why == "done"
        assert await house.said(pid) == ["done"]


class Away(Wrapped):
    """A store that is gone, once, when notes are looked for."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.away, self.asked = False, asyncio.Event()

    async def notes(self, pid: str) -> Sequence[Note]:
        if self.away and not self.asked.is_set():
            self.asked.set()
            raise StoreError("the store is away")
        return await super().notes(pid)


async def test_i3_a_store_that_fails_while_a_tool_works_does_not_break_its_effect_off() -> None:
    slow, store = LongCall(), Away(MemoryStore())
    async with House(runs(slow.program, slow.tools), slow.tools, store=store) as house:
        kernel, pid = await house.start()
        turn = asyncio.create_task(kernel.tick(pid))
        await slow.began.wait()
        store.away = True
        kernel.nudge(pid)
        await store.asked.wait()
        slow.go_on.set()
        assert (await turn).why == "done"
        assert "doubt" not in [row.kind for row in await house.rows(pid)]


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
async def test_the_books_balance_when_a_turn_is_cancelled_at_any_moment(restart: bool) -> None:
    """Every moment at which a turn gives way is tried; whoever cancels may always tick again."""
    for moments in range(60):
        async with House(serves(), script=lambda _: say("hi"), store=Unhurried(MemoryStore())) as house:
            kernel, pid = await house.start()
            await kernel.deliver(pid, "hello")
            turn = asyncio.create_task(kernel.tick(pid))
            for _ in range(moments):
                await asyncio.sleep(0)
            turn.cancel()
            await asyncio.wait([turn])
            through = not turn.cancelled()
            kernel = house.boot() if restart else kernel
            assert (await kernel.tick(pid)).why == "message"
            assert (await house.said(pid), await house.faults(), await kernel.check(pid)) == (["hi"], [], [])
    assert through


@pytest.mark.parametrize("name", ["tool", "self"])
async def test_a_model_may_name_an_argument_as_it_likes_and_is_told_what_is_wrong(name: str) -> None:
    world = World()
    script = [Action("find", {name: "x"}), say("sorry")]
    async with House(serves(world.tools), world.tools, script) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "find")
        assert (await kernel.tick(pid)).phase == "waiting"
        assert await house.said(pid) == ["sorry"]


async def test_a_note_that_came_for_a_running_process_is_taken_at_its_next_call_when_it_is_told() -> None:
    seen: list[str] = []

    async def look() -> str:
        """Have a message come for the process that calls this."""
        await kernel.deliver(pid, "hello")
        kernel.nudge(pid)
        return "looked"

    async def program(process: Process) -> None:
        await process.invoke("look")
        seen.append(await process.receive())

    tools = [PythonTool(look, ["reads"], False, returns=OURS)]
    async with House(runs(program, tools), tools) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "done"
        assert seen == ["hello"]


async def test_notes_can_be_journaled_without_a_turn() -> None:
    async with House(runs(listen)) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "one")
        status = await kernel.take(pid)
        assert (status.phase, status.seq) == ("ready", 1)
        assert [row.kind for row in await house.rows(pid)] == ["spawn", "message"]
        assert await house.store.notes(pid) == []


async def test_a_process_in_a_long_call_outlasts_the_turns_of_any_number_of_others() -> None:
    """Only so many processes stay in memory; one whose turn is not over is never put out of it."""
    slow = LongCall()

    async def program(process: Process) -> None:
        if await process.receive() == "wait":
            await process.invoke("wait")

    async with House(runs(program, slow.tools), slow.tools) as house:
        kernel = house.boot()
        pid = await kernel.spawn(CLERK, "ada", "wait")
        turn = asyncio.create_task(kernel.tick(pid))
        await slow.began.wait()
        for _ in range(LIVE_PROCESSES + 1):
            assert (await kernel.tick(await kernel.spawn(CLERK, "ada"))).why == "message"
        slow.go_on.set()
        assert (await turn).why == "done"
