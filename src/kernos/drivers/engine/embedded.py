"""The embedded engine: llama.cpp in a child process that this driver starts, watches and starts again.

The child (`python -m kernos.drivers.engine.server`) speaks HTTP on loopback, on a port of its choosing, behind a key
made for it; or, where other workers are to use it too, on an address and behind a key that they know. If it dies, the
kernel lives: the call in flight raises EngineDied, and the next start is that of a fresh child.
The child ends with us, however we end: it watches its standard input.

A call is `start`, `segments`, then `feed` and `decode` on a slot, in any order with `save`, `restore` and `erase`
(see `ports.SlotEngine`). What is saved lies in a folder of this driver, which outlives the child and not the driver.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import secrets
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from typing import IO

from kernos.drivers.engine import grammar
from kernos.drivers.engine.llama import Llama, Pieces
from kernos.drivers.engine.resume import grammar_after
from kernos.kernel.errors import BadInput, EngineDied, EngineError
from kernos.kernel.ports import Piece, Prompt, Segment
from kernos.kernel.types import Action, Json

_OPTIONS = ("top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty", "ignore_eos")
"""The sampling options that llama.cpp knows by the same names."""
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}")
_NOTHING = Segment("", ())
HEADS = 64
"""The tokens of so many beginnings are kept."""
KNEE_PROMPT, KNEE_TOKENS, KNEE_GAIN = 4, 32, 4 / 3
"""The prompt and the answer of the calls by which it is measured how many to serve at once, in tokens. Twice as
many have to bring a third more, or serving them one after the other ends sooner on average."""
LAST_WORDS_SECONDS = 1.0
"""A broken connection is often the first sign of a death: so long the child's end is waited for."""


