"""Checkpoints: a long process is brought back from what is new, and has lost nothing that it still needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from kernos.drivers.engine.scripted import say
from kernos.drivers.store.memory import MemoryStore
from kernos.kernel.errors import JournalBroken, StoreError
from kernos.kernel.limits import Limits
from kernos.kernel.office import Answer
from kernos.kernel.types import Json, Message, Record, RecordKind, Signal
from kernos.userland.lib import Process
from tests.support import CLERK, OWNER, Failing, House, World, Wrapped, runs


async def tally(process: Process) -> Json:
    """Counts messages, with a checkpoint after each; `end` ends it."""
    count = process.state or 0
    text = await process.receive()
    if text == "end":
        return [count, [message.text for message in process.messages]]
    await process.now()
    await process.checkpoint(count + 1, [*process.messages, Message("user", text)])


class Reading(Wrapped):
    """Counts the rows and the contents that are read from it."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.rows = self.pieces = 0

    async def records(
        self, pid: str, after: int = -1, last: int | None = None, kind: RecordKind | None = None
    ) -> Sequence[Record]:
        found = await super().records(pid, after, last, kind)
        self.rows += len([row for row in found if kind is None])
        return found

    async def contents(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        found = await super().contents(hashes)
        self.pieces += len(found)
        return found


async def fed(house: House, count: int, restart: bool = False) -> str:
    """A process that has had so many messages."""
    kernel, pid = await house.start()
    for n in range(count):
        kernel = house.boot() if restart else kernel
        await kernel.deliver(pid, f"m{n}")
        assert (await kernel.tick(pid)).why == "message"
        assert await kernel.check(pid) == []
    return pid


async def result(house: House, pid: str) -> Json:
    return (await house.rows(pid))[-1].body["result"]


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after restarts"])
async def test_a_program_begins_anew_with_what_it_kept(restart: bool) -> None:
    async with House(runs(tally)) as house:
        pid = await fed(house, 5, restart)
        kernel = house.boot()
        await kernel.deliver(pid, "end")
        assert (await kernel.tick(pid)).why == "done"
        assert await result(house, pid) == [5, ["m0", "m1", "m2", "m3", "m4"]]
        assert await kernel.replay(pid) == 5 * 3 + 1
        assert await house.faults() == []


async def test_a_program_begins_without_anything_kept() -> None:
    seen: list[object] = []

    async def program(process: Process) -> None:
        seen.append((process.state, process.messages))

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        assert seen == [(None, ())]


async def test_a_restart_reads_only_the_rows_since_the_last_checkpoint() -> None:
    async def read(count: int) -> int:
        store = Reading()
        async with House(runs(tally), store=store) as house:
            pid = await fed(house, count)
            store.rows = 0
            assert (await house.boot().tick(pid)).why == "message"
            return store.rows

    assert await read(5) == await read(50)


async def test_a_restart_calls_the_program_only_for_what_is_new() -> None:
    calls: list[str] = []

    async def program(process: Process) -> None:
        calls.append("begun")
        await process.receive()
        calls.append("received")
        await process.checkpoint()

    async with House(runs(program)) as house:
        pid = await fed(house, 10)
        calls.clear()
        await house.boot().tick(pid)
        assert calls == ["begun"]


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
async def test_mail_that_was_not_read_yet_is_read_after_a_checkpoint(restart: bool) -> None:
    async def program(process: Process) -> Json:
        if process.state is None:
            first = await process.receive()
            await process.checkpoint([first])
        if len(process.state) < 2:
            await process.checkpoint([*process.state, await process.receive()])
        return [*process.state, await process.receive()]

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        for text in ("one", "two"):
            await kernel.deliver(pid, text)
        assert (await kernel.tick(pid)).why == "message"
        assert await kernel.check(pid) == []
        kernel = house.boot() if restart else kernel
        await kernel.deliver(pid, "three")
        assert (await kernel.tick(pid)).why == "done"
        assert await result(house, pid) == ["one", "two", "three"]


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
async def test_much_mail_keeps_its_order_over_a_checkpoint(restart: bool) -> None:
    """The rows of twelve messages have numbers of one digit and of two."""

    async def program(process: Process) -> Json:
        if process.state is None:
            await process.checkpoint([await process.receive()])
        return [*process.state, *[await process.receive() for _ in range(12)]]

    texts = [f"m{n}" for n in range(13)]
    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        for text in texts[:-1]:
            await kernel.deliver(pid, text)
        assert (await kernel.tick(pid)).why == "message"
        kernel = house.boot() if restart else kernel
        await kernel.deliver(pid, texts[-1])
        assert (await kernel.tick(pid)).why == "done"
        assert await result(house, pid) == texts
        assert await kernel.replay(pid) == 14


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
@pytest.mark.parametrize("ended", ["before", "after"])
async def test_children_are_still_children_after_a_checkpoint(ended: str, restart: bool) -> None:
    async def program(process: Process) -> Json:
        if process.state is None:
            child = await process.spawn("helper", "hello" if ended == "before" else "")
            await process.receive()
            await process.checkpoint({"child": child})
        child = process.state["child"]
        await process.receive()
        if ended == "after":
            await process.send("hello", child)
        return (await process.wait(child)).result

    async def helper(process: Process) -> str:
        return await process.receive()

    async with House(runs(program, spawns=["helper"]), others=[runs(helper, slug="helper")]) as house:
        kernel, pid = await house.start()
        for _ in range(2):
            await house.run(kernel)
            await kernel.deliver(pid, "go on")
            kernel = house.boot() if restart else kernel
        await house.run(kernel)
        assert await result(house, pid) == "hello"
        assert await house.faults() == []


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
@pytest.mark.parametrize("marks", [1, 3])
async def test_what_was_heard_and_returned_before_a_checkpoint_is_still_a_source(marks: int, restart: bool) -> None:
    world = World()

    async def program(process: Process) -> Json:
        n = process.state or 0
        if n == 0:
            await process.receive()
            await process.invoke("find", what="tea")
        if n < marks:
            await process.checkpoint(n + 1)
        await process.receive()
        paid = await process.invoke("pay", to="bob", amount=30)
        bought = await process.invoke("buy", sku="T-1")
        refused = await process.invoke("pay", to="eve", amount=31)
        return [type(reply).__name__ for reply in (paid, bought, refused)]

    async with House(runs(program, world.tools), world.tools) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "pay 30 yuan to bob")
        assert (await kernel.tick(pid)).why == "message"
        kernel = house.boot() if restart else kernel
        await kernel.deliver(pid, "go on")
        assert (await kernel.tick(pid)).why == "done"
        assert await result(house, pid) == ["Invoked", "Invoked", "Deny"]
        calls = [row.body for row in await house.rows(pid) if row.kind == "intent" and row.body.get("tool") == "pay"]
        assert calls[0]["verdict"]["evidence"]["to"] == f"{OWNER} at row 3: “bob”"


