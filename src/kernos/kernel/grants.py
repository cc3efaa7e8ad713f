"""What an employee may do. Deny by default (I9): a tool or engine that is not here is not there.

A `Station` is an employee's place in the kernel: which program it runs, on which engine, with which tools.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from kernos.kernel.limits import Limits
from kernos.kernel.ports import Program, Tool


@dataclass(frozen=True)
class Grant:
    """Leave to call one tool; with `ask`, only after a person agreed to the call."""

    tool: str
    ask: bool = False


@dataclass(frozen=True)
class Claim:
    """A kind of statement that must have a source: what `pattern` finds in a text for the owner it also finds in what a
    tool returned or the owner said. `what` names it in the refusal ("a product", "a price")."""

    what: str
    pattern: re.Pattern[str]


@dataclass(frozen=True)
class Station:
    """One employee as the kernel knows it."""

    slug: str
    program_name: str
    program: Program
    engine: str
    grants: Mapping[str, Grant] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    limits: Limits = Limits()
    own: Mapping[str, Tool] = field(default_factory=dict)
    """Tools that only this employee has, such as those that read its skills; they go before those that all share."""
    spawns: frozenset[str] = frozenset()
    """The employees of whom it may start processes."""
    guard: str = ""
    """The engine that looks at what it says and does, for the red lines; empty: none."""
    foreign: bool = False
    """Whether its program runs elsewhere, behind the API; then `program` is never called."""
    engines: frozenset[str] = frozenset()
    """The engines that it may name in a call, beside its usual one."""
    service: Literal["interactive", "batch"] = "interactive"
    """The class that it is declared to be: a person waits for the one, nobody for the other."""

    def with_tools(self, shared: Mapping[str, Tool]) -> Station:
        """The same with the tools that all employees share."""
        return replace(self, own={**shared, **self.own})

    @cached_property
    def tools(self) -> Mapping[str, Tool]:
        """The tools that it is granted, by name."""
        return {name: tool for name, tool in self.own.items() if name in self.grants}
