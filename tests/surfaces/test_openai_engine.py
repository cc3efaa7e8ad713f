"""OpenAI's API, through the real `openai` client, before a local model server: vectors, images that it cannot see."""

from __future__ import annotations

import struct
from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from kernos.drivers.engine.vectors import EmbeddingEngine
from kernos.drivers.store.sql import SqlStore
from kernos.surfaces.http import MOST_BYTES, PROCESS
from kernos.surfaces.openai import surface
from tests.drivers.chat_server import ChatServer, Stream, ends, says, serving, vectors
from tests.support import CLERK, ENGINE, House, idle, runs, serves
from tests.surfaces.offices import Site, foreign, served

pytestmark = pytest.mark.asyncio(loop_scope="module")
ONE, TWO = (0.25, -1.5), (3.0, 0.125)


@dataclass
class Place:
    """A site whose engine embeds, and clients with keys of their own."""

    house: House
    site: Site
    server: ChatServer
    base: AsyncOpenAI
    clerk: AsyncOpenAI
    person: AsyncOpenAI


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    store = SqlStore.open(tmp_path_factory.mktemp("vectors") / "kernos.db")
    others = [replace(foreign(runs(idle)), slug="confined", engine="another"), replace(serves(), slug="helper")]
    with serving() as server:
        engine = EmbeddingEngine(server.url, "m", calls="grammar")
        async with (
            House(foreign(runs(idle)), engine=engine, store=store, others=others) as house,
            served(house, surface) as site,
            AsyncOpenAI(base_url=f"{site.url}/v1", api_key="none", max_retries=0) as base,
        ):
            clerk = base.with_options(api_key=await site.key("clerk", employee=CLERK))
            yield Place(house, site, server, base, clerk, base.with_options(api_key=await site.key("person")))
        await engine.close()


async def test_each_text_has_its_vector_as_numbers_or_in_base64_and_tokens_are_told(place: Place) -> None:
    place.server.script += [vectors(ONE, TWO, tokens=5), vectors(ONE, tokens=2), vectors(TWO)]
    both = await place.clerk.embeddings.create(model=ENGINE, input=["a", "b"], encoding_format="float")
    assert [tuple(item.embedding) for item in both.data] == [ONE, TWO]
    assert (both.model, both.usage.prompt_tokens, both.usage.total_tokens) == (ENGINE, 5, 5)
    assert (await place.clerk.embeddings.create(model="default", input="a")).data[0].embedding == list(ONE)
    packed: Any = await place.clerk.embeddings.create(model=ENGINE, input="b", encoding_format="base64")
    assert struct.unpack("<2f", b64decode(packed.data[0].embedding)) == TWO
    assert [body["input"] for body in place.server.bodies[-3:]] == [["a", "b"], ["a"], ["b"]]


async def test_calls_of_one_key_are_system_calls_of_one_process_and_of_a_named_one(place: Place) -> None:
    place.server.script += [vectors(ONE)] * 3
    client = place.clerk.embeddings.with_raw_response
    first, second = [(await client.create(model=ENGINE, input=text)).headers[PROCESS] for text in "ab"]
    assert first == second
    pid = await place.site.spawn(CLERK)
    named = await client.create(model=ENGINE, input="c", extra_headers={PROCESS: pid})
    assert named.headers[PROCESS] == pid != first
    assert [row.body["call"] for row in await place.house.rows(pid) if row.kind == "intent"] == ["embed"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"input": [1, 2]}, "input"), ({"input": [[1], [2]]}, "input"), ({"input": []}, "input"),
        ({"input": ""}, "input"), ({"input": "a", "dimensions": 3}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"), ({"input": "a", "model": "helper"}, "model"),
    ],
)  # fmt: skip
async def test_what_cannot_be_embedded_is_refused_with_the_name_of_the_field(
    place: Place, asked: Any, field: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=f"{field}: found"):
        await place.person.embeddings.create(**{"model": ENGINE, **asked})


async def test_an_engine_that_an_agent_was_not_granted_is_forbidden(place: Place) -> None:
    client = place.base.with_options(api_key=await place.site.key("confined", employee="confined"))
    with pytest.raises(openai.PermissionDeniedError, match="not granted the engine"):
        await client.embeddings.create(model=ENGINE, input="a")


async def test_an_image_for_an_engine_that_sees_none_is_the_callers_mistake_and_the_conversation_goes_on(
    place: Place,
) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    tools: Any = [{"type": "function", "function": {"name": "show"}}]
    look: Any = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]}]
    ask = place.clerk.chat.completions.create
    with pytest.raises(openai.BadRequestError, match="messages: found images"):
        await ask(model=ENGINE, messages=look, tools=tools)
    place.server.script.append(Stream([says('{"name": "reply", "arguments": {"text": "Hello."}}'), ends()]))
    answer = await ask(model=ENGINE, messages=[{"role": "user", "content": "Hello!"}], tools=tools)
    assert answer.choices[0].message.content == "Hello."


@pytest.mark.parametrize("path", ["v1/chat/completions", "v1/embeddings"])
@pytest.mark.parametrize("told", [True, False], ids=["says how large it is", "comes piece by piece"])
async def test_a_body_that_is_too_large_is_not_taken(place: Place, path: str, told: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(MOST_BYTES // 2**20 + 1):
            yield b" " * 2**20

    body = BytesIO(b" " * (MOST_BYTES + 1)) if told else pieces()
    headers = {"Authorization": f"Bearer {place.person.api_key}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        answer = await session.post(f"{place.site.url}/{path}", data=body)
        assert answer.status == 413
        assert (await answer.json())["error"]["type"] == "invalid_request_error"
