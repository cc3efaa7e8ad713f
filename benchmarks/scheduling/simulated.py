"""llama.cpp on two cores, simulated: a server that computes in steps, its slots, and its own queue.

A step takes what the prompts in it take (160 tokens a second) and what its decoding slots take (10 ms for one, 31 ms
for four), as was measured with SmolLM2. `SimulatedSlots` is what the kernel manages, `Queue` the server by itself:
first come, first served, with a host cache that never forgets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.scheduling.loads import PREFIX
from kernos.kernel.ports import Piece, Prompt, Segment
from kernos.kernel.types import REPLY, Action, Generation

PREFILL = 160.0
DECODE = {0: 0.0, 1: 0.010, 2: 0.018, 3: 0.025, 4: 0.031}
SAVE, RESTORE = 0.035, 0.015
BATCH = 128


@dataclass(eq=False)
class _Work:
    prefill: int
    decode: int
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    made: int = 0
    gone: bool = False


class Server:
    """The steps."""

    def __init__(self, batch: int = BATCH) -> None:
        self._batch = batch
        self._work: list[_Work] = []
        self._loop: asyncio.Task[None] | None = None

    def add(self, prefill: int, decode: int) -> _Work:
        """Work that begins at the next step."""
        work = _Work(prefill, decode)
        self._work.append(work)
        if self._loop is None or self._loop.done():
            self._loop = asyncio.ensure_future(self._steps())
        return work

    async def _steps(self) -> None:
        while self._work:
            decoding = [work for work in self._work if not work.prefill]
            room = self._batch - len(decoding)
            filled: list[tuple[_Work, int]] = []
            for work in self._work:
                if work.prefill and room > 0:
                    filled.append((work, min(room, work.prefill)))
                    room -= filled[-1][1]
            await asyncio.sleep(sum(part for _, part in filled) / PREFILL + DECODE[min(4, len(decoding))])
            for work, part in filled:
                work.prefill -= part
            for work in decoding:
                work.made += 1
            for work in [*self._work]:
                if work.gone or (not work.prefill and work.made >= work.decode):
                    self._work.remove(work)
                work.ready.set()


class SimulatedSlots:
    """The server behind the port that the kernel manages. A word is a token."""

    slots = life = 1

    def __init__(self, resident: int) -> None:
        self.resident = resident
        self._server = Server()
        self._held: dict[int, tuple[int, ...]] = {}
        self._saved: dict[str, tuple[int, ...]] = {}
        self._words: dict[str, int] = {}

    async def start(self) -> str:
        return "simulated"

    async def close(self) -> None:
        """Nothing to let go of."""

    async def segments(self, prompt: Prompt, known: Sequence[Segment] = ()) -> Sequence[Segment]:
        texts = [message.action.text if message.action else message.text for message in prompt.messages]
        head, rest = texts[0], " ".join(texts[1:])
        found = [Segment(head, self._tokens(head))]
        for segment in known[1:]:
            if rest.startswith(segment.text):
                found.append(segment)
                rest = rest[len(segment.text) :].lstrip()
        return [*found, Segment(rest, self._tokens(rest))]

    def _tokens(self, text: str) -> tuple[int, ...]:
        return tuple(self._words.setdefault(word, len(self._words)) for word in text.split())

    async def feed(self, slot: int, tokens: Sequence[int]) -> int:
        held = self._held.get(slot, ())
        new = len(tokens) - _common(held, tokens)
        work = self._server.add(new, 0)
        self._held[slot] = tuple(tokens)
        while work.prefill:
            await _step(work)
        return new

    async def decode(
        self, slot: int, tokens: Sequence[int], prompt: Prompt, written: str, most: int
    ) -> AsyncGenerator[Piece]:
        new = max(1, len(tokens) - _common(self._held.get(slot, ()), tokens))
        work = self._server.add(new, most)
        whole = tuple(tokens)
        try:
            for place in range(most):
                while work.made <= place:
                    await _step(work)
                word = f"{'' if not written and not place else ' '}w{len(whole)}"
                whole = (*whole, *self._tokens(word))
                self._held[slot] = whole[:-1]
                yield Piece(word, whole[-1:], "length" if place == most - 1 else "")
        finally:
            work.gone = True

    async def save(self, slot: int, name: str) -> None:
        await asyncio.sleep(SAVE)
        self._saved[name] = self._held[slot]

    async def restore(self, slot: int, name: str) -> bool:
        await asyncio.sleep(RESTORE)
        self._held[slot] = self._saved[name]
        return True

    async def erase(self, slot: int) -> None:
        self._held[slot] = ()

    async def drop(self, name: str) -> None:
        del self._saved[name]

    def answer(self, prompt: Prompt, text: str, complete: bool) -> Action:
        return Action(REPLY, {"text": text})

    def said(self, prompt: Prompt, text: str) -> str:
        return text

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        raise NotImplementedError("the kernel manages the slots")


class Queue:
    """The server by itself: four slots, first come, first served."""

    def __init__(self) -> None:
        self._server = Server(2048)
        self._free = asyncio.Semaphore(4)

    async def call(self, new: int, generated: int, first: bool, began: Callable[[], None]) -> None:
        """One call; `first` says that its context has the shared beginning still to be computed."""
        async with self._free:
            work = self._server.add(new + (PREFIX if first else 0), generated)
            while work.made < generated:
                await _step(work)
                if work.made == 1:
                    began()


async def _step(work: _Work) -> None:
    work.ready.clear()
    await work.ready.wait()


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
