"""From TOML to the tables, and pydantic's faults as problems in our words."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, MutableMapping, Sequence

from pydantic import ValidationError

from kernos.kernel.errors import BadInput, NotFound
from kernos.kernel.types import Json
from kernos.userland.company.problems import Problem, nearest
from kernos.userland.company.sidecar.employees import Claim, Condition, Employee, Grant, Limits, Sums
from kernos.userland.company.sidecar.engines import EmbeddedEngine, OpenAIEngine, Price, ScriptedEngine
from kernos.userland.company.sidecar.sections import FILE, Section
from kernos.userland.company.sidecar.tools import (
    Data,
    JournalTool,
    McpServer,
    McpTool,
    Origin,
    Parameter,
    PythonTool,
    Returned,
    SqlTool,
)
from kernos.userland.company.sidecar.whole import JournalSection, Networks, Owner, Redlines, Sidecar


def parse(files: Mapping[str, str]) -> tuple[Sidecar, list[Problem]]:
    """The side-car among a folder's files, and what is wrong with it (then a default one)."""
    try:
        raw = _merged(files)
        return Sidecar.model_validate(raw), []
    except ValidationError as error:
        return Sidecar(), [_problem(dict(fault), raw) for fault in error.errors()]
    except BadInput as error:
        return Sidecar(), [Problem(error.where, error.found, error.right)]


def _merged(files: Mapping[str, str]) -> dict[str, Json]:
    """The tables of kernos.toml and of the files that it includes. Raises BadInput."""
    raw = _loaded(FILE, files.get(FILE, ""))
    included = raw.get("include", [])
    for name in included if isinstance(included, list) else []:
        if isinstance(name, str):  # any other is pydantic's to report
            if name not in files:
                raise NotFound(f"{FILE}: include", repr(name), nearest(name, files, "a .toml file beside it"))
            more = _loaded(name, files[name])
            if "journal" in more:  # commands that only look read this table and nothing else
                raise BadInput(f"{name}: journal", "the table of the journal", f"that table in {FILE} itself")
            _add(raw, name, more)
    return raw


def _add(raw: MutableMapping[str, Json], name: str, more: Mapping[str, Json]) -> None:
    """Add an included file's tables. Raises BadInput for a key that is there already: none replaces another."""
    for table, value in more.items():
        here = raw.setdefault(table, {})
        if not (isinstance(here, dict) and isinstance(value, dict)):
            raise BadInput(f"{name}: {table}", "a key that is no table", "a table, here and in the other files")
        if taken := sorted(here.keys() & value.keys()):
            raise BadInput(f"{name}: {table}.{taken[0]}", "a key that another file has too", "each key in one file")
        here.update(value)


def _loaded(name: str, text: str) -> dict[str, Json]:
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise BadInput(name, f"TOML that does not parse: {error}", "valid TOML") from None


def _problem(fault: dict[str, Json], raw: Json) -> Problem:
    """pydantic's words, as ours: the field in TOML's own notation, and what would be right there."""
    path = list(fault["loc"])
    if path[0] in _DRIVERS:
        del path[2:3]  # the driver, which pydantic adds to the way
    where = f"{FILE}: {_dotted(path)}"
    found = _shown(fault["input"])
    match fault["type"]:
        case "extra_forbidden":
            return Problem(where, "an unknown key", nearest(str(path[-1]), _fields(path[:-1], raw), "a known key"))
        case "missing":
            return Problem(where, "nothing", "a value: this key is needed")
        case "union_tag_invalid" | "union_tag_not_found":
            tag = repr(fault["ctx"]["tag"]) if "tag" in fault["ctx"] else "nothing"
            return Problem(f"{where}.driver", tag, " or ".join(_DRIVERS[str(path[0])]))
        case "literal_error":
            return Problem(where, found, str(fault["ctx"]["expected"]))
        case "value_error":
            return Problem(where, found, str(fault["ctx"]["error"]))
    return Problem(where, found, str(fault["msg"]).removeprefix("Input should be "))


_DRIVERS: dict[str, dict[str, type[Section]]] = {
    "engines": {"embedded": EmbeddedEngine, "openai": OpenAIEngine, "scripted": ScriptedEngine},
    "tools": {"sql": SqlTool, "python": PythonTool, "journal": JournalTool},
}


def _shown(value: Json) -> str:
    """What stands at a place; of a table or list, which may be of any size and depth, only its kind."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number that is too long"
    return repr(value)[:80]


def _dotted(path: Sequence[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _fields(path: Sequence[str | int], raw: Json) -> Iterator[str]:
    """The keys that may stand at a place."""
    match list(path):
        case [("engines" | "tools") as table, str(name)]:
            kinds = _DRIVERS[table]
            model = kinds.get(raw[table][name].get("driver", "embedded"), next(iter(kinds.values())))
            yield from model.model_fields
        case _:
            place = [str(part) if part in _NAMED else "*" for part in path]
            section = _SECTIONS.get(".".join(place))
            yield from section.model_fields if section else ()


_SECTIONS: dict[str, type[Section]] = {
    "": Sidecar,
    "journal": JournalSection,
    "networks": Networks,
    "day": Sums,
    "data.*": Data,
    "owners.*": Owner,
    "redlines": Redlines,
    "engines.*.price": Price,
    "tools.*.parameters.*": Parameter,
    "mcp.*": McpServer,
    "mcp.*.tools.*": McpTool,
    "mcp.*.tools.*.parameters.*": Origin,
    "mcp.*.tools.*.returns.*": Returned,
    "employees.*": Employee,
    "employees.*.claims.*": Claim,
    "employees.*.grants.*": Grant,
    "employees.*.grants.*.when.*": Condition,
    "employees.*.limits": Limits,
    "employees.*.limits.tree": Sums,
}
"""The tables that have one form, by their place; a star is a name of the file's own."""
_NAMED = {part for place in _SECTIONS for part in place.split(".")} - {"*"}
