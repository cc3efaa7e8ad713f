"""A llama.cpp server of its own, started apart from the engine under test, and what to ask of small models."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

from kernos.drivers.clock.system import SystemClock
from kernos.drivers.engine.embedded import EmbeddedEngine
from kernos.kernel.ports import Prompt
from kernos.kernel.scheduler.contexts import Contexts
from kernos.kernel.scheduler.history import History
from kernos.kernel.scheduler.lines import Turn
from kernos.kernel.scheduler.waiting import Waiting
from kernos.kernel.types import Generation, Json, Message, ToolSpec

KEY = "a key of the tests"


def spec(name: str, description: str, **properties: Json) -> ToolSpec:
    """A tool whose parameters are all needed."""
    form = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return ToolSpec(name, description, form)


WEATHER = spec("weather", "tells the weather in a city", city={"type": "string", "enum": ["Paris", "Oslo", "Rome"]})
COUNT = {"type": "integer", "minimum": 1, "maximum": 9}
ORDER = spec("order", "orders bottles of water", count=COUNT, gift={"type": "boolean"})


def only(tool: ToolSpec, **narrowed: Json) -> Json:
    """The tool's schema with some parameters narrowed, as the monitor narrows them."""
    return {**tool.schema, "properties": {**tool.schema["properties"], **narrowed}}


def ask(words: str, offers: Mapping[str, Json], speak: bool = False, max_tokens: int = 96) -> Prompt:
    """A customer's words to a clerk who knows both tools."""
    said = (Message("system", "You are a clerk. Be brief."), Message("user", words))
    return Prompt(said, (WEATHER, ORDER), offers, speak, max_tokens)


class Managed(EmbeddedEngine):
    """The embedded engine with a kernel's management of its slots around it: each call is a context of its own."""

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        """One action, as the scheduler has it made."""
        if not hasattr(self, "contexts"):
            self.contexts, self.calls, self.room = Contexts(self, History()), count(), asyncio.Semaphore(self.resident)
        pid = str(next(self.calls))
        turn = Turn(Waiting(pid, "tests", 0, 0.0), 0.0, SystemClock(), History(), _never)
        async with self.room:
            try:
                return await self.contexts.generate(turn, prompt, draft)
            finally:
                self.contexts.ended(pid, gone=True)


async def _never(turn: Turn) -> None:
    raise AssertionError("nobody is more urgent")


@asynccontextmanager
async def llama_server(model: Path, slots: int = 2) -> AsyncIterator[str]:
    """The base URL of a server of this model, while the block runs."""
    settings = {"model": str(model), "key": KEY, "context": 1024, "slots": slots, "threads": 1,
                "host": "127.0.0.1", "port": 0, "states": ""}  # fmt: skip
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kernos.drivers.engine.server",
        stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(json.dumps(settings).encode() + b"\n")
        yield f"{json.loads(await child.stdout.readline())['address']}/v1"
    finally:
        child.stdin.close()
        await child.wait()
