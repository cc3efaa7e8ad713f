"""What a call does outside of the kernel: engines and tools, and what may be done about an effect without outcome (I3).

`after_crash` is asked once for the open call of a recovered process whose effect may have begun, before anything else
happens in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from kernos.kernel import limits
from kernos.kernel.abi import Call, Generate, Invoke, Invoked
from kernos.kernel.errors import BadInput, EngineDied, EngineError, ToolError, Uncertain
from kernos.kernel.limits import Price
from kernos.kernel.monitor import Monitor
from kernos.kernel.ports import Prompt, Tool, ToolResult, Write
from kernos.kernel.process import Process
from kernos.kernel.scheduler import Scheduler
from kernos.kernel.types import Event, Generation, ToolSpec, canonical

Remedy = Literal["again", "verify", "doubt"]


def after_crash(call: Call, tool: ToolSpec | None) -> Remedy:
    """`again` if repeating is harmless, `verify` if it can be looked up, `doubt` if it may have happened.

    Args:
        call: the open call's row of the table.
        tool: the tool's declaration, if the call was `invoke`; None if the tool is gone.
    """
    if call.effect != "declared" or (tool is not None and tool.repeatable):
        return "again"
    return "verify" if tool is not None and tool.verified else "doubt"


@dataclass(frozen=True)
class Effects:
    """The engines and tools that calls reach."""

    monitor: Monitor
    scheduler: Scheduler
    tools: Mapping[str, Tool]
    prices: Mapping[str, Price] = field(default_factory=dict)

    def tool(self, process: Process, name: str) -> Tool | None:
        """A tool that the process's employee is granted."""
        return process.station.tools(self.tools).get(name)

    async def generate(self, process: Process, request: Generate) -> Generation:
        """Ask the engine, again on a fresh one if it dies under the call."""
        prompt = self._prompt(process, request)
        price = self.prices.get(process.station.engine, Price())

        def draft(text: str) -> None:
            if not process.station.claims:  # a draft with claims to check is not shown before it is judged
                process.tell(Event(process.pid, "draft", text=text))

        for attempt in range(1, limits.ENGINE_ATTEMPTS + 1):
            try:
                async with self.scheduler.slot(process.station.engine, process.state.priority) as (engine, queued):
                    generation = await engine.generate(prompt, draft)
                    canonical(dict(generation.action.arguments))
                    return replace(generation, queued=queued, attempts=attempt, money=price.of(generation))
            except BadInput as error:
                raise EngineError(f"the engine's answer cannot be recorded: {error.found}") from None
            except EngineDied:
                process.tell(Event(process.pid, "redraft"))
                if attempt == limits.ENGINE_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _prompt(self, process: Process, request: Generate) -> Prompt:
        names = [name for name in request.tools if name not in request.withheld]
        tools = process.station.tools(self.tools)
        specs = tuple(tools[name].spec for name in request.tools if name in tools)
        offers = self.monitor.offers(process.station, process.sources, names)
        speak = request.speak or not offers  # there must be something to choose
        allowed = process.state.limits.tokens
        left = request.max_tokens if allowed is None else max(1, allowed - process.state.usage.tokens)
        return Prompt(
            request.messages, specs, offers, speak, min(request.max_tokens, left), request.temperature
        )  # fmt: skip

    async def invoke(self, process: Process, request: Invoke, key: str) -> tuple[Invoked, tuple[Write, ...]]:
        """Call a tool. Raises Uncertain when it may have happened, and may not be tried again under another key."""
        tool = self.tool(process, request.tool)
        if tool is None:  # it was there when the call was judged, before a person was asked or the kernel died
            return Invoked(error=f"{process.station.slug} is not granted the tool {request.tool}"), ()
        try:
            async with _within(tool.spec):
                result = await tool.call(request.arguments, key)
            return _checked(result), result.writes
        except Uncertain:
            raise
        except (ToolError, BadInput) as error:
            return Invoked(error=str(error)), ()

    async def verify(self, process: Process, request: Invoke, key: str) -> Invoked | None:
        """Look up whether a call happened; None if it did not. Raises Uncertain when that cannot be told."""
        tool = self.tool(process, request.tool)
        assert tool is not None
        try:
            async with _within(tool.spec):
                result = await tool.verify(request.arguments, key)
            return None if result is None else _checked(result)
        except Exception as error:  # a look-up is foreign code: whatever it raises, nothing is known
            raise Uncertain(f"the look-up failed: {type(error).__name__}: {error}") from None


@asynccontextmanager
async def _within(spec: ToolSpec) -> AsyncIterator[None]:
    """The time of one call: a tool that may be repeated has failed when it is over, of others nothing is known."""
    try:
        async with asyncio.timeout(spec.timeout) as clock:
            yield
    except TimeoutError as error:
        if not clock.expired():
            raise ToolError(f"TimeoutError: {error}") from None
        late = f"no answer within {spec.timeout:g} s"
        if spec.repeatable and not spec.keyed:  # another call would have another key
            raise ToolError(late) from None
        raise Uncertain(late) from None


def _checked(result: ToolResult) -> Invoked:
    canonical([result.value, dict(result.say)])
    return Invoked(result.value, "", result.say)
