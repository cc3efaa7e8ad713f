"""System calls that an employee's model may choose like tools, as far as its company grants them.

`specs` declares them to the model; `make` turns a chosen action into the call. A program makes these calls with the
methods of its process; here only their words for a model are added.

`python` is many calls: the code computes where it reaches nothing, one `invoke` of the tool `python` at a time, and
each function that it calls is a call of this process, made here and judged like any other. So its steps are in the
journal, and nothing is computed again on replay.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, cast

from kernos.kernel.abi import Invoked
from kernos.kernel.errors import BadInput, ProgramError
from kernos.kernel.types import Deny, Json, ToolSpec
from kernos.userland.lib import Process


async def _ask(process: Process, question: str) -> Json:
    return await process.ask(question)


async def _spawn(process: Process, employee: str, task: str) -> Json:
    return {"pid": await process.spawn(employee, task)}


async def _wait(process: Process, pid: str) -> Json:
    ended = await process.wait(pid)
    return {"ended": ended.how, "result": ended.result} | ({"error": ended.error} if ended.error else {})


async def _sleep(process: Process, seconds: float) -> Json:
    await process.sleep(seconds)
    return "slept"


async def _remember(process: Process, key: str, value: Json) -> Json:
    await process.remember(key, value)
    return "kept"


async def _recall(process: Process, key: str) -> Json:
    return await process.recall(key, "nothing is kept under this key")


async def _python(process: Process, code: str) -> Json:
    begin = {"code": code, "now": await process.now()}
    answers: list[Json] = []
    step = await _step(process, **begin)
    while "call" in step:
        answers.append(await _answer(process, step["call"], step["arguments"]))
        step = await _step(process, pause=step["pause"], answer=answers[-1])
        if "lost" in step:  # a restart, or a long wait: the driver has let go of the code
            step = await _step(process, **begin, answers=answers)
    return {name: part for name, part in step.items() if part != ""}


async def _step(process: Process, **given: Json) -> Mapping[str, Json]:
    """Run code to its next call of a function, or to its end."""
    step = await process.invoke("python", **given)
    if isinstance(step, Deny) or step.error:
        raise ProgramError(step.reason if isinstance(step, Deny) else step.error)
    return cast("Mapping[str, Json]", step.value)


async def _answer(process: Process, name: str, arguments: Mapping[str, Json]) -> Json:
    """What a function that the code calls gives back to it."""
    called = make(process, name, arguments) if name in _CALLS else process.invoke(name, **arguments)
    reply = await called
    if isinstance(reply, Deny):
        return {"refused": reply.reason}
    return {"failed": reply.error} if reply.error else {"value": reply.value}


class _Call(NamedTuple):
    """A call in a model's words; its parameters are those that `make` takes."""

    description: str
    properties: Mapping[str, Json]
    make: Callable[..., Coroutine[Any, Any, Json]]


_TEXT = {"type": "string"}
_CODING = (
    "Run Python code, to compute or to call several tools in a row; its last line is the result. There are no "
    "packages, files or network, only functions."
)
_CALLS: Mapping[str, _Call] = {
    "ask": _Call("Ask the customer a question and wait for the answer.", {"question": _TEXT}, _ask),
    "spawn": _Call("Give a task to another employee. Returns its pid.", {"employee": _TEXT, "task": _TEXT}, _spawn),
    "wait": _Call("Wait until an employee that you gave a task has ended, for its result.", {"pid": _TEXT}, _wait),
    "sleep": _Call("Do nothing for some seconds.", {"seconds": {"type": "number", "minimum": 0}}, _sleep),
    "remember": _Call("Keep a value for later conversations.", {"key": _TEXT, "value": _TEXT}, _remember),
    "recall": _Call("Look up what was kept in an earlier conversation.", {"key": _TEXT}, _recall),
    "python": _Call(_CODING, {"code": _TEXT}, _python),
}


def specs(names: Sequence[str], employees: Sequence[str]) -> dict[str, ToolSpec]:
    """The declarations of these calls; `employees` are those that may be spawned."""
    return {name: _spec(name, employees) for name in names}


def _spec(name: str, employees: Sequence[str]) -> ToolSpec:
    call = _CALLS[name]
    properties = dict(call.properties)
    if "employee" in properties and employees:
        properties["employee"] = {**_TEXT, "enum": list(employees)}
    schema = {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False,
    }  # fmt: skip
    return ToolSpec(name, call.description, schema)


async def make(process: Process, name: str, arguments: Mapping[str, Json]) -> Invoked:
    """Make a chosen call. What is wrong with it is a failure that the model is told: an engine without a grammar may
    leave an argument out, or give another type."""
    try:
        return Invoked(await _CALLS[name].make(process, **arguments))
    except (ProgramError, BadInput) as error:
        return Invoked(error=str(error))
    except TypeError as error:
        return Invoked(error=f"the arguments do not fit: {error}")
