"""What the kernel needs from drivers. Protocols, and the values that pass them; what surfaces get is in `office`.

Every backend of a port passes the same contract tests (`tests/contract/`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from kernos.kernel.types import (
    Action,
    Embedded,
    Generation,
    Json,
    Message,
    Note,
    Record,
    RecordKind,
    Snapshot,
    Status,
    ToolSpec,
)


@dataclass(frozen=True)
class Write:
    """A statement of a tool that joins the journal's transaction: SQL with :name parameters. It has to change a row."""

    sql: str
    values: Mapping[str, Json]


@dataclass(frozen=True)
class Spent:
    """What an owner's processes used in one more transaction, on a day (whole days since 1970, UTC)."""

    owner: str
    day: int
    calls: int = 0
    tokens: int = 0
    money: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Memory:
    """Where the latest value of a remembered key stands: the row of `pid` at `seq`. A space is shared by the processes
    of one employee for one owner."""

    space: str
    key: str
    pid: str
    seq: int


@dataclass(frozen=True)
class Commit:
    """One transaction: everything in it becomes durable, or nothing.

    `epochs` are the claims under which existing processes are written; a process without one is new. `notes` are put
    into mailboxes (one whose id is there already is left out), `taken` are ids of notes that these rows journal.
    """

    records: Sequence[Record]
    contents: Mapping[str, bytes]
    statuses: Sequence[Status]
    epochs: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[Note] = ()
    taken: Sequence[str] = ()
    memories: Sequence[Memory] = ()
    spent: Sequence[Spent] = ()
    writes: Sequence[Write] = ()


@dataclass(frozen=True)
class Due:
    """The processes that should have a turn now, and when the next one should (None: nobody sleeps)."""

    pids: Sequence[str]
    next: float | None


