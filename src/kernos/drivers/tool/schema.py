"""Arguments against a JSON schema, in words that a model can act on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from jsonschema import Draft202012Validator
from referencing import Registry

from kernos.kernel.errors import ToolError, Unsupported
from kernos.kernel.ports import ToolResult
from kernos.kernel.types import Json, ToolSpec


class Checked:
    """The half of a tool that every backend shares: its declaration, and the check of arguments against it."""

    def __init__(self, spec: ToolSpec) -> None:
        self._spec = spec

    @property
    def spec(self) -> ToolSpec:
        return self._spec

    def problem(self, arguments: Mapping[str, Json]) -> str | None:
        """What is wrong with the arguments; None if nothing."""
        faults = sorted(self._validator.iter_errors(dict(arguments)), key=lambda fault: list(map(str, fault.path)))
        said = [f"{'.'.join(map(str, fault.path)) or 'arguments'}: {fault.message}" for fault in faults]
        return "; ".join(said) or None

    async def verify(self, arguments: Mapping[str, Json], key: str) -> ToolResult | None:
        """Raises Unsupported: a backend that can look a call up says how."""
        raise Unsupported(f"tool {self._spec.name}: it cannot look a call up")

    @cached_property
    def _validator(self) -> Draft202012Validator:
        return Draft202012Validator(dict(self._spec.schema), registry=Registry())  # nothing is fetched for a schema


class Unserved(Checked):
    """Something that a model may choose and that no driver serves: the employee makes a system call of it."""

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        """Raises ToolError: a program has a method of its process for this."""
        raise ToolError(f"{self._spec.name} is a system call, not a tool")
