"""The embedded engine: llama.cpp in a child process that this driver starts, watches and starts again.

The child (`python -m kernos.drivers.engine.server`) speaks HTTP on loopback, on a port of its choosing, behind a key
made for it; or, where other workers are to use it too, on an address and behind a key that they know. If it dies, the
kernel lives: the call in flight raises EngineDied, and the next one starts a fresh child.
The child ends with us, however we end: it watches its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from kernos.drivers.engine.client import OpenAIEngine
from kernos.kernel.errors import EngineDied, EngineError
from kernos.kernel.ports import Prompt
from kernos.kernel.types import Generation


class EmbeddedEngine:
    """A model file and the child that serves it, started at the first call.

    Args:
        path: tells where the weights are when they are needed; raises ModelMissing if they are not there.
        context: tokens of context a slot has.
        slots: how many calls are decoded at once.
        threads: CPU threads; 0 for as many as there are cores.
        port: a fixed port, or 0 for any free one.
        listen: the address on which it serves; any other than loopback is for the workers on other machines.
        key: the key that it asks for; empty: one that nobody else knows.
    """

    def __init__(
        self, path: Callable[[], Path], context: int = 8192, slots: int = 1, threads: int = 0, port: int = 0,
        listen: str = "127.0.0.1", key: str = "",
    ) -> None:  # fmt: skip
        self._listen, self._key = listen, key
        self._path, self._context, self._slots, self._threads, self._port = path, context, slots, threads, port
        self._child: asyncio.subprocess.Process | None = None
        self._client: OpenAIEngine | None = None
        self._files = contextlib.ExitStack()
        self._log: IO[bytes] | None = None
        self._starting = asyncio.Lock()

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        """One action; see `ports.Engine`."""
        client = await self._ready()
        call = asyncio.ensure_future(client.generate(prompt, draft))
        assert self._child is not None
        death = asyncio.ensure_future(self._child.wait())
        try:
            await asyncio.wait({call, death}, return_when=asyncio.FIRST_COMPLETED)
            if call.done() and call.exception() is None:
                return call.result()
            with contextlib.suppress(TimeoutError):  # a broken connection is often the first sign of a death
                await asyncio.wait_for(asyncio.shield(death), 1.0)
            if death.done():
                raise EngineDied(f"the model process ended (exit code {death.result()}): {self._last_words()}")
            return await call
        finally:
            death.cancel()
            if not call.done():
                call.cancel()
            await asyncio.wait({call, death})

    async def start(self) -> None:
        """Serve now, so that other workers find it before this one calls it."""
        await self._ready()

    async def close(self) -> None:
        """End the child."""
        if self._client is not None:
            await self._client.close()
        if self._child is not None and self._child.returncode is None:
            self._child.kill()
            await self._child.wait()
        self._child = self._client = self._log = None
        self._files.close()

    async def _ready(self) -> OpenAIEngine:
        async with self._starting:
            if self._client is None or self.pid is None:
                await self.close()
                self._client = await self._start()
            return self._client

    async def _start(self) -> OpenAIEngine:
        key = self._key or secrets.token_urlsafe(24)
        settings = {"model": str(self._path()), "key": key, "context": self._context, "slots": self._slots,
                    "threads": self._threads, "port": self._port, "host": self._listen}  # fmt: skip
        self._log = self._files.enter_context(tempfile.TemporaryFile("w+b", buffering=0))
        self._child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "kernos.drivers.engine.server",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=self._log,
            start_new_session=True,  # Ctrl-C is ours to handle; the child must not die of it in the middle of a call
        )  # fmt: skip
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps(settings).encode() + b"\n")
        try:
            line = await self._child.stdout.readline()
        except asyncio.CancelledError:
            await self.close()
            raise
        if not line:
            await self._child.wait()
            raise EngineError(f"the model process did not start: {self._last_words()}")
        greeting = json.loads(line)
        if "error" in greeting:
            raise EngineError(f"the model process did not start: {greeting['error']}")
        return OpenAIEngine(f"{greeting['address']}/v1", "model", key, "grammar", self._slots, direct=True)

    def _last_words(self) -> str:
        if self._log is None:
            return "it was not there"
        self._log.seek(max(0, self._log.seek(0, 2) - 2000))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
