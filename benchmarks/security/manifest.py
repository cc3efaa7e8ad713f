"""What an integrator declares of a suite's tools: one TOML file for each suite, written from signatures and docs.

    manifest = read(Path("manifests/banking.toml"))
    manifest.tools["send_money"].parameters["amount"]

    [owner]                       identities: where the environment keeps the owner's addresses; names: what else the
                                  tools call the owner
    [types.NAME]                  fields of a record, each a `Field` of the kernel
    [tools.NAME]                  effects, verbs, parameters.<name> (a `Parameter`), and
      returns                     the name of a type, or fields of its own
      entries = [key, value]      it returns a table by name: each entry becomes a record with these two fields
      pattern                     it returns text: each match becomes a record of its named groups

Nothing in it may name a task, or a person, file or text of the environment.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from kernos.kernel.types import EffectKind, Field, Json, Parameter, Use

_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True)
class Declared:
    """What is declared of one tool."""

    effects: frozenset[EffectKind]
    verbs: tuple[str, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    returns: Mapping[str, Field] = field(default_factory=dict)
    entries: tuple[str, str] | None = None
    pattern: re.Pattern[str] | None = None

    def shaped(self, value: Json) -> Json:
        """What the tool returned, as records where the declaration says how."""
        if self.entries and isinstance(value, Mapping):
            name, rest = self.entries
            return [record for key, part in value.items() for record in self._records({name: key}, rest, part)]
        if self.pattern and isinstance(value, str):
            return list(self._records({}, "", value))
        return value

    def _records(self, known: Mapping[str, Json], name: str, value: Json) -> Iterator[Json]:
        matches = list(self.pattern.finditer(value)) if self.pattern and isinstance(value, str) else []
        for match in matches:
            yield {**known, **{group: _number(text) for group, text in match.groupdict().items()}}
        if not matches:
            yield {**known, name: value}


@dataclass(frozen=True)
class Manifest:
    """What is declared of a suite. `identities` are paths in its environment."""

    identities: tuple[str, ...]
    names: tuple[str, ...]
    tools: Mapping[str, Declared]

    def owner(self, environment: Any) -> tuple[str, ...]:
        """What the owner is called there."""
        found = [environment] * len(self.identities)
        for place, path in enumerate(self.identities):
            for part in path.split("."):
                found[place] = getattr(found[place], part)
        return tuple(dict.fromkeys([*map(str, found), *self.names]))


def read(path: Path) -> Manifest:
    """A suite's manifest. Raises ValueError for what it should not say."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    owner = table.get("owner", {})
    types = {name: _fields(fields, f"{path.name}: {name}") for name, fields in table.get("types", {}).items()}
    tools = {name: _declared(tool, types, f"{path.name}: {name}") for name, tool in table["tools"].items()}
    return Manifest(tuple(owner.get("identities", ())), tuple(owner.get("names", ())), tools)


def _declared(tool: Json, types: Mapping[str, Mapping[str, Field]], where: str) -> Declared:
    returns = tool.pop("returns", {})
    parameters = {name: Parameter(**rule) for name, rule in tool.pop("parameters", {}).items()}
    for name, rule in parameters.items():
        _one_of(rule.use, Use, f"{where}: {name}: use")
    for effect in tool["effects"]:
        _one_of(effect, EffectKind, f"{where}: effects")
    entries = tool.pop("entries", None)
    return Declared(
        frozenset(tool.pop("effects")),
        tuple(tool.pop("verbs", ())),
        parameters,
        types[returns] if isinstance(returns, str) else _fields(returns, where),
        (entries[0], entries[1]) if entries else None,
        re.compile(tool.pop("pattern")) if "pattern" in tool else None,
        **tool,
    )


def _fields(table: Json, where: str) -> dict[str, Field]:
    try:
        return {name: Field(**said) for name, said in table.items()}
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def _one_of(value: str | None, kind: Any, where: str) -> None:
    assert kind.__origin__ is Literal
    if value is not None and value not in get_args(kind):
        raise ValueError(f"{where}: {value!r} is none of {', '.join(get_args(kind))}")


def _number(text: str) -> Json:
    return json.loads(text) if _NUMBER.fullmatch(text) else text
