"""Live state is a fold of the journal and nothing else, whatever happens to a process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.engine.scripted import say
from kernos.kernel.dispatch import Kernel
from kernos.kernel.limits import Limits
from kernos.kernel.office import Answer
from kernos.kernel.ports import Prompt
from kernos.kernel.state import apply, fold
from kernos.kernel.types import Action, Record
from kernos.userland.lib import Process
from tests.support import House, World, runs, serves

ACTIONS = st.sampled_from(
    [
        say("hello"),
        Action("find", {"what": "tea"}),
        Action("note", {"text": "tea"}),
        Action("buy", {"sku": "T-1"}),
        Action("pay", {"to": "anna", "amount": 30}),
        Action("breaks", {}),
        Action("unknown", {"x": 1}),
        Action("find", {"where": "here"}),
    ]
)
STEPS = st.sampled_from(["deliver", "tick", "approve", "decline", "restart"])


async def sound(house: House, kernel: Kernel, pid: str) -> None:
    """Live state, journal and process table say the same."""
    rows = await house.store.records(pid)
    (status,) = await house.store.statuses()
    assert await kernel.check(pid) == []
    assert fold(list(rows)).status() == status
    assert await house.faults() == []


@given(st.lists(ACTIONS, min_size=1, max_size=6), st.lists(STEPS, max_size=12), st.sampled_from([3, 12, 2000]))
async def test_live_state_equals_the_fold_after_every_step_of_any_history(
    actions: list[Action], steps: list[str], calls: int
) -> None:
    def choose(prompt: Prompt) -> Action:
        return actions[len(prompt.messages) % len(actions)]

    tools = World().tools
    station = serves(tools, ask=["note", "pay"], limits=Limits(calls=calls))
    async with House(station, tools, choose) as house:
        kernel, pid = await house.start()
        for step in steps:
            status = await kernel.tick(pid)
            if step == "restart":
                kernel = house.boot()
            elif step == "deliver" and status.phase != "exited":
                await kernel.deliver(pid, "pay 30 yuan to anna")
            elif step in ("approve", "decline") and await kernel.question(pid):
                await kernel.answer(pid, Answer("ada", approved=step == "approve"))
            await sound(house, kernel, pid)
            assert await kernel.tick(pid) == (await house.store.statuses())[0]
            await sound(house, kernel, pid)


async def phases(rows: list[Record]) -> list[tuple[str, str, str]]:
    """What each row made of a process: the row's kind, the phase, and why."""
    states = [fold(rows[: n + 1]) for n in range(len(rows))]
    return [(row.kind, state.phase, state.why) for row, state in zip(rows, states, strict=True)]


async def test_a_process_goes_through_the_phases_that_are_drawn() -> None:
    async def program(process: Process) -> None:
        await process.receive()
        await process.ask("sure?")
        await process.invoke("note", text="tea")
        await process.now()

    tools = World().tools
    async with House(runs(program, tools, ask=["note"]), tools) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        await kernel.deliver(pid, "hello")
        await kernel.tick(pid)
        for _ in range(2):
            await kernel.answer(pid, Answer("ada", text="yes"))
            await kernel.tick(pid)
        assert await phases(list(await house.store.records(pid))) == [
            ("spawn", "ready", ""),
            ("intent", "waiting", "message"),
            ("message", "ready", ""),
            ("outcome", "running", ""),
            ("intent", "waiting", "person"),
            ("answer", "ready", ""),
            ("outcome", "running", ""),
            ("intent", "waiting", "person"),
            ("answer", "ready", ""),
            ("begin", "waiting", "tool"),
            ("outcome", "running", ""),
            ("intent", "running", ""),
            ("outcome", "running", ""),
            ("exit", "exited", "done"),
        ]


async def test_a_message_that_nobody_waits_for_changes_no_phase() -> None:
    async def program(process: Process) -> None:
        await process.ask("sure?")

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        await kernel.deliver(pid, "by the way")
        await kernel.tick(pid)
        (status,) = await house.store.statuses()
        assert (status.phase, status.why) == ("waiting", "person")


async def test_what_a_process_has_used_is_counted_from_its_rows() -> None:
    tools = World().tools
    script = [Action("find", {"what": "tea"}), say("here it is")]
    async with House(serves(tools), tools, script) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "find tea")
        status = await kernel.tick(pid)
        rows = await house.rows(pid)
        costs = [row.body["cost"] for row in rows if "cost" in row.body]
        assert status.calls == sum(row.kind in ("intent", "checkpoint") for row in rows) == 7
        assert status.tokens == sum(cost.get("prompt", 0) + cost.get("completion", 0) for cost in costs) > 0
        assert status.seconds == pytest.approx(sum(cost.get("seconds", 0.0) for cost in costs))
        assert status.seconds > 0


async def test_a_second_first_row_cannot_be_folded() -> None:
    async with House(serves()) as house:
        _, pid = await house.start()
        (row,) = await house.store.records(pid)
        with pytest.raises(ValueError, match="row 0: a spawn row cannot stand here"):
            apply(fold([row]), row)
