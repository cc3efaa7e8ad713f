"""I9: what no grant allows does not happen, and a check that cannot be evaluated is a denial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.engine.scripted import say
from kernos.drivers.tool.schema import Checked
from kernos.kernel.errors import BadInput, ProgramError
from kernos.kernel.office import Answer
from kernos.kernel.ports import ToolResult
from kernos.kernel.types import Action, Deny, Json, Message, ToolSpec
from kernos.userland.lib import Process
from tests.support import CLERK, House, World, runs, serves

NAMES = ["find", "note", "pay", "buy", "breaks"]


@given(st.sets(st.sampled_from(NAMES)), st.sampled_from([*NAMES, "unknown", "reply", "", "generate"]))
async def test_i9_a_tool_runs_only_if_it_is_granted(granted: set[str], called: str) -> None:
    world = World()
    arguments: dict[str, dict[str, Any]] = {"find": {"what": "tea"}, "note": {"text": "tea"}, "breaks": {}}
    replies: list[object] = []

    async def program(process: Process) -> None:
        replies.append(await process.invoke(called, **arguments.get(called, {})))

    station = runs(program, [tool for tool in world.tools if tool.spec.name in granted])
    async with House(station, world.tools) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "done"
    if called not in granted:
        assert replies == [Deny("grant", f"clerk is not granted the tool {called}")]
    assert world.done == ([called] if called in granted and called in arguments else [])


@pytest.mark.parametrize("granted", [[], ["find"], ["find", "note", "pay"]])
async def test_i9_an_ungranted_tool_is_neither_described_nor_offered(granted: list[str]) -> None:
    world = World()
    tools = [tool for tool in world.tools if tool.spec.name in granted]
    async with House(serves(tools), world.tools, [say("hello")]) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "hello")
        await kernel.tick(pid)
        (prompt,) = house.model.prompts
        assert [spec.name for spec in prompt.tools] == granted
        assert list(prompt.offers) == granted


async def test_i9_a_tool_whose_data_is_not_there_is_described_but_not_offered() -> None:
    world = World()
    async with House(serves(world.tools), world.tools, [Action("find", {"what": "tea"}), say("found")]) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "find tea")
        await kernel.tick(pid)
        before, after = house.model.prompts
        assert before.tools == after.tools
        assert "buy" not in before.offers
        assert after.offers["buy"]["properties"]["sku"] == {"enum": ["T-1"]}


async def test_i9_a_withheld_tool_is_described_but_not_offered() -> None:
    world = World()

    async def program(process: Process) -> None:
        await process.generate([Message("user", "go")], ["find", "note"], withheld=["find"])

    async with House(runs(program, world.tools), world.tools, [say("ok")]) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        (prompt,) = house.model.prompts
        assert [spec.name for spec in prompt.tools] == ["find", "note"]
        assert list(prompt.offers) == ["note"]


async def test_i9_a_model_is_not_asked_about_tools_that_are_not_granted() -> None:
    async def program(process: Process) -> str:
        try:
            await process.generate([Message("user", "go")], ["pay"])
        except ProgramError as error:
            return str(error)
        return "asked"

    world = World()
    async with House(runs(program), world.tools, [say("ok")]) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        assert house.model.prompts == []
        rows = await house.rows(pid)
        assert rows[-1].body["result"] == "clerk is not granted: pay"
        assert rows[-2].body["is"] == "denied"


async def test_i9_a_denial_is_recorded_with_its_rule_and_reason() -> None:
    async def program(process: Process) -> None:
        await process.invoke("pay", to="eve", amount=1)

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        _, intent, outcome, _ = await house.rows(pid)
        assert intent.body["verdict"] == {
            "is": "deny", "rule": "grant", "reason": "clerk is not granted the tool pay",
        }  # fmt: skip
        assert (outcome.body["is"], outcome.body["rule"]) == ("denied", "grant")


async def test_i9_an_unknown_employee_cannot_be_started() -> None:
    async with House(serves()) as house:
        with pytest.raises(BadInput, match=f"found 'boss'; expected {CLERK}"):
            await house.boot().spawn("boss", "ada")
        assert await house.store.statuses() == []


async def test_i9_nothing_but_approval_is_approval() -> None:
    world = World()

    async def program(process: Process) -> None:
        await process.invoke("note", text="tea")

    async with House(runs(program, world.tools, ask=["note"]), world.tools) as house:
        kernel, pid = await house.start()
        for _ in range(3):
            assert (await kernel.tick(pid)).why == "person"
        await kernel.deliver(pid, "yes, approved, do it")
        assert (await kernel.tick(pid)).why == "person"
        assert world.done == []
        await kernel.answer(pid, Answer("ada", approved=False, text="yes"))
        assert (await kernel.tick(pid)).why == "done"
        assert world.done == []


class Odd(Checked):
    """A tool whose schema refers to nothing."""

    def __init__(self, done: list[str]) -> None:
        properties = {"x": {"$ref": "#/$defs/nowhere"}}
        super().__init__(ToolSpec("odd", "Do.", {"type": "object", "properties": properties}))
        self.done = done

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        self.done.append("odd")
        return ToolResult()


async def test_i9_a_check_that_cannot_be_evaluated_is_a_denial() -> None:
    done: list[str] = []
    replies: list[object] = []

    async def program(process: Process) -> None:
        replies.append(await process.invoke("odd", x=1))

    tools = [Odd(done)]
    async with House(runs(program, tools), tools) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        assert done == []
        assert isinstance(replies[0], Deny)
