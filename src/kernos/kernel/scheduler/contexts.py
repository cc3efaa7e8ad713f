"""The kernel's virtual memory: which process's context stands in which slot of an engine, and what is saved of others.

    generation = await contexts.generate(turn, prompt, draft)     bring the context in, compute what is new, decode
    contexts.ended(pid, gone)                                     its task is over: its slot goes first; or it is gone

A context that is not in a slot is brought there from its saved state, or from the saved beginning that all processes of
an employee share (`fork`), and only what is left is computed, in pieces, so that a more urgent call never waits for a
long prompt. Whoever has to leave a slot is saved first: those whose task is over leave first, then those that have the
longest way to go. A saved state is named by engine, owner and exact tokens, so it is never another's (I4), and never
that of another model. Nothing here is durable: what is lost is computed again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kernos.kernel import limits
from kernos.kernel.errors import EngineDied, EngineError
from kernos.kernel.ports import Prompt, Segment, SlotEngine
from kernos.kernel.scheduler.history import History
from kernos.kernel.scheduler.lines import Turn
from kernos.kernel.types import Generation, canonical, digest

Tokens = tuple[int, ...]
LAST_TOKENS = 3
"""So many tokens before its end an answer is not stopped any more."""


@dataclass(eq=False)
class _Context:
    """One process's context in one engine: its text so far, what of it a slot holds, and what is saved."""

    pid: str
    owner: str
    segments: tuple[Segment, ...] = ()
    tokens: Tokens = ()
    slot: int | None = None
    held: Tokens = ()
    saved: Tokens = ()
    busy: bool = False
    over: bool = False
    computed: int = 0
    feeding: asyncio.Future[int] | None = None

    def fed(self, feeding: asyncio.Future[int]) -> None:
        """A piece was computed. What went wrong whoever waits for it learns; if nobody does any more, nobody has to."""
        if not feeding.cancelled() and feeding.exception() is None:
            self.computed += feeding.result()

    @property
    def head(self) -> Tokens:
        """The beginning that it shares with others."""
        return self.segments[0].tokens if self.segments else ()


@dataclass
class _Answer:
    """What is being written: the tokens before it, the tokens and the text so far, and what of it was shown."""

    prompt: Prompt
    before: Tokens
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    shown: str = ""
    end: str = ""

    @property
    def left(self) -> int:
        return self.prompt.max_tokens - len(self.tokens)

    @property
    def whole(self) -> Tokens:
        return (*self.before, *self.tokens)


