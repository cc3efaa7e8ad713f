"""`kernos.toml`, the side-car: everything of ours about a company, so that its own files stay as published.

The models below are the reference of the format (`docs/reference/kernos-toml.md` is written from them). Unknown keys
are errors, with the nearest right one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from kernos.kernel.errors import BadInput, NotFound
from kernos.kernel.types import Json, SourceRule, Use
from kernos.userland.company.problems import Problem, nearest

FILE = "kernos.toml"
Texts = dict[str, str]
"""A text in several languages: {en = "...", zh = "..."}."""


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class JournalSection(Section):
    """Where the journal is kept, and what vouches for it. `power` survives a power cut, `crash` only the death of
    Kernos, and is faster. A key or anchors that the database's owner must not reach belong in a place of their own."""

    path: str = Field(".kernos/journal.db", description="the SQLite file, from the folder")
    url: str = Field("", description="a PostgreSQL database instead: postgresql://user@host/name; $NAME is a variable")
    durability: Literal["power", "crash"] = Field("power", description="what a written row survives")
    dispatcher: Literal["local", "procrastinate"] = Field(
        "local", description="who gives processes their turns: one kernos, or many workers on one PostgreSQL"
    )
    key: str = Field("", description="the file of the chain's key; empty: journal.key in ~/.config/kernos")
    anchors: str = Field(".kernos/anchors.jsonl", description="the file that signed heads are appended to; empty: none")
    anchor_key: str = Field("", description="the file of the key that signs; empty: anchor.key in ~/.config/kernos")
    tables: str = Field(
        "", description="an SQL script of tables of your own in the journal's database; run at each start"
    )


class Price(Section):
    """What an engine costs, in any one currency, for a million tokens."""

    prompt: float = Field(0.0, ge=0, strict=False, description="tokens that it has to read")
    cached: float = Field(0.0, ge=0, strict=False, description="tokens that it has read before")
    completion: float = Field(0.0, ge=0, strict=False, description="tokens that it writes")


class EmbeddedEngine(Section):
    """llama.cpp on this machine, in a child process."""

    driver: Literal["embedded"] = "embedded"
    model: str = Field("default", description="a name from `kernos model list`, or the path of a .gguf file")
    context: int = Field(8192, ge=512, description="tokens of context of one slot")
    slots: int = Field(1, ge=1, description="calls decoded at once")
    threads: int = Field(0, ge=0, description="CPU threads; 0: one for each core")
    port: int = Field(0, ge=0, le=65535, description="a fixed port; 0: any free one")
    listen: str = Field("127.0.0.1", description="its address; another than loopback lets other workers use it")
    key_env: str = Field("", description="the environment variable of the key that it asks for; empty: one of its own")
    price: Price = Price()


class OpenAIEngine(Section):
    """Any OpenAI-compatible server."""

    driver: Literal["openai"]
    url: str = Field(description="the base URL, up to and with /v1")
    model: str = Field("", description="the server's name for the model; empty: the first that it lists")
    key_env: str = Field("", description="the environment variable that holds the API key")
    calls: Literal["auto", "native", "grammar"] = Field("auto", description="how tools are used")
    context: int = Field(8192, ge=512, description="tokens of context")
    slots: int = Field(4, ge=1, description="calls at once")
    price: Price = Price()


class ScriptedEngine(Section):
    """Plays actions from a JSON file: for tests and demonstrations."""

    driver: Literal["scripted"]
    script: str = Field(description='a JSON list of {"name": ..., "arguments": {...}}, from the folder')
    context: int = Field(8192, ge=512, description="tokens of context")
    price: Price = Price()


Engine = Annotated[EmbeddedEngine | OpenAIEngine | ScriptedEngine, Field(discriminator="driver")]


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


class Parameter(Section):
    """A parameter of a tool: its JSON schema, and where its value may come from."""

    type: Literal["string", "integer", "number", "boolean"] = Field("string", description="the JSON type")
    description: str = Field("", description="for the model")
    enum: list[Annotated[str | int, BeforeValidator(_text_or_whole)]] = Field([], description="the only values")
    minimum: float | None = Field(None, description="the smallest value")
    maximum: float | None = Field(None, description="the largest value")
    optional: bool = Field(False, description="may be left out")
    source: SourceRule = Field("any", description="user: the person said it; data: a tool returned it; any")
    vocabulary: str = Field("", description="a table under [vocabulary]: the values, and the words for each")
    units: list[str] = Field([], description="words beside a number of this kind")
    question: Texts = Field({}, description="how to ask the person for it, by language")
    use: Use | None = Field(None, description="what it does in the call; left out: in a call that acts it decides")
    of: str = Field("", description="what kind of thing it names; only fields of that kind are sources for it")


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


class Claim(Section):
    """A kind of statement that an employee may make only from a source: what the pattern finds in a text for the
    owner must stand in what a tool returned or the owner said."""

    what: str = Field(description="its name in a refusal, such as “a product”")
    pattern: str = Field(description="a regular expression")

    @field_validator("pattern")
    @classmethod
    def compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"a regular expression ({error})") from None
        return pattern


class Sums(Section):
    """Bounds of what several processes use together; left out: none."""

    tokens: int | None = Field(None, ge=1, description="prompt and completion")
    calls: int | None = Field(None, ge=1, description="system calls")
    seconds: float | None = Field(None, gt=0, strict=False, description="time in engines and tools")
    money: float | None = Field(None, gt=0, strict=False, description="by the engines' prices")


