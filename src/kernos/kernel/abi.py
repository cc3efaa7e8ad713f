"""The table of system calls: the only way out of a process.

A program makes a call by awaiting a request; the kernel answers with the reply, or raises one of the errors listed.
Numbers never change.
The library's stubs and `docs/reference/abi.md` are driven by `TABLE`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from kernos.kernel.errors import AnswerLost, BadInput, EngineError, KernosError, LimitExceeded, ModelMissing
from kernos.kernel.types import Deny, Embedded, Generation, Json, Message, ToolSpec

EffectClass = Literal["none", "read", "declared", "person"]
"""none: the journal row is the effect. read: may be repeated. declared: as the tool says. person: somebody answers."""


@dataclass(frozen=True)
class Generate:
    """Ask the process's engine for the next action.

    `tools` are the tools that the model is told of; those also in `withheld` it cannot choose this time.
    `speak` says whether it may reply in its own words; it always may when no tool can be offered.
    `own` are tools of the program's own, which the kernel describes to the model and never calls; `shape` is a JSON
    schema that the text of a reply has to have; `options` are further sampling options in OpenAI's names; `engine` is
    another engine than the employee's usual one, that it may use too.
    """

    messages: tuple[Message, ...]
    tools: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    speak: bool = True
    max_tokens: int = 256
    temperature: float = 0.0
    own: tuple[ToolSpec, ...] = ()
    shape: Mapping[str, Json] = field(default_factory=dict)
    options: Mapping[str, Json] = field(default_factory=dict)
    engine: str = ""


@dataclass(frozen=True)
class Invoke:
    """Call a tool.

    `handles` say of arguments from where the program took them: by the parameter's name ("attachments.file_id" for one
    inside) the place of a reply and the path in its value, of each.
    """

    tool: str
    arguments: Mapping[str, Json] = field(default_factory=dict)
    handles: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class AskPerson:
    """Put a question to the owner and wait for the answer."""

    question: str


@dataclass(frozen=True)
class Send:
    """Say something to the owner, or to the process `to`, which must be the parent or a child."""

    text: str
    to: str = ""


@dataclass(frozen=True)
class Receive:
    """Take the next message, waiting for it if there is none."""


@dataclass(frozen=True)
class Now:
    """The time, in seconds since 1970, UTC."""


@dataclass(frozen=True)
class Random:
    """A number from 0.0 up to, not including, 1.0."""


@dataclass(frozen=True)
class Spawn:
    """Start a process of another employee, for the same owner; `text` is its first message."""

    employee: str
    text: str = ""


@dataclass(frozen=True)
class Wait:
    """Wait until a child has exited."""

    pid: str


@dataclass(frozen=True)
class Sleep:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Remember:
    """Keep a value under a key, for all processes of this employee and owner; null forgets it."""

    key: str
    value: Json = None


@dataclass(frozen=True)
class Recall:
    """Look up what was kept under a key."""

    key: str


@dataclass(frozen=True)
class Checkpoint:
    """Keep what the program needs to go on, and begin it anew with that: what was before is not replayed again.

    It never returns (Temporal's continue-as-new): the program is started again with this state and these messages.
    """

    state: Json = None
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Propose:
    """Announce calls that are to come. If a person has to allow the first, all of them that need it go on one card."""

    calls: tuple[Invoke, ...]


@dataclass(frozen=True)
class Extract:
    """Have a text read in quarantine: by a model call that has no tools and sees nothing else. Only values
    of the schema come back: numbers, dates, choices, and words that stand in the text."""

    text: str
    schema: Mapping[str, Json]
    max_tokens: int = 256


@dataclass(frozen=True)
class Embed:
    """Have an engine make a vector of each text; `engine` is another than the employee's usual one, that it may use
    too."""

    texts: tuple[str, ...]
    engine: str = ""


@dataclass(frozen=True)
class Handle:
    """A value with the place from which a program took it. As an argument of `Process.invoke` it stands for its value,
    and brings its label along: nothing has to be compared (I4)."""

    value: Json
    place: str
    path: tuple[str | int, ...]


@dataclass(frozen=True)
class Invoked:
    """What a tool returned. A failure of the tool itself is a value too: `error` is written for the model.

    `say`, by language, is what the owner should hear: facts rendered from a record, not in the model's words.
    `near` names the limits that this call brought close, with the share used. Of what is `untrusted` nothing is
    attested. `place` is what the journal calls it as a source.
    """

    value: Json = None
    error: str = ""
    say: Mapping[str, str] = field(default_factory=dict)
    near: Mapping[str, float] = field(default_factory=dict)
    untrusted: bool = False
    place: str = field(default="", compare=False)

    def at(self, *path: str | int) -> Handle:
        """What stands in the value at a path. Raises KeyError or IndexError if nothing does."""
        value = self.value
        for step in path:
            value = value[step]
        return Handle(value, self.place, path)


@dataclass(frozen=True)
class Ended:
    """How a child has exited: done, failed, killed or limit; what its program returned, or what was wrong."""

    how: str
    result: Json = None
    error: str = ""


@dataclass(frozen=True)
class Proposed:
    """Of each announced call, whether it may now be made."""

    may: tuple[bool, ...]


@dataclass(frozen=True)
class Extracted:
    """What a text holds, by the schema's fields; one that is not there, or does not stand in the text, is left out."""

    value: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Recalled:
    """What was remembered; `found` tells a kept null from nothing."""

    value: Json = None
    found: bool = False


Request = (
    Generate | Invoke | AskPerson | Send | Receive | Now | Random
    | Spawn | Wait | Sleep | Remember | Recall | Checkpoint | Propose | Extract | Embed
)  # fmt: skip
ModelCall = Generate | Extract | Embed
Reply = Generation | Embedded | Invoked | Proposed | Extracted | Ended | Recalled | Deny | str | float | None


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


_MODELS = (LimitExceeded, AnswerLost, EngineError, ModelMissing)

TABLE: tuple[Call, ...] = (
    Call(1, "generate", Generate, "Generation | Deny", "engine", "read", _MODELS),
    Call(2, "invoke", Invoke, "Invoked | Deny", "tool", "declared", (LimitExceeded,)),
    Call(3, "ask", AskPerson, "str | Deny", "-", "person", (LimitExceeded,)),
    Call(4, "send", Send, "None | Deny", "-", "none", (LimitExceeded,)),
    Call(5, "receive", Receive, "str", "-", "person", (LimitExceeded,)),
    Call(6, "now", Now, "float", "-", "none", (LimitExceeded,)),
    Call(7, "random", Random, "float", "-", "none", (LimitExceeded,)),
    Call(8, "spawn", Spawn, "str | Deny", "employee", "none", (LimitExceeded,)),
    Call(9, "wait", Wait, "Ended | Deny", "-", "none", (LimitExceeded,)),
    Call(10, "sleep", Sleep, "None", "-", "none", (LimitExceeded,)),
    Call(11, "remember", Remember, "None", "-", "none", (LimitExceeded,)),
    Call(12, "recall", Recall, "Recalled", "-", "read", (LimitExceeded,)),
    Call(13, "checkpoint", Checkpoint, "-", "-", "none", (LimitExceeded,)),
    Call(14, "propose", Propose, "Proposed", "-", "person", (LimitExceeded,)),
    Call(15, "extract", Extract, "Extracted", "engine", "read", _MODELS),
    Call(16, "embed", Embed, "Embedded | Deny", "engine", "read", _MODELS),
)
MODEL_CALLS = frozenset(call.name for call in TABLE if issubclass(call.request, ModelCall))


def shown(value: Json) -> str:
    """How what a call returned stands in a model's messages."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def refused(reason: str) -> str:
    """How a refusal stands there."""
    return f"refused: {reason}"


def waits(pid: str, seq: int, who: str) -> str:
    """How a call stands there that has to wait for somebody."""
    return (
        f"waiting for approval: process {pid} row {seq} waits for {who}. "
        "It has not been done yet. Ask again with the same arguments, or see kernos approve."
    )


_SCALARS: dict[str, type | tuple[type, ...]] = {"str": str, "bool": bool, "int": int, "float": (int, float)}


def check(request: Request) -> None:
    """Raise BadInput for a text or number that is none: a program may have got it from a model."""
    if isinstance(request, Embed) and not all(isinstance(text, str) for text in request.texts):
        raise BadInput("embed: texts", repr(request.texts)[:80], "texts")
    for part in fields(request):
        value, kind = getattr(request, part.name), _SCALARS.get(str(part.type))
        if kind is not None and (not isinstance(value, kind) or (kind is not bool and isinstance(value, bool))):
            raise BadInput(f"{call_of(request).name}: {part.name}", repr(value)[:80], f"a value of type {part.type}")


_BY_REQUEST = {call.request: call for call in TABLE}


def call_of(request: object) -> Call:
    """The table's row for a request. Raises BadInput for anything that is not one."""
    for kind, call in _BY_REQUEST.items():
        if isinstance(request, kind):
            return call
    raise BadInput("system call", type(request).__name__, " or ".join(call.name for call in TABLE))
