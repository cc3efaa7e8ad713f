"""What surfaces get from boot: the kernel as they see it, its journal for reading, the keys, and who works there.

`Office` holds all of it for a surface that has a socket. Protocols and values only; `ports` has what drivers give.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from kernos.kernel.abi import Reply, Request
from kernos.kernel.ports import Clock, Dispatcher, Keys, Worker
from kernos.kernel.types import Asked, Event, Json, Message, Record, Settlement, Signal, Status, ToolSpec


@dataclass(frozen=True)
class Answer:
    """What a person said to a question, an approval, a limit, or an effect in doubt.

    `settled` and `value` are for a doubt only: what became of the effect, and what it returned if it happened.
    Of an approval `chosen` are the calls on the card that are allowed (None: all), and `scope` says for how long the
    values in them stand: for these calls only, or for all that the process still does ("always" is "task" here; who
    takes the answer also writes the grant). `to` is the row of the question that the person saw (None: whichever is
    open).
    """

    by: str
    approved: bool = True
    text: str = ""
    settled: Settlement | None = None
    value: Json = None
    chosen: tuple[int, ...] | None = None
    scope: Literal["once", "task", "always"] = "task"
    to: int | None = None


@dataclass(frozen=True)
class Question:
    """What a process waits for a person to say. `evidence` is what a late worker or a look-up told about a doubt.

    An approval is a card: `calls` are all that it is about, `approver` is the role that may answer, `until` the time at
    which it expires, in seconds since 1970 (then it counts as declined).
    """

    pid: str
    kind: Literal["ask", "approval", "limit", "doubt"]
    seq: int
    text: str
    evidence: tuple[str, ...] = ()
    calls: tuple[Asked, ...] = ()
    approver: str = "owner"
    until: float | None = None


class Desk(Protocol):
    """What people may put to a process, whether or not a kernel runs here: it is in the mailbox when this returns."""

    async def deliver(self, pid: str, text: str) -> None:
        """The owner's words. Raises BadInput for a process that has exited."""

    async def answer(self, pid: str, answer: Answer) -> None:
        """Raises BadInput when the process asks nothing, or something else."""

    async def signal(self, pid: str, signal: Signal, by: str, priority: int = 0) -> None:
        """Pause, resume, kill (its children too), or give another priority. Raises BadInput if it has exited."""

    async def stop_all(self, by: str) -> Sequence[str]:
        """Halt every process that lives, at once; their pids. Nothing but `resume` by a person starts one again."""

    async def resume_all(self, by: str) -> Sequence[str]:
        """Lift every pause; the pids of those that rested."""

    async def question(self, pid: str) -> Question | None:
        """What the process asks a person now, if it does."""

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Pending:
    """A call of a foreign agent that waits for a person, a message or the time: its row, and what is asked, if it is a
    person who has to answer."""

    pid: str
    seq: int
    question: Question | None = None


@dataclass(frozen=True)
class EngineView:
    """What an engine is doing now. `slots` names the process that stands in each slot ("" for none), for an engine
    whose contexts the kernel manages; `running` and `queued` are calls, `rate` generated tokens a second over the last
    ten seconds, `cached` the share of prompt tokens that did not have to be computed."""

    name: str
    up: bool
    most: int
    running: int
    queued: int
    slots: tuple[str, ...] = ()
    rate: float = 0.0
    cached: float = 0.0


@dataclass(frozen=True)
class ProcessView:
    """What the scheduler knows of a process: the seconds of service that its task has had and is expected to need
    still, the engine that it runs on or waits for ("" for none), and which of these it does."""

    pid: str
    service: float
    rest: float
    engine: str = ""
    phase: Literal["", "queued", "prefill", "decode"] = ""


@dataclass(frozen=True)
class View:
    """What `kernos top` shows, as far as this kernel knows it."""

    engines: tuple[EngineView, ...] = ()
    processes: tuple[ProcessView, ...] = ()


