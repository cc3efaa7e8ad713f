"""System calls that an employee's model may choose like tools, as far as its company grants them.

`SPECS` declares them to the model; `make` turns a chosen action into the call. A program makes these calls with the
methods of its process; here only their words for a model are added.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from kernos.kernel.abi import Invoked
from kernos.kernel.errors import ProgramError
from kernos.kernel.types import Json, ToolSpec
from kernos.userland.lib import Process

Made = Callable[[Process, Mapping[str, Json]], Coroutine[Any, Any, Json]]


async def _ask(process: Process, given: Mapping[str, Json]) -> Json:
    return await process.ask(given["question"])


async def _spawn(process: Process, given: Mapping[str, Json]) -> Json:
    return {"pid": await process.spawn(given["employee"], given["task"])}


async def _wait(process: Process, given: Mapping[str, Json]) -> Json:
    ended = await process.wait(given["pid"])
    return {"ended": ended.how, "result": ended.result} | ({"error": ended.error} if ended.error else {})


async def _sleep(process: Process, given: Mapping[str, Json]) -> Json:
    await process.sleep(given["seconds"])
    return "slept"


async def _remember(process: Process, given: Mapping[str, Json]) -> Json:
    await process.remember(given["key"], given["value"])
    return "kept"


async def _recall(process: Process, given: Mapping[str, Json]) -> Json:
    return await process.recall(given["key"], "nothing is kept under this key")


def _spec(name: str, description: str, **properties: Json) -> ToolSpec:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return ToolSpec(name, description, schema)


_TEXT = {"type": "string"}
SPECS: Mapping[str, ToolSpec] = {
    spec.name: spec
    for spec in (
        _spec("ask", "Ask the customer a question and wait for the answer.", question=_TEXT),
        _spec("spawn", "Give a task to another employee. Returns its pid.", employee=_TEXT, task=_TEXT),
        _spec("wait", "Wait until an employee that you gave a task has ended, for its result.", pid=_TEXT),
        _spec("sleep", "Do nothing for some seconds.", seconds={"type": "number", "minimum": 0}),
        _spec("remember", "Keep a value for later conversations.", key=_TEXT, value=_TEXT),
        _spec("recall", "Look up what was kept in an earlier conversation.", key=_TEXT),
    )
}
_MADE: Mapping[str, Made] = {
    "ask": _ask, "spawn": _spawn, "wait": _wait, "sleep": _sleep, "remember": _remember, "recall": _recall,
}  # fmt: skip


def specs(names: Sequence[str], employees: Sequence[str]) -> dict[str, ToolSpec]:
    """The declarations of these calls; `employees` are those that may be spawned."""
    chosen = {name: SPECS[name] for name in names}
    if "spawn" in chosen and employees:
        who = {"type": "string", "enum": list(employees)}
        chosen["spawn"] = _spec("spawn", SPECS["spawn"].description, employee=who, task=_TEXT)
    return chosen


async def make(process: Process, name: str, arguments: Mapping[str, Json]) -> Invoked:
    """Make a chosen call. What is wrong with it is a failure that the model is told."""
    try:
        return Invoked(await _MADE[name](process, arguments))
    except ProgramError as error:
        return Invoked(error=str(error))
    except (KeyError, TypeError, ValueError) as error:  # an engine without a grammar may leave an argument out
        return Invoked(error=f"the arguments do not fit: {type(error).__name__}: {error}")
