"""The engines of these benchmarks: SmolLM2 on llama.cpp, through Kernos or by itself."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from benchmarks.scheduling.loads import Call, Program
from benchmarks.scheduling.runs import Kernos, Result, run
from kernos.drivers.engine.embedded import EmbeddedEngine
from kernos.drivers.engine.models import Shelf, default_folder
from kernos.kernel.scheduler.history import History
from kernos.kernel.types import Message

CONTEXT = 2048
SMOLLM = "smollm2-135m"


def model() -> Path:
    """Its weights. Raises ModelMissing if they are not there (`kernos model pull smollm2-135m`)."""
    return Shelf(default_folder(os.environ)).path(SMOLLM)


def embedded(slots: int = 4) -> EmbeddedEngine:
    """The engine whose contexts the kernel manages."""
    return EmbeddedEngine(model, context=CONTEXT, slots=slots)


class Alone:
    """llama-server by itself: each program sends its whole conversation, and the server queues."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.result = Result()

    async def ask(self, program: Program, messages: Sequence[Message], call: Call, began: Callable[[], None]) -> str:
        """One call over the server's own chat API; see `runs.Ask`."""
        said, heard = "", False
        body = {"messages": [_plain(message) for message in messages], "max_tokens": call.generated, "stream": True,
                "ignore_eos": True, "temperature": 0, "cache_prompt": True}  # fmt: skip
        async with self._session.post("/v1/chat/completions", json=body) as response:
            response.raise_for_status()
            async for line in response.content:
                if not line.startswith(b"data: {"):
                    continue
                event = json.loads(line[6:])
                for choice in event["choices"]:
                    said += choice["delta"].get("content") or ""
                if said and not heard:
                    heard = True
                    began()
                if timings := event.get("timings"):
                    self.result.prompt_tokens += timings["prompt_n"]
                    self.result.generated += timings["predicted_n"]
        return said


def _plain(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.action.text if message.action else message.text}


@asynccontextmanager
async def alone(slots: int = 4) -> AsyncIterator[Alone]:
    """llama-server by itself, while the block runs."""
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.peers.llama_server", str(model()), str(slots), str(CONTEXT),
        stdin=pipe, stdout=pipe, stderr=null,
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None
    try:
        address = (await child.stdout.readline()).decode().strip()
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(address, connector=connector, timeout=timeout) as session:
            yield Alone(session)
    finally:
        child.stdin.close()
        await child.wait()


async def by_itself(load: Sequence[Program]) -> Result:
    """A load through the server alone: first come, first served, its host cache on."""
    async with alone() as server:
        done = await run(load, server.ask)
        done.prompt_tokens, done.generated = server.result.prompt_tokens, server.result.generated
        return done


async def through_kernos(load: Sequence[Program], history: History, slots: int = 4) -> Result:
    """A load through the kernel's scheduler. What it teaches stays in the history."""
    engine = embedded(slots)
    kernos = Kernos(engine, history)
    try:
        await engine.start()
        done = await run(load, kernos.ask, kernos.over)
        done.prompt_tokens, done.generated, done.least = kernos.computed, kernos.generated, kernos.least()
        return done
    finally:
        await engine.close()
