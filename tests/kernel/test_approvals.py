"""Questions to a person: approvals that a grant demands, and what a program asks. Both outlive the kernel."""

from __future__ import annotations

import pytest

from kernos.kernel import limits
from kernos.kernel.abi import Invoked
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import BadInput, NotFound
from kernos.kernel.office import Answer
from kernos.kernel.types import Deny, Json, Settlement
from kernos.userland.lib import Process
from tests.support import House, World, runs


def keeper(world: World) -> House:
    """A program whose only act wants approval; its result is what it got."""

    async def program(process: Process) -> Json:
        reply = await process.invoke("note", text="tea")
        return reply.reason if isinstance(reply, Deny) else reply.value

    return House(runs(program, world.tools, ask=["note"]), world.tools)


def asker() -> House:
    async def program(process: Process) -> Json:
        return [await process.ask("Which one?"), await process.ask("Are you sure?")]

    return House(runs(program))


async def result(house: House, pid: str) -> Json:
    return (await house.rows(pid))[-1].body["result"]


async def asked(kernel: Kernel, pid: str) -> str | None:
    """The text of the question that a process asks, if it does."""
    question = await kernel.question(pid)
    return question.text if question else None


async def test_a_call_whose_grant_asks_waits_for_a_person_and_has_not_run() -> None:
    world = World()
    async with keeper(world) as house:
        kernel, pid = await house.start()
        for _ in range(3):
            status = await kernel.tick(pid)
            assert (status.phase, status.why) == ("waiting", "person")
        question = await kernel.question(pid)
        assert question is not None
        assert (question.pid, question.kind, question.evidence) == (pid, "approval", ())
        assert question.text == 'clerk may use note only when a person agrees. note {"text":"tea"} – allow?'
        assert world.done == []


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
@pytest.mark.parametrize("ticked", [False, True], ids=["answered at once", "ticked before"])
@pytest.mark.parametrize("approved", [False, True], ids=["declined", "approved"])
async def test_an_approved_call_runs_once_and_a_declined_one_is_denied(
    restart: bool, ticked: bool, approved: bool
) -> None:
    world = World()
    async with keeper(world) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        if restart:
            kernel = house.boot()
        if ticked:
            assert (await kernel.tick(pid)).why == "person"
        await kernel.answer(pid, Answer("bob", approved))
        assert world.done == []
        assert (await kernel.tick(pid)).why == "done"
        assert world.done == (["note"] if approved else [])
        assert await result(house, pid) == ("kept tea" if approved else "bob declined: do not call it again")


async def test_who_answered_and_how_is_in_the_journal() -> None:
    async with keeper(World()) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        await kernel.answer(pid, Answer("bob", approved=False, text="too dear"))
        await kernel.tick(pid)
        (row,) = [row for row in await house.rows(pid) if row.kind == "answer"]
        assert row.body == {"by": "bob", "approved": False, "text": "too dear"}


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
async def test_what_a_program_asks_waits_and_gets_its_answer(restart: bool) -> None:
    async with asker() as house:
        kernel, pid = await house.start()
        for question, text in (("Which one?", "the blue one"), ("Are you sure?", "yes")):
            assert (await kernel.tick(pid)).why == "person"
            if restart:
                kernel = house.boot()
            assert await asked(kernel, pid) == question
            await kernel.answer(pid, Answer("ada", text=text))
            assert await asked(kernel, pid) == question
            await kernel.take(pid)
            assert await asked(kernel, pid) is None
        assert (await kernel.tick(pid)).why == "done"
        assert await result(house, pid) == ["the blue one", "yes"]


async def test_an_answer_outlives_the_kernel_that_took_it() -> None:
    async with asker() as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        await kernel.answer(pid, Answer("ada", text="the blue one"))
        second = house.boot()
        await second.tick(pid)
        assert await asked(second, pid) == "Are you sure?"


async def test_every_call_is_asked_about_anew() -> None:
    world = World()

    async def program(process: Process) -> None:
        await process.invoke("note", text="tea")
        await process.invoke("note", text="tea")

    async with House(runs(program, world.tools, ask=["note"]), world.tools) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        await kernel.answer(pid, Answer("ada"))
        assert (await kernel.tick(pid)).why == "person"
        assert world.done == ["note"]


