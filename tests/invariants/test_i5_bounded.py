"""I5: no process passes its limits; it is told so, and ends."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.clock.fixed import FixedClock
from kernos.drivers.engine.scripted import say
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.abi import Invoked
from kernos.kernel.errors import LimitExceeded
from kernos.kernel.limits import Limits, Price, Sums, Usage, check
from kernos.kernel.office import Answer
from kernos.kernel.types import Generation, Json, Message, Record, canonical
from kernos.userland.lib import Process
from tests.support import CLERK, OURS, OWNER, House, World, runs

LONG = 500
"""More often than any limit here allows."""
TEXT = [Message("user", "one two three four")]


async def forever(process: Process) -> None:
    """Asks the model and a tool, until it is stopped; if it is not, its test fails."""
    for _ in range(LONG):
        await process.generate(TEXT)
        await process.invoke("note", text="tea")


def error(rows: list[Record]) -> str:
    return str(rows[-1].body["error"])


@pytest.mark.parametrize(
    ("limits", "name"),
    [(Limits(tokens=20), "tokens"), (Limits(calls=7), "calls"), (Limits(seconds=0.01), "seconds")],
)
async def test_i5_a_process_that_used_up_a_limit_ends_and_says_which(limits: Limits, name: str) -> None:
    world = World()
    async with House(runs(forever, world.tools, limits=limits), world.tools, lambda _: say("x")) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert (status.phase, status.why) == ("exited", "limit")
        assert error(list(await house.rows(pid))).startswith(f"limit reached: {name}: ")


@given(st.integers(0, 12))
async def test_i5_exactly_as_many_calls_are_made_as_are_allowed(calls: int) -> None:
    world = World()
    station = runs(forever, world.tools, limits=Limits(calls=calls))
    async with House(station, world.tools, lambda _: say("x")) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert status.calls == calls == len(house.model.prompts) + len(world.done)


@given(st.integers(1, 60))
async def test_i5_no_model_is_asked_once_the_tokens_are_used_up(tokens: int) -> None:
    async def talk(process: Process) -> None:
        for _ in range(LONG):
            await process.generate(TEXT)

    async with House(runs(talk, limits=Limits(tokens=tokens)), script=lambda _: say("x")) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert status.tokens - 5 < tokens <= status.tokens  # five tokens a call: the last may pass the limit, no other
        assert status.tokens == 5 * len(house.model.prompts)


async def test_i5_a_denied_call_counts_too() -> None:
    async def knock(process: Process) -> None:
        for _ in range(LONG):
            await process.invoke("nothing")

    async with House(runs(knock, limits=Limits(calls=5))) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert (status.why, status.calls) == ("limit", 5)


async def test_i5_a_program_may_catch_the_limit_and_finish_tidily() -> None:
    async def careful(process: Process) -> str:
        n = 0
        try:
            for _ in range(LONG):
                await process.now()
                n += 1
            return "never stopped"
        except LimitExceeded as reached:
            return f"{n} calls, then {reached.limit}"

    async with House(runs(careful, limits=Limits(calls=3))) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert (status.phase, status.why) == ("exited", "done")
        assert (await house.rows(pid))[-1].body["result"] == "3 calls, then calls"


async def test_i5_after_the_limit_there_is_no_further_system_call() -> None:
    async def stubborn(process: Process) -> None:
        try:
            for _ in range(LONG):
                await process.now()
        except LimitExceeded:
            await process.send("one more word")

    async with House(runs(stubborn, limits=Limits(calls=3))) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert (status.why, status.calls) == ("limit", 3)
        assert await house.said(pid) == []


async def test_i5_a_restart_gives_no_new_budget() -> None:
    async def listen(process: Process) -> None:
        for _ in range(LONG):
            await process.receive()

    async with House(runs(listen, limits=Limits(calls=3))) as house:
        kernel, pid = await house.start()
        for text in ("one", "two"):
            kernel = house.boot()
            await kernel.deliver(pid, text)
            assert (await kernel.tick(pid)).phase == "waiting"
        kernel = house.boot()
        await kernel.deliver(pid, "three")
        status = await kernel.tick(pid)
        assert (status.why, status.calls) == ("limit", 3)


async def test_i5_limits_are_those_that_the_process_was_born_with() -> None:
    world = World()
    small = runs(forever, world.tools, limits=Limits(calls=4))
    large = runs(forever, world.tools, limits=Limits(calls=400))
    async with House(small, world.tools, lambda _: say("x")) as house:
        _, pid = await house.start()
        assert (await house.boot(station=large).tick(pid)).calls == 4


async def test_i5_waiting_costs_no_time() -> None:
    async def listen(process: Process) -> None:
        await process.receive()
        await process.ask("sure?")

    async with House(runs(listen)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        for _ in range(100):
            house.clock.now()
        await kernel.deliver(pid, "hello")
        assert (await kernel.tick(pid)).seconds == 0


async def test_i5_the_time_of_a_tool_counts() -> None:
    async def slow() -> None:
        """Take ten seconds."""
        for _ in range(10_000):
            house.clock.now()  # each reading moves the clock by a millisecond

    async def program(process: Process) -> None:
        await process.invoke("slow")
        await process.invoke("slow")

    tools = [PythonTool(slow, ["reads"], False, returns=OURS)]
    async with House(runs(program, tools, limits=Limits(seconds=9)), tools) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert (status.why, status.calls) == ("limit", 1)
        assert status.seconds == pytest.approx(10, abs=0.1)


AMOUNTS = st.integers(0, 5)
BOUNDS = st.none() | AMOUNTS


@given(st.builds(Usage, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS), st.builds(Limits, BOUNDS, BOUNDS, BOUNDS, BOUNDS))
def test_i5_a_call_needs_budget_left_under_every_limit(usage: Usage, limits: Limits) -> None:
    used = asdict(usage)
    over = [name for name, amount in used.items() if (bound := limits.of(name)) is not None and amount >= bound]
    try:
        check(iter(used.items()), limits)
    except LimitExceeded as reached:
        assert reached.limit == over[0]
        assert (reached.used, reached.allowed) == (used[reached.limit], limits.of(reached.limit))
    else:
        assert over == []


# Money, the time since birth, single tools


async def test_i5_money_is_counted_by_the_engines_prices_and_ends() -> None:
    async def talk(process: Process) -> None:
        for _ in range(LONG):
            await process.generate(TEXT)

    price = Price(prompt=1.0, completion=1_000_000.0)  # for a million tokens: four tokens in, one out
    station = runs(talk, limits=Limits(money=3.0))
    async with House(station, script=lambda _: say("x"), prices={"local": price}) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert status.why == "limit"
        assert status.money == pytest.approx(3 * 1.000004)
        assert error(list(await house.rows(pid))).startswith("limit reached: money: 3.00001 of 3 used")


async def test_i5_an_engine_without_a_price_costs_nothing() -> None:
    async with House(runs(forever, limits=Limits(calls=20, money=0.01)), script=lambda _: say("x")) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert (status.why, status.money, status.calls) == ("limit", 0, 20)


@given(st.integers(0, 3_000), st.integers(0, 3_000), st.integers(0, 3_000))
def test_i5_cached_tokens_are_paid_as_such(prompt: int, cached: int, completion: int) -> None:
    price = Price(prompt=2.0, cached=0.5, completion=8.0)
    generation = Generation(say("x"), prompt + cached, cached, completion)
    assert price.of(generation) == pytest.approx((prompt * 2.0 + cached * 0.5 + completion * 8.0) / 1e6)


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
async def test_i5_all_time_since_birth_counts_against_the_wall(restart: bool) -> None:
    async def listen(process: Process) -> None:
        for _ in range(LONG):
            await process.receive()

    async with House(runs(listen, limits=Limits(wall=5.0))) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "early")
        assert (await kernel.tick(pid)).why == "message"
        for _ in range(5_000):
            house.clock.now()
        kernel = house.boot() if restart else kernel
        await kernel.deliver(pid, "late")
        assert (await kernel.tick(pid)).why == "limit"
        assert error(list(await house.rows(pid))).startswith("limit reached: wall: ")


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
async def test_i5_one_tool_may_be_bounded_and_no_other(restart: bool) -> None:
    world = World()

    async def program(process: Process) -> None:
        for n in range(LONG):
            await process.invoke("find", what="tea")
            await process.invoke("note", text=f"{n}")
            await process.receive()

    station = runs(program, world.tools, limits=Limits(tools={"note": 2}))
    async with House(station, world.tools) as house:
        kernel, pid = await house.start()
        for _ in range(2):
            assert (await kernel.tick(pid)).why == "message"
            kernel = house.boot() if restart else kernel
            await kernel.deliver(pid, "go on")
        assert (await kernel.tick(pid)).why == "limit"
        assert world.done == ["find", "note", "find", "note", "find"]
        assert error(list(await house.rows(pid))) == "limit reached: tools.note: 2 of 2 used"


async def test_i5_a_call_of_a_tool_that_was_refused_is_no_call_of_that_tool() -> None:
    world = World()

    async def program(process: Process) -> None:
        for _ in range(3):
            await process.invoke("pay", to="eve", amount=1)
        await process.receive()
        await process.invoke("pay", to="bob", amount=30)

    station = runs(program, world.tools, limits=Limits(tools={"pay": 1}))
    async with House(station, world.tools) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "pay 30 yuan to bob")
        assert (await kernel.tick(pid)).why == "done"
        assert world.done == ["pay"]


# Families


async def breeds(process: Process) -> Json:
    """Starts children until that is not allowed; how many."""
    n = 0
    with suppress(LimitExceeded):
        for _ in range(LONG):
            await process.spawn(CLERK)
            n += 1
    return n


@given(st.integers(0, 5))
async def test_i5_only_so_many_children_are_started(children: int) -> None:
    async def parent(process: Process) -> Json:
        return await breeds(process) if await process.receive() == "breed" else None

    async with House(runs(parent, spawns=[CLERK], limits=Limits(children=children))) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "breed")
        assert (await kernel.tick(pid)).why == "done"
        assert (await house.rows(pid))[-1].body["result"] == children
        assert len(await house.store.statuses()) == children + 1


async def heir(process: Process) -> None:
    """Starts one child, as every generation does."""
    await process.spawn(CLERK)
    await process.receive()


async def generations(house: House) -> int:
    _ = await house.start(kernel := house.boot())
    await house.run(kernel)
    return len(await house.store.statuses()) - 1


@pytest.mark.parametrize("depth", range(4))
async def test_i5_only_so_many_generations_follow(depth: int) -> None:
    async with House(runs(heir, spawns=[CLERK], limits=Limits(depth=depth))) as house:
        assert await generations(house) == depth


@pytest.mark.parametrize(("mine", "childs", "follow"), [(3, 1, 2), (1, 3, 1), (2, 0, 1), (0, 5, 0)])
async def test_i5_a_child_may_have_fewer_generations_after_it_but_never_more(
    mine: int, childs: int, follow: int
) -> None:
    async def parent(process: Process) -> None:
        await process.spawn("other")
        await process.receive()

    async def child(process: Process) -> None:
        await process.spawn("other")
        await process.receive()

    other = runs(child, slug="other", spawns=["other"], limits=Limits(depth=childs))
    async with House(runs(parent, spawns=["other"], limits=Limits(depth=mine)), others=[other]) as house:
        assert await generations(house) == follow


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after restarts"])
async def test_i5_a_tree_is_bounded_together(restart: bool) -> None:
    """However many of them share in it; each of them alone is far from its own limits."""

    async def parent(process: Process) -> None:
        for _ in range(3):
            await process.spawn("worker")
        await process.receive()

    async def worker(process: Process) -> None:
        for _ in range(LONG):
            await process.generate(TEXT)
            await process.sleep(0.5)

    station = runs(parent, spawns=["worker"], limits=Limits(tree=Sums(tokens=40)))
    others = [runs(worker, slug="worker", limits=Limits(calls=100))]
    async with House(station, script=lambda _: say("x"), others=others) as house:
        kernel, _ = await house.start()
        for _ in range(20_000):
            for pid in (await kernel.due()).pids[:1]:
                kernel = house.boot() if restart else kernel
                await kernel.tick(pid)
        statuses = await house.store.statuses()
        assert [status.why for status in statuses[1:]] == ["limit"] * 3
        assert sum(status.tokens for status in statuses) == 40 == 5 * len(house.model.prompts)
        assert error(list(await house.rows(statuses[1].pid))) == "limit reached: tree.tokens: 40 of 40 used"


async def test_i5_another_tree_of_the_same_owner_is_not_meant() -> None:
    async def talk(process: Process) -> None:
        await process.generate(TEXT)
        await process.generate(TEXT)

    station = runs(talk, limits=Limits(tree=Sums(tokens=6)))
    async with House(station, script=lambda _: say("x")) as house:
        kernel = house.boot()
        for _ in range(3):
            assert (await kernel.tick(await kernel.spawn(CLERK, OWNER))).why == "done"


async def test_i5_an_owners_day_is_bounded_over_all_processes_and_a_new_day_is_new() -> None:
    async def talk(process: Process) -> None:
        await process.generate(TEXT)

    station = runs(talk, limits=Limits(day=Sums(tokens=10)))
    async with House(station, script=lambda _: say("x")) as house:
        house.clock = FixedClock(start=20_000 * 86_400.0)
        kernel = house.boot()

        async def ends(owner: str = OWNER) -> str:
            return (await kernel.tick(await kernel.spawn(CLERK, owner))).why

        assert [await ends() for _ in range(3)] == ["done", "done", "limit"]
        assert await ends("eve") == "done"
        house.clock = FixedClock(start=20_001 * 86_400.0 - 1)
        for _ in range(10):
            house.clock.name()  # a new clock would give the names again that are taken
        kernel = house.boot()
        assert await ends() == "limit"
        for _ in range(1_000):
            house.clock.now()
        assert [await ends() for _ in range(3)] == ["done", "done", "limit"]


# Soft limits


async def counts(process: Process) -> Json:
    """Makes calls as long as it may; how many, and which limit ended it."""
    n = 0
    try:
        for _ in range(LONG):
            await process.now()
            n += 1
    except LimitExceeded as reached:
        return [n, reached.limit]
    return [n, ""]


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after restarts"])
async def test_i5_of_a_soft_limit_a_person_is_asked_for_as_much_again(restart: bool) -> None:
    station = runs(counts, limits=Limits(calls=3, soft=frozenset({"calls"})))
    async with House(station) as house:
        kernel, pid = await house.start()
        for n in (3, 6, 9):
            for _ in range(2):
                kernel = house.boot() if restart else kernel
                status = await kernel.tick(pid)
                assert (status.phase, status.why, status.calls) == ("waiting", "person", n)
            question = await kernel.question(pid)
            assert question is not None
            assert (question.kind, question.text) == (
                "limit", f"limit reached: calls: {n} of {n} used. As much again?",
            )  # fmt: skip
            kernel = house.boot() if restart else kernel
            await kernel.answer(pid, Answer("ada", approved=n < 9))
        assert (await kernel.tick(pid)).why == "done"
        assert (await house.rows(pid))[-1].body["result"] == [9, "calls"]
        assert await kernel.check(pid) == await house.faults() == []
        assert await kernel.replay(pid) == 10


async def test_i5_what_was_declined_is_not_asked_again() -> None:
    async def stubborn(process: Process) -> None:
        with suppress(LimitExceeded):
            for _ in range(LONG):
                await process.now()
        await process.now()

    async with House(runs(stubborn, limits=Limits(calls=2, soft=frozenset({"calls"})))) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        await kernel.answer(pid, Answer("ada", approved=False))
        status = await kernel.tick(pid)
        assert (status.why, status.calls) == ("limit", 2)


async def test_i5_only_the_soft_ones_are_asked_about() -> None:
    station = runs(counts, limits=Limits(calls=3, tokens=0, soft=frozenset({"calls"})))
    async with House(station) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "done"
        assert (await house.rows(pid))[-1].body["result"] == [0, "tokens"]


SOFT: dict[str, Limits] = {
    "tools.note": Limits(tools={"note": 1}),
    "children": Limits(children=1),
    "depth": Limits(depth=0),
    "tree.calls": Limits(tree=Sums(calls=2)),
    "day.calls": Limits(day=Sums(calls=2)),
    "wall": Limits(wall=0.001),
    "calls": Limits(calls=2),
}


@pytest.mark.parametrize("approved", [False, True], ids=["declined", "approved"])
@pytest.mark.parametrize("name", SOFT)
async def test_i5_every_limit_may_be_soft(name: str, approved: bool) -> None:
    world = World()

    async def program(process: Process) -> Json:
        try:
            for _ in range(2):
                await process.invoke("note", text="tea")
                await process.spawn("child")
        except LimitExceeded as reached:
            return reached.limit

    async def child(process: Process) -> None:
        await process.receive()

    limits = replace(SOFT[name], soft=frozenset({name}))
    station = runs(program, world.tools, limits=limits, spawns=["child"])
    async with House(station, world.tools, others=[runs(child, slug="child")]) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "person"
        question = await kernel.question(pid)
        assert question is not None
        assert question.text.startswith(f"limit reached: {name}: ")
        before = (await house.store.statuses())[0].calls
        await kernel.answer(pid, Answer("ada", approved=approved))
        status = await kernel.tick(pid)
        if approved and name not in ("depth", "wall"):  # as much again of nothing, or of no time, is soon used up
            assert status.calls > before
        if not approved:
            assert (await house.rows(pid))[-1].body["result"] == name
        assert await house.faults() == []


# Near a limit the process is told


async def test_i5_a_process_is_told_once_when_it_comes_near_a_limit() -> None:
    told: list[dict[str, float]] = []

    async def talk(process: Process) -> None:
        for _ in range(9):
            told.append(dict((await process.generate(TEXT)).near))

    station = runs(talk, limits=Limits(calls=10, tokens=50))
    async with House(station, script=lambda _: say("x")) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "done"
        assert told == [{}] * 7 + [{"calls": 0.8, "tokens": 0.8}] + [{}]
        first = list(told)
        told.clear()
        await kernel.replay(pid)
        assert told == first


async def test_i5_a_tool_tells_of_the_time_that_it_took() -> None:
    near: list[dict[str, float]] = []

    async def slow() -> None:
        """Take nine seconds."""
        for _ in range(9_000):
            house.clock.now()

    async def program(process: Process) -> None:
        reply = await process.invoke("slow")
        assert isinstance(reply, Invoked)
        near.append(dict(reply.near))

    tools = [PythonTool(slow, ["reads"], returns=OURS)]
    async with House(runs(program, tools, limits=Limits(seconds=10)), tools) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        assert near == [{"seconds": pytest.approx(0.9, abs=0.01)}]


@given(st.builds(Limits, BOUNDS, BOUNDS, BOUNDS, BOUNDS, BOUNDS, BOUNDS, BOUNDS,
                 st.dictionaries(st.sampled_from(["a", "b"]), AMOUNTS),
                 st.builds(Sums, BOUNDS, BOUNDS), st.builds(Sums, BOUNDS),
                 st.frozensets(st.sampled_from(["calls", "tree.calls"]))))  # fmt: skip
def test_i5_limits_are_read_back_as_they_were_written(limits: Limits) -> None:
    assert Limits.from_json(json.loads(canonical(limits.to_json()))) == limits
