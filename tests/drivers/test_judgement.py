"""The default model, where it was pulled: it chooses what a person would choose. Few, as each takes seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kernos.kernel.types import REPLY, Action
from tests.drivers.llama import ORDER, WEATHER, Managed, ask

pytestmark = [pytest.mark.judgement, pytest.mark.asyncio(loop_scope="module")]
BOTH = {"weather": WEATHER.schema, "order": ORDER.schema}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(qwen: Path) -> AsyncIterator[Managed]:
    opened = Managed(lambda: qwen, context=1024, threads=1)
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("words", "action"),
    [
        ("Is it raining in Oslo?", Action("weather", {"city": "Oslo"})),
        ("请给我订三瓶水，不是礼物。", Action("order", {"count": 3, "gift": False})),
    ],
)
async def test_it_calls_the_tool_that_was_meant_with_what_was_said(engine: Managed, words: str, action: Action) -> None:
    assert (await engine.generate(ask(words, BOTH, speak=True), lambda piece: None)).action == action


async def test_it_replies_where_no_tool_is_meant(engine: Managed) -> None:
    action = (await engine.generate(ask("Thank you, goodbye!", BOTH, speak=True), lambda piece: None)).action
    assert action.name == REPLY
    assert len(action.text) > 1
