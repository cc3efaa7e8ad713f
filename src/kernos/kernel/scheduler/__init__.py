"""Who gets an engine: the only way to a model, and the order in which calls get there (I1, I8).

    generation = await scheduler.generate(job, prompt, draft, redraft)
    scheduler.ended(pid, gone)          its task is over, or the process itself

Engines of one role stand in for each other and share one queue (`pool`), whose order is that of `waiting`: the least
expected rest first, as `history` knows it. Where the kernel manages an engine's contexts (`contexts`), a more urgent
call also stops one that is served, which later goes on where it was. What fails without the call's fault is tried
again, after a pause or at another engine of the role; one that fails again and again is left alone for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from kernos.kernel import limits
from kernos.kernel.errors import BadInput, EngineBusy, EngineDied, NotFound
from kernos.kernel.limits import Price
from kernos.kernel.office import EngineView, ProcessView, View
from kernos.kernel.ports import Clock, Embedder, Engine, Prompt, SlotEngine
from kernos.kernel.scheduler.contexts import Contexts
from kernos.kernel.scheduler.history import History
from kernos.kernel.scheduler.lines import Line, Phase, Turn
from kernos.kernel.scheduler.pool import Pool
from kernos.kernel.scheduler.waiting import Share
from kernos.kernel.types import Embedded, Generation, tokens_about

A = TypeVar("A", Generation, Embedded)


@dataclass(frozen=True)
class Job:
    """A model call for the scheduler: whose it is, the engine that is wanted, the kind of its task (see `history`), its
    process's priority (the lower, the sooner), and whether its class is declared batch."""

    pid: str
    owner: str
    engine: str
    kind: str
    priority: int = 0
    batch: bool = False


