"""`embed`: vectors of texts are a call of a model as any other is, limited, judged, journaled and scheduled; and what
becomes of a call for which the engine is not made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kernos.drivers.engine.client import OpenAIEngine
from kernos.drivers.engine.vectors import EmbeddingEngine
from kernos.drivers.secrets.veil import Veil
from kernos.kernel.abi import Embed
from kernos.kernel.errors import BadInput, EngineError, ProgramError, StoreError
from kernos.kernel.limits import Limits, Price
from kernos.kernel.types import Deny, Embedded, Json, Message
from kernos.userland.lib import Process
from tests.drivers.chat_server import ChatServer, Plain, Silence, Stream, Turn, ends, says, serving, vectors
from tests.support import ENGINE, Failing, House, World, agent, runs

TEXTS = ["tea", "coffee"]
EXACT = (0.1 + 0.2, -1e-7, 3.0)
BOTH = vectors(EXACT, (1.0, 0.0, 0.5), tokens=7)


async def embeds(process: Process) -> Json:
    """A program that returns what became of its texts."""
    return [list(vector) for vector in await process.embed(TEXTS)]


@asynccontextmanager
async def place(*script: Turn, limits: Limits = Limits()) -> AsyncIterator[tuple[House, ChatServer]]:
    """A house whose only engine embeds, behind a veil."""
    with serving(*script) as server:
        engine = EmbeddingEngine(server.url, "m", "secret-key", "native")
        prices = {ENGINE: Price(prompt=1_000_000.0)}
        async with House(runs(embeds, limits=limits), engine=Veil().engine(engine), prices=prices) as house:
            yield house, server
        await engine.close()


async def test_a_program_gets_the_vectors_as_the_server_made_them_and_its_tokens_count() -> None:
    async with place(BOTH) as (house, server):
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        assert (status.why, status.tokens, status.money) == ("done", 7, 7.0)
        assert (await house.rows(pid))[-1].body["result"] == [list(EXACT), [1.0, 0.0, 0.5]]
        assert server.bodies == [{"model": "m", "input": TEXTS, "encoding_format": "float"}]
        assert await kernel.replay(pid) == 1 and await house.faults() == []


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("write", [2, 3, 4])
async def test_after_a_crash_the_same_call_is_made_and_is_answered_once(write: int, durable: bool) -> None:
    async with place(BOTH, BOTH) as (house, server):
        kernel, pid = await house.start(house.boot(Failing(house.store, write, durable)))
        with pytest.raises(StoreError):
            await kernel.tick(pid)
        second = house.boot()
        await house.run(second)
        rows = await house.rows(pid)
        assert [row.kind for row in rows] == ["spawn", "intent", "outcome", "exit"]
        assert rows[-1].body["result"][0] == list(EXACT)
        assert all(body == server.bodies[0] for body in server.bodies)
        assert await second.replay(pid) == 1 and await house.faults() == []


async def test_an_engine_that_was_not_granted_embeds_nothing() -> None:
    async with place() as (house, server):
        house.station = agent()
        kernel, pid = await house.start()
        refused = await kernel.call(pid, Embed(("tea",), "another"))
        assert isinstance(refused, Deny) and refused.rule == "grant"
        assert server.bodies == []


async def test_a_program_is_told_of_a_refusal() -> None:
    async def program(process: Process) -> Json:
        with pytest.raises(ProgramError, match="not granted the engine another"):
            await process.embed(TEXTS, "another")
        return "told"

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "done"


async def test_without_tokens_left_nothing_is_embedded() -> None:
    async def twice(process: Process) -> Json:
        await process.embed(TEXTS)
        return await embeds(process)

    async with place(BOTH) as (house, server):
        house.station = runs(twice, limits=Limits(tokens=5))
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "limit"
        assert len(server.bodies) == 1


async def test_a_server_that_dies_is_asked_again() -> None:
    async with place(Silence(hangs_up=True), BOTH) as (house, server):
        house.station = agent()
        kernel, pid = await house.start()
        reply = await kernel.call(pid, Embed(tuple(TEXTS)))
        assert isinstance(reply, Embedded) and reply.attempts == 2 and reply.vectors[0] == EXACT
        assert len(server.bodies) == 2


@pytest.mark.parametrize(
    "answer",
    [
        Plain("no JSON"), Plain("{}"), vectors(EXACT), vectors((), EXACT), vectors((float("nan"),), EXACT),
        Plain('{"error": {"message": "too long"}}', 400),
    ],
    ids=["no JSON", "no data", "too few", "empty", "no number", "refused"],
)  # fmt: skip
async def test_what_is_no_vector_of_each_text_is_an_error_of_the_engine(answer: Plain) -> None:
    async with place(answer) as (house, _):
        house.station = agent()
        kernel, pid = await house.start()
        with pytest.raises(EngineError):
            await kernel.call(pid, Embed(tuple(TEXTS)))
        assert [row.body.get("is") for row in await house.rows(pid)][-1] == "lost"


async def test_an_engine_that_makes_no_vectors_is_an_error_that_a_program_may_survive() -> None:
    async def program(process: Process) -> Json:
        try:
            await process.embed(TEXTS)
        except BadInput as error:
            return [await process.random() < 1, error.right]
        return "nothing was said"

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "done"
        rows = await house.rows(pid)
        assert rows[-1].body["result"] == [True, "one that makes vectors: embeddings = true in kernos.toml"]
        assert [row.body["call"] for row in rows if row.kind == "outcome"] == ["embed", "random"]
        assert await house.boot().replay(pid) == 2 and await house.faults() == []


async def test_a_program_survives_an_image_that_its_engine_cannot_see() -> None:
    picture = Message("user", "What is this?", images=("data:image/png;base64,AA",))

    async def program(process: Process) -> Json:
        try:
            await process.generate([picture], ["find"])
        except BadInput as error:
            await process.send(str(error))
        return (await process.generate([Message("user", "Hello!")])).action.text

    world = World()
    with serving(Stream([says("Hello."), ends()])) as server:
        engine = OpenAIEngine(server.url, "m", calls="grammar")
        async with House(runs(program, [world.find]), world.tools, engine=engine) as house:
            kernel, pid = await house.start()
            assert (await kernel.tick(pid)).why == "done"
            [said] = await house.said(pid)
            assert said.startswith("messages: found images") and (await house.rows(pid))[-1].body["result"] == "Hello."
            assert await house.boot().replay(pid) == 3 and await house.faults() == []
        await engine.close()


async def test_an_agent_goes_on_after_an_engine_could_not_embed() -> None:
    async with House(agent()) as house:
        kernel, pid = await house.start()
        for _ in range(2):
            with pytest.raises(BadInput, match="makes none"):
                await kernel.call(pid, Embed(("tea",)))
        assert (await house.boot().take(pid)).why == "agent"
