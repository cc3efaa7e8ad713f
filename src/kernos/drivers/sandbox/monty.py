"""Python that a model wrote, in Monty: an interpreter that reaches no file, network, clock or process.

    step = await monty.start(code, {"search": ["what"]}, now)    # {"call": "search", "arguments": {...}, "pause": "f3"}
    step = await monty.resume(step["pause"], {"value": [...]})   # {"result": ..., "printed": "..."}, or "error"

The code runs until it ends, or calls one of the functions that the caller answers for. While a caller looks for the
answer nothing runs here: the paused interpreter is a few kilobytes. Only the last `KEPT` are kept, and none over a
restart; then `resume` says "lost", and the caller starts again with all answers so far. As the clock stands still and
chance is seeded by the code, it comes to the same place.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from kernos.kernel.errors import Unsupported
from kernos.kernel.types import Json

if TYPE_CHECKING:
    from pydantic_monty import ExternalSettledResult, FunctionSnapshot, MontySession, SyncSnapshot

KEPT = 32
KEPT_BYTES = 4 << 20
"""A pause that is larger is not kept."""
PRINTED_BYTES = 20_000
RESULT_BYTES = 100_000
CALLS = 10_000

Functions = Mapping[str, Sequence[str]]
"""The functions that code may call, and the names of their parameters in order."""
Begin = Callable[..., "SyncSnapshot"]


@dataclass(frozen=True)
class _Call:
    """A call of one of the functions."""

    name: str
    arguments: Json


@dataclass(frozen=True)
class _Paused:
    """Code that waits for the answer to a call."""

    call: _Call
    dump: bytes
    functions: Functions
    printed: str


class Monty:
    """Runs code, each start and each resumption in a worker process of its own.

    Its asynchronous interface is not used: with it, one program in eight was aborted when it ended (1.4.0).

    Args:
        seconds: how long the code may compute between two answers.
        memory: bytes.

    Raises Unsupported where Monty is not installed.
    """

    def __init__(self, seconds: float = 5.0, memory: int = 64 << 20) -> None:
        if find_spec("pydantic_monty") is None:
            raise Unsupported("model-written Python needs Monty: pip install 'kernos[code]'")
        self._seconds, self._memory = seconds, memory
        self._paused: OrderedDict[str, _Paused] = OrderedDict()

    async def start(self, code: str, functions: Functions, now: float, answers: Sequence[Json] = ()) -> Json:
        """Run code from its beginning; its first calls are answered by `answers`. `now` is the time that it sees."""
        return self._told(await asyncio.to_thread(self._started, code, functions, now, answers))

    async def resume(self, pause: str, answer: Json) -> Json:
        """Go on with what the call returned, as {"value": ...}, {"refused": why} or {"failed": why}."""
        paused = self._paused.pop(pause, None)
        if paused is None:
            return {"lost": pause}
        return self._told(await asyncio.to_thread(self._resumed, paused, answer))

    def _told(self, reached: _Paused | Json) -> Json:
        """What the caller is told of the place that the code has reached."""
        if not isinstance(reached, _Paused):
            return reached
        pause = secrets.token_hex(16)  # nobody else can name it: another process must not go on with this code
        if len(reached.dump) <= KEPT_BYTES:
            self._paused[pause] = reached
        if len(self._paused) > KEPT:
            self._paused.popitem(last=False)
        return {"call": reached.call.name, "arguments": reached.call.arguments, "pause": pause}

    def _started(self, code: str, functions: Functions, now: float, answers: Sequence[Json]) -> _Paused | Json:
        policy = {
            "datetime": datetime.fromtimestamp(now, UTC), "sleep": "zero",
            "random_start": {"seed": hashlib.sha256(code.encode(errors="replace")).digest()},
        }  # fmt: skip
        limits = {"max_feed_duration_secs": self._seconds, "max_memory": self._memory, "max_suspensions": CALLS}
        with _session(limits=limits, os_policy=policy) as session:
            return _run(session.feed_start, code, functions, "", answers)

    def _resumed(self, paused: _Paused, answer: Json) -> _Paused | Json:
        with _session() as session:
            return _run(session.load_snapshot, paused.dump, paused.functions, paused.printed, [answer])


def _run(
    begin: Begin, given: str | bytes, functions: Functions, before: str, answers: Sequence[Json]
) -> _Paused | Json:
    """From a beginning to the next call that has no answer yet, or to the end."""
    import pydantic_monty as monty

    printed = monty.CollectString(max(1, PRINTED_BYTES - len(before)))
    left = iter(answers)
    try:
        snapshot = begin(given, print_callback=printed)
        while not isinstance(snapshot, monty.MontyComplete):
            call = _asked(snapshot, functions)
            if not isinstance(call, _Call):
                snapshot = call()
            elif answer := next(left, None):
                snapshot = _answered(snapshot, answer)
            else:
                return _Paused(call, snapshot.dump(), functions, before + printed.output)
        return {"result": _plain(snapshot.output), "printed": before + printed.output}
    except monty.MontyRuntimeError as error:
        return {"error": error.display(), "printed": before + printed.output}
    except (monty.MontyError, ValueError) as error:
        return {"error": str(error), "printed": before + printed.output}


def _asked(snapshot: SyncSnapshot, functions: Functions) -> _Call | Callable[[], SyncSnapshot]:
    """The call that the code waits for; if it is none of the functions, how it goes on."""
    import pydantic_monty as monty

    if isinstance(snapshot, monty.NameLookupSnapshot):
        name = snapshot.variable_name
        known = {"value": _function(name)} if name in functions else {}
        return lambda: snapshot.resume(**known)
    assert isinstance(snapshot, monty.FunctionSnapshot)
    if snapshot.is_os_function:
        return snapshot.resume_not_handled
    name, fault = snapshot.function_name, None
    places = functions.get(name)
    try:
        if places is None:
            raise NameError(f"name {name!r} is not defined")
        if len(snapshot.args) > len(places):
            raise TypeError(f"{name}() takes these arguments: {', '.join(places)}")
        return _Call(name, _plain({**dict(zip(places, snapshot.args, strict=False)), **snapshot.kwargs}))
    except (NameError, TypeError, ValueError) as error:
        fault = error
    return lambda: snapshot.resume({"exception": fault})


def _answered(snapshot: Any, answer: Json) -> SyncSnapshot:
    """Go on with an answer, whether the code calls the function or awaits it."""
    call: FunctionSnapshot = snapshot
    settled = _settled(answer)
    if not call.allow_eager_await:
        return call.resume(settled)
    waiting: Any = call.resume({"future": ...})
    after: SyncSnapshot = waiting.resume({call.call_id: settled})
    return after


def _settled(answer: Json) -> ExternalSettledResult:
    if "refused" in answer:
        return {"exception": PermissionError(answer["refused"])}
    if "failed" in answer:
        return {"exception": RuntimeError(answer["failed"])}
    return {"return_value": answer.get("value")}


def _function(name: str) -> Callable[[], None]:
    """Something that Monty takes for a function of this name; it is never called."""

    def function() -> None:
        """Stands for a function of the caller's."""

    function.__name__ = name
    return function


def _plain(value: Any) -> Json:
    """A value as JSON; what JSON has no form for, as Python writes it. Raises ValueError if it is large."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=repr)
    except (TypeError, ValueError, RecursionError):
        text = json.dumps(repr(value), ensure_ascii=False)
    plain = text.encode(errors="replace")
    if len(plain) > RESULT_BYTES:
        raise ValueError(f"a value of {len(plain)} bytes is too large: {RESULT_BYTES} at the most")
    return json.loads(plain)


@contextmanager
def _session(**settings: Any) -> Iterator[MontySession]:
    """A fresh worker. Raises Unsupported if there cannot be one."""
    import pydantic_monty as monty

    with ExitStack() as opened:
        try:
            pool = opened.enter_context(monty.Monty(max_processes=1))
            session = opened.enter_context(pool.checkout(**settings))
        except (OSError, RuntimeError, monty.MontyError) as error:
            raise Unsupported(f"Monty does not start: {error}") from None
        yield session
