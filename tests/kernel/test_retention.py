"""Retention: what ended long ago keeps its rows and their hashes, and loses its contents; no other loses anything."""

from __future__ import annotations

import pytest

from kernos.drivers.engine.scripted import say
from kernos.kernel.errors import BadInput, StoreError
from kernos.kernel.types import Json, Message
from kernos.userland.lib import Process
from tests.support import CLERK, OWNER, Failing, House, runs

SECRET = "my number is 5550199"


async def confide(process: Process) -> str:
    """Hears something, speaks with the model about it, and ends when told so."""
    words = await process.receive()
    await process.generate([Message("system", "You listen."), Message("user", words)])
    return f"{words}, {await process.receive()}"


def confessional() -> House:
    return House(runs(confide), script=lambda _: say("I see"))


async def confided(house: House, *words: str) -> str:
    kernel = house.boot()
    pid = await kernel.spawn(CLERK, OWNER)
    for text in words:
        await kernel.deliver(pid, text)
    await kernel.tick(pid)
    return pid


async def shown(house: House, pid: str) -> str:
    return str([row.body for row in await house.rows(pid)])


async def test_what_ended_before_that_time_loses_its_contents_and_still_holds() -> None:
    async with confessional() as house:
        pid = await confided(house, SECRET, "end")
        before = await house.store.records(pid)
        assert SECRET in await shown(house, pid)
        kernel = house.boot()
        assert await kernel.prune(house.clock.now()) == 1
        assert SECRET not in await shown(house, pid)
        rows = await house.store.records(pid)
        assert rows[:-1] == before
        assert rows[-1].kind == "prune"
        (status,) = await house.store.statuses()
        assert (status.phase, status.why, status.wake) == ("exited", "done", None)
        assert await house.faults() == []
        hashes = [key for row in rows for key in row.body.get("contents", {}).values()]
        assert await house.store.contents(hashes) == {}


async def test_what_lives_or_ended_later_keeps_everything() -> None:
    async with confessional() as house:
        old = await confided(house, SECRET, "end")
        then = house.clock.now()
        living, later = await confided(house, "I live"), await confided(house, "I ended later", "end")
        kernel = house.boot()
        assert await kernel.prune(then) == 1
        assert await kernel.prune(then) == 0
        assert "I live" in await shown(house, living)
        assert "I ended later" in await shown(house, later)
        assert SECRET not in await shown(house, old)
        assert await house.faults() == []
        await kernel.deliver(living, "end")
        assert (await kernel.tick(living)).why == "done"


async def test_what_another_journal_says_too_is_kept_for_it() -> None:
    async with confessional() as house:
        await confided(house, "the same words", "end")
        then = house.clock.now()
        living = await confided(house, "the same words")
        kernel = house.boot()
        assert await kernel.prune(then) == 1
        assert await house.faults() == []
        kernel = house.boot()
        await kernel.deliver(living, "end")
        assert (await kernel.tick(living)).why == "done"
        assert (await house.rows(living))[-1].body["result"] == "the same words, end"


@pytest.mark.parametrize("which", ["the original", "the fork"])
async def test_what_a_fork_shares_is_kept_for_whoever_lives(which: str) -> None:
    async with confessional() as house:
        pid = await confided(house, SECRET)
        kernel = house.boot()
        fork = await kernel.fork(pid, (await house.rows(pid))[-1].seq)
        ended, living = (pid, fork) if which == "the original" else (fork, pid)
        await kernel.deliver(ended, "end")
        assert (await kernel.tick(ended)).why == "done"
        assert await kernel.prune(house.clock.now()) == 1
        kernel = house.boot()
        await kernel.deliver(living, "go on")
        assert (await kernel.tick(living)).why == "done"
        assert (await house.rows(living))[-1].body["result"] == f"{SECRET}, go on"
        assert await house.faults() == []


async def test_a_process_that_ended_with_checkpoints_is_pruned_whole() -> None:
    async def program(process: Process) -> None:
        if process.state is None:
            words = await process.receive()
            await process.checkpoint({"kept": words}, [Message("user", words)])

    async with House(runs(program)) as house:
        pid = await confided(house, SECRET)
        kernel = house.boot()
        marks = [row.body["context"] for row in await house.rows(pid) if row.kind == "checkpoint"]
        assert await kernel.prune(house.clock.now()) == 1
        assert SECRET not in await shown(house, pid)
        assert await house.store.contents([*marks, Message("user", SECRET).digest]) == {}
        assert await house.faults() == []


async def test_a_pruned_process_cannot_be_replayed_or_forked() -> None:
    async with confessional() as house:
        pid = await confided(house, SECRET, "end")
        kernel = house.boot()
        await kernel.prune(house.clock.now())
        with pytest.raises(BadInput, match="a journal whose contents were pruned"):
            await kernel.replay(pid)
        for row in await house.rows(pid):
            with pytest.raises(BadInput, match="a journal whose contents were pruned"):
                await kernel.fork(pid, row.seq)
        assert (await kernel.tick(pid)).why == "done"
        assert await house.faults() == []


@pytest.mark.parametrize("durable", [False, True], ids=["before the write", "after the write"])
async def test_a_prune_that_was_broken_off_leaves_a_journal_that_holds_and_can_be_done_again(durable: bool) -> None:
    async with confessional() as house:
        pid = await confided(house, SECRET, "end")
        with pytest.raises(StoreError):
            await house.boot(Failing(house.store, 1, durable)).prune(house.clock.now())
        assert await house.faults() == []
        await house.boot().prune(house.clock.now())
        assert SECRET not in await shown(house, pid)
        assert await house.faults() == []
        assert [row.kind for row in await house.rows(pid)].count("prune") == 1


async def test_a_memory_outlives_the_process_that_kept_it_and_the_dropping_of_its_contents() -> None:
    async def program(process: Process) -> Json:
        if await process.receive() == "remember":
            await process.remember("number", SECRET)
        return await process.recall("number", "nothing")

    async with House(runs(program)) as house:
        await confided(house, "remember")
        assert (await house.rows(await confided(house, "recall")))[-1].body["result"] == SECRET
        await house.boot().prune(house.clock.now())
        assert (await house.rows(await confided(house, "recall")))[-1].body["result"] == SECRET
        assert await house.faults() == []
