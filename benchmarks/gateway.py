"""What the API costs before an engine that answers at once, beside LiteLLM's proxy in the same run.

    python -m benchmarks.gateway            about five minutes; --quick: under one; --alone: without LiteLLM

Three processes: the engine (`peers/instant`), one gateway worker, and this one, which is the client of all (aiohttp).
Kernos is `kernos up` on a scratch folder, its journal on SQLite with full sync (`durability = "power"`). It runs twice:
with `networks.sovereign = false`, on uvloop, which gives the figures, and as it comes, sovereign, on asyncio's loop.

- latency: one short call at a time, a new conversation each, to the engine itself and through each gateway in turn;
  what a gateway adds is the difference of the medians;
- calls a second with 64 at once, from 8 keys, in new conversations and in ones that go on for ten calls; and the
  processor's time that the gateway took for each, which says more where the cores are shared;
- processor time for a streamed piece: that of streams of 2,000 pieces less that of streams of 2, as fast as the engine
  sends, where pieces come together, and a thousand a second, where each comes alone.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.peers import environment
from benchmarks.table import show
from kernos.boot import System
from kernos.kernel.ports import Caller

KEYS, AT_ONCE, TURNS = 8, 64, 10
SHORT, LONG = 2, 2_000
"""Pieces of an answer."""
SYSTEM = "You are a helpful assistant who answers in one short sentence."
COMPANY = "---\nschema: agentcompanies/v1\nname: Bench\n---\n"
AGENT = "---\nname: Agent\n---\nAnything that can be pointed at another server.\n"
SIDECAR = """
[engines.instant]
driver = "openai"
url = "{url}/v1"
model = "instant"
calls = "native"
slots = 256

[engines.paced]
driver = "openai"
url = "{url}/v1"
model = "paced"
calls = "native"
slots = 256

[employees.agent]
program = "foreign"

[networks]
sovereign = {sovereign}
"""
LITELLM = """
model_list:
  - {{model_name: instant, litellm_params: {{model: openai/instant, api_base: "{url}/v1", api_key: none}}}}
  - {{model_name: paced, litellm_params: {{model: openai/paced, api_base: "{url}/v1", api_key: none}}}}
"""
_fresh = count()


@dataclass(frozen=True)
class Server:
    """One of those that are measured; the engine itself has no keys."""

    name: str
    url: str
    pid: int
    keys: tuple[str, ...] = ("none",)

    def spent(self) -> float:
        """Seconds of processor time so far, of all its threads."""
        threads = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


@contextmanager
def running(command: list[str], **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A child process, for as long as this lasts."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, **more)
    try:
        yield child
    finally:
        child.terminate()
        child.wait(20)


@contextmanager
def instant() -> Iterator[Server]:
    """The engine."""
    with running([sys.executable, "-m", "benchmarks.peers.instant"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield Server("the engine", f"http://127.0.0.1:{int(child.stdout.readline())}", child.pid)


@contextmanager
def kernos(name: str, engine: Server, folder: Path, sovereign: bool) -> Iterator[Server]:
    """`kernos up`."""
    (folder / "agents" / "agent").mkdir(parents=True)
    (folder / "agents" / "agent" / "AGENTS.md").write_text(AGENT)
    (folder / "COMPANY.md").write_text(COMPANY)
    (folder / "kernos.toml").write_text(SIDECAR.format(url=engine.url, sovereign=str(sovereign).lower()))
    port = _free()
    command = [sys.executable, "-m", "kernos", "up", str(folder), "--port", str(port)]
    secrets = asyncio.run(_keys(folder))
    with running(command, stdout=subprocess.DEVNULL) as child:
        _until_up(child, port)
        yield Server(name, f"http://127.0.0.1:{port}", child.pid, secrets)


async def _keys(folder: Path) -> tuple[str, ...]:
    keys = await System().keys(folder)
    found = [await keys.issue(Caller(f"key-{number}", f"owner-{number}", employee="agent")) for number in range(KEYS)]
    await keys.close()
    return tuple(found)


@contextmanager
def litellm(engine: Server, folder: Path) -> Iterator[Server]:
    """LiteLLM's proxy: one worker, as it comes."""
    program, port = environment("litellm").parent / "litellm", _free()
    config = folder / "litellm.yaml"
    config.write_text(LITELLM.format(url=engine.url))
    command = [str(program), "--config", str(config), "--port", str(port), "--host", "127.0.0.1", "--num_workers", "1"]
    keyless = "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"  # looking a key up would cost it more
    quiet = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", keyless: "true"}
    with running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=quiet) as child:
        _until_up(child, port)
        yield Server("LiteLLM", f"http://127.0.0.1:{port}", child.pid)


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _until_up(child: subprocess.Popen[str], port: int) -> None:
    while child.poll() is None:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.1)
    raise SystemExit(f"{child.args!r} has ended by itself")


