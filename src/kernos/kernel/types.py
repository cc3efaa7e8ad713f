"""The values that cross between rooms: frozen, and each has one JSON form.

Read in this order: `Message` (what is said), `ToolSpec` (what can be done), `Label` (where a value came from),
`Verdict` (what the monitor decided), `Record` (what the journal keeps), `Note` (what waits to be journaled), `Status`
(what an operator sees), `Event` (what a surface may watch).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeAlias

from kernos.kernel.errors import BadInput

Json: TypeAlias = Any
"""A JSON value. mypy has no recursive alias that is pleasant at call sites; `canonical` rejects what is not JSON."""
Role = Literal["system", "user", "assistant", "tool"]
EffectKind = Literal["reads", "writes", "sends", "pays", "destroys", "grants"]
"""What a call does. grants: it gives somebody rights or takes them (invitations, permissions, passwords)."""
Use = Literal[
    "recipient", "object", "amount", "link", "secret", "command", "name", "choice", "time", "content", "query"
]  # fmt: skip
"""What a parameter does in a call, which says who may decide it.

recipient: who gets something, and sees what flows into the call. object: which record, file or account it is about.
amount: how much. link: an address that is opened or written. secret: a password or key to be set. command: code that is
run. name: what a thing made by the call is called. choice: one of a few ways. time: when. content: text that flows to
the recipients. query: what a read looks for.
"""
SourceRule = Literal["user", "data", "any"]
SourceKind = Literal["owner", "system", "tool", "model", "process", "anyone"]
"""anyone: a text that a tool returned and that somebody else may have written, an attacker too."""
Phase = Literal["ready", "running", "waiting", "paused", "exited"]
RecordKind = Literal[
    "spawn", "fork", "message", "intent", "begin", "doubt", "late", "answer", "outcome", "limit", "signal", "child",
    "checkpoint", "exit", "prune",
]  # fmt: skip
NoteKind = Literal["message", "answer", "signal", "child", "late"]
Signal = Literal["pause", "resume", "kill", "nice"]
Settlement = Literal["happened", "not", "stop"]
"""What a person says of an effect in doubt: it happened, it did not, or stop the process."""

REPLY = "reply"
"""The name of the action by which a model speaks instead of calling a tool."""


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: Json) -> bytes:
    """The one byte form of a JSON value: sorted keys, no spaces, UTF-8. Hashes are taken of this.

    Raises BadInput for anything that JSON cannot hold: other types, NaN, half a surrogate pair; and for what is nested
    too deep.
    """
    try:
        return _CANONICAL.encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput("value", str(error), "a JSON value") from None


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Action:
    """What a model chose: a tool's name, or `REPLY` with the argument `text`."""

    name: str
    arguments: Mapping[str, Json]

    @property
    def text(self) -> str:
        return str(self.arguments.get("text", "")) if self.name == REPLY else ""


@dataclass(frozen=True)
class Message:
    """One message of a context. An assistant's message is an action; a tool's names the tool. `images` are URLs, those
    that hold their data (`data:`) too."""

    role: Role
    text: str = ""
    action: Action | None = None
    tool: str = ""
    images: tuple[str, ...] = ()

    def to_json(self) -> Json:
        action = {"name": self.action.name, "arguments": dict(self.action.arguments)} if self.action else None
        images = list(self.images)
        parts = {"role": self.role, "text": self.text, "action": action, "tool": self.tool, "images": images}
        return {name: part for name, part in parts.items() if part}

    @staticmethod
    def from_json(value: Json) -> Message:
        action = Action(**value["action"]) if "action" in value else None
        images = tuple(value.get("images", ()))
        return Message(value["role"], value.get("text", ""), action, value.get("tool", ""), images)

    @cached_property
    def content(self) -> bytes:
        return canonical(self.to_json())

    @cached_property
    def digest(self) -> str:
        return digest(self.content)


EMPTY = "0" * 64
"""The hash of a context without messages."""


def link(head: str, message: Message) -> bytes:
    """What makes a context one message longer: the bytes of its hash and of the message's. The digest of this is the
    hash of the longer one."""
    return bytes.fromhex(head) + bytes.fromhex(message.digest)


def tokens_about(texts: Iterable[str]) -> int:
    """How many tokens texts have together, about: guessed from their characters where nobody has counted them."""
    return sum(map(len, texts)) // 3