class Store(Protocol):
    """Durable rows. Writers return only when what they wrote would survive what the store promises."""

    async def commit(self, commit: Commit) -> None:
        """Raises Fenced when a process was claimed since, StoreError when a row with this pid and seq is already
        there, ToolError when one of `writes` fails or changes nothing. Then nothing of it is written."""

    async def claim(self, pid: str) -> int:
        """Take a process: a new epoch, after which whoever held an earlier one can write no more.

        Raises NotFound when there is no such process.
        """

    async def post(self, notes: Sequence[Note]) -> None:
        """Put notes into mailboxes; one whose id waits there already is left out."""

    async def notes(self, pid: str) -> Sequence[Note]:
        """The notes that a process has not taken, in the order in which they were posted."""

    async def due(self, now: float, root: str = "", most: int = 1_000) -> Due:
        """Processes whose `wake` has come or that have notes; of one tree only, if a root is given. `next` is the
        earliest later `wake`. Of more than `most` those whose turn came first."""

    async def pids(self) -> Sequence[str]:
        """Every process that has a row, whatever the process table says."""

    async def records(
        self, pid: str, after: int = -1, last: int | None = None, kind: RecordKind | None = None
    ) -> Sequence[Record]:
        """A process's own rows in order: those after `after`, up to and with `last`, of one kind."""

    async def contents(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        """Stored bytes by their hash; what is not there is left out."""

    async def status(self, pid: str) -> Status | None: ...
    async def statuses(self) -> Sequence[Status]:
        """All, oldest first."""

    async def tree(self, root: str) -> Spent:
        """What all processes of a tree have used in their lives; owner and day are empty."""

    async def spent(self, owner: str, day: int) -> Spent:
        """What an owner's processes used on a day."""

    async def memory(self, space: str, key: str) -> Memory | None: ...

    async def drop(self, hashes: Sequence[str]) -> None:
        """Forget contents for good (retention)."""

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Prompt:
    """One model call, as an engine gets it.

    `tools` are described to the model, always all of them, so that the prefix of the context stays the same;
    `offers` holds the argument schema of each tool that may be chosen now; `speak` allows a reply in free text.
    `shape` is a JSON schema that the text of a reply has to have; `options` are sampling options in OpenAI's names
    (`stop`, `top_p`, `seed`), for engines that know them. For an engine that serves many: `priority` (the lower, the
    sooner) and `context`, which names the process whose calls share a prefix.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    offers: Mapping[str, Json] = field(default_factory=dict)
    speak: bool = True
    max_tokens: int = 256
    temperature: float = 0.0
    shape: Mapping[str, Json] = field(default_factory=dict)
    options: Mapping[str, Json] = field(default_factory=dict)
    priority: int = 0
    context: str = ""


class Server(Protocol):
    """A model server. `slots` is how many calls it serves at once."""

    @property
    def slots(self) -> int: ...

    async def close(self) -> None: ...


class Engine(Server, Protocol):
    """A model server that manages its contexts itself."""

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        """Decode one action; `draft` is called with each new piece of a reply's text.

        Raises EngineDied if the server went away (the kernel tries again), EngineError otherwise.
        """


@runtime_checkable
class Embedder(Engine, Protocol):
    """An engine that makes vectors of texts."""

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Of each text its vector, in their order. Raises as `generate` does."""


@dataclass(frozen=True)
class Segment:
    """A part of a context: the text as the engine's template wrote it, and exactly the tokens that stand for it."""

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Piece:
    """What a slot decoded in one go. `end` of the last piece says why it is the last: the model ended by itself
    ("stop"), or it had all tokens that it may write ("length")."""

    text: str
    tokens: tuple[int, ...]
    end: Literal["", "stop", "length"] = ""


@runtime_checkable
class SlotEngine(Server, Protocol):
    """An engine whose contexts the kernel manages: what stands in which slot, what is saved, what is computed next.

    Slots are numbered from 0. Every method raises EngineDied if the server went away: then nothing stands in any slot
    any more, and `life` is another one after the next start; what was saved is still there.
    """

    @property
    def resident(self) -> int:
        """How many slots there are; `slots` is how many of them are served at once."""

    @property
    def life(self) -> int:
        """Counts the starts of the server."""

    async def start(self) -> str:
        """Have the server run; a name that is another one for every other model, build or setting that matters to saved
        states."""

    async def segments(self, prompt: Prompt, known: Sequence[Segment] = ()) -> Sequence[Segment]:
        """The whole context of a prompt. It begins with a segment of its own for what the messages of the system at its
        beginning and the tools come to, which all processes of an employee share; then come those of the `known`
        segments, from the first on, whose text the context has, with their tokens; then the rest."""

    async def feed(self, slot: int, tokens: Sequence[int]) -> int:
        """Compute what a slot lacks of these tokens, from the first on; how many it had to compute."""

    def decode(
        self, slot: int, tokens: Sequence[int], prompt: Prompt, written: str, most: int
    ) -> AsyncGenerator[Piece]:
        """Decode under the prompt's grammar after these tokens, of which the last stand for `written`, the beginning of
        the answer; at most so many tokens. Closing the generator stops the slot within 100 ms."""

    async def save(self, slot: int, name: str) -> None:
        """Write a slot's state to a file of this name."""

    async def restore(self, slot: int, name: str) -> bool:
        """Read a state into a slot; False if it is not there or not this server's."""

    async def erase(self, slot: int) -> None:
        """Empty a slot."""

    async def drop(self, name: str) -> None:
        """Delete a saved state, if it is there."""

    def answer(self, prompt: Prompt, text: str, complete: bool) -> Action:
        """The action in a finished text; see `grammar.action_of`. Raises AnswerLost if there is none."""

    def said(self, prompt: Prompt, text: str) -> str:
        """What may be shown of the reply in an unfinished text; empty if it is no reply."""


class Tool(Protocol):
    """One tool, ready to be called."""

    @property
    def spec(self) -> ToolSpec: ...

    def problem(self, arguments: Mapping[str, Json]) -> str | None:
        """What is wrong with these arguments by the schema, for the model; None if nothing. No effect."""

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        """Run it. `key` is the same for every try of one call. Raises ToolError with a message for the model."""

    async def verify(self, arguments: Mapping[str, Json], key: str) -> ToolResult | None:
        """Look up whether a call happened, for a tool that is declared `verified`: its result, or None if it did not.

        Whatever it raises means that nobody can tell.
        """


@dataclass(frozen=True)
class ToolResult:
    """What a tool returned; `say` is the text for the person, by language, of a tool that speaks. `writes` are the
    effect of a tool that joins the journal's transaction. `untrusted`: the service itself says that a stranger may have
    written it, so nothing in it is attested, whatever is declared."""

    value: Json = None
    say: Mapping[str, str] = field(default_factory=dict)
    writes: tuple[Write, ...] = ()
    untrusted: bool = False


@dataclass(frozen=True)
class Facts:
    """What the monitor has found out about one call, for a policy to decide on.

    `call` is the system call's name, `tool` what it is about (a tool, an employee, an engine), `effects` the tool's.
    `granted`: a grant names it. `approve`: the grant wants a person. `intended`: the owner asked for such an effect.
    `founded`: each argument that decides something has a source that may decide it; `unfounded` names the others.
    `covered`: whoever sees what flows into the call may see it. `clean`: nothing has been read that anyone may have
    written. `again`: the very same call was made before. `reaches`: what of the system itself the call touches.
    `arguments` are the call's own.
    """

    employee: str
    owner: str
    call: str
    tool: str = ""
    effects: frozenset[str] = frozenset()
    granted: bool = True
    approve: bool = False
    intended: bool = True
    founded: bool = True
    unfounded: tuple[str, ...] = ()
    covered: bool = True
    clean: bool = True
    again: bool = False
    reaches: frozenset[str] = frozenset()
    arguments: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Ruling:
    """What a policy says: the verdict, the rules that decided (the first is the one that is named), what a person or
    the model is told, and who may approve."""

    verdict: Literal["allow", "ask", "deny"]
    rules: tuple[str, ...]
    reason: str
    approver: str = "owner"


class Policy(Protocol):
    """The rules. Deny by default: what no rule permits does not happen, nor what cannot be evaluated (I9)."""

    def decide(self, facts: Facts) -> Ruling: ...


class Clock(Protocol):
    """Time and chance, which the kernel never takes for itself."""

    def now(self) -> float:
        """Seconds since 1970, UTC; it never goes back while a kernel lives."""

    def monotonic(self) -> float: ...
    def random(self) -> float: ...
    def name(self) -> str:
        """A new short name, never given before."""


Program = Callable[[Snapshot], Coroutine[object, object, Json]]
"""Makes a fresh coroutine of a program from its last checkpoint. It may await system calls and nothing else."""


KeyRole = Literal["operator", "approver", "member"]
"""operator: sees and steers all processes, engines and keys. approver: may answer the approvals of others.
member: what is his own."""


@dataclass(frozen=True)
class Caller:
    """Who a key of the API stands for. `key` is its name, never the secret; with `pid` it is that process, with
    `employee` it may start processes of that employee only. With `speaks`, every message of role user that its agent
    sends is the owner's own words; without, only those before the model's first answer are."""

    key: str
    owner: str
    roles: frozenset[KeyRole] = frozenset({"member"})
    employee: str = ""
    pid: str = ""
    speaks: bool = False


class Keys(Protocol):
    """The keys of the API. Only hashes of them are kept."""

    async def caller(self, secret: str) -> Caller | None:
        """Who this key stands for; None if there is no such key, or it was revoked."""

    async def issue(self, caller: Caller) -> str:
        """Make a key; its secret, which cannot be shown again. Raises BadInput if the name is taken, or if it is an
        agent's (for a process or an employee) and would be more than a member's; NotFound if there is no such
        process."""

    def lend(self, caller: Caller) -> str:
        """A key that is written nowhere: it holds here only, until this is closed."""

    async def revoke(self, key: str) -> None:
        """Raises NotFound if no key has this name."""

    async def callers(self) -> Sequence[Caller]:
        """All keys that hold."""

    async def close(self) -> None: ...


class Worker(Protocol):
    """The kernel as dispatchers see it."""

    async def tick(self, pid: str) -> Status:
        """Give a process a turn: take its notes, and run it until it waits or exits."""

    async def due(self, root: str = "") -> Due:
        """Who should have a turn now; see `Store.due`."""

    def nudge(self, pid: str) -> None:
        """There are notes for a process that is having its turn here: take them at its next call."""


class Dispatcher(Protocol):
    """Sees to it that every process that should have a turn gets `tick` at least once, from some worker."""

    async def serve(self, kernel: Worker, root: str = "") -> None:
        """Work until cancelled; with a root, for that process and its descendants only."""

    def hint(self, pid: str) -> None:
        """This process should have a turn now. Only makes it faster: what is due is found without it too."""

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Head:
    """The last row of one process's journal at some time."""

    pid: str
    seq: int
    hash: str


class Witness(Protocol):
    """Keeps signed statements of the journals' heads where the database's owner cannot change them (I7)."""

    async def sign(self, heads: Sequence[Head], at: float) -> None:
        """Append one statement."""

    async def heads(self) -> Sequence[Head]:
        """Every head that was signed, in that order: a tail that was cut stays so, though the process went on and was
        signed again. Raises JournalBroken when a statement does not hold."""