class Contexts:
    """The contexts of one engine. They are put into slots in `_bring` alone, one at a time; after a start of the engine
    none stands anywhere."""

    def __init__(self, engine: SlotEngine, history: History) -> None:
        self._engine, self._history = engine, history
        self._known: dict[str, _Context] = {}
        self._slots: dict[int, _Context] = {}
        self._heads: OrderedDict[str, int] = OrderedDict()
        self._litter: list[str] = []
        self._moving = asyncio.Lock()
        self._life = -1
        self._identity = ""

    async def generate(self, turn: Turn, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        """Serve a turn, which may have to give way in between. Raises what the engine raises."""
        context = self._known.setdefault(turn.call.pid, _Context(turn.call.pid, turn.call.owner))
        context.over, context.busy, context.computed = False, True, 0
        try:
            await self._start()
            segments = tuple(await self._engine.segments(prompt, context.segments))
            context.segments, context.tokens = segments, _joined(segments)
            answer = _Answer(prompt, context.tokens)
            while not await self._serve(turn, context, answer, draft):
                context.busy = False
                await turn.give_way()
                context.busy = True
                await self._start()
        finally:
            context.busy = False
        context.segments += (Segment(answer.text, tuple(answer.tokens)),)
        context.tokens = answer.whole
        action = self._engine.answer(prompt, answer.text, answer.end == "stop")
        if prompt.speak and action.text.startswith(answer.shown) and (rest := action.text[len(answer.shown) :]):
            draft(rest)  # what could have been the beginning of something else until now
        before, computed = len(answer.before), min(context.computed, len(answer.before))
        return Generation(action, before, before - computed, len(answer.tokens), turn.served)

    def ended(self, pid: str, gone: bool) -> None:
        """A process's task is over, or the process itself."""
        context = self._known.get(pid)
        if context is None:
            return
        context.over = True
        if gone:
            self._forget(context)
            context.segments, context.tokens = (), ()
            if context.slot is None:
                self._known.pop(pid)

    def standing(self) -> tuple[str, ...]:
        """The process in each slot."""
        return tuple(self._slots[slot].pid if slot in self._slots else "" for slot in range(self._engine.resident))

    async def _start(self) -> None:
        """Have the engine run; if it is not the one that it was, nothing stands in its slots."""
        self._identity = await self._engine.start()
        if self._engine.life != self._life:
            self._life = self._engine.life
            self._slots.clear()
            for context in self._known.values():
                context.slot, context.held, context.feeding = None, (), None

    async def _serve(self, turn: Turn, context: _Context, answer: _Answer, draft: Callable[[str], None]) -> bool:
        """Go on with an answer; False if it has to give way before it is done."""
        async with self._moving:
            await self._bring(context, answer.whole)
        return await self._compute(turn, context, answer) and await self._decode(turn, context, answer, draft)

    async def _bring(self, context: _Context, tokens: Tokens) -> None:
        """Have the context stand in a slot, with as much of it as is known somewhere."""
        await self._fed(context)
        if context.slot is None:
            slot = self._free()
            used = await self._evict(slot)
            context.slot, context.held = slot, ()
            self._slots[slot] = context
            await self._restore(context, slot)
            if used and not context.held:
                await self._engine.erase(slot)
            await self._tidy()
        elif len(context.held) < len(context.head):  # another may have computed all of that meanwhile
            await self._restore(context, context.slot)
        context.held = context.held[: _common(context.held, tokens)]

    @staticmethod
    async def _fed(context: _Context) -> None:
        """Wait until nothing is being computed for a context that had to give way meanwhile."""
        if context.feeding is not None:
            await asyncio.wait((context.feeding,))
            context.feeding = None

    def _free(self) -> int:
        """The slot that can be missed most: an empty one, one whose task is over, the one with the longest rest."""

        def missed(slot: int) -> tuple[bool, bool, bool, float]:
            context = self._slots.get(slot)
            if context is None:
                return False, False, False, 0.0
            return True, context.feeding is not None, not context.over, -self._history.rest(context.pid)

        busy = {context.slot for context in self._known.values() if context.busy}
        return min((slot for slot in range(self._engine.resident) if slot not in busy), key=missed)

    async def _evict(self, slot: int) -> bool:
        """Have nobody stand in a slot, whose state is saved if it is still wanted and not saved yet; whether there was
        one."""
        context = self._slots.pop(slot, None)
        if context is None:
            return False
        await self._fed(context)
        held = context.held
        context.slot, context.held = None, ()
        if not context.tokens:
            self._known.pop(context.pid, None)
        elif len(held) > max(_common(held, context.saved), len(context.head)) + limits.CHUNK_SLACK:
            self._forget(context)
            context.saved = held if await self._save(slot, self._name(context, held)) else ()
            self._known[context.pid] = self._known.pop(context.pid)  # in the order in which they were saved
        return True

    async def _save(self, slot: int, name: str) -> bool:
        """Save a slot's state; False if that cannot be, for want of space for instance: then it is computed again."""
        try:
            await self._engine.save(slot, name)
        except EngineDied:
            raise
        except EngineError:
            return False
        return True

    async def _restore(self, context: _Context, slot: int) -> None:
        """Fill a slot with the context's own saved state, or with the beginning that it shares."""
        head = context.head
        usable = _common(context.saved, context.tokens)
        if usable > len(head) and await self._engine.restore(slot, self._name(context, context.saved)):
            context.held = context.saved
        elif (name := self._name(context, head)) in self._heads and await self._engine.restore(slot, name):
            context.held = head
            self._heads.move_to_end(name)

    async def _compute(self, turn: Turn, context: _Context, answer: _Answer) -> bool:
        """Compute what the slot lacks, but for the last few tokens; False if the call has to give way."""
        tokens, slot = answer.whole, context.slot
        assert slot is not None
        head = context.head
        while len(tokens) - len(context.held) > limits.CHUNK_SLACK:
            end = self._next(len(context.held), len(tokens), len(head))
            context.feeding = asyncio.ensure_future(self._engine.feed(slot, tokens[:end]))
            context.feeding.add_done_callback(context.fed)
            if not await _sooner(context.feeding, turn.wanted):
                return False
            context.feeding.result()
            context.feeding, context.held = None, tokens[:end]
            if end == len(head) and (name := self._name(context, head)) not in self._heads:
                self._heads |= {name: len(head)} if await self._save(slot, name) else {}
            if turn.spend() and len(tokens) - end > limits.CHUNK_SLACK:
                return False
        return True

    @staticmethod
    def _next(held: int, whole: int, head: int) -> int:
        """Up to which token to compute next: a piece further, or to the end of the shared beginning."""
        end = held + limits.CHUNK_TOKENS if whole - held > limits.CHUNK_TOKENS + limits.CHUNK_SLACK else whole - 1
        return head if head >= limits.HEAD_TOKENS and held < head < end else end

    async def _decode(self, turn: Turn, context: _Context, answer: _Answer, draft: Callable[[str], None]) -> bool:
        """Decode until the answer ends; False if the call has to give way."""
        assert context.slot is not None
        context.computed += len(answer.whole) - len(context.held)
        pieces = self._engine.decode(context.slot, answer.whole, answer.prompt, answer.text, answer.left)
        try:
            async for piece in pieces:
                answer.tokens += piece.tokens
                answer.text += piece.text
                answer.end = piece.end
                context.held = answer.whole[:-1]
                self._show(answer, draft)
                if piece.end:
                    return True
                if turn.spend("decode") and answer.left > LAST_TOKENS:
                    return False
        finally:
            await pieces.aclose()
        answer.end = "length"
        return True

    def _show(self, answer: _Answer, draft: Callable[[str], None]) -> None:
        said = self._engine.said(answer.prompt, answer.text) if answer.prompt.speak else ""
        if new := said[len(answer.shown) :]:
            answer.shown = said
            draft(new)

    def _name(self, context: _Context, tokens: Sequence[int]) -> str:
        return digest(canonical([self._identity, context.owner, list(tokens)]))

    def _forget(self, context: _Context) -> None:
        if context.saved:
            self._litter.append(self._name(context, context.saved))
            context.saved = ()

    async def _tidy(self) -> None:
        """Delete what nobody needs; if too much is saved, what was saved or used longest ago."""
        saved = [context for context in self._known.values() if context.saved]
        while sum(len(context.saved) for context in saved) > limits.SAVED_TOKENS:
            self._forget(saved.pop(0))
        while sum(self._heads.values()) > limits.SAVED_TOKENS:
            self._litter.append(self._heads.popitem(last=False)[0])
        for done in [each for each in self._known.values() if each.over and each.slot is None and not each.saved]:
            del self._known[done.pid]
        while self._litter:
            await self._engine.drop(self._litter.pop())


async def _sooner(feeding: asyncio.Future[int], wanted: asyncio.Event) -> bool:
    """Whether the piece is computed before the call has to give way; if not, it is still being computed."""
    waiting = asyncio.ensure_future(wanted.wait())
    try:
        await asyncio.wait((feeding, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    return feeding.done()


def _joined(segments: Sequence[Segment]) -> Tokens:
    return tuple(token for segment in segments for token in segment.tokens)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two contexts share at their beginning."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