@dataclass(frozen=True)
class Snapshot:
    """What a program begins with: nothing at first, after a checkpoint what that kept; its pid, and that of the parent
    if a process started it."""

    state: Json = None
    messages: tuple[Message, ...] = ()
    pid: str = ""
    parent: str = ""


@dataclass(frozen=True)
class Parameter:
    """What the monitor and the employee know of a tool's parameter beside its JSON schema.

    `aliases` is the declared vocabulary: for each value the words by which a person expresses it.
    `units` are the words that follow or precede a number of this kind; `question` asks for it, by language.
    `use` is what the parameter does (None: in a call that does more than read it decides, as an object does); `of` is
    what kind of thing it names ("user", "email", "file"), and only fields of that kind are sources for it.
    """

    source: SourceRule = "any"
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    units: tuple[str, ...] = ()
    question: Mapping[str, str] = field(default_factory=dict)
    use: Use | None = None
    of: str = ""


@dataclass(frozen=True)
class Field:
    """What is known of one field of what a tool returns. Of an undeclared field anyone may have written the value.

    `attested`: the service sets it, and nobody can make it say something else (an id, a sender, a size). `of`: what
    kind of thing it names. `names`: people call the record by it (a title, a file's name). `author`: it says who wrote
    the record; if that is the owner, all of the record is the owner's. `private`: only the owner may see it.
    """

    attested: bool = False
    of: str = ""
    names: bool = False
    author: bool = False
    private: bool = False


@dataclass(frozen=True)
class ToolSpec:
    """A tool as the kernel and the model see it; its driver keeps the rest.

    `schema` is a JSON schema of type object; `parameters` holds our rules for those parameters that have any.
    What may be done when nobody knows whether a call happened (I3): it is repeated if the tool only reads, is
    `idempotent`, is `keyed` (it takes a key that its service counts once) or `joins` the journal's transaction; a
    `verified` one is looked up; any other is in doubt. `timeout`, in seconds, bounds one call.
    What the monitor knows of it: `returns` declares the fields of its results, by name ("": a bare value, "*": every
    field that is not named); `verbs` are the words by which people ask for it; `reaches` names what of the system
    itself it can change or show (see the red lines).
    """

    name: str
    description: str
    schema: Mapping[str, Json]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    effects: frozenset[EffectKind] = frozenset({"reads"})
    idempotent: bool = False
    keyed: bool = False
    verified: bool = False
    joins: bool = False
    timeout: float | None = None
    returns: Mapping[str, Field] = field(default_factory=dict)
    verbs: tuple[str, ...] = ()
    reaches: frozenset[str] = frozenset()

    @property
    def consequential(self) -> bool:
        """Whether it does more than read, or a read of it shows an address to somebody."""
        return not self.effects <= {"reads"} or any(rule.use == "link" for rule in self.parameters.values())

    @property
    def repeatable(self) -> bool:
        """Whether it may be run again when nobody knows whether it ran (I3)."""
        return self.idempotent or self.keyed or self.joins or self.effects <= {"reads"}

    def rule(self, parameter: str) -> Parameter:
        return self.parameters.get(parameter, Parameter())


@dataclass(frozen=True, order=True)
class Source:
    """One origin of a value: its kind, its name (person, tool), its place (row of the journal, field).

    In a row's own label the place is empty: it is that row.
    """

    kind: SourceKind
    name: str
    place: str = ""


@dataclass(frozen=True)
class Label:
    """Where a value came from, and who may see it (None: anyone)."""

    sources: frozenset[Source] = frozenset()
    readers: frozenset[str] | None = None

    def to_json(self) -> Json:
        readers = sorted(self.readers) if self.readers is not None else None
        return {"sources": [[s.kind, s.name, s.place] for s in sorted(self.sources)], "readers": readers}

    @staticmethod
    def from_json(value: Json) -> Label:
        readers = value["readers"]
        return Label(
            frozenset(Source(*source) for source in value["sources"]),
            frozenset(readers) if readers is not None else None,
        )


@dataclass(frozen=True)
class Allow:
    """The call may happen. `evidence` says for each judged argument what its source is, with a quote."""

    rule: str
    evidence: Mapping[str, str] = field(default_factory=dict)


EFFECT, AUDIENCE = "(effect)", "(audience)"
"""What an item is about that is no parameter."""


