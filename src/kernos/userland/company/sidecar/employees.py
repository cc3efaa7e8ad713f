"""The tables of employees: what each is given, and up to which limits."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from kernos.userland.company.sidecar.sections import Section


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
    engines: list[str] = Field(
        [], description="engines that it may use beside its own; of a foreign agent, if none is named, all"
    )
    program: str = Field(
        "", description="file.py:name of a @kernos.program; foreign: an agent behind the API; empty: the employee loop"
    )
    service: Literal["interactive", "batch"] = Field("interactive", description="whether somebody waits for it")
    tools: list[str] = Field(
        [], description="tools that it may call: tables under [tools], and those of MCP servers as server_tool"
    )
    ask: list[str] = Field([], description="those of its tools that a person must agree to, call by call")
    grants: list[Grant] = []
    spawns: list[str] = Field([], description="employees of whom it may start processes")
    calls: list[Literal["ask", "spawn", "wait", "sleep", "remember", "recall", "python"]] = Field(
        [], description="system calls that its model may choose like tools"
    )
    claims: list[Claim] = []
    limits: Limits = Limits()

    @property
    def foreign(self) -> bool:
        """Whether its program runs elsewhere, and comes in through the API."""
        return self.program == "foreign"

    @property
    def granted(self) -> tuple[str, ...]:
        """All tools that it may call, whatever the conditions."""
        return (*self.tools, *dict.fromkeys(grant.tool for grant in self.grants))
