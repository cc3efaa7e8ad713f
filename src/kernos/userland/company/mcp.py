"""The MCP servers of a company: `mcp.json` as other programs have it, and the list that each server gave of its tools.

    servers, problems = read(files)
    server.specs(sidecar.mcp["mail"], vocabulary)      the kernel's view of the tools

What a server says of its tools is a stranger's text that a model reads. So its list is kept in the company's folder
when it is first seen, and is all that a model ever sees (trust on first use); `drivers.tool.mcp` compares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from kernos.kernel.types import Field as Known
from kernos.kernel.types import Json, ToolSpec
from kernos.kernel.types import Parameter as Rule
from kernos.userland.company.problems import Problem, nearest
from kernos.userland.company.sidecar import FILE, McpServer, McpTool, Origin

SERVERS = "mcp.json"
Change = Literal["same", "changed", "new", "gone"]
NAME_CHARS = 64
"""Longer names of tools no model server takes."""


class _Form(BaseModel):
    """Other programs have keys of their own in this file."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Program(_Form):
    """A server that is started here, and spoken with over its standard input and output."""

    command: str = Field(min_length=1)
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str = ""


class Address(_Form):
    """A server that runs somewhere."""

    type: Literal["http", "streamable-http", "streamableHttp", "sse"] = "http"
    url: str = Field(min_length=1)
    headers: dict[str, str] = {}


class _Tool(_Form):
    name: str
    description: str = ""
    inputSchema: dict[str, Json]


class _List(_Form):
    tools: list[_Tool] = []


class _File(_Form):
    mcpServers: dict[
        str,
        Annotated[
            Annotated[Program, Tag("program")] | Annotated[Address, Tag("address")],
            Discriminator(lambda given: "address" if isinstance(given, dict) and "url" in given else "program"),
        ],
    ] = {}


_Read = TypeVar("_Read", _File, _List)


@dataclass(frozen=True)
class Server:
    """One server, and the tools that it listed, by its own names for them; None: it was never asked."""

    name: str
    opened: Program | Address
    tools: Mapping[str, Json] | None = None

    def tool_name(self, tool: str) -> str:
        """What a tool is called in the company."""
        return re.sub(r"[^a-zA-Z0-9_-]", "_", f"{self.name}_{tool}")[:NAME_CHARS]

    @cached_property
    def names(self) -> Mapping[str, str]:
        """What its tools are called in the company, to its own names for them."""
        return {self.tool_name(tool): tool for tool in self.tools or ()}

    def may_have(self, name: str) -> bool:
        """Whether a tool of the company may be one of its own, as far as that is known."""
        return name.startswith(self.tool_name("")) if self.tools is None else name in self.names

    def parameters(self, tool: str) -> Mapping[str, Json]:
        """The parameters of one of its tools, by its own name for it."""
        known: Mapping[str, Json] = (self.tools or {})[tool]["inputSchema"].get("properties", {})
        return known

    def specs(self, declared: McpServer, words: Mapping[str, Mapping[str, list[str]]]) -> dict[str, ToolSpec]:
        """The kernel's view of its tools, by its own names for them."""
        listed = self.tools or {}
        return {
            name: _spec(self.tool_name(name), tool, declared.tools.get(name, McpTool()), words)
            for name, tool in listed.items()
        }


def read(files: Mapping[str, str]) -> tuple[dict[str, Server], list[Problem]]:
    """The servers among a folder's files, by name, and what is wrong with them."""
    found, problems = _parsed(_File, SERVERS, files.get(SERVERS, "{}"))
    servers = {name: Server(name, opened) for name, opened in found.mcpServers.items()}
    for name, server in servers.items():
        if (path := list_of(name)) in files:
            kept, wrong = _parsed(_List, path, files[path])
            problems += [replace(problem, right=f"{problem.right}; delete it to list them anew") for problem in wrong]
            servers[name] = replace(server, tools={tool.name: tool.model_dump() for tool in kept.tools})
    return servers, problems


def list_of(server: str) -> str:
    """The file that a server's list is kept in."""
    return f".kernos/mcp/{re.sub(r'[^a-zA-Z0-9_-]', '_', server)}.json"


