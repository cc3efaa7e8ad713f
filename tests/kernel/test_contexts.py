"""Contexts in slots: whatever is swapped, forked, stopped and gone on with, each says what it would have said alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.clock.fixed import FixedClock
from kernos.kernel import limits
from kernos.kernel.errors import EngineError
from kernos.kernel.limits import CHUNK_SLACK, CHUNK_TOKENS, HEAD_TOKENS
from kernos.kernel.ports import Prompt
from kernos.kernel.scheduler import Job, Scheduler
from kernos.kernel.types import REPLY, Action, Generation, Message
from tests.slots import PaperSlots, word_after

HEAD = " ".join(f"head{place}" for place in range(HEAD_TOKENS))


class Talk:
    """A conversation of one process."""

    def __init__(self, scheduler: Scheduler, pid: str, owner: str = "ada", head: str = HEAD) -> None:
        self.scheduler, self.pid, self.owner = scheduler, pid, owner
        self.messages = [Message("system", head)]
        self.drafts = ""

    async def say(self, text: str, most: int = 4) -> Generation:
        self.messages.append(Message("user", text))
        self.drafts = ""
        generation = await self.scheduler.generate(
            Job(self.pid, self.owner, "paper", "clerk"), Prompt(tuple(self.messages), max_tokens=most), self._draft,
            self._redraft,
        )  # fmt: skip
        self.messages.append(Message("assistant", action=generation.action))
        return generation

    def _draft(self, text: str) -> None:
        self.drafts += text

    def _redraft(self) -> None:
        self.drafts = ""


def house(resident: int = 2, slots: int = 1) -> tuple[PaperSlots, Scheduler]:
    engine = PaperSlots(resident, slots)
    return engine, Scheduler({"paper": engine}, FixedClock())


def alone(engine: PaperSlots, talk: Talk, most: int) -> str:
    """What is said after a conversation by a model that has read it whole."""
    said = [message.action.text if message.action else message.text for message in talk.messages[:-1]]
    tokens = engine.tokens(" ".join(said))
    words: list[str] = []
    for _ in range(most):
        words.append(word_after(tokens))
        tokens = (*tokens, *engine.tokens(words[-1]))
    return " ".join(words)


def text(name: str, size: int) -> str:
    return " ".join(f"{name}{place}" for place in range(size))


@given(
    turns=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 300), st.integers(1, 6)), min_size=1, max_size=14),
    resident=st.integers(1, 3),
    slots=st.integers(1, 2),
    together=st.booleans(),
)
async def test_each_conversation_goes_on_as_if_it_were_alone(
    turns: Sequence[tuple[int, int, int]], resident: int, slots: int, together: bool
) -> None:
    engine, scheduler = house(max(resident, slots), slots)
    talks = [Talk(scheduler, f"p{place}", "ada" if place % 2 else "bob") for place in range(5)]
    locks = [asyncio.Lock() for _ in talks]

    async def turn(number: int, who: int, size: int, most: int) -> None:
        async with locks[who]:
            generation = await talks[who].say(text(f"t{number}x", size), most)
            assert generation.action.text == talks[who].drafts == alone(engine, talks[who], most)
            assert generation.completion == most

    if together:
        async with asyncio.TaskGroup() as group:
            for number, each in enumerate(turns):
                group.create_task(turn(number, *each))
    else:
        for number, each in enumerate(turns):
            await turn(number, *each)


async def test_a_conversation_that_stays_computes_only_what_is_new() -> None:
    engine, scheduler = house()
    talk = Talk(scheduler, "p")
    await talk.say(text("a", 20))
    before = engine.computed
    generation = await talk.say(text("b", 20))
    assert engine.computed - before == 20 + 1  # and the last token that was said, which nobody had read yet
    assert generation.prompt - generation.cached == 21


async def test_the_beginning_that_is_shared_is_computed_once() -> None:
    engine, scheduler = house(resident=1)
    for name in "abcd":
        await Talk(scheduler, name).say(text(name, 10))
    assert engine.computed == HEAD_TOKENS + 4 * 10


async def test_a_context_that_had_to_leave_comes_back_without_being_computed_again() -> None:
    engine, scheduler = house(resident=1)
    one, other = Talk(scheduler, "p"), Talk(scheduler, "q")
    await one.say(text("a", 200))
    await other.say(text("b", 200))
    before = engine.computed
    await one.say(text("c", 10))
    assert engine.computed - before == 11


@pytest.mark.parametrize("gone", [True, False])
async def test_who_has_done_his_task_leaves_first_and_who_is_gone_is_not_saved(gone: bool) -> None:
    engine, scheduler = house(resident=2)
    one, other = Talk(scheduler, "p"), Talk(scheduler, "q")
    await one.say(text("a", 100))
    await other.say(text("b", 100))
    scheduler.ended("q", gone)
    engine.diary.clear()
    await Talk(scheduler, "r").say(text("c", 100))
    assert ("save 1" in engine.diary) != gone
    before = engine.computed
    await one.say("more")
    assert engine.computed - before == 2


async def test_i4_what_is_saved_of_one_owner_is_never_brought_in_for_another() -> None:
    engine, scheduler = house(resident=1)
    words = text("a", 200)
    await Talk(scheduler, "p", "ada").say(words)
    await Talk(scheduler, "q", "ada").say("out of the way")
    before = engine.computed
    await Talk(scheduler, "r", "bob").say(words)
    assert engine.computed - before == HEAD_TOKENS + 200


async def test_a_long_prompt_is_computed_in_pieces() -> None:
    engine, scheduler = house()
    await Talk(scheduler, "p", head="short").say(text("a", 1_000))
    fed = [int(line.split()[2]) for line in engine.diary if line.startswith("feed")]
    assert sum(fed) >= 1_000 - CHUNK_SLACK
    assert max(fed) <= CHUNK_TOKENS + CHUNK_SLACK


class Rehearsal:
    """A long call in the only place, held up at each step, and a short one that comes meanwhile."""

    def __init__(self, prompt: int, most: int, head: str = "s") -> None:
        self.engine, self.scheduler = house(resident=2)
        self.head = head
        for calls in ([100.0], [100.0], [100.0]):
            self.scheduler.history.learn("long", calls)
        for calls in ([1.0], [1.0], [1.0]):
            self.scheduler.history.learn("short", calls)
        self.engine.gate = asyncio.Semaphore(0)
        self.ended: list[str] = []
        self.long = asyncio.ensure_future(self._call("long", prompt, most))

    async def _call(self, kind: str, prompt: int, most: int) -> Generation:
        words = Prompt((Message("system", self.head), Message("user", text(kind, prompt))), max_tokens=most)
        job = Job(kind, "ada", "paper", kind)
        generation = await self.scheduler.generate(job, words, lambda piece: None, lambda: None)
        self.ended.append(kind)
        return generation

    async def until(self, step: int) -> None:
        """Let the engine take its steps, up to this one, at which it is held up."""
        assert self.engine.gate is not None
        while self.engine.steps < step:
            self.engine.gate.release()
            for _ in range(20):
                await asyncio.sleep(0)

    async def interrupt(self) -> Generation:
        """The short call comes, and all are let go."""
        short = asyncio.ensure_future(self._call("short", 5, 2))
        for _ in range(20):
            await asyncio.sleep(0)
        gate, self.engine.gate = self.engine.gate, None
        assert gate is not None
        for _ in range(10):
            gate.release()
        async with asyncio.timeout(10):
            await short
            return await self.long


async def test_a_short_call_stops_a_long_prompt_which_goes_on_where_it_was() -> None:
    rehearsal = Rehearsal(1_000, 3)
    await rehearsal.until(3)
    generation = await rehearsal.interrupt()
    assert rehearsal.ended == ["short", "long"]
    assert rehearsal.engine.computed <= 1_001 + 6 + 2
    assert generation.prompt - generation.cached == 1_001  # also what was computed while it gave way
    assert generation.queued > 0


async def test_who_gave_way_within_a_shared_beginning_takes_over_what_the_other_computed_of_it() -> None:
    head = 3 * CHUNK_TOKENS
    rehearsal = Rehearsal(10, 3, text("head", head))
    await rehearsal.until(1)
    await rehearsal.interrupt()
    assert rehearsal.ended == ["short", "long"]
    assert rehearsal.engine.computed == 2 * CHUNK_TOKENS + head + 5 + 10  # what it had computed, and the piece after it


async def test_a_short_call_stops_a_long_answer_which_goes_on_with_one_token_computed_again() -> None:
    rehearsal = Rehearsal(10, 50)
    await rehearsal.until(20)
    before = rehearsal.engine.computed
    generation = await rehearsal.interrupt()
    assert rehearsal.ended == ["short", "long"]
    assert rehearsal.engine.computed - before <= 6 + 1
    assert generation.completion == 50
    assert len(set(generation.action.text.split())) == 50


@given(die_at=st.integers(1, 12), sizes=st.lists(st.integers(1, 300), min_size=1, max_size=3))
async def test_a_server_that_dies_is_started_again_and_nothing_is_mixed_up(die_at: int, sizes: Sequence[int]) -> None:
    engine, scheduler = house(resident=1)
    engine.die_at = die_at
    talks = [Talk(scheduler, name) for name in "pq"]
    for place, size in enumerate(sizes):
        for talk in talks:
            generation = await talk.say(text(f"{talk.pid}{place}x", size))
            assert generation.action.text == talk.drafts == alone(engine, talk, 4)


async def test_a_call_that_is_cancelled_leaves_its_slot_to_others() -> None:
    engine, scheduler = house(resident=1)
    engine.gate = asyncio.Semaphore(1)
    call = asyncio.ensure_future(Talk(scheduler, "p").say(text("a", 500)))
    for _ in range(50):  # it is held up at its second step
        await asyncio.sleep(0)
    assert engine.steps == 2
    call.cancel()
    await asyncio.wait((call,))
    engine.gate.release()
    engine.gate = None
    talk = Talk(scheduler, "q")
    assert (await talk.say("hello")).action.text == alone(engine, talk, 4)


async def test_what_is_saved_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SAVED_TOKENS", 500)
    engine, scheduler = house(resident=1)
    talks = [Talk(scheduler, f"p{place}") for place in range(6)]
    for talk in talks:
        await talk.say(text(talk.pid, 150))
    assert sum(map(len, engine.saved.values())) <= 500 + HEAD_TOKENS + 300
    for talk in talks:
        assert (await talk.say("on")).action == Action(REPLY, {"text": alone(engine, talk, 4)})


class FullDisk(PaperSlots):
    """Slots of which nothing can be saved."""

    async def save(self, slot: int, name: str) -> None:
        raise EngineError("no space left on device")


async def test_where_nothing_can_be_saved_all_is_computed_again() -> None:
    engine = FullDisk(resident=1)
    scheduler = Scheduler({"paper": engine}, FixedClock())
    talks = [Talk(scheduler, name) for name in "pq"]
    for _ in range(2):
        for talk in talks:
            assert (await talk.say(text(talk.pid, 100))).action.text == alone(engine, talk, 4)