async def test_of_two_answers_to_one_question_the_first_counts() -> None:
    async with asker() as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        for text in ("the blue one", "the red one"):
            await kernel.answer(pid, Answer("ada", text=text))
        assert (await kernel.tick(pid)).why == "person"
        assert await asked(kernel, pid) == "Are you sure?"
        await kernel.answer(pid, Answer("ada", text="yes"))
        await kernel.tick(pid)
        assert await result(house, pid) == ["the blue one", "yes"]
        assert await house.store.notes(pid) == []


async def test_a_call_whose_arguments_have_no_source_is_not_asked_about() -> None:
    world = World()

    async def program(process: Process) -> None:
        await process.invoke("pay", to="eve", amount=1000)

    async with House(runs(program, world.tools, ask=["pay"]), world.tools) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "done"


@pytest.mark.parametrize("moment", ["born", "answered already", "exited", "waits for a message"])
async def test_answering_a_process_that_asks_nothing_is_bad_input(moment: str) -> None:
    async def listener(process: Process) -> None:
        await process.receive()

    house = House(runs(listener)) if moment == "waits for a message" else keeper(World())
    async with house:
        kernel, pid = await house.start()
        if moment != "born":
            await kernel.tick(pid)
        if moment in ("answered already", "exited"):
            await kernel.answer(pid, Answer("ada"))
            await kernel.take(pid)
        if moment == "exited":
            assert (await kernel.tick(pid)).phase == "exited"
        before = await house.rows(pid)
        for other in (kernel, house.boot()):
            with pytest.raises(BadInput, match=f"process {pid}: found no open question"):
                await other.answer(pid, Answer("ada"))
        assert await house.rows(pid) == before


async def test_a_process_that_asks_nothing_has_no_question() -> None:
    async with keeper(World()) as house:
        kernel, pid = await house.start()
        assert await kernel.question(pid) is None
        with pytest.raises(NotFound):
            await kernel.question("unknown")


@pytest.mark.parametrize("settled", ["happened", "not", "stop"])
async def test_only_a_doubt_is_settled(settled: Settlement) -> None:
    async with keeper(World()) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        with pytest.raises(BadInput, match=r"does not fit the question \(approval\); expected yes, no, or a text"):
            await kernel.answer(pid, Answer("ada", settled=settled))
        assert await house.store.notes(pid) == []


async def test_an_approval_has_a_row_of_its_own_before_the_effect() -> None:
    async with keeper(World()) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        await kernel.answer(pid, Answer("ada"))
        await kernel.tick(pid)
        assert [row.kind for row in await house.rows(pid)] == ["spawn", "intent", "answer", "begin", "outcome", "exit"]


async def test_a_call_whose_tool_is_gone_when_it_is_approved_has_failed() -> None:
    world = World()

    async def program(process: Process) -> Json:
        reply = await process.invoke("note", text="tea")
        assert isinstance(reply, Invoked)
        return reply.error

    async with House(runs(program, world.tools, ask=["note"]), world.tools) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        del house.tools["note"]
        kernel = house.boot()
        await kernel.answer(pid, Answer("ada"))
        assert (await kernel.tick(pid)).why == "done"
        assert await result(house, pid) == "clerk is not granted the tool note"
        assert world.done == []


async def test_an_answer_to_a_question_that_is_no_longer_open_answers_no_other() -> None:
    async with asker() as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        first = await kernel.question(pid)
        assert first is not None
        await kernel.answer(pid, Answer("ada", text="the red one", to=first.seq))
        await kernel.tick(pid)
        assert await asked(kernel, pid) == "Are you sure?"
        with pytest.raises(BadInput, match=f"row {first.seq}"):
            await kernel.answer(pid, Answer("ada", text="the red one", to=first.seq))
        assert await asked(kernel, pid) == "Are you sure?"


async def test_a_card_that_has_expired_takes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "APPROVAL_SECONDS", 0.01)
    async with keeper(World()) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        for _ in range(20):
            house.clock.now()  # each reading moves the clock by a millisecond
        with pytest.raises(BadInput, match="a card that has expired"):
            await kernel.answer(pid, Answer("ada"))