@dataclass(frozen=True)
class Item:
    """One thing that a person is asked to stand for: in a call of `tool` the `value` of a `parameter`; of `EFFECT`,
    that
    the tool `value` may be used, which nobody asked for; of `AUDIENCE`, that `value` may see what was read. `found`
    quotes where the value stands, with its place; empty: nowhere, the model made it up."""

    tool: str
    parameter: str
    value: Json
    found: str = ""


@dataclass(frozen=True)
class Asked:
    """One call on the card that a person is shown: the rule that wants a person, why, and what is to be decided.
    `evidence` says of other arguments what their source is, `effects` what the tool does."""

    tool: str
    arguments: Mapping[str, Json]
    rule: str
    reason: str
    items: tuple[Item, ...] = ()
    evidence: Mapping[str, str] = field(default_factory=dict)
    effects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ask:
    """A person must agree first. `calls` are what the card shows, `approver` is who may agree (a role, or the
    owner)."""

    rule: str
    reason: str
    evidence: Mapping[str, str] = field(default_factory=dict)
    calls: tuple[Asked, ...] = ()
    approver: str = "owner"


@dataclass(frozen=True)
class Deny:
    """The call does not happen. `reason` is written for the model; `missing` names what a person must say first."""

    rule: str
    reason: str
    missing: tuple[str, ...] = ()


Verdict = Allow | Ask | Deny


def verdict_to_json(verdict: Verdict) -> Json:
    parts = asdict(verdict) if isinstance(verdict, Ask) else vars(verdict)  # asdict is slow; only these hold others
    plain = {name: list(part) if isinstance(part, tuple) else part for name, part in parts.items() if part}
    return {"is": type(verdict).__name__.lower(), **plain}


def asked_from_json(value: Json) -> Asked:
    """A call on a card, from a verdict's JSON form."""
    items = tuple(Item(**item) for item in value["items"])
    known = {name: value[name] for name in ("tool", "arguments", "rule", "reason", "evidence")}
    return Asked(**known, items=items, effects=tuple(value["effects"]))


@dataclass(frozen=True)
class Record:
    """One row of a process's journal. `hash` covers all other fields; `previous` is the hash of the row before."""

    pid: str
    seq: int
    kind: RecordKind
    body: Mapping[str, Json]
    at: float
    previous: str
    hash: str


@dataclass(frozen=True)
class Note:
    """Something for a process that it has not journaled yet: a message, a person's answer, a signal, a child's end, or
    the late outcome of a worker that lost the process. `id` makes it count once; `body` is JSON, its text included."""

    id: str
    pid: str
    kind: NoteKind
    body: Mapping[str, Json]
    at: float


@dataclass(frozen=True)
class Status:
    """What `ps` shows of a process: the small part of its folded state, kept beside its journal as an index.

    `wake` is when it should next have a turn, in seconds since 1970: 0.0 at once, None when only a note can wake it.
    `parent` is empty for a process that a person started, `root` is the first of its tree (itself, then), `origin` is
    `pid:seq` of the row after which a fork leaves another's journal.
    """

    pid: str
    owner: str
    employee: str
    program: str
    phase: Phase
    why: str
    calls: int
    tokens: int
    money: float
    seconds: float
    priority: int
    wake: float | None
    parent: str
    root: str
    origin: str
    seq: int
    hash: str
    born: float
    at: float


@dataclass(frozen=True)
class Generation:
    """What an engine returned: the action, and what it cost.

    Tokens are counted by the engine; `cached` are prompt tokens that it did not have to compute. `queued` and
    `seconds` are wall time, in seconds, before and in the engine; `money` is in the unit of the engine's prices.
    `near` names the limits that this call brought close, with the share used.
    """

    action: Action
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    seconds: float = 0.0
    queued: float = 0.0
    attempts: int = 1
    money: float = 0.0
    near: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Embedded:
    """What an engine made of texts: of each its vector. What it cost is counted as for a `Generation`: its tokens are
    the prompt's."""

    vectors: tuple[tuple[float, ...], ...]
    prompt: int = 0
    seconds: float = 0.0
    queued: float = 0.0
    attempts: int = 1
    money: float = 0.0
    cached: ClassVar[int] = 0
    completion: ClassVar[int] = 0


@dataclass(frozen=True)
class Event:
    """Something a surface may show at once: a journaled record with its contents, or a piece of a reply's draft.

    `redraft` says that the pieces so far are void: the model begins again.
    """

    pid: str
    kind: Literal["record", "draft", "redraft"]
    record: Record | None = None
    text: str = ""
