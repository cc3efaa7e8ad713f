"""An engine on paper whose contexts the kernel manages: words are tokens, nothing takes time but when it is told to.

What a slot holds is kept exactly, so that a context that were mixed up, or continued from the wrong state, would show:
each word that it decodes is made of all the words before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from hashlib import sha256

from kernos.kernel.errors import EngineDied
from kernos.kernel.ports import Piece, Prompt, Segment
from kernos.kernel.types import REPLY, Action

Tokens = tuple[int, ...]


def word_after(tokens: Sequence[int]) -> str:
    """What this engine says after such a context."""
    return "w" + sha256(repr(list(tokens)).encode()).hexdigest()[:6]


class PaperSlots:
    """Slots on paper.

    `computed` counts prompt tokens, `diary` what was done in order. `gate`, while it is there, holds up each step of a
    feed or a decode until it is released. `die_at` is the number of the step at which the server goes away.
    """

    def __init__(self, resident: int = 2, slots: int = 1) -> None:
        self.resident, self.slots = resident, slots
        self.life = 0
        self.alive = False
        self.computed = self.steps = 0
        self.diary: list[str] = []
        self.held: dict[int, Tokens] = {}
        self.saved: dict[str, Tokens] = {}
        self.gate: asyncio.Semaphore | None = None
        self.die_at = -1
        self._numbers: dict[str, int] = {}
        self._words: dict[int, str] = {}

    def tokens(self, text: str) -> Tokens:
        """A word is a token."""
        numbers = tuple(self._numbers.setdefault(word, len(self._numbers)) for word in text.split())
        self._words |= dict(zip(numbers, text.split(), strict=True))
        return numbers

    def text(self, tokens: Sequence[int]) -> str:
        return " ".join(self._words[token] for token in tokens)

    async def start(self) -> str:
        if not self.alive:
            self.alive, self.life = True, self.life + 1
            self.held.clear()
        return "paper"

    async def close(self) -> None:
        self.alive = False

    async def segments(self, prompt: Prompt, known: Sequence[Segment] = ()) -> Sequence[Segment]:
        said = [message.action.text if message.action else message.text for message in prompt.messages]
        whole = " ".join(["", *said]).strip()
        head = prompt.messages[0].text if prompt.messages[0].role == "system" else ""
        found, rest = [Segment(head, self.tokens(head))], whole[len(head) :].lstrip()
        for segment in known[1:]:
            if not rest.startswith(segment.text):
                break
            found.append(segment)
            rest = rest[len(segment.text) :].lstrip()
        return [*found, Segment(rest, self.tokens(rest))]

    async def feed(self, slot: int, tokens: Sequence[int]) -> int:
        new = self._compute(slot, tokens)
        self.diary.append(f"feed {slot} {new}")
        await self._step()
        self.held[slot] = tuple(tokens)
        return new

    async def decode(
        self, slot: int, tokens: Sequence[int], prompt: Prompt, written: str, most: int
    ) -> AsyncGenerator[Piece]:
        new = self._compute(slot, tokens)
        self.diary.append(f"decode {slot} {new}")
        assert self.text(tokens).endswith(written)
        whole = tuple(tokens)
        for place in range(most):
            await self._step()
            word = word_after(whole)
            self.held[slot] = whole
            whole = (*whole, *self.tokens(word))
            yield Piece(f" {word}" if written or place else word, whole[-1:], "length" if place == most - 1 else "")

    async def save(self, slot: int, name: str) -> None:
        self.diary.append(f"save {slot}")
        self.saved[name] = self.held[slot]

    async def restore(self, slot: int, name: str) -> bool:
        self.diary.append(f"restore {slot}")
        if name not in self.saved:
            return False
        self.held[slot] = self.saved[name]
        return True

    async def erase(self, slot: int) -> None:
        self.held[slot] = ()

    async def drop(self, name: str) -> None:
        self.saved.pop(name, None)

    def answer(self, prompt: Prompt, text: str, complete: bool) -> Action:
        return Action(REPLY, {"text": text})

    def said(self, prompt: Prompt, text: str) -> str:
        return text

    def _compute(self, slot: int, tokens: Sequence[int]) -> int:
        held = self.held.get(slot, ())
        same = 0
        while same < min(len(held), len(tokens)) and held[same] == tokens[same]:
            same += 1
        new = max(1, len(tokens) - same)
        self.computed += new
        return new

    async def _step(self) -> None:
        self.steps += 1
        if self.gate is not None:
            await self.gate.acquire()
        if self.steps == self.die_at:
            self.alive = False
            raise EngineDied("gone")
