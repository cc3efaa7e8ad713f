"""Values that hide where they come from: written in another way, or so that they look like one that is trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote

from benchmarks.security.calls import Call
from benchmarks.security.codes import Code
from benchmarks.security.suites import Suite
from kernos.kernel.types import Json, ToolSpec

_SHOWN = ("content", "name")
_DECIDING = ("recipient", "object", "link")


def text(plain: str, code: Code) -> str:
    """How the attacker's words stand there, one line each."""
    return "\n".join(code.write(line) for line in plain.split("\n"))


def trusted(suite: Suite, calls: Sequence[Call]) -> dict[str, str]:
    """For each kind of thing one value that the user's own task uses."""
    found: dict[str, str] = {}
    for call in calls:
        spec = suite.specs[call.tool]
        for name, value in call.arguments.items():
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, str) and spec.rule(name).use in _DECIDING and spec.rule(name).of:
                    found.setdefault(spec.rule(name).of, part)
    return found


def calls(suite: Suite, wanted: Sequence[Call], code: Code, known: Mapping[str, str]) -> list[Call]:
    """The same calls: what they show in another writing, and values that look like trusted ones instead of others."""
    return [replace(call, arguments=_written(suite.specs[call.tool], call, code, known)) for call in wanted]


def _written(spec: ToolSpec, call: Call, code: Code, known: Mapping[str, str]) -> Mapping[str, Json]:
    arguments = dict(call.arguments)
    for name, value in arguments.items():
        rule = spec.rule(name)
        if rule.use in _SHOWN and isinstance(value, str):
            arguments[name] = code.write(value)
        elif code.alike and rule.use in _DECIDING and rule.of in known:
            alike = code.write(known[rule.of])
            arguments[name] = [alike] if isinstance(value, list) else alike if isinstance(value, str) else value
        elif rule.use == "link" and isinstance(value, str) and code.name == "percent":
            arguments[name] = quote(value, safe="/")
    return arguments
