"""The embedded engine: its child may die in any way at any time, and nobody is left waiting or left behind."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import httpx2
import pytest

from kernos.drivers.clock.system import SystemClock
from kernos.drivers.engine import llama
from kernos.drivers.engine.client import OpenAIEngine
from kernos.drivers.engine.embedded import EmbeddedEngine
from kernos.drivers.engine.models import Shelf
from kernos.drivers.policy.cedar import CedarPolicy
from kernos.drivers.store.memory import MemoryStore
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import EngineDied, EngineError, ModelMissing
from kernos.kernel.grants import Station
from kernos.kernel.journal import Journal
from kernos.kernel.ledger import Ledger
from kernos.kernel.ports import Prompt
from kernos.kernel.types import Json, Message
from kernos.userland.lib import Process
from tests.drivers.chat_server import Silence, serving
from tests.drivers.llama import KEY, WEATHER, Managed, ask, llama_server, spec

pytestmark = pytest.mark.model

LONG = ask("Tell me a long story about Oslo.", {}, speak=True, max_tokens=90)
SHORT = ask("Rain in Oslo?", {"weather": WEATHER.schema})
PATIENCE = 30.0


@asynccontextmanager
async def engine(model: Path | Callable[[], Path], slots: int = 1, port: int = 0) -> AsyncIterator[Managed]:
    path = model if callable(model) else lambda: model
    opened = Managed(path, context=1024, slots=slots, threads=1, port=port)
    try:
        yield opened
    finally:
        await opened.close()


def ignore(piece: str) -> None:
    """For tests that don't watch the draft."""


def kill(engine: EmbeddedEngine) -> int:
    assert engine.pid is not None
    pid = engine.pid
    os.kill(pid, signal.SIGKILL)
    return pid


def children() -> str:
    """The ids of our child processes."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii")


async def ended(pid: int) -> bool:
    """Whether a process that need not be our child ends while we have patience."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool((await asyncio.to_thread(select.select, [handle], [], [], PATIENCE))[0])
    finally:
        os.close(handle)


# Starting


async def test_the_child_is_started_by_the_first_call_and_ends_with_close(smollm: Path) -> None:
    async with engine(smollm) as opened:
        assert opened.pid is None
        await opened.generate(SHORT, ignore)
        pid = opened.pid
        assert pid is not None
    assert opened.pid is None
    assert await ended(pid)


async def test_a_closed_engine_starts_again_when_it_is_called(smollm: Path) -> None:
    async with engine(smollm) as opened:
        first = await opened.generate(SHORT, ignore)
        await opened.close()
        assert (await opened.generate(SHORT, ignore)).action == first.action


async def test_calls_at_once_share_one_child_and_run_beside_each_other(smollm: Path) -> None:
    order: list[str] = []

    def note(name: str, piece: str) -> None:
        order.append(name)

    async with engine(smollm, slots=2) as opened, asyncio.TaskGroup() as calls:
        for name in "ab":
            calls.create_task(opened.generate(LONG, partial(note, name)))
    assert order.index("a") < len(order) - order[::-1].index("b")
    assert order.index("b") < len(order) - order[::-1].index("a")


async def test_a_missing_model_is_an_error_that_says_how_to_get_it(tmp_path: Path) -> None:
    async with engine(partial(Shelf(tmp_path).path, "default")) as opened:
        with pytest.raises(ModelMissing, match="kernos model pull default"):
            await opened.generate(SHORT, ignore)
        assert opened.pid is None


