"""Python that a model writes, as a tool that a program drives step by step: see `userland.calls`.

The model may call it with `code` alone. A program that runs the code for it gives the time and the answers too, and
goes on from a pause; each function that the code calls is a system call which that program makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Protocol

from jsonschema import Draft202012Validator

from kernos.drivers.tool.schema import Checked
from kernos.kernel.errors import ToolError, Unsupported
from kernos.kernel.ports import ToolResult
from kernos.kernel.types import Json, ToolSpec

_STEPS: Mapping[str, Json] = {
    "type": "object",
    "properties": {
        "code": {"type": "string"},
        "now": {"type": "number", "minimum": 0, "maximum": 1e11},
        "answers": {"type": "array", "items": {"type": "object"}},
        "pause": {"type": "string"},
        "answer": {"type": "object"},
    },
    "oneOf": [{"required": ["code"]}, {"required": ["pause", "answer"]}],
    "additionalProperties": False,
}


class Interpreter(Protocol):
    """Runs code to its next call or its end; both return a step, see `sandbox.monty`."""

    async def start(
        self, code: str, functions: Mapping[str, Sequence[str]], now: float, answers: Sequence[Json] = ()
    ) -> Json: ...
    async def resume(self, pause: str, answer: Json) -> Json: ...


class PythonCode(Checked):
    """Runs Python whose functions are `functions`, by name, with the names of their parameters."""

    def __init__(self, spec: ToolSpec, interpreter: Interpreter, functions: Mapping[str, Sequence[str]]) -> None:
        listed = ", ".join(f"{name}({', '.join(places)})" for name, places in functions.items())
        super().__init__(replace(spec, description=f"{spec.description} Functions: {listed or 'none'}."))
        self._interpreter, self._functions = interpreter, functions

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        """One step. Raises ToolError where there is no interpreter."""
        try:
            if "code" not in arguments:
                return ToolResult(await self._interpreter.resume(arguments["pause"], arguments["answer"]))
            now, answers = arguments.get("now", 0.0), arguments.get("answers", ())
            return ToolResult(await self._interpreter.start(arguments["code"], self._functions, now, answers))
        except Unsupported as lack:
            raise ToolError(str(lack)) from None

    @cached_property
    def _validator(self) -> Draft202012Validator:
        return Draft202012Validator(dict(_STEPS))
