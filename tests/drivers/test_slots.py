"""Contexts in slots, with the small model: what is computed once is not computed again, wherever it goes meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio
from jsonschema import Draft202012Validator

from kernos.drivers.engine import grammar
from kernos.drivers.engine.embedded import EmbeddedEngine
from kernos.kernel.errors import BadInput, EngineDied
from kernos.kernel.ports import Piece, Prompt, Segment
from kernos.kernel.types import REPLY, Action, Message
from tests.drivers.llama import ORDER, WEATHER, ask, spec

pytestmark = [pytest.mark.model, pytest.mark.asyncio(loop_scope="module")]
BOTH = {"weather": WEATHER.schema, "order": ORDER.schema}
ASKED = ask("Order 3 bottles as a gift!", BOTH, speak=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(smollm: Path) -> AsyncIterator[EmbeddedEngine]:
    opened = EmbeddedEngine(lambda: smollm, context=512, slots=2, threads=1)
    await opened.start()
    yield opened
    await opened.close()


def tokens_of(segments: Sequence[Segment]) -> list[int]:
    return [token for segment in segments for token in segment.tokens]


async def decoded(
    engine: EmbeddedEngine, slot: int, tokens: Sequence[int], prompt: Prompt, written: str = "", most: int = 40
) -> list[Piece]:
    return [piece async for piece in engine.decode(slot, tokens, prompt, written, most)]


def text_of(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def ids_of(pieces: Sequence[Piece]) -> list[int]:
    return [token for piece in pieces for token in piece.tokens]


def cut(name: str) -> None:
    """Take the end off a saved state, as a full disk does."""
    (file,) = Path(tempfile.gettempdir()).glob(f"kernos-states-*/{name}")
    os.truncate(file, 1000)


# What a context is made of


async def test_the_head_is_shared_by_all_conversations_under_the_same_instructions(engine: EmbeddedEngine) -> None:
    one, other = [await engine.segments(ask(words, BOTH)) for words in ("Rain in Oslo?", "Three bottles!")]
    assert one[0] == other[0]
    assert "You are a clerk" in one[0].text and "tells the weather" in one[0].text
    assert "Oslo" in one[1].text and "Three bottles" in other[1].text


async def test_the_next_turn_begins_with_exactly_the_tokens_that_were_decoded(engine: EmbeddedEngine) -> None:
    first = await engine.segments(ASKED)
    pieces = await decoded(engine, 0, tokens_of(first), ASKED)
    answer = Segment(text_of(pieces), tuple(ids_of(pieces)))
    action = engine.answer(ASKED, answer.text, True)
    more = (Message("assistant", action=action), Message("tool", "done", tool=action.name))
    later = Prompt((*ASKED.messages, *more), ASKED.tools, BOTH)
    second = await engine.segments(later, [*first, answer])
    assert [*second[: len(first)], second[len(first)]] == [*first, answer]
    assert tokens_of(second)[: len(tokens_of(first)) + len(answer.tokens)] == tokens_of([*first, answer])
    assert "done" in second[-1].text


async def test_a_known_text_that_is_no_longer_there_is_left_out(engine: EmbeddedEngine) -> None:
    first = await engine.segments(ASKED)
    other = await engine.segments(ask("Rain?", BOTH, speak=True), first)
    assert other == await engine.segments(ask("Rain?", BOTH, speak=True))


async def test_a_context_without_instructions_has_an_empty_head(engine: EmbeddedEngine) -> None:
    head, rest = await engine.segments(Prompt((Message("user", "Hello!"),)))
    assert head == Segment("", ())
    assert "Hello!" in rest.text


async def test_images_are_refused(engine: EmbeddedEngine) -> None:
    with pytest.raises(BadInput, match="sees none"):
        await engine.segments(Prompt((Message("user", "What is this?", images=("data:image/png;base64,AA",)),)))


# What is computed


async def test_only_what_is_new_is_computed(engine: EmbeddedEngine) -> None:
    tokens = tokens_of(await engine.segments(ASKED))
    await engine.erase(0)
    assert await engine.feed(0, tokens[:50]) == 50
    assert await engine.feed(0, tokens) == len(tokens) - 50
    assert await engine.feed(0, tokens) <= 1


async def test_a_saved_context_goes_on_in_another_slot_as_if_nothing_had_happened(engine: EmbeddedEngine) -> None:
    tokens = tokens_of(await engine.segments(ASKED))
    await engine.feed(0, tokens)
    await engine.save(0, "there")
    expected = text_of(await decoded(engine, 0, tokens, ASKED))
    await engine.erase(0)
    await engine.erase(1)
    assert await engine.restore(1, "there")
    assert await engine.feed(1, tokens) <= 1
    assert text_of(await decoded(engine, 1, tokens, ASKED)) == expected


async def test_two_slots_may_save_the_same_state_at_once(engine: EmbeddedEngine) -> None:
    tokens = tokens_of(await engine.segments(ASKED))
    async with asyncio.TaskGroup() as calls:
        for slot in (0, 1):
            calls.create_task(engine.feed(slot, tokens))
    async with asyncio.TaskGroup() as calls:
        for slot in (0, 1):
            calls.create_task(engine.save(slot, "both"))
    assert await engine.restore(0, "both")
    assert await engine.feed(0, tokens) <= 1


async def test_a_dropped_or_unknown_state_is_not_restored(engine: EmbeddedEngine) -> None:
    await engine.save(0, "dropped")
    await engine.drop("dropped")
    await engine.drop("dropped")
    assert not await engine.restore(0, "dropped")
    assert not await engine.restore(0, "never-saved")


async def test_a_state_that_was_cut_short_is_not_restored(engine: EmbeddedEngine) -> None:
    """llama.cpp itself ends at such a file."""
    await engine.save(0, "cut-short")
    cut("cut-short")
    assert not await engine.restore(0, "cut-short")
    assert await engine.feed(0, [1, 2, 3]) <= 3


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\0b", "a\n", "x" * 300])
async def test_a_name_that_leads_elsewhere_is_refused(engine: EmbeddedEngine, name: str) -> None:
    for use in (engine.save(0, name), engine.restore(0, name), engine.drop(name)):
        with pytest.raises(BadInput, match="the name of a saved state"):
            await use


# What is decoded


async def test_a_stopped_answer_goes_on_wherever_it_was_stopped(engine: EmbeddedEngine) -> None:
    tokens = tokens_of(await engine.segments(ASKED))
    whole = await decoded(engine, 0, tokens, ASKED)
    for cut in range(1, len(whole), 4):
        so_far, after = text_of(whole[:cut]), [*tokens, *ids_of(whole[:cut])]
        assert await engine.feed(0, after) <= 1
        pieces = await decoded(engine, 0, after, ASKED, so_far)
        assert pieces[-1].end == "stop"
        Draft202012Validator(grammar.union(ASKED)).validate(json.loads(so_far + text_of(pieces)))


async def test_a_stopped_answer_frees_its_slot_for_the_next_call(engine: EmbeddedEngine) -> None:
    note = spec("note", "keeps a note", text={"type": "string", "minLength": 1500})
    endless = ask("Note down the story of Oslo!", {"note": note.schema})
    tokens = tokens_of(await engine.segments(endless))
    count = 0
    async with aclosing(engine.decode(0, tokens, endless, "", 300)) as pieces:
        async for _ in pieces:
            count += 1
            if count == 3:
                break
    assert await engine.feed(0, tokens) <= 1
    assert count == 3


async def test_an_answer_ends_at_its_limit_and_says_so(engine: EmbeddedEngine) -> None:
    tokens = tokens_of(await engine.segments(ASKED))
    pieces = await decoded(engine, 0, tokens, ASKED, most=5)
    assert pieces[-1].end == "length"
    assert 0 < len(ids_of(pieces)) <= 5


async def test_a_letter_of_many_tokens_comes_whole_and_with_all_of_them(engine: EmbeddedEngine) -> None:
    prompt = Prompt((Message("user", "Say it."),), shape={"const": "日本😀字"})
    tokens = tokens_of(await engine.segments(prompt))
    pieces = await decoded(engine, 0, tokens, prompt)
    assert text_of(pieces) == '"日本😀字"'
    assert all(piece.text for piece in pieces[:-1])
    assert await engine.feed(0, [*tokens, *ids_of(pieces)]) <= 1
    assert engine.answer(prompt, text_of(pieces), True) == Action(REPLY, {"text": '"日本😀字"'})


async def test_a_prompt_without_tools_is_answered_in_plain_text(engine: EmbeddedEngine) -> None:
    prompt = Prompt((Message("user", "Say hello."),), options={"stop": ["\n"], "top_k": 1, "logit_bias": {"5": -1}})
    segments = await engine.segments(prompt)
    assert "# Actions" not in segments[-1].text
    text = text_of(await decoded(engine, 0, tokens_of(segments), prompt, most=20))
    assert "\n" not in text
    assert engine.said(prompt, text) == engine.answer(prompt, text, False).text == text.strip()


# Dying


async def test_saved_contexts_outlive_the_child(smollm: Path) -> None:
    engine = EmbeddedEngine(lambda: smollm, context=512, threads=1)
    try:
        identity, life = await engine.start(), engine.life
        assert (await engine.start(), engine.life) == (identity, life)
        tokens = tokens_of(await engine.segments(ASKED))
        await engine.feed(0, tokens)
        await engine.save(0, "kept")
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(EngineDied, match="exit code -9"):
            await engine.feed(0, tokens)
        assert (await engine.start(), engine.life) == (identity, life + 1)
        assert await engine.restore(0, "kept")
        assert await engine.feed(0, tokens) <= 1
    finally:
        await engine.close()
