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
from kernos.kernel.ports import Piece, Prompt
from tests.slots import PaperSlots

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


class SimulatedSlots(PaperSlots):
    """The server behind the port that the kernel manages: the tests' engine on paper, with steps that take time."""

    def __init__(self, resident: int) -> None:
        super().__init__(resident)
        self._server = Server()

    async def feed(self, slot: int, tokens: Sequence[int]) -> int:
        new = self._compute(slot, tokens)
        work = self._server.add(new, 0)
        self.held[slot] = tuple(tokens)
        while work.prefill:
            await _step(work)
        return new

    async def decode(
        self, slot: int, tokens: Sequence[int], prompt: Prompt, written: str, most: int
    ) -> AsyncGenerator[Piece]:
        work = self._server.add(self._compute(slot, tokens), most)
        whole = tuple(tokens)
        try:
            for place in range(most):
                while work.made <= place:
                    await _step(work)
                word = f"{'' if not written and not place else ' '}w{len(whole)}"
                whole = (*whole, *self.tokens(word))
                self.held[slot] = whole[:-1]
                yield Piece(word, whole[-1:], "length" if place == most - 1 else "")
        finally:
            work.gone = True

    async def save(self, slot: int, name: str) -> None:
        await asyncio.sleep(SAVE)
        await super().save(slot, name)

    async def restore(self, slot: int, name: str) -> bool:
        await asyncio.sleep(RESTORE)
        return await super().restore(slot, name)


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