class Limits(Section):
    """What one process may use in its life, `tree` what it and all its descendants may use together."""

    tokens: int = Field(200_000, ge=1, description="prompt and completion")
    calls: int = Field(2_000, ge=1, description="system calls")
    seconds: float = Field(3_600.0, gt=0, strict=False, description="time in engines and tools")
    money: float | None = Field(None, gt=0, strict=False, description="by the engine's price")
    wall: float | None = Field(None, gt=0, strict=False, description="seconds since its birth, waiting included")
    children: int = Field(16, ge=0, description="processes that it may start")
    depth: int = Field(4, ge=0, description="generations below the first process of its tree")
    tools: dict[str, int] = Field({}, description="calls of single tools")
    tree: Sums = Sums()
    soft: list[str] = Field([], description="limits at which a person is asked for as much again")


PLACES, LARGEST = 4, Decimal("922337203685477.5807")
"""Of a decimal in Cedar: its places, and the largest."""


def fits(number: float) -> bool:
    """Whether Cedar has a decimal for a number."""
    exact = Decimal(repr(number))
    return exact.is_finite() and abs(exact) <= LARGEST and exact == round(exact, PLACES)


def _fitting(number: float) -> float:
    if not fits(number):
        raise ValueError(f"a number of at most {PLACES} decimal places, up to {LARGEST:.1e}")
    return number


def _scalar(value: object) -> object:
    if type(value) not in (str, int, float, bool):
        raise ValueError("a text, a number, true or false")
    return _fitting(value) if isinstance(value, float) else value


Bound = Annotated[float, AfterValidator(_fitting)]
Scalar = Annotated[str | int | float | bool, BeforeValidator(_scalar)]


class Condition(Section):
    """What an argument has to be; all keys that are here must hold. An argument that is not given fails."""

    max: Bound | None = Field(None, strict=False, description="a number, at most this")
    min: Bound | None = Field(None, strict=False, description="a number, at least this")
    one_of: list[Scalar] | None = Field(None, description="one of these; of a list each value")
    equals: Scalar | None = Field(None, description="this")

    @model_validator(mode="after")
    def says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("a condition: max, min, one_of or equals")
        return self


class Grant(Section):
    """A tool under conditions. Where several grants name one tool, it is enough that one of them holds."""

    tool: str = Field(description="a table under [tools] that `tools` does not list")
    ask: bool = Field(False, description="only after a person agreed")
    when: dict[str, Condition] = Field({}, description="for parameters, what their arguments have to be; see below")


class Employee(Section):
    """What one agent of the company is given. What is not here, it does not have."""

    engine: str = Field("", description="a table under [engines]; empty: the first")
    program: str = Field("", description="file.py:name of a @kernos.program; empty: the employee loop")
    tools: list[str] = Field([], description="tables under [tools] that it may call")
    ask: list[str] = Field([], description="those of its tools that a person must agree to, call by call")
    grants: list[Grant] = []
    spawns: list[str] = Field([], description="employees of whom it may start processes")
    calls: list[Literal["ask", "spawn", "wait", "sleep", "remember", "recall", "python"]] = Field(
        [], description="system calls that its model may choose like tools"
    )
    claims: list[Claim] = []
    limits: Limits = Limits()

    @property
    def granted(self) -> tuple[str, ...]:
        """All tools that it may call, whatever the conditions."""
        return (*self.tools, *dict.fromkeys(grant.tool for grant in self.grants))


class Redlines(Section):
    """What no grant lifts. The rules are shipped; here is what helps to see."""

    guard: str = Field("", description="a table under [engines] that looks at all that is said and done; empty: none")


class Owner(Section):
    """A person whom employees serve."""

    names: list[str] = Field([], description="the names, addresses and accounts that are this person's own")


class Networks(Section):
    """What may be reached. In sovereign mode nothing else ever is, by engines, databases and tools alike."""

    sovereign: bool = Field(True, description="refuse every connection outside `allow`")
    allow: list[str] = Field(["127.0.0.0/8", "::1/128"], description="networks in CIDR form")
    hosts: list[str] = Field([], description="names that tools may look up, beside those of engines")
    programs: list[str] = Field([], description="programs that tools may start; their connections are not seen")


class Sidecar(Section):
    """The whole file."""

    include: list[str] = Field([], description="other TOML files of the folder whose tables are added to these")
    journal: JournalSection = JournalSection()
    engines: dict[str, Engine] = {}
    data: dict[str, Data] = {}
    vocabulary: dict[str, dict[str, list[str]]] = Field({}, description="value = words for it, in any language")
    tools: dict[str, Tool] = {}
    employees: dict[str, Employee] = {}
    owners: dict[str, Owner] = {}
    redlines: Redlines = Redlines()
    day: Sums = Field(Sums(), description="what all processes of one owner may use in a day (UTC)")
    networks: Networks = Networks()


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


_DRIVERS = {"engines": ("embedded", "openai", "scripted"), "tools": ("sql", "python", "journal")}


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
    tables: dict[str, dict[str, type[Section]]] = {
        "engines": {"embedded": EmbeddedEngine, "openai": OpenAIEngine, "scripted": ScriptedEngine},
        "tools": {"sql": SqlTool, "python": PythonTool, "journal": JournalTool},
    }
    match list(path):
        case [("engines" | "tools") as table, str(name)]:
            kinds = tables[table]
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
    "employees.*": Employee,
    "employees.*.claims.*": Claim,
    "employees.*.grants.*": Grant,
    "employees.*.grants.*.when.*": Condition,
    "employees.*.limits": Limits,
    "employees.*.limits.tree": Sums,
}
"""The tables that have one form, by their place; a star is a name of the file's own."""
_NAMED = {part for place in _SECTIONS for part in place.split(".")} - {"*"}
