"""I2: the intent is durable before the effect starts; the outcome is durable before the program sees it."""

from __future__ import annotations

import pytest

from kernos.drivers.engine.scripted import say
from kernos.drivers.store.memory import MemoryStore
from kernos.kernel.errors import StoreError
from kernos.kernel.office import Answer
from kernos.kernel.ports import Prompt
from kernos.kernel.types import Action, Event, Message
from kernos.userland.lib import Process
from tests.support import Diary, Failing, House, World, runs

TEXT = [Message("user", "hello")]


def keeping(log: list[str], world: World) -> House:
    """A house whose diary shows rows, effects and what the program sees, in their order."""

    async def program(process: Process) -> None:
        await process.generate(TEXT)
        log.append("saw generate")
        await process.invoke("note", text="tea")
        log.append("saw note")
        await process.send("done")
        log.append("saw send")
        await process.now()
        log.append("saw now")
        await process.invoke("unknown")
        log.append("saw unknown")

    def choose(prompt: Prompt) -> Action:
        log.append("generate")
        return say("x")

    return House(runs(program, world.tools), world.tools, choose, store=Diary(MemoryStore(), log))


async def test_i2_every_effect_follows_its_intent_and_every_reply_its_outcome() -> None:
    world = World()
    log = world.done
    async with keeping(log, world) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
    assert log == [
        "spawn",
        *["intent generate", "generate", "outcome generate", "saw generate"],
        *["intent note", "note", "outcome note", "saw note"],
        *["intent send", "outcome send", "saw send"],
        *["intent now", "outcome now", "saw now"],
        *["intent unknown", "outcome unknown", "saw unknown"],
        "exit",
    ]


@pytest.mark.parametrize("append", range(2, 10))
async def test_i2_where_a_row_cannot_be_written_nothing_after_it_happens(append: int) -> None:
    world = World()
    log = world.done
    async with keeping(log, world) as house:
        kernel, pid = await house.start(house.boot(Failing(house.store, append, durable=False)))
        with pytest.raises(StoreError):
            await kernel.tick(pid)
    whole = ["intent generate", "generate", "outcome generate", "saw generate", "intent note", "note", "outcome note",
             "saw note", "intent send", "outcome send", "saw send", "intent now", "outcome now", "saw now",
             "intent unknown", "outcome unknown", "saw unknown", "exit"]  # fmt: skip
    assert log[1:] == whole[: len(log) - 1]
    assert not log[-1].startswith("outcome")


async def test_i2_what_watchers_are_told_is_durable() -> None:
    world = World()
    async with keeping(world.done, world) as house:
        kernel, pid = await house.start()
        async with kernel.events(pid) as queue:
            await kernel.tick(pid)
            events: list[Event] = [queue.get_nowait() for _ in range(queue.qsize())]
        told = [event.record for event in events if event.kind == "record"]
        assert told == (await house.rows(pid))[1:]


async def test_i2_what_was_not_written_is_told_to_nobody() -> None:
    world = World()
    async with keeping(world.done, world) as house:
        kernel, pid = await house.start(house.boot(Failing(house.store, 3, durable=False)))
        async with kernel.events(pid) as queue:
            with pytest.raises(StoreError):
                await kernel.tick(pid)
            events = [queue.get_nowait() for _ in range(queue.qsize())]
        assert [event.record.kind for event in events if event.record] == ["intent"]


async def test_i2_a_delivered_message_is_durable_when_deliver_returns() -> None:
    world = World()
    async with keeping(world.done, world) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "hello")
        [note] = await house.store.notes(pid)
        assert (note.kind, note.body["from"], note.body["text"]) == ("message", "ada", "hello")
        await house.boot().take(pid)
        assert [row.kind for row in await house.rows(pid)] == ["spawn", "message"]
        assert await house.store.notes(pid) == []


async def test_i2_an_approved_effect_has_begun_in_the_journal_before_it_begins() -> None:
    world = World()
    log = world.done

    async def program(process: Process) -> None:
        await process.invoke("note", text="tea")
        log.append("saw note")

    station = runs(program, world.tools, ask=["note"])
    async with House(station, world.tools, store=Diary(MemoryStore(), log)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        await kernel.answer(pid, Answer("ada"))
        await kernel.tick(pid)
    assert log == ["spawn", "intent note", "answer", "begin 1", "note", "outcome note", "saw note", "exit"]
