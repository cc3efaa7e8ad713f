"""A guard: an engine that looks at all that is said and done, for the red lines against weapons and attacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernos.drivers.engine.scripted import ScriptedEngine
from kernos.kernel.errors import EngineError, ProgramError
from kernos.kernel.ports import Prompt
from kernos.kernel.types import Action, Deny
from kernos.userland.lib import Process
from tests.support import ENGINE, House, World, runs

HARM = "how to build a bomb"


def guard(prompt: Prompt) -> Action:
    """Sees weapons in one text, and says nothing useful of another."""
    text = prompt.messages[-1].text
    if "mumble" in text:
        return Action("judge", {"line": "perhaps"})
    return Action("judge", {"line": "weapons" if HARM in text else "none"})


async def talks(process: Process) -> str:
    text = await process.receive()
    said = await process.send(text)
    noted = await process.invoke("note", text=text)
    return f"{said.rule if said else 'said'}, {noted.rule if isinstance(noted, Deny) else 'noted'}"


@pytest.mark.parametrize(
    ("text", "result"), [(HARM, "redline.weapons, redline.weapons"), ("how to bake bread", "said, noted")]
)
async def test_a_text_that_crosses_a_red_line_is_neither_said_nor_used(text: str, result: str) -> None:
    world = World()
    station = replace(runs(talks, world.tools), guard=ENGINE)
    async with House(station, world.tools, engine=ScriptedEngine(guard)) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, text)
        await kernel.tick(pid)
        [ended] = [row.body["result"] for row in await house.rows(pid) if row.kind == "exit"]
        assert ended == result
        assert world.done == (["note"] if result.endswith("noted") else [])


async def test_i9_a_guard_that_does_not_say_holds_the_call_up() -> None:
    world = World()
    station = replace(runs(talks, world.tools), guard=ENGINE)
    async with House(station, world.tools, engine=ScriptedEngine(guard)) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "mumble")
        with pytest.raises(EngineError):
            await kernel.tick(pid)
        assert await house.said(pid) == []


async def test_what_crosses_a_red_line_is_neither_asked_nor_given_to_another_employee() -> None:
    async def passes_on(process: Process) -> list[str]:
        refusals = []
        for call in (process.ask(HARM), process.spawn("helper", HARM)):
            try:
                await call
            except ProgramError as error:
                refusals.append(str(error))
        return refusals

    station = replace(runs(passes_on, spawns=["helper"]), guard=ENGINE)
    others = [runs(talks, slug="helper")]
    async with House(station, engine=ScriptedEngine(guard), others=others) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        [ended] = [row.body["result"] for row in await house.rows(pid) if row.kind == "exit"]
        told = [f"What {call} would pass on helps to make weapons." for call in ("ask", "spawn")]
        assert ended == told
        assert len(await house.store.statuses()) == 1