class Client:
    """One HTTP client for all."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def call(self, server: Server, messages: list[dict[str, str]], key: int = 0) -> str:
        """A whole answer's text."""
        async with self._session.post(**_request(server, messages, key, SHORT)) as response:
            response.raise_for_status()
            return str((await response.json())["choices"][0]["message"]["content"])

    async def stream(self, server: Server, pieces: int, model: str) -> None:
        """A streamed answer, read to its end."""
        ended = b""
        async with self._session.post(**_request(server, begun(), 0, pieces, model, stream=True)) as response:
            response.raise_for_status()
            async for data in response.content.iter_any():
                ended = (ended + data)[-32:]
        assert b"[DONE]" in ended, ended


def _request(
    server: Server, messages: list[dict[str, str]], key: int, pieces: int, model: str = "instant", **more: Any
) -> dict[str, Any]:
    body = {"model": model, "messages": messages, "max_tokens": pieces, **more}
    headers = {"Authorization": f"Bearer {server.keys[key % len(server.keys)]}"}
    return {"url": f"{server.url}/v1/chat/completions", "json": body, "headers": headers}


def begun() -> list[dict[str, str]]:
    """The messages of a new conversation."""
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"Tell me about number {next(_fresh)}."}]


@asynccontextmanager
async def connected() -> AsyncIterator[Client]:
    """The client; it lets go of a connection before any server does (uvicorn: after 5 s)."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3.0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Client(session)


async def latency(client: Client, servers: list[Server], rounds: int) -> dict[str, float]:
    """Milliseconds of one call at a time, the median, of each in turn."""
    times: dict[str, list[float]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            started = time.perf_counter()
            await client.call(server, begun())
            times[server.name].append((time.perf_counter() - started) * 1e3)
    return {name: statistics.median(found[len(found) // 10 :]) for name, found in times.items()}


async def rate(client: Client, server: Server, seconds: float, turns: int) -> tuple[float, float]:
    """Calls a second in conversations of so many turns, and the gateway's milliseconds of processor time for each."""
    done = 0

    async def talk(key: int) -> None:
        nonlocal done
        while time.monotonic() < end:
            messages = begun()
            for _ in range(turns):
                text = await client.call(server, messages, key)
                done += 1
                messages += [{"role": "assistant", "content": text}, {"role": "user", "content": "Go on."}]

    started, before, end = time.monotonic(), server.spent(), time.monotonic() + seconds
    await _all(talk)
    return done / (time.monotonic() - started), (server.spent() - before) / max(done, 1) * 1e3


async def _all(talk: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(AT_ONCE):
            group.create_task(talk(number))


async def piece(client: Client, server: Server, model: str, streams: int) -> float:
    """Microseconds of processor time for a streamed piece."""

    async def cost(pieces: int) -> float:
        before = server.spent()
        for _ in range(streams):
            await client.stream(server, pieces, model)
        return (server.spent() - before) / streams

    await cost(SHORT)
    short = await cost(SHORT)
    return (await cost(LONG) - short) / (LONG - SHORT) * 1e6


async def measured(servers: list[Server], quick: bool) -> dict[str, dict[str, float]]:
    """Everything, of each."""
    rounds, seconds, streams = (50, 1.5, 1) if quick else (1_000, 20.0, 10)
    found: dict[str, dict[str, float]] = {}
    async with connected() as client:
        medians = await latency(client, servers, rounds)
        for server in servers:
            slow = server.name == "LiteLLM"
            new, cost = await rate(client, server, seconds, 1)
            on, more = await rate(client, server, seconds, TURNS) if not slow else (0.0, 0.0)
            together = await piece(client, server, "instant", streams)
            alone = await piece(client, server, "paced", max(1, streams // 3))
            found[server.name] = {
                "ms": medians[server.name], "added": medians[server.name] - medians[servers[0].name],
                "calls/s": new, "cpu ms": cost, "calls/s going on": on, "cpu ms going on": more,
                "us a piece": together, "us a piece alone": alone,
            }  # fmt: skip
    return found


def main() -> None:
    quick, alone = "--quick" in sys.argv, "--alone" in sys.argv
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = stack.enter_context(instant())
        servers = [engine, stack.enter_context(kernos("Kernos", engine, folder / "open", False))]
        servers.append(stack.enter_context(kernos("Kernos, sovereign", engine, folder / "sovereign", True)))
        if not alone:
            servers.append(stack.enter_context(litellm(engine, folder)))
        before = os.getloadavg()
        found = asyncio.run(measured(servers, quick))
    print(f"load before {before[0]:.1f}, after {os.getloadavg()[0]:.1f}; SQLite, full sync, one worker each")
    ours, theirs = found["Kernos"], found.get("LiteLLM")
    figures = {"added_p50_ms": ours["added"], "calls_per_s": ours["calls/s"], "chunk_us": ours["us a piece"]}
    if theirs:
        figures |= {"litellm_added_p50_ms": theirs["added"], "litellm_calls_per_s": theirs["calls/s"]}
    columns = list(ours)
    rows = [(name, *(f"{figure:.2f}" for figure in of.values())) for name, of in found.items()]
    show("The gateway", ["", *columns], rows, {name: round(value, 3) for name, value in figures.items()})


if __name__ == "__main__":
    main()
