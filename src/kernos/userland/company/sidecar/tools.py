"""The tables of tools: queries, functions, statements, and what is declared of the tools of MCP servers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from kernos.kernel.types import EffectKind, SourceRule, Use
from kernos.userland.company.sidecar.sections import Section, Texts

Area = Literal[
    "employees", "skills", "engines", "kernel", "grants", "limits", "priority", "credentials", "policies", "network",
    "journal",
]  # fmt: skip
"""What of the system itself a tool can change or show."""


class Data(Section):
    """A data source. It is opened for reading only."""

    driver: Literal["sqlite"] = "sqlite"
    path: str = Field(description="the database file, from the folder")
    seed: str = Field("", description="an SQL script that makes the database when it is not there")


def _text_or_whole(value: object) -> object:
    """Checked before pydantic tries each of the two types, which would be two faults of one value."""
    if type(value) not in (str, int):
        raise ValueError("a string or an integer")
    return value


class Origin(Section):
    """Where the value of a parameter may come from, and what it does."""

    source: SourceRule = Field("any", description="user: the person said it; data: a tool returned it; any")
    vocabulary: str = Field("", description="a table under [vocabulary]: the values, and the words for each")
    units: list[str] = Field([], description="words beside a number of this kind")
    question: Texts = Field({}, description="how to ask the person for it, by language")
    use: Use | None = Field(None, description="what it does in the call; left out: in a call that acts it decides")
    of: str = Field("", description="what kind of thing it names; only fields of that kind are sources for it")


class Parameter(Origin):
    """A parameter of a tool: its JSON schema, and where its value may come from."""

    type: Literal["string", "integer", "number", "boolean"] = Field("string", description="the JSON type")
    description: str = Field("", description="for the model")
    enum: list[Annotated[str | int, BeforeValidator(_text_or_whole)]] = Field([], description="the only values")
    minimum: float | None = Field(None, description="the smallest value")
    maximum: float | None = Field(None, description="the largest value")
    optional: bool = Field(False, description="may be left out")


class SqlTool(Section):
    """One query on a data source, with :name for each parameter."""

    driver: Literal["sql"]
    data: str = Field(description="a table under [data]")
    description: str = Field(description="what the tool does, for the model")
    query: str = Field(description="SQL with :name for each parameter")
    parameters: dict[str, Parameter] = {}
    say: Texts = Field({}, description="what the person hears, by language, with {column}s of the first record")
    empty: Texts = Field({}, description="what the person hears when no record was found")


class PythonTool(Section):
    """A function made a tool by @kernos.tool."""

    driver: Literal["python"]
    function: str = Field(description="file.py:name, from the folder")
    secrets: list[str] = Field([], description="environment variables whose values no tool or engine may let out")


class JournalTool(Section):
    """A statement that writes to a table of yours in the journal's own database (`journal.tables`). It happens in the
    transaction that records it: exactly once, whatever crashes."""

    driver: Literal["journal"]
    description: str = Field(description="what the tool does, for the model")
    statement: str = Field(description="one insert, update or delete with :name for each parameter; :key is the call's")
    parameters: dict[str, Parameter] = {}
    effects: list[Literal["writes", "sends", "pays", "destroys", "grants"]] = Field(
        ["writes"], description="what it does"
    )


Tool = Annotated[SqlTool | PythonTool | JournalTool, Field(discriminator="driver")]


class Returned(Section):
    """A field of what a tool returns. Of one that is not declared anyone may have written the value."""

    attested: bool = Field(False, description="the service sets it, and nobody can make it say something else")
    of: str = Field("", description="what kind of thing it names; parameters of that kind take their values from it")
    names: bool = Field(False, description="people call the record by it")
    author: bool = Field(False, description="it says who wrote the record")
    private: bool = Field(False, description="only the owner may see it")


class McpTool(Section):
    """What you vouch for of one tool of an MCP server. What the server says of these things itself counts for nothing;
    a tool without this table acts, and anyone may have written what it returns."""

    effects: list[EffectKind] = Field(["writes", "sends"], min_length=1, description="what it does")
    idempotent: bool = Field(False, description="calling it twice does no more than calling it once")
    timeout: float = Field(60.0, gt=0, strict=False, description="for how many seconds a call may take")
    parameters: dict[str, Origin] = {}
    returns: dict[str, Returned] = {}
    verbs: list[str] = Field([], description="words by which people ask for it")
    reaches: list[Area] = Field([], description="what of the system itself it can change or show")


class McpServer(Section):
    """What is declared of the tools of one server of `mcp.json`, by the server's own names for them."""

    tools: dict[str, McpTool] = {}