class Scheduler:
    """The queues before the engines.

    Args:
        shares: of owners that are not like the others what they get.
        roles: the role of each engine that has one; any other engine is a role of its own.
        prices: what calls of an engine cost; nothing, where there is none.
        history: what is known of tasks already.
    """

    def __init__(
        self, engines: Mapping[str, Engine | SlotEngine], clock: Clock, shares: Mapping[str, Share] | None = None,
        roles: Mapping[str, str] | None = None, prices: Mapping[str, Price] | None = None,
        history: History | None = None,
    ) -> None:  # fmt: skip
        self.history = history or History()
        self._clock, self._prices = clock, prices or {}
        self._contexts = {
            name: Contexts(engine, self.history) for name, engine in engines.items() if isinstance(engine, SlotEngine)
        }
        self._lines = {name: Line(name, engine, clock, name in self._contexts) for name, engine in engines.items()}
        role_of = {name: (roles or {}).get(name, name) for name in engines}
        together = {
            role: [self._lines[name] for name in engines if role_of[name] == role] for role in role_of.values()
        }  # fmt: skip
        pools = {role: Pool(lines, shares or {}, clock, self.history) for role, lines in together.items()}
        self._pools = pools | {name: pools[role] for name, role in role_of.items()}

    async def generate(
        self, job: Job, prompt: Prompt, draft: Callable[[str], None], redraft: Callable[[], None]
    ) -> Generation:
        """One model call. `redraft` is called when what was drafted is void, since the call begins again.

        Raises NotFound if there is no such engine or role, EngineError when it fails.
        """

        async def answer(line: Line, turn: Turn) -> Generation:
            if isinstance(line.engine, SlotEngine):
                return await self._contexts[line.name].generate(turn, prompt, draft)
            return await line.engine.generate(prompt, draft)

        return await self._tried(job, _tokens(prompt), answer, redraft)

    async def embed(self, job: Job, texts: Sequence[str]) -> Embedded:
        """Vectors of texts. Raises BadInput of an engine that makes none, and as `generate` does."""

        async def answer(line: Line, turn: Turn) -> Embedded:
            if not isinstance(line.engine, Embedder):
                right = "one that makes vectors: embeddings = true in kernos.toml"
                raise BadInput("engine", f"{line.name}, which makes none", right)
            return await line.engine.embed(texts)

        return await self._tried(job, tokens_about(texts), answer)

    async def _tried(
        self, job: Job, tokens: int, answer: Callable[[Line, Turn], Awaitable[A]],
        again: Callable[[], None] = lambda: None,
    ) -> A:  # fmt: skip
        """Have an engine answer a call, and try again what fails without its fault; `again` is told before."""
        if job.engine not in self._pools:
            raise NotFound("engine", repr(job.engine), " or ".join(self._pools) or "an engine in kernos.toml")
        pool, queued = self._pools[job.engine], 0.0
        self.history.began(job.pid, job.kind)
        for attempt in range(1, limits.ENGINE_ATTEMPTS + 1):
            turn = pool.turn(job.pid, job.owner, tokens, job.priority, job.batch)
            try:
                async with self._served(pool, turn) as line:
                    answered = await answer(line, turn)
                    line.succeeded(answered)
            except (EngineDied, EngineBusy) as error:
                queued += turn.queued
                again()
                if attempt == limits.ENGINE_ATTEMPTS:
                    raise
                await asyncio.sleep(self._pause(pool, error, attempt))
                continue
            self.history.answered(job.pid)
            money = self._prices.get(line.name, Price()).of(answered)
            return replace(answered, queued=queued + turn.queued, attempts=attempt, money=money)
        raise AssertionError("unreachable")

    def ended(self, pid: str, gone: bool) -> None:
        """A process's task is over; or with `gone` the process itself, whose contexts nobody needs any more."""
        self.history.ended(pid)
        for contexts in self._contexts.values():
            contexts.ended(pid, gone)

    def view(self) -> View:
        """What the engines do, and how the processes stand."""
        engines = tuple(self._engine_view(name, line) for name, line in self._lines.items())
        at: dict[str, tuple[str, Phase]]
        at = {pid: (name, "queued") for name, pool in self._pools.items() for pid in pool.waiting()}
        at |= {turn.call.pid: (line.name, turn.phase) for line in self._lines.values() for turn in line.running}
        return View(engines, tuple(self._process_view(pid, *at.get(pid, ("", ""))) for pid in self.history.at_work()))

    @asynccontextmanager
    async def _served(self, pool: Pool, turn: Turn) -> AsyncIterator[Line]:
        """The engine that serves a turn, from when it may till it is over."""
        await pool.wait(turn)
        line = turn.line
        assert line is not None
        try:
            yield line
        except (EngineDied, EngineBusy) as error:
            pool.failed(line, turn.call.pid, str(error))
            raise
        finally:
            pool.leave(turn)

    def _pause(self, pool: Pool, error: EngineDied | EngineBusy, attempt: int) -> float:
        """How long to wait before the next try, in seconds: as long as the server wants, or a little longer each time,
        never all at once; not at all if another engine is there."""
        if any(line.room and not line.failures for line in pool.lines):
            return 0.0
        if isinstance(error, EngineBusy) and error.after is not None:
            return min(error.after, limits.RETRY_MOST_SECONDS)
        jitter = 0.5 + self._clock.random()
        return min(limits.RETRY_SECONDS * 2.0**attempt, limits.RETRY_MOST_SECONDS) * jitter

    def _engine_view(self, name: str, line: Line) -> EngineView:
        contexts = self._contexts.get(name)
        return line.view(len(self._pools[name]), contexts.standing() if contexts else ())

    def _process_view(self, pid: str, engine: str, phase: Phase) -> ProcessView:
        task = self.history.task(pid)
        return ProcessView(pid, task.seconds if task else 0.0, self.history.rest(pid), engine, phase)


def _tokens(prompt: Prompt) -> int:
    """How many tokens a call may hold, about."""
    return tokens_about(message.text for message in prompt.messages) + prompt.max_tokens