async def test_limits_used_priority_and_answers_are_kept() -> None:
    async def program(process: Process) -> None:
        await process.receive()
        await process.checkpoint()

    station = runs(program, limits=Limits(calls=5, soft=frozenset({"calls"})))
    async with House(station) as house:
        kernel, pid = await house.start()
        await kernel.signal(pid, "nice", "ada", 4)
        for n in range(3):
            await kernel.deliver(pid, f"m{n}")
        assert (await kernel.tick(pid)).why == "person"
        kernel = house.boot()
        await kernel.answer(pid, Answer("ada"))
        status = await kernel.tick(pid)
        assert (status.why, status.calls, status.priority) == ("message", 7, 4)
        assert await kernel.check(pid) == []
        assert (await house.boot().tick(pid)) == status


@pytest.mark.parametrize("signal", ["pause", "kill"])
async def test_a_process_that_checkpoints_can_be_signalled_afterwards(signal: Signal) -> None:
    async with House(runs(tally)) as house:
        pid = await fed(house, 3)
        kernel = house.boot()
        await kernel.signal(pid, signal, "ada")
        status = await kernel.tick(pid)
        assert (status.phase, status.why) == (("paused", "message") if signal == "pause" else ("exited", "killed"))
        assert await house.faults() == []


@pytest.mark.parametrize("durable", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("write", range(2, 14))
async def test_a_crash_at_any_write_loses_and_repeats_nothing(write: int, durable: bool) -> None:
    async with House(runs(tally)) as house:
        kernel = house.boot(Failing(house.store, write, durable))
        pid = await kernel.spawn(CLERK, OWNER, "m0")
        for text in ("m1", "end"):
            await house.boot().deliver(pid, text)
        try:
            await kernel.tick(pid)
        except StoreError:
            await house.boot().tick(pid)
        assert await result(house, pid) == [2, ["m0", "m1"]]
        assert await house.faults() == []


async def test_a_checkpoint_costs_what_is_new_and_not_all_that_is_kept() -> None:
    """Messages are kept once; so the bytes of a round stay the same however long the conversation is."""
    sizes: list[int] = []
    store = Reading()
    async with House(runs(tally), store=store) as house:
        kernel, pid = await house.start()
        for n in range(120):
            before = await stored(store, pid)
            await kernel.deliver(pid, f"message {n:04}")
            await kernel.tick(pid)
            sizes.append(await stored(store, pid) - before)
    assert sizes[110] == pytest.approx(sizes[10], rel=0.2)


async def stored(store: Wrapped, pid: str) -> int:
    return sum(len(str(row.body)) for row in await store.records(pid))


async def test_a_kept_message_that_was_changed_or_lost_is_found_when_the_process_is_brought_back() -> None:
    class Forgetful(Wrapped):
        async def contents(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
            found = await super().contents(hashes)
            return {key: content for key, content in found.items() if content != Message("user", "m0").content}

    async with House(runs(tally)) as house:
        pid = await fed(house, 3)
        with pytest.raises(JournalBroken, match="a message is missing or was changed"):
            await house.boot(Forgetful(house.store)).tick(pid)


async def test_a_changed_program_goes_on_after_a_checkpoint_for_what_was_before_is_not_replayed() -> None:
    async def changed(process: Process) -> Json:
        return ["changed", process.state, await process.receive()]

    async with House(runs(tally)) as house:
        pid = await fed(house, 3)
        kernel = house.boot(station=runs(changed))
        await kernel.deliver(pid, "end")
        assert (await kernel.tick(pid)).why == "done"
        assert await result(house, pid) == ["changed", 3, "end"]


async def test_a_fork_of_before_a_checkpoint_goes_its_own_way() -> None:
    async with House(runs(tally), script=[say("x")]) as house:
        pid = await fed(house, 3)
        marks = [row.seq for row in await house.rows(pid) if row.kind == "checkpoint"]
        kernel = house.boot()
        for n, at in enumerate(marks, 1):
            fork = await kernel.fork(pid, at)
            await kernel.deliver(fork, "end")
            assert (await kernel.tick(fork)).why == "done"
            assert await result(house, fork) == [n, [f"m{k}" for k in range(n)]]
        assert await house.faults() == []
