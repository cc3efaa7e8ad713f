"""A tool call as a plain value, and what AgentDojo gives, in JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agentdojo.functions_runtime import FunctionCall
from pydantic import TypeAdapter

from kernos.kernel.types import Json, canonical

_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


@dataclass(frozen=True)
class Call:
    """A call of a tool. Two are the same if they say the same; an argument that is null says nothing."""

    tool: str
    arguments: Mapping[str, Json]

    @cached_property
    def key(self) -> bytes:
        return canonical([self.tool, {name: value for name, value in self.arguments.items() if value is not None}])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Call) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return f"{self.tool}({', '.join(f'{name}={str(value)[:60]!r}' for name, value in self.arguments.items())})"

    def dojo(self) -> FunctionCall:
        """The same for AgentDojo."""
        return FunctionCall(function=self.tool, args=plain(dict(self.arguments)))


def calls(ground_truth: Iterable[FunctionCall]) -> list[Call]:
    return [Call(call.function, plain(dict(call.args))) for call in ground_truth]


def plain(value: Any) -> Json:
    """A value as JSON, sharing nothing with the original that can change."""
    return _ANYTHING.dump_python(value, mode="json")


def texts(value: Json) -> Iterator[str]:
    """Every string in a JSON value, keys too."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield key
            yield from texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from texts(part)
    elif isinstance(value, str):
        yield value