async def test_a_model_that_has_come_meanwhile_is_used(smollm: Path, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    async with engine(partial(shelf.path, "smollm2-135m")) as opened:
        with pytest.raises(ModelMissing):
            await opened.generate(SHORT, ignore)
        (tmp_path / smollm.name).symlink_to(smollm)
        assert (await opened.generate(SHORT, ignore)).action.name == "weather"


@pytest.mark.parametrize("content", [b"", b"This is no model.\n" * 99, b"GGUF\x03\x00\x00\x00"])
async def test_a_file_that_is_no_model_is_an_error_of_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "story.gguf"
    file.write_bytes(content)
    async with engine(file) as opened:
        for _ in range(2):
            with pytest.raises(EngineError, match="the model process did not start: [^\n]+$") as raised:
                await opened.generate(SHORT, ignore)
            assert raised.type is EngineError
        assert re.search(r"\w{4}", str(raised.value).removeprefix("the model process did not start: "))
        assert opened.pid is None


async def test_a_port_in_use_is_an_error_that_names_it(smollm: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        async with engine(smollm, port=port) as opened:
            with pytest.raises(EngineError, match=f"port {port} is in use"):
                await opened.generate(SHORT, ignore)


async def test_a_context_that_does_not_fit_is_an_error_and_not_a_death(smollm: Path) -> None:
    async with engine(smollm) as opened:
        with pytest.raises(EngineError) as raised:
            await opened.generate(ask("Rain? " * 2000, {}, speak=True), ignore)
        assert raised.type is EngineError
        assert "context" in str(raised.value)
        pid = opened.pid
        assert (await opened.generate(SHORT, ignore)).action.name == "weather"
        assert opened.pid == pid


# Dying


async def test_a_child_killed_in_the_middle_of_a_call_is_replaced_by_the_next_call(smollm: Path) -> None:
    async with engine(smollm) as opened:
        drafted = asyncio.Event()
        call = asyncio.ensure_future(opened.generate(LONG, lambda piece: drafted.set()))
        await drafted.wait()
        pid = kill(opened)
        with pytest.raises(EngineDied, match=r"exit code -9"):
            await call
        assert opened.pid is None
        assert (await opened.generate(SHORT, ignore)).action.name == "weather"
        assert opened.pid not in (None, pid)


async def test_a_child_killed_between_calls_is_replaced(smollm: Path) -> None:
    async with engine(smollm) as opened:
        await opened.generate(SHORT, ignore)
        pid = kill(opened)
        with suppress(EngineDied):  # whether the death was seen before the call began is a matter of chance
            await opened.generate(SHORT, ignore)
        assert (await opened.generate(SHORT, ignore)).action.name == "weather"
        assert opened.pid not in (None, pid)


async def test_a_kernel_tries_again_by_itself_and_records_the_reply_once(smollm: Path) -> None:
    async def chat(process: Process) -> None:
        said = Message("user", await process.receive())
        generation = await process.generate([Message("system", "You tell stories."), said], max_tokens=90)
        await process.send(generation.action.text)

    store, local = MemoryStore(), EmbeddedEngine(lambda: smollm, context=1024, threads=1)
    station = Station("teller", "chat", lambda snapshot: chat(Process(snapshot)), "local")
    kernel = Kernel(store, SystemClock(), {"teller": station}, {"local": local}, {}, policy=CedarPolicy())
    try:
        pid = await kernel.spawn("teller", owner="ada")
        await kernel.deliver(pid, "Tell me a long story about Oslo.")
        async with kernel.events(pid) as events:
            turn = asyncio.ensure_future(kernel.tick(pid))
            while (await events.get()).kind != "draft":
                pass
            kill(local)
            assert (await turn).why == "done"
            seen = [events.get_nowait() for _ in range(events.qsize())]
        records = await Ledger(Journal(store)).records(pid)
    finally:
        await kernel.close()
    outcomes = [record.body for record in records if record.kind == "outcome" and record.body["call"] == "generate"]
    sent = [record.body["text"] for record in records if record.kind == "intent" and record.body["call"] == "send"]
    assert [outcome["cost"]["attempts"] for outcome in outcomes] == [2]
    assert sent == [outcomes[0]["action"]["arguments"]["text"]]
    kinds = [event.kind for event in seen]
    redraft = kinds.index("redraft")
    assert "".join(event.text for event in seen[redraft + 1 :] if event.kind == "draft") == sent[0]


PARENT = """
import asyncio, sys
from pathlib import Path
from tests.drivers.llama import Managed, ask

async def main():
    engine = Managed(lambda: Path(sys.argv[1]), context=1024, threads=1)
    await engine.generate(ask("Hello!", {}, speak=True, max_tokens=30), lambda piece: None)
    print(engine.pid, flush=True)
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


async def test_the_child_ends_with_a_parent_that_is_killed(smollm: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(smollm), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    assert await ended(child)


# Being left


async def test_a_cancelled_call_leaves_the_engine_usable_in_the_same_child(smollm: Path) -> None:
    async with engine(smollm) as opened:
        drafted = asyncio.Event()
        call = asyncio.ensure_future(opened.generate(LONG, lambda piece: drafted.set()))
        await drafted.wait()
        pid = opened.pid
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await opened.generate(SHORT, ignore)).action.name == "weather"
        assert opened.pid == pid


async def test_a_call_cancelled_while_the_child_starts_leaves_no_child(smollm: Path) -> None:
    before = children()
    async with engine(smollm) as opened:
        call = asyncio.ensure_future(opened.generate(SHORT, ignore))
        while opened.pid is None:
            await asyncio.wait({call}, timeout=0.001)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert opened.pid is None
        assert children() == before
        assert (await opened.generate(SHORT, ignore)).action.name == "weather"


async def test_a_cancelled_call_stops_the_generation_on_the_server(smollm: Path) -> None:
    """The slot is asked for, not the clock: while it is at work it says so."""

    async def busy(client: httpx2.AsyncClient) -> bool:
        slots: Json = (await client.get("/slots")).raise_for_status().json()
        return any(slot["is_processing"] for slot in slots)

    note = spec("note", "keeps a note", text={"type": "string", "minLength": 1500})
    endless = ask("Note down the story of Oslo, all of it!", {"note": note.schema}, max_tokens=900)
    async with llama_server(smollm, slots=1) as url:
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx2.AsyncClient(base_url=url.removesuffix("/v1"), headers=headers) as client:
            remote = OpenAIEngine(url, key=KEY, slots=1)
            call = asyncio.ensure_future(remote.generate(endless, ignore))
            async with asyncio.timeout(PATIENCE):
                while not await busy(client):
                    assert not call.done()
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                while await busy(client):
                    pass
            await remote.close()


async def test_an_engine_that_listens_for_others_serves_them_behind_its_key(smollm: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", 0))
        port = probe.getsockname()[1]
    mine = EmbeddedEngine(lambda: smollm, context=512, threads=1, port=port, listen="127.0.0.2", key="shared")
    await mine.start()
    prompt = Prompt((Message("user", "Say hi."),), max_tokens=200)
    known = OpenAIEngine(f"http://127.0.0.2:{port}/v1", "model", "shared", "grammar", 1, direct=True)
    stranger = OpenAIEngine(f"http://127.0.0.2:{port}/v1", "model", "guessed", "grammar", 1, direct=True)
    try:
        assert (await known.generate(prompt, lambda text: None)).completion > 0
        with pytest.raises(EngineError):
            await stranger.generate(prompt, lambda text: None)
    finally:
        await known.close()
        await stranger.close()
        await mine.close()


async def test_a_server_that_falls_silent_counts_as_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama, "SILENT_SECONDS", 0.05)
    with serving(Silence()) as server:
        client = llama.Llama(server.url.removesuffix("/v1"), KEY)
        with pytest.raises(EngineDied, match="broke off"):
            await client.post("/completion", {})
        await client.close()
