"""I6: re-running a program against its journal makes the same calls, or reports the first one that differs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.clock.system import SystemClock
from kernos.drivers.engine.scripted import say
from kernos.drivers.policy.cedar import CedarPolicy
from kernos.drivers.store.memory import MemoryStore
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.abi import Invoked
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import BadInput, LimitExceeded, ProgramError, ReplayDiverged, StoreError
from kernos.kernel.limits import Limits
from kernos.kernel.mailbox import note
from kernos.kernel.office import Answer
from kernos.kernel.types import Deny, Generation, Json, Message, Record, Status, canonical
from kernos.userland.lib import Process
from tests.support import OURS, Failing, House, Program, World, runs

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
    kernels = [Kernel(store, SystemClock(), {"clerk": station}, {}, {}, policy=CedarPolicy()) for _ in range(3)]
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

    tools = [PythonTool(unsorted, ["reads"], False, returns=OURS)]
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


# Replaying on purpose: nothing runs on, nothing is written


@given(STEPS)
async def test_i6_replay_counts_the_calls_that_are_the_same_and_touches_nothing(steps: list[str]) -> None:
    world = World()
    seen: list[object] = []
    async with House(runs(walk(steps, seen), world.tools), world.tools, lambda prompt: say(f"{len(seen)}")) as house:
        kernel, pid = await house.start()
        for _ in range(steps.count("receive")):
            await kernel.deliver(pid, "hello")
        await push(kernel, pid)
        first, rows = list(seen), await house.rows(pid)
        done, asked, notes = list(world.done), len(house.model.prompts), await house.store.notes(pid)
        for other in (kernel, house.boot()):
            seen.clear()
            assert await other.replay(pid) == len(steps) + 1  # the last waits for a message
            assert seen == first
        assert (await house.rows(pid), world.done, len(house.model.prompts)) == (rows, done, asked)
        assert await house.store.notes(pid) == notes


async def test_i6_a_process_that_has_ended_is_replayed_to_its_end() -> None:
    async def program(process: Process) -> float:
        await process.send("a")
        return await process.now()

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        assert await kernel.replay(pid) == 0
        await kernel.tick(pid)
        assert await kernel.replay(pid) == 2


@pytest.mark.parametrize(
    ("changed", "seq"),
    [(["a", "x", "c"], 3), (["x", "b", "c"], 1), (["a", "b", "x"], 5), (["a", "b"], 5), ([], 1)],
)  # fmt: skip
async def test_i6_replay_reports_the_first_call_that_a_changed_program_makes_differently(
    changed: list[str], seq: int
) -> None:
    async with House(runs(say_all("a", "b", "c"))) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        rows = await house.rows(pid)
        with pytest.raises(ReplayDiverged) as caught:
            await house.boot(station=runs(say_all(*changed))).replay(pid)
        assert (caught.value.pid, caught.value.seq) == (pid, seq)
        assert await house.rows(pid) == rows


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(2)])
async def test_i6_replay_reports_a_program_that_now_raises_where_it_went_on(error: BaseException) -> None:
    async def raising(process: Process) -> None:
        await process.send("a")
        raise error

    async with House(runs(say_all("a", "b"))) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        with pytest.raises(ReplayDiverged) as caught:
            await house.boot(station=runs(raising)).replay(pid)
        assert (caught.value.seq, caught.value.made) == (3, f"{type(error).__name__}: {error}")


async def test_i6_a_program_that_failed_fails_the_same_way_when_it_is_replayed() -> None:
    async def failing(process: Process) -> None:
        await process.send("a")
        raise ValueError("x")

    async with House(runs(failing)) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "failed"
        assert await kernel.replay(pid) == 1


ROUNDS = 4


async def counting(process: Process) -> Json:
    """Counts by checkpoints; each round makes two calls and checkpoints."""
    n = (process.state or {"n": 0})["n"]
    await process.now()
    await process.send(f"round {n}")
    if n == ROUNDS:
        return [n, len(process.messages)]
    await process.checkpoint({"n": n + 1}, [*process.messages, Message("user", f"round {n}")])


async def test_i6_a_replay_goes_through_all_checkpoints() -> None:
    async with House(runs(counting)) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "done"
        assert (await house.rows(pid))[-1].body["result"] == [ROUNDS, ROUNDS]
        assert await kernel.replay(pid) == 3 * ROUNDS + 2


async def test_i6_a_program_that_checkpoints_something_else_is_reported() -> None:
    async def changed(process: Process) -> Json:
        n = (process.state or {"n": 0})["n"]
        await process.now()
        await process.send(f"round {n}")
        await process.checkpoint({"n": n + (2 if n == 1 else 1)}, [*process.messages, Message("user", f"round {n}")])

    async with House(runs(counting)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        marks = [row.seq for row in await house.rows(pid) if row.kind == "checkpoint"]
        with pytest.raises(ReplayDiverged) as caught:
            await house.boot(station=runs(changed)).replay(pid)
        assert caught.value.seq == marks[1]


async def test_i6_a_limit_that_a_program_survived_is_no_difference() -> None:
    """It may catch the error and go on with calls that are still allowed."""
    world = World()

    async def program(process: Process) -> None:
        with suppress(LimitExceeded):
            for _ in range(3):
                await process.invoke("note", text="tea")
        await process.send("that was enough")
        await process.receive()

    station = runs(program, world.tools, limits=Limits(tools={"note": 1}))
    async with House(station, world.tools) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "message"
        assert await kernel.replay(pid) == 4  # the note, the one that was one too many, send, receive
        assert (await house.boot().tick(pid)).why == "message"


# Forks


async def eventful(process: Process) -> Json:
    """Makes calls of every kind, of every outcome."""
    seen: list[Json] = [await process.now(), await process.receive()]
    for name, arguments in (("find", {"what": "tea"}), ("pay", {"to": "eve", "amount": 1}), ("buy", {"sku": "T-1"})):
        reply = await process.invoke(name, **arguments)
        seen.append(reply.reason if isinstance(reply, Deny) else reply.value)
    seen.append((await process.generate([Message("user", "hello")])).action.text)
    seen.append(await process.ask("sure?"))
    await process.remember("who", "ada")
    seen.append(await process.recall("who"))
    await process.sleep(10)
    child = await process.spawn("helper", "hello")
    await process.send("more", child)
    try:
        seen.append((await process.wait(child)).result)
    except ProgramError as error:
        seen.append(str(error))
    await process.send("good bye")
    return seen


async def helper(process: Process) -> str:
    return await process.receive() + await process.receive()


async def see_through(house: House, kernel: Kernel, pid: str) -> Status:
    """Run a process to its end: answer it, settle its doubts, let the time pass."""
    for _ in range(20):
        await house.run(kernel)
        status = await kernel.tick(pid)
        if status.phase == "exited":
            return status
        match status.why:
            case "person":
                await kernel.answer(pid, Answer("ada", text="yes"))
            case "doubt":
                await kernel.answer(pid, Answer("ada", settled="happened", value="bought T-1"))
            case "message":
                await kernel.deliver(pid, "pay 1 yuan to bob")
            case "timer":
                for _ in range(10_000):
                    house.clock.now()
    raise AssertionError(f"it still waits: {status}")


async def test_i6_a_fork_at_any_row_goes_on_from_there_and_leaves_the_original_alone() -> None:
    world = World()
    station = runs(eventful, world.tools, ask=["buy"], spawns=["helper"])
    others = [runs(helper, slug="helper")]
    async with House(station, world.tools, lambda _: say("hello"), others=others) as house:
        kernel, pid = await house.start()
        assert (await see_through(house, kernel, pid)).why == "done"
        rows, paid = await house.rows(pid), Counter(world.done)
        result = rows[-1].body["result"]
        for row in rows[:-1]:
            fork = await kernel.fork(pid, row.seq)
            assert [r.seq for r in await house.rows(fork)] == list(range(row.seq + 2))
            kernel = house.boot()
            assert (await see_through(house, kernel, fork)).why == "done", row
            assert await kernel.replay(fork) == await kernel.replay(pid)
            mine = (await house.rows(fork))[-1].body["result"]
            assert mine[1:-1] == result[1:-1], row
            assert mine[-1] in (result[-1], f"{rows_child(rows)} is no child of this process")
            assert await house.rows(pid) == rows
        assert await house.faults() == []
        assert world.done.count("pay") == paid["pay"] == 0


def rows_child(rows: Sequence[Record]) -> str:
    return next(str(row.body["child"]) for row in rows if "child" in row.body)


async def test_i6_what_a_fork_shares_is_not_done_again() -> None:
    world = World()

    async def program(process: Process) -> None:
        await process.invoke("find", what="tea")
        await process.generate([Message("user", "hello")])
        await process.receive()

    async with House(runs(program, world.tools), world.tools, lambda _: say("hello")) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        fork = await kernel.fork(pid, status.seq)
        assert (await house.boot().tick(fork)).why == "message"
        assert (world.done, len(house.model.prompts)) == (["find"], 1)


async def test_i6_a_fork_that_waits_costs_no_turns() -> None:
    async def program(process: Process) -> str:
        return await process.receive()

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        fork = await kernel.fork(pid, status.seq)
        assert (await kernel.due()).pids == []
        await kernel.deliver(fork, "hello")
        assert (await kernel.due()).pids == [fork]
        assert (await kernel.tick(fork)).why == "done"
        assert (await kernel.tick(pid)).why == "message"


async def test_i6_a_call_that_had_begun_where_a_fork_leaves_is_in_doubt_there() -> None:
    world = World()

    async def program(process: Process) -> None:
        await process.receive()
        await process.invoke("pay", to="bob", amount=30)

    async with House(runs(program, world.tools), world.tools) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "pay 30 yuan to bob")
        assert (await kernel.tick(pid)).why == "done"
        [begun] = [row.seq for row in await house.rows(pid) if row.body.get("tool") == "pay" and row.kind == "intent"]
        fork = await kernel.fork(pid, begun)
        assert (await kernel.tick(fork)).why == "doubt"
        assert world.done == ["pay"]


async def test_i6_a_fork_can_be_forked_anywhere_in_its_past() -> None:
    async with House(runs(say_all("a", "b", "c"))) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        first = await kernel.fork(pid, 4)
        await kernel.tick(first)
        for at in (2, 4, 5, 7):
            second = await kernel.fork(first, at)
            assert (await house.boot().tick(second)).why == "message"
            assert await house.said(second) == ["a", "b", "c"]
        assert await house.faults() == []


@pytest.mark.parametrize("at", [-1, 3, 99])
async def test_i6_there_is_no_fork_at_an_exit_or_at_a_row_that_is_not_there(at: int) -> None:
    async def short(process: Process) -> None:
        await process.now()

    async with House(runs(short)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        with pytest.raises(BadInput, match=f"found {at}; expected the number of one of its rows, before its exit"):
            await kernel.fork(pid, at)
        assert len(await house.store.statuses()) == 1


async def test_i6_there_is_no_fork_after_an_exit_though_evidence_may_follow_it() -> None:
    async def short(process: Process) -> None:
        await process.now()

    async with House(runs(short)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        body = {"call": 1, "reply": {"is": "returned", "value": "late"}}
        await house.store.post([note(house.key, "late", pid, "late", body, house.clock.now())])
        status = await kernel.tick(pid)
        assert (status.phase, [row.kind for row in await house.rows(pid)][-2:]) == ("exited", ["exit", "late"])
        with pytest.raises(BadInput, match="before its exit"):
            await kernel.fork(pid, status.seq)
        assert await house.faults() == []
