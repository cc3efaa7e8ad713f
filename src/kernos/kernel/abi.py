"""The table of system calls: the only way out of a process.

A program makes a call by awaiting a request; the kernel answers with the reply, or raises one of the errors listed.
Numbers never change. 8 to 13 are kept for `spawn`, `wait`, `sleep`, `remember`, `recall` and what follows them.
The library's stubs and `docs/reference/abi.md` are driven by `TABLE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kernos.kernel.errors import BadInput, EngineError, InDoubt, KernosError, LimitExceeded, ModelMissing
from kernos.kernel.types import Deny, Generation, Json, Message

EffectClass = Literal["none", "read", "declared", "person"]
"""none: the journal row is the effect. read: may be repeated. declared: as the tool says. person: somebody answers."""


@dataclass(frozen=True)
class Generate:
    """Ask the process's engine for the next action.

    `tools` are the tools that the model is told of; those also in `withheld` it cannot choose this time.
    `speak` says whether it may reply in its own words; it always may when no tool can be offered.
    """

    messages: tuple[Message, ...]
    tools: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    speak: bool = True
    max_tokens: int = 256
    temperature: float = 0.0


@dataclass(frozen=True)
class Invoke:
    """Call a tool."""

    tool: str
    arguments: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class AskPerson:
    """Put a question to the owner and wait for the answer."""

    question: str


@dataclass(frozen=True)
class Send:
    """Say something to the owner."""

    text: str


@dataclass(frozen=True)
class Receive:
    """Take the owner's next message, waiting for it if there is none."""


@dataclass(frozen=True)
class Now:
    """The time, in seconds since 1970, UTC."""


@dataclass(frozen=True)
class Random:
    """A number from 0.0 up to, not including, 1.0."""


@dataclass(frozen=True)
class Invoked:
    """What a tool returned. A failure of the tool itself is a value too: `error` is written for the model.

    `say`, by language, is what the owner should hear: facts rendered from a record, not in the model's words.
    """

    value: Json = None
    error: str = ""
    say: Mapping[str, str] = field(default_factory=dict)


Request = Generate | Invoke | AskPerson | Send | Receive | Now | Random
Reply = Generation | Invoked | Deny | str | float | None


@dataclass(frozen=True)
class Call:
    """A row of the table. `right` is what a grant must hold ("-": every process has it)."""

    number: int
    name: str
    request: type[Request]
    reply: str
    right: str
    effect: EffectClass
    errors: tuple[type[KernosError], ...]


TABLE: tuple[Call, ...] = (
    Call(1, "generate", Generate, "Generation | Deny", "engine", "read", (LimitExceeded, EngineError, ModelMissing)),
    Call(2, "invoke", Invoke, "Invoked | Deny", "tool", "declared", (LimitExceeded, InDoubt)),
    Call(3, "ask", AskPerson, "str", "-", "person", (LimitExceeded,)),
    Call(4, "send", Send, "None | Deny", "-", "none", (LimitExceeded,)),
    Call(5, "receive", Receive, "str", "-", "person", (LimitExceeded,)),
    Call(6, "now", Now, "float", "-", "none", (LimitExceeded,)),
    Call(7, "random", Random, "float", "-", "none", (LimitExceeded,)),
)

_BY_REQUEST = {call.request: call for call in TABLE}


def call_of(request: object) -> Call:
    """The table's row for a request. Raises BadInput for anything that is not one."""
    for kind, call in _BY_REQUEST.items():
        if isinstance(request, kind):
            return call
    raise BadInput("system call", type(request).__name__, " or ".join(call.name for call in TABLE))
