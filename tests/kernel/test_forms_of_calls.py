"""A call that is not of its form is told to the program, as an error that it may handle; the kernel never stumbles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kernos.drivers.engine.scripted import say
from kernos.drivers.tool.schema import Unserved
from kernos.kernel.errors import BadInput
from kernos.kernel.types import Action, Json
from kernos.userland.calls import specs
from kernos.userland.employee import Brief, employee
from kernos.userland.lib import Process
from tests.support import House, runs

WRONG: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "sleep: seconds": lambda process: process.sleep("5"),
    "sleep: seconds, a truth": lambda process: process.sleep(True),
    "wait: pid": lambda process: process.wait(["p"]),
    "spawn: employee": lambda process: process.spawn({}),
    "send: text": lambda process: process.send(5),
    "recall: key": lambda process: process.recall(None),
    "embed: texts": lambda process: process.embed(["tea", 5]),
    "ask: question": lambda process: process.ask(b"?"),
}


@pytest.mark.parametrize("where", WRONG)
async def test_a_value_of_another_type_is_bad_input_that_a_program_may_survive(where: str) -> None:
    async def program(process: Process) -> Json:
        await process.now()
        try:
            await WRONG[where](process)
        except BadInput as error:
            await process.send("sorry")
            return error.where
        return "nothing was said"

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "done"
        assert (await house.rows(pid))[-1].body["result"] == where.partition(",")[0]
        assert await kernel.replay(pid) == 2
        assert await house.faults() == []


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (Action("sleep", {"seconds": "soon"}), "sleep: seconds: found 'soon'"),
        (Action("sleep", {}), "the arguments do not fit"),
        (Action("recall", {"key": 7}), "recall: key: found 7"),
        (Action("spawn", {"employee": "nobody", "task": "x"}), "is not granted nobody"),
    ],
)
async def test_a_model_that_fills_a_system_call_wrongly_is_told(action: Action, told: str) -> None:
    declared = specs(["sleep", "recall", "spawn"], [])
    tools = [Unserved(spec) for spec in declared.values()]
    brief = Brief("You serve.", declared, calls=tuple(declared))

    async def clerk(process: Process) -> str:
        return await employee(process, brief)

    async with House(runs(clerk, tools), tools, script=[action, say("well")]) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "hello")
        assert (await kernel.tick(pid)).why == "message"
        assert await house.said(pid) == ["well"]
        assert told in house.model.prompts[1].messages[-1].text
