"""What a program is written with: the handle on its own process.

    @program
    async def greet(process: Process) -> str:
        name = await process.ask("What is your name?")
        await process.send(f"Hello, {name}!")
        return name

Every method is a system call; a program may await these and nothing else. It must be deterministic between them: time
and chance come from `now` and `random`, so that it can be run again against its journal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from kernos.kernel import abi
from kernos.kernel.abi import Ended, Extracted, Handle, Invoke, Invoked, Proposed, Recalled, Request
from kernos.kernel.errors import ProgramError
from kernos.kernel.types import Deny, Embedded, Generation, Json, Message, Snapshot

Program = Callable[["Process"], Coroutine[Any, Any, Json]]


@dataclass(frozen=True)
class _SystemCall(Awaitable[Any]):
    """Awaiting this hands the request to the kernel, which resumes the program with the reply."""

    request: Request

    def __await__(self) -> Generator[Request, Any, Any]:
        return (yield self.request)


def _invoke(tool: str, arguments: Mapping[str, Json]) -> Invoke:
    handles: dict[str, list[Json]] = {}
    plain = {name: _plain(value, name, handles) for name, value in arguments.items()}
    return Invoke(tool, plain, handles)


def _plain(value: Json, name: str, handles: dict[str, list[Json]]) -> Json:
    """An argument without handles; where they point goes to `handles`, by the parameter's name."""
    if isinstance(value, Handle):
        handles.setdefault(name, []).append([value.place, *value.path])
        return value.value
    if isinstance(value, Mapping):
        return {inner: _plain(part, f"{name}.{inner}", handles) for inner, part in value.items()}
    return [_plain(part, name, handles) for part in value] if isinstance(value, list | tuple) else value


class Process:
    """The process that a program runs in. Each method raises what `kernel.abi.TABLE` lists for it.

    `state` and `messages` are what the last `checkpoint` kept: None and nothing when the program begins. `pid` is its
    own, `parent` that of the process that started it, empty if a person did.
    """

    def __init__(self, snapshot: Snapshot = Snapshot()) -> None:
        self.state = snapshot.state
        self.messages = snapshot.messages
        self.pid = snapshot.pid
        self.parent = snapshot.parent

    async def generate(
        self,
        messages: Sequence[Message],
        tools: Sequence[str] = (),
        withheld: Sequence[str] = (),
        speak: bool = True,
        max_tokens: int = 256,
        temperature: float = 0.0,
    ) -> Generation:
        """Let the engine choose the next action: a call of one of `tools`, or a reply if it may `speak`.

        Raises ProgramError if one of the tools is not granted.
        """
        request = abi.Generate(tuple(messages), tuple(tools), tuple(withheld), speak, max_tokens, temperature)
        reply = await _SystemCall(request)
        if isinstance(reply, Deny):
            raise ProgramError(reply.reason)
        return cast(Generation, reply)

    async def invoke(self, tool: str, /, **arguments: Json) -> Invoked | Deny:
        """Call a tool; arguments may be handles (`Invoked.at`), in lists and tables too. A refusal is a value, with a
        reason that a model can act on."""
        return cast("Invoked | Deny", await _SystemCall(_invoke(tool, arguments)))

    async def propose(self, calls: Sequence[tuple[str, Mapping[str, Json]]]) -> tuple[bool, ...]:
        """Announce calls that are to come (tool, arguments): of each, whether it may now be made. If a person has to
        allow
        the first, all of them that need it are put to him on one card."""
        announced = tuple(_invoke(tool, arguments) for tool, arguments in calls)
        reply = await _SystemCall(abi.Propose(announced))
        return (False,) * len(announced) if isinstance(reply, Deny) else cast(Proposed, reply).may

    async def extract(self, text: str, schema: Mapping[str, Json]) -> dict[str, Json]:
        """What a stranger's text says, in the fields of a JSON schema, read by a model that sees nothing else and can
        do nothing; a field that is not there, or does not stand in the text, is left out."""
        return dict(cast(Extracted, await _SystemCall(abi.Extract(text, schema))).value)

    async def embed(self, texts: Sequence[str], engine: str = "") -> tuple[tuple[float, ...], ...]:
        """Of each text its vector, made by an engine that embeds. Raises ProgramError if the engine is not granted."""
        reply = await _SystemCall(abi.Embed(tuple(texts), engine))
        if isinstance(reply, Deny):
            raise ProgramError(reply.reason)
        return cast(Embedded, reply).vectors

    async def ask(self, question: str) -> str:
        """Ask the owner, and wait for the answer. Raises ProgramError if the question may not be put."""
        reply = await _SystemCall(abi.AskPerson(question))
        if isinstance(reply, Deny):
            raise ProgramError(reply.reason)
        return cast(str, reply)

    async def send(self, text: str, to: str = "") -> Deny | None:
        """Say something to the owner, or to the parent or a child by its pid; None, or why it was not said."""
        return cast("Deny | None", await _SystemCall(abi.Send(text, to)))

    async def receive(self) -> str:
        """The next message, the owner's or another process's; waits until there is one."""
        return cast(str, await _SystemCall(abi.Receive()))

    async def now(self) -> float:
        """The time, in seconds since 1970, UTC; the same again on replay."""
        return cast(float, await _SystemCall(abi.Now()))

    async def random(self) -> float:
        """A number in [0, 1); the same again on replay."""
        return cast(float, await _SystemCall(abi.Random()))

    async def spawn(self, employee: str, text: str = "") -> str:
        """Start a process of another employee for the same owner, with a first message; its pid.

        Raises ProgramError if this employee may not start one of that.
        """
        reply = await _SystemCall(abi.Spawn(employee, text))
        if isinstance(reply, Deny):
            raise ProgramError(reply.reason)
        return cast(str, reply)

    async def wait(self, pid: str) -> Ended:
        """Wait until a child has exited: how, and what it returned. Raises ProgramError if it is no child."""
        reply = await _SystemCall(abi.Wait(pid))
        if isinstance(reply, Deny):
            raise ProgramError(reply.reason)
        return cast(Ended, reply)

    async def sleep(self, seconds: float) -> None:
        """Do nothing for so long; nothing is held meanwhile but a row."""
        await _SystemCall(abi.Sleep(seconds))

    async def remember(self, key: str, value: Json) -> None:
        """Keep a value for all processes of this employee and owner; None forgets it."""
        await _SystemCall(abi.Remember(key, value))

    async def recall(self, key: str, default: Json = None) -> Json:
        """What was kept under a key, or the default."""
        reply = cast(Recalled, await _SystemCall(abi.Recall(key)))
        return reply.value if reply.found else default

    async def checkpoint(self, state: Json = None, messages: Sequence[Message] = ()) -> NoReturn:
        """Begin the program anew with this `state` and these `messages`. What was before is not replayed again."""
        await _SystemCall(abi.Checkpoint(state, tuple(messages)))
        raise AssertionError("unreachable")


def program(function: Program) -> Program:
    """Make a coroutine function a program, to be named in `kernos.toml` as `program = "file.py:name"`."""
    function.__dict__["__kernos_program__"] = True
    return function