def listing(tools: Mapping[str, Json]) -> str:
    """The text of that file."""
    return json.dumps({"tools": list(tools.values())}, ensure_ascii=False, indent=2)


def changes(kept: Mapping[str, Json], listed: Mapping[str, Json]) -> dict[str, Change]:
    """How each tool that a server lists now stands to the list that was kept."""
    found: dict[str, Change] = {name: "same" if listed.get(name) == tool else "changed" for name, tool in kept.items()}
    found |= {name: "gone" for name in kept if name not in listed}
    return found | {name: "new" for name in listed if name not in kept}


def references(
    servers: Mapping[str, Server], declared: Mapping[str, McpServer], tools: Collection[str]
) -> Iterator[Problem]:
    """Tables of the side-car that are about no server, tool or parameter; tools that have the name of another."""
    for name, given in declared.items():
        at = f"{FILE}: mcp.{name}"
        if name not in servers:
            yield Problem(at, "no such server", nearest(name, servers, f"a server of {SERVERS}"))
        elif servers[name].tools is not None:
            for tool, own in given.tools.items():
                yield from _tool(f"{at}.tools.{tool}", tool, own, servers[name])
    taken = set(tools)
    for server in servers.values():
        for tool in server.tools or ():
            if (name := server.tool_name(tool)) in taken:
                yield Problem(f"{SERVERS}: {server.name}", f"{tool}, a second {name}", "another name for the server")
            taken.add(name)


def _tool(at: str, name: str, declared: McpTool, server: Server) -> Iterator[Problem]:
    listed = server.tools or {}
    if name not in listed:
        yield Problem(at, "no such tool", nearest(name, listed, "a tool that the server lists"))
        return
    known = server.parameters(name)
    for parameter in declared.parameters.keys() - known.keys():
        yield Problem(f"{at}.parameters.{parameter}", "no such parameter", nearest(parameter, known, "a parameter"))


def notes(servers: Mapping[str, Server]) -> Iterator[str]:
    """What is not known yet."""
    for server in servers.values():
        if server.tools is None:
            yield f"{SERVERS}: the tools of {server.name} are not known before a kernel has run here"


def _parsed(form: type[_Read], path: str, text: str) -> tuple[_Read, list[Problem]]:
    try:
        return form.model_validate(json.loads(text)), []
    except ValidationError as error:
        return form(), [_problem(path, dict(fault)) for fault in error.errors()]
    except (ValueError, RecursionError) as error:
        return form(), [Problem(path, f"JSON that does not parse: {error}", "valid JSON")]


def _problem(path: str, fault: dict[str, Json]) -> Problem:
    place = list(fault["loc"])
    if place[:1] == ["mcpServers"]:
        del place[2:3]  # the form, which pydantic adds to the way
    where = f"{path}: {'.'.join(map(str, place))}"
    if fault["type"] == "missing":
        return Problem(where, "nothing", "a value: this key is needed")
    return Problem(where, repr(fault["input"])[:80], str(fault["msg"]).removeprefix("Input should be "))


def rule(origin: Origin, vocabulary: Mapping[str, Mapping[str, list[str]]]) -> Rule:
    """What the monitor knows of a parameter."""
    aliases = {value: tuple(said) for value, said in vocabulary.get(origin.vocabulary, {}).items()}
    return Rule(origin.source, aliases, tuple(origin.units), origin.question, origin.use, origin.of)


def _spec(name: str, listed: Json, declared: McpTool, vocabulary: Mapping[str, Mapping[str, list[str]]]) -> ToolSpec:
    """What the server says of its tool is for the model, what the side-car declares is for the monitor."""
    return ToolSpec(
        name, listed["description"], listed["inputSchema"],
        {key: rule(origin, vocabulary) for key, origin in declared.parameters.items()},
        frozenset(declared.effects), declared.idempotent, timeout=declared.timeout,
        returns={key: Known(**known.model_dump()) for key, known in declared.returns.items()},
        verbs=tuple(declared.verbs), reaches=frozenset(declared.reaches),
    )  # fmt: skip
