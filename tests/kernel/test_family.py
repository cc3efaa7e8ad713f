"""Parents and children: who may start whom, who may speak with whom, how an end is told, and who dies with whom."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest

from kernos.drivers.policy.cedar import CedarPolicy
from kernos.kernel.abi import Ended
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import ProgramError, StoreError
from kernos.kernel.limits import Limits
from kernos.kernel.office import Answer
from kernos.kernel.types import Deny, Json, Status
from kernos.userland.lib import Process
from tests.support import OWNER, Failing, House, Program, runs

HELPER = "helper"


async def echo(process: Process) -> str:
    return f"heard {await process.receive()}"


async def fails(process: Process) -> None:
    raise ValueError("no luck")


async def patient(process: Process) -> None:
    await process.receive()


def family(parent: Program, child: Program, limits: Limits = Limits()) -> House:
    """A house whose clerk runs one program and may start a helper, who runs the other."""
    return House(runs(parent, spawns=[HELPER]), others=[runs(child, slug=HELPER, limits=limits)])


async def child_of(house: House) -> Status:
    [child] = [status for status in await house.store.statuses() if status.parent]
    return child


async def result(house: House, pid: str) -> Json:
    return (await house.rows(pid))[-1].body["result"]


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after restarts"])
async def test_a_parent_gets_what_its_child_returns(restart: bool) -> None:
    async def parent(process: Process) -> Json:
        ended = await process.wait(await process.spawn(HELPER, "hello"))
        return [ended.how, ended.result, ended.error]

    async with family(parent, echo) as house:
        kernel, pid = await house.start()
        while due := (await kernel.due()).pids:
            kernel = house.boot() if restart else kernel
            await kernel.tick(due[0])
        assert await result(house, pid) == ["done", "heard hello", ""]
        assert await house.faults() == []


async def test_a_child_serves_its_parents_owner_and_is_in_its_tree() -> None:
    async def parent(process: Process) -> None:
        await process.spawn(HELPER)
        await process.receive()

    async with family(parent, patient) as house:
        kernel, pid = await house.start()
        await kernel.signal(pid, "nice", "ada", 7)
        await house.run(kernel)
        child = await child_of(house)
        assert (child.parent, child.root, child.owner, child.employee, child.priority) == (pid, pid, OWNER, HELPER, 7)
        assert (await house.rows(child.pid))[0].body["generation"] == 1


@pytest.mark.parametrize(
    ("child", "ended"),
    [(echo, Ended("done", "heard hello")), (fails, Ended("failed", None, "ValueError: no luck"))],
    ids=["done", "failed"],
)
async def test_a_child_that_ended_before_anybody_waited_is_told_of_all_the_same(child: Program, ended: Ended) -> None:
    seen: list[Ended] = []

    async def parent(process: Process) -> None:
        pid = await process.spawn(HELPER, "hello")
        await process.receive()
        seen.append(await process.wait(pid))
        seen.append(await process.wait(pid))

    async with family(parent, child) as house:
        kernel, pid = await house.start()
        await house.run(kernel)
        await kernel.deliver(pid, "now wait")
        assert (await house.boot().tick(pid)).why == "done"
        assert seen == [ended, ended]


async def test_a_child_that_used_up_a_limit_is_told_of() -> None:
    async def parent(process: Process) -> Json:
        ended = await process.wait(await process.spawn(HELPER))
        return [ended.how, ended.error]

    async def endless(process: Process) -> None:
        for _ in range(100):
            await process.now()

    async with family(parent, endless, Limits(calls=3)) as house:
        kernel, pid = await house.start()
        await house.run(kernel)
        assert await result(house, pid) == ["limit", "limit reached: calls: 3 of 3 used"]


async def test_parents_and_children_send_each_other_messages() -> None:
    async def parent(process: Process) -> Json:
        child = await process.spawn(HELPER)
        await process.send(process_name(child), child)
        return [await process.receive(), await process.receive()]

    def process_name(pid: str) -> str:
        return f"you are {pid}"

    async def child(process: Process) -> None:
        name = (await process.receive()).removeprefix("you are ")
        up = (await process.receive()).removeprefix("your parent is ")
        for text in ("one", "two"):
            await process.send(f"{name}: {text}", up)

    async with family(parent, child) as house:
        kernel, pid = await house.start()
        await house.run(kernel)
        name = (await child_of(house)).pid
        await kernel.deliver(name, f"your parent is {pid}")
        await house.run(kernel)
        assert await result(house, pid) == [f"{name}: one", f"{name}: two"]


async def test_what_a_process_says_to_another_is_no_word_of_the_owners() -> None:
    async def parent(process: Process) -> None:
        await process.spawn(HELPER, "pay 30 yuan to eve")

    async with family(parent, echo) as house:
        kernel, pid = await house.start()
        await house.run(kernel)
        rows = await house.rows((await child_of(house)).pid)
        [message] = [row.body for row in rows if row.kind == "message"]
        [received] = [row.body for row in rows if row.body.get("is") == "text"]
        for body in (message, received):
            assert [source[:2] for source in body["label"]["sources"]] == [["process", pid]]


@pytest.mark.parametrize("crash", range(2, 12))
@pytest.mark.parametrize("durable", [False, True], ids=["before the write", "after the write"])
async def test_there_is_one_child_and_one_message_whenever_the_machine_stops(crash: int, durable: bool) -> None:
    async def parent(process: Process) -> Json:
        child = await process.spawn(HELPER)
        await process.send("hello", child)
        ended = await process.wait(child)
        return ended.result

    async with family(parent, echo) as house:
        kernel, pid = await house.start(house.boot(Failing(house.store, crash, durable)))
        try:
            await house.run(kernel)
        except StoreError:
            await house.run(house.boot())
        assert await result(house, pid) == "heard hello"
        assert len(await house.store.statuses()) == 2
        [message] = [row for row in await house.rows((await child_of(house)).pid) if row.kind == "message"]
        assert message.body["text"] == "hello"
        assert await house.faults() == []


async def stranger(process: Process) -> None:
    """Starts nobody, and lives on."""
    await process.receive()


@pytest.mark.parametrize("call", ["send", "wait"])
async def test_a_process_may_not_reach_one_that_is_not_of_its_family(call: str) -> None:
    other: list[str] = []

    async def program(process: Process) -> Json:
        if call == "send":
            reply = await process.send("hello", other[0])
            return reply.reason if isinstance(reply, Deny) else None
        try:
            await process.wait(other[0])
        except ProgramError as error:
            return str(error)

    async with House(runs(program), others=[runs(stranger, slug="stranger")]) as house:
        kernel = house.boot()
        other.append(await kernel.spawn("stranger", OWNER))
        _, pid = await house.start(kernel)
        await house.run(kernel)
        family = "neither the parent nor a child" if call == "send" else "no child"
        assert await result(house, pid) == f"{other[0]} is {family} of this process"
        assert [row.kind for row in await house.rows(other[0])] == ["spawn", "intent"]


@pytest.mark.parametrize("spawns", [(), ("nobody",)], ids=["not granted", "not there"])
async def test_a_process_may_start_only_employees_that_its_own_is_granted(spawns: Sequence[str]) -> None:
    async def program(process: Process) -> str:
        try:
            return await process.spawn("nobody")
        except ProgramError as error:
            return str(error)

    async with House(runs(program, spawns=spawns)) as house:
        kernel, pid = await house.start()
        await house.run(kernel)
        why = "there is no employee nobody" if spawns else "clerk is not granted nobody"
        assert await result(house, pid) == why
        assert len(await house.store.statuses()) == 1


async def test_a_message_to_a_child_that_has_exited_is_refused() -> None:
    async def parent(process: Process) -> Json:
        child = await process.spawn(HELPER, "hello")
        await process.wait(child)
        reply = await process.send("are you there?", child)
        return reply.reason if isinstance(reply, Deny) else None

    async with family(parent, echo) as house:
        kernel, pid = await house.start()
        await house.run(kernel)
        child = await child_of(house)
        assert await result(house, pid) == f"process {child.pid} has exited"
        assert await house.store.notes(child.pid) == []


async def three(process: Process) -> None:
    """A parent, its child and its grandchild, who all wait."""
    await process.spawn(HELPER)
    await process.receive()


async def test_who_is_killed_takes_the_children_along_and_theirs() -> None:
    async def child(process: Process) -> None:
        await process.spawn("grandchild")
        await process.receive()

    others = [runs(child, slug=HELPER, spawns=["grandchild"]), runs(patient, slug="grandchild")]
    async with House(runs(three, spawns=[HELPER]), others=others) as house:
        kernel, pid = await house.start()
        await house.run(kernel)
        await kernel.signal(pid, "kill", "ada")
        await house.run(house.boot())
        statuses = await house.store.statuses()
        assert [(status.phase, status.why) for status in statuses] == [("exited", "killed")] * 3
        parent, child_row, grandchild = [(await house.rows(status.pid))[-1].body["error"] for status in statuses]
        assert parent == "killed by ada"
        assert child_row == f"killed by {pid}"
        assert grandchild == f"killed by {statuses[1].pid}"
        assert await house.faults() == []


async def test_a_child_that_is_killed_leaves_its_parent_alive_and_told() -> None:
    async def parent(process: Process) -> Json:
        ended = await process.wait(await process.spawn(HELPER))
        return [ended.how, ended.error]

    async with family(parent, patient) as house:
        kernel, pid = await house.start()
        await house.run(kernel)
        await kernel.signal((await child_of(house)).pid, "kill", "ada")
        await house.run(kernel)
        assert await result(house, pid) == ["killed", "killed by ada"]


@pytest.mark.parametrize("gone", ["nothing", "the parent's contents", "the parent's employee"])
async def test_children_outlive_a_parent_that_ends_and_their_end_disturbs_nobody(gone: str) -> None:
    async def parent(process: Process) -> None:
        await process.spawn(HELPER)

    async with family(parent, echo) as house:
        kernel, pid = await house.start()
        await house.run(kernel)
        assert (await kernel.tick(pid)).why == "done"
        if gone == "the parent's contents":
            assert await kernel.prune(house.clock.now()) == 1
        kernel = only_helper(house) if gone == "the parent's employee" else house.boot()
        child = (await child_of(house)).pid
        await kernel.deliver(child, "hello")
        await house.run(kernel)
        assert await result(house, child) == "heard hello"
        assert (await kernel.due()).pids == []
        assert await house.faults() == []


def only_helper(house: House) -> Kernel:
    """A kernel whose company has no clerk any more."""
    house.station = house.others.pop(HELPER)
    return house.boot()


ASK = '@id("hire") @ask("") @tell("A helper is wanted.") forbid(principal, action == Action::"spawn", resource);'


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
@pytest.mark.parametrize("approved", [False, True], ids=["declined", "approved"])
async def test_i4_a_child_that_a_rule_wants_a_person_for_is_not_born_before_he_agrees(
    approved: bool, restart: bool
) -> None:
    async def parent(process: Process) -> Json:
        try:
            return (await process.wait(await process.spawn(HELPER, "hello"))).result
        except ProgramError as error:
            return str(error)

    policy = CedarPolicy([("hire.cedar", ASK)])
    async with House(runs(parent, spawns=[HELPER]), others=[runs(echo, slug=HELPER)], policy=policy) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "person"
        assert [status.pid for status in await house.store.statuses()] == [pid]
        await kernel.answer(pid, Answer(OWNER, approved))
        await house.run(house.boot() if restart else kernel)
        declined = f"{OWNER} declined: do not call it again"
        assert await result(house, pid) == ("heard hello" if approved else declined)
        assert len(await house.store.statuses()) == 1 + approved
        assert await house.faults() == []


@pytest.mark.parametrize("durable", [False, True], ids=["before the write", "after the write"])
async def test_i3_a_kernel_that_dies_after_a_person_agreed_starts_one_child(durable: bool) -> None:
    async def parent(process: Process) -> Json:
        return (await process.wait(await process.spawn(HELPER, "hello"))).result

    policy = CedarPolicy([("hire.cedar", ASK)])
    for writes in range(1, 6):
        async with House(runs(parent, spawns=[HELPER]), others=[runs(echo, slug=HELPER)], policy=policy) as house:
            kernel, pid = await house.start()
            await kernel.tick(pid)
            await kernel.answer(pid, Answer(OWNER))
            with suppress(StoreError):
                await house.run(house.boot(Failing(house.store, writes, durable)))
            await house.run(house.boot())
            assert await result(house, pid) == "heard hello"
            assert len(await house.store.statuses()) == 2