class Kernel(Desk, Worker, Protocol):
    """The kernel as surfaces see it."""

    async def call(
        self, pid: str, request: Request, draft: Callable[[str], None] | None = None, speaks: bool = True
    ) -> Reply | Pending:  # fmt: skip
        """One system call of a process whose program runs elsewhere, behind the API. Its calls are made one after the
        other; `draft` is called with each new piece of a model's reply. Without `speaks` the process speaks for its
        owner no more than one that was started without, whoever started it.

        A call that has to wait for a person returns `Pending`; `outcome` tells later what it came to. When the caller
        is cancelled a model call is broken off; an effect that was begun comes to its end.

        Raises BadInput for a process with a program of its own, or one that has exited; what the table says else.
        """

    async def outcome(self, pid: str, seq: int) -> Reply | Pending:
        """What a call that waited has come to, by its row."""

    async def learn(self) -> None:
        """Take from the journal how much service tasks of each kind need, so that the first calls are in order too."""

    def view(self) -> View:
        """What the engines and the scheduler are doing."""

    async def spawn(self, employee: str, owner: str, text: str = "", speaks: bool = False) -> str:
        """A new process, with a first message if there is one. `speaks` is for a foreign agent: see `Caller`."""

    async def fork(self, pid: str, at: int) -> str:
        """A new process that shares another's journal up to and with row `at`."""

    async def take(self, pid: str) -> Status:
        """Journal a process's notes without running it."""

    async def replay(self, pid: str) -> int:
        """Run the program against its journal, touching nothing: how many calls are the same.

        Raises ReplayDiverged for the first that is not (I6).
        """

    async def anchor(self) -> None:
        """Have the heads of all journals that changed signed by the witness, if there is one (I7)."""

    async def prune(self, before: float) -> int:
        """Drop the contents of what ended before that time; how many processes that were."""

    async def adopt(self, lines: Sequence[str]) -> str:
        """Take in a process that a ledger exported, here or elsewhere: its pid.

        Raises BadInput for lines that are not an export or a process that is there already, JournalBroken if its chain
        does not hold under this journal's key.
        """

    def events(self, pid: str) -> AbstractAsyncContextManager[asyncio.Queue[Event]]: ...


class Ledger(Protocol):
    """Reading the journal: no program runs, nothing is changed."""

    async def statuses(self) -> Sequence[Status]: ...
    async def find(self, prefix: str) -> Status: ...
    async def records(self, pid: str, after: int = -1) -> Sequence[Record]: ...
    async def context(self, pid: str, head: str) -> Sequence[Message]:
        """The messages of a model call (see `generated`), and what the model answered."""

    async def generated(self, pid: str, head: str) -> tuple[Record, Record]:
        """The rows of a process's latest model call whose context's hash begins so, and of what the model answered.
        Raises NotFound if there is none."""

    async def export(self, pid: str) -> Sequence[str]:
        """A process's journal as lines of text, for another journal. Raises BadInput if it neither exited nor is
        paused, so that it does not go on in two places."""

    async def questions(self) -> Sequence[Question]:
        """Everything that people are asked, oldest process first."""

    async def verify(self) -> Sequence[str]: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class EmployeeCard:
    """What a surface may tell of an employee. `title` says what it is for, `skills` are descriptions by name, `tools`
    those that it was granted; a `foreign` one is an agent whose program runs elsewhere, behind the API."""

    slug: str
    name: str
    title: str = ""
    skills: Mapping[str, str] = field(default_factory=dict)
    tools: tuple[ToolSpec, ...] = ()
    engine: str = ""
    foreign: bool = False


@dataclass(frozen=True)
class Office:
    """What boot gives to every surface that has a socket.

    `employees` are by slug, `engines` are the names of the engines, the usual one first; `base` is the address at which
    all of it is served, `closing` is set before it ends. `admits` says whether an address may be answered at all (I10).
    """

    kernel: Kernel
    ledger: Ledger
    keys: Keys
    dispatcher: Dispatcher
    clock: Clock
    employees: Mapping[str, EmployeeCard]
    engines: tuple[str, ...]
    base: str
    version: str
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    admits: Callable[[str], bool] = lambda host: True
