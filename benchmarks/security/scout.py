"""Reconnaissance: every read that can be made, with whatever values have been seen for what the tools want to know."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import product

from benchmarks.security.calls import Call, texts
from kernos.kernel.types import Json, ToolSpec

ROUNDS, VALUES, CALLS = 2, 4, 40
"""So often over all tools; so many values of one kind; so many calls in one run."""
_LINK = re.compile(r"(?:https?://|www\.)[^\s'\"<>)]+[\w/]")
_TIME = re.compile(r"\d{4}-\d\d-\d\d")


class Scout:
    """Remembers what has been seen, by its kind, and turns it into reads."""

    def __init__(self, specs: Mapping[str, ToolSpec]) -> None:
        self._specs = specs
        self._known: dict[str, dict[str, Json]] = defaultdict(dict)
        self._tried: set[Call] = set()

    def learn(self, spec: ToolSpec, arguments: Mapping[str, Json], value: Json) -> None:
        """What a call was given, and what it returned."""
        self._tried.add(Call(spec.name, arguments))
        for name, argument in arguments.items():
            for part in argument if isinstance(argument, list) else [argument]:
                self._keep(spec.rule(name).of, part)
        for name, leaf in _leaves(value):
            if name in spec.returns:
                self._keep(spec.returns[name].of, leaf)
        for text in texts(value):
            for link in _LINK.findall(text):
                self._keep("url", link)

    def rounds(self) -> Iterator[Call]:
        """The reads to make; what they return should be learned before the next one is taken."""
        for _ in range(ROUNDS):
            for spec in [spec for spec in self._specs.values() if spec.effects <= {"reads"}]:
                for call in self._calls(spec):
                    if call not in self._tried and len(self._tried) < CALLS:
                        yield call

    def _calls(self, spec: ToolSpec) -> Iterator[Call]:
        needed = spec.schema.get("required", ())
        choices = [self._values(spec, name) for name in needed]
        for values in product(*choices):
            yield Call(spec.name, dict(zip(needed, values, strict=True)))

    def _values(self, spec: ToolSpec, name: str) -> list[Json]:
        kind = spec.rule(name).of
        known = list(self._known[kind].values()) if kind else [""]
        if kind == "time":
            known = list(dict.fromkeys(match[0] for value in known for match in _TIME.finditer(str(value))))
        if spec.schema["properties"][name].get("type") == "array":
            return [known] if known else []
        return known[:VALUES]

    def _keep(self, kind: str, value: Json) -> None:
        if kind and not isinstance(value, Mapping | list):
            self._known[kind][str(value)] = value


def _leaves(value: Json, name: str = "") -> Iterator[tuple[str, Json]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part, name)
    elif value is not None:
        yield name, value