class EmbeddedEngine:
    """A model file and the child that serves it, started at the first call.

    Args:
        path: tells where the weights are when they are needed; raises ModelMissing if they are not there.
        context: tokens of context a slot has.
        slots: how many contexts stand in it at once. How many of them are served at once is found out by measuring.
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
        self._client: Llama | None = None
        self._log: IO[bytes] | None = None
        self._states: tempfile.TemporaryDirectory[str] | None = None
        self._saved: dict[str, tuple[int, int]] = {}
        self._heads: OrderedDict[str, Segment] = OrderedDict()
        self._starting = asyncio.Lock()
        self._life, self._identity = 0, ""
        self._knees: dict[str, int] = {}

    @property
    def slots(self) -> int:
        return self._knees.get(self._identity, 1)

    @property
    def resident(self) -> int:
        return self._slots

    @property
    def life(self) -> int:
        return self._life

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def start(self) -> str:
        """Have the child run; the name of what it serves, as in `ports.SlotEngine`."""
        async with self._starting:
            if self._client is None or self.pid is None:
                await self._end()
                await self._start()
            if self._slots > 1 and self._identity not in self._knees:
                self._knees[self._identity] = await self._knee()
            return self._identity

    async def segments(self, prompt: Prompt, known: Sequence[Segment] = ()) -> Sequence[Segment]:
        """The whole context; see `ports.SlotEngine`."""
        if any(message.images for message in prompt.messages):
            raise BadInput("messages", "images", "text: the embedded model sees none")
        messages = grammar.messages(prompt)
        async with self._calling() as client:
            whole = await client.template(messages, answering=True)
            head = await self._head(client, messages)
            head = head if whole.startswith(head.text) else _NOTHING
            parts, place = [head], len(head.text)
            for segment in known[1:] if known and known[0] == head else known:
                if not whole.startswith(segment.text, place):
                    break
                parts.append(segment)
                place += len(segment.text)
            if rest := whole[place:]:
                parts.append(Segment(rest, await client.tokens(rest, first=not place)))
            return parts

    async def feed(self, slot: int, tokens: Sequence[int]) -> int:
        """Compute what a slot lacks of these tokens; how many that were."""
        body = {"prompt": list(tokens), "id_slot": slot, "n_predict": 0, "cache_prompt": True}
        async with self._calling() as client:
            return int((await client.post("/completion", body))["timings"]["prompt_n"])

    async def decode(
        self, slot: int, tokens: Sequence[int], prompt: Prompt, written: str, most: int
    ) -> AsyncGenerator[Piece]:
        """Decode in a slot; see `ports.SlotEngine`."""
        schema = grammar.form(prompt)
        body = {"prompt": list(tokens), "id_slot": slot, "n_predict": most, "cache_prompt": True, "return_tokens": True}
        body |= _sampling(prompt)
        if schema is not None:
            if (after := grammar_after(schema, written)) is None:
                raise EngineError(f"cannot go on with an answer that begins with {written[:120]!r}")
            body["grammar"] = after
        async with self._calling() as client:
            pieces = Pieces(
                written, lambda text: schema is None or grammar_after(schema, text) is not None, client.tokens
            )  # fmt: skip
            async with contextlib.aclosing(client.stream("/completion", body)) as events:
                async for event in events:
                    if piece := await pieces.take(event):
                        yield piece
                        if piece.end:
                            return
            raise EngineDied("the model process ended its answer without finishing it")

    async def save(self, slot: int, name: str) -> None:
        """Write a slot's state, whole or not at all. Two slots may save one state at once."""
        file, part = self._file(name), f"{name}.{slot}"
        async with self._calling() as client:
            await client.slot(slot, "save", part)
        self._saved[name] = _mark(file.with_name(part).replace(file))

    async def restore(self, slot: int, name: str) -> bool:
        """Read a state into a slot; False if it is not there or not this server's."""
        file = self._file(name)
        # llama.cpp trusts the file: one that was cut short ends the process.
        if not file.is_file() or self._saved.get(name) != _mark(file):
            return False
        async with self._calling() as client:
            await client.slot(slot, "restore", name)
        return True

    async def erase(self, slot: int) -> None:
        """Empty a slot."""
        async with self._calling() as client:
            await client.slot(slot, "erase")

    async def drop(self, name: str) -> None:
        """Delete a saved state, if it is there."""
        self._file(name).unlink(missing_ok=True)
        self._saved.pop(name, None)

    def answer(self, prompt: Prompt, text: str, complete: bool) -> Action:
        """The action in a finished text; see `grammar.answer`."""
        return grammar.answer(prompt, text, complete)

    def said(self, prompt: Prompt, text: str) -> str:
        """What may be shown of the reply in an unfinished text."""
        return grammar.said(prompt, text)

    async def close(self) -> None:
        """End the child, and forget what was saved."""
        await self._end()
        if self._states is not None:
            self._saved.clear()
            self._states.cleanup()
            self._states = None

    async def _head(self, client: Llama, messages: Sequence[dict[str, str]]) -> Segment:
        """What the messages of the system at the beginning come to."""
        first = list(takewhile(lambda message: message["role"] == "system", messages))
        if not first:
            return _NOTHING
        key = json.dumps(first)
        if key not in self._heads:
            text = await client.template(first, answering=False)
            self._heads[key] = Segment(text, await client.tokens(text, first=True))
            if len(self._heads) > HEADS:
                self._heads.popitem(last=False)
        self._heads.move_to_end(key)
        return self._heads[key]

    @contextlib.asynccontextmanager
    async def _calling(self) -> AsyncIterator[Llama]:
        """The child to call. If it turns out to be dead, the error says of what it died."""
        client, child = self._client, self._child
        if client is None or child is None:
            raise EngineDied("the model process does not run")
        try:
            yield client
        except EngineDied:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), LAST_WORDS_SECONDS)
            if child.returncode is None:
                raise
            words = f"the model process ended (exit code {child.returncode}): {self._last_words()}"
            raise EngineDied(words) from None

    def _file(self, name: str) -> Path:
        """Where a state of this name lies."""
        if not _NAME.fullmatch(name):
            raise BadInput("the name of a saved state", repr(name), "letters, digits and - _ .")
        return Path(self._folder()) / name

    def _folder(self) -> str:
        self._states = self._states or tempfile.TemporaryDirectory(prefix="kernos-states-")
        return self._states.name

    async def _knee(self) -> int:
        """How many calls to serve at once: more of them bring little more tokens a second."""
        await self._write_something(0)  # the first answer of a server takes longer than any other
        least, rate = 1, 0.0
        while least <= self._slots:
            began = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for slot in range(least):
                    group.create_task(self._write_something(slot))
            faster = least * KNEE_TOKENS / (time.monotonic() - began)
            if faster < rate * KNEE_GAIN:
                break
            least, rate = least * 2, faster
        for slot in range(self._slots):
            await self.erase(slot)
        return least // 2

    async def _write_something(self, slot: int) -> None:
        prompt = Prompt((), options={"ignore_eos": True})
        tokens = [slot + 1] * KNEE_PROMPT
        async with contextlib.aclosing(self.decode(slot, tokens, prompt, "", KNEE_TOKENS)) as pieces:
            async for _ in pieces:
                pass

    async def _end(self) -> None:
        """End the child, if there is one."""
        if self._client is not None:
            await self._client.close()
        if self._child is not None and self._child.returncode is None:
            self._child.kill()
            await self._child.wait()
        if self._log is not None:
            self._log.close()
        self._child = self._client = self._log = None

    async def _start(self) -> None:
        model, key = self._path(), self._key or secrets.token_urlsafe(24)
        settings = {"model": str(model), "key": key, "context": self._context, "slots": self._slots,
                    "threads": self._threads, "port": self._port, "host": self._listen,
                    "states": f"{self._folder()}/"}  # fmt: skip
        self._log = tempfile.TemporaryFile("w+b", buffering=0)
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
            await self._end()
            raise
        if not line:
            await self._child.wait()
            raise EngineError(f"the model process did not start: {self._last_words()}")
        greeting = json.loads(line)
        if "error" in greeting:
            raise EngineError(f"the model process did not start: {greeting['error']}")
        self._client = Llama(greeting["address"], key)
        self._life += 1
        if (identity := self._named(model)) != self._identity:
            self._heads.clear()
            self._saved.clear()
            self._identity = identity

    def _named(self, model: Path) -> str:
        """A name that is another one for every other model, build or setting that a saved state depends on."""
        file = model.stat()
        parts = [str(model.resolve()), file.st_size, file.st_mtime_ns, version("xllamacpp"), self._context, self._slots]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _last_words(self) -> str:
        if self._log is None:
            return "it was not there"
        self._log.seek(max(0, self._log.seek(0, 2) - 2000))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _mark(file: Path) -> tuple[int, int]:
    """By which a file is known again."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _sampling(prompt: Prompt) -> dict[str, Json]:
    """The options of a prompt as llama.cpp wants them; those that it does not know are left out."""
    options = prompt.options
    given: dict[str, Json] = {name: options[name] for name in _OPTIONS if options.get(name) is not None}
    if stop := options.get("stop"):
        given["stop"] = [stop] if isinstance(stop, str) else list(stop)
    if bias := options.get("logit_bias"):
        given["logit_bias"] = [[int(token), value] for token, value in bias.items()]
    return {**given, "temperature": prompt.temperature}
