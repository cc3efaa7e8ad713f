"""`kernos up`: a folder behind one port, and turns for all of its processes, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import click

from kernos.kernel.errors import BadInput
from kernos.kernel.office import Office
from kernos.kernel.ports import Caller, Keys
from kernos.surfaces.cli.places import place_argument, there, user
from kernos.surfaces.cli.system import System
from kernos.surfaces.cli.turns import during
from kernos.surfaces.cli.worker import Worker

HOST, PORT = "127.0.0.1", 8383
FIRST, LOCAL = "first", "local"
"""The key that the first start makes, and the one that commands on this machine use."""
BACKLOG = 2_048


@click.command()
@place_argument
@click.option("--host", default=HOST, show_default=True, help="the address to listen on")
@click.option("--port", default=PORT, show_default=True, type=click.IntRange(0, 65_535), help="0: any that is free")
@click.option("--url", default="", help="where others reach it, behind a proxy: for the cards of its agents")
@click.pass_obj
def up(system: System, place: Path, host: str, port: int, url: str) -> None:
    """Serve a folder on one port, and give turns to all of its processes until Ctrl-C. Any agent gets in, in whatever
    framework it is written: its model calls and tool calls are then system calls of a process.

    The first start makes a key and prints it once. On another address than this machine's own it serves only when there
    are keys; it speaks plain HTTP, so put a proxy with TLS before it.

    \b
    Examples:
      kernos up shop
      kernos key add my-agent -C shop --employee agent && kernos up shop
      kernos up shop --host 0.0.0.0 --url https://kernos.example.org
      OPENAI_BASE_URL=http://127.0.0.1:8383/v1 OPENAI_API_KEY=kn_... python my_agent.py
    """
    click.secho(f"kernos up: {place.resolve()}, until Ctrl-C", dim=True)
    with asyncio.Runner(loop_factory=system.loop(place)) as runner:
        runner.run(_up(system, place, host, port, url.rstrip("/")))


async def _up(system: System, place: Path, host: str, port: int, url: str) -> None:
    with listening(host, port) as listener:
        here = _address(host, listener.getsockname()[1])
        async with system.office(place, url or here) as office:
            _on_signals(office.closing)
            fresh = await _first(office.keys, host)
            with _beacon(system.beacon(place), here, office.keys):
                await _hello(office, place, fresh)
                worker = Worker(office.kernel, office.ledger, there(place))
                turns = during(office.dispatcher.serve(worker.watched.kernel), system.serve(office, listener))
                await during(worker.anchor(), during(worker.listen(until_idle=False), turns))


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket on which callers may queue from now on. Raises BadInput for an address that cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        right = "an address of this machine and a port that nobody uses (--port 0: any)"
        raise BadInput("--host, --port", f"{host}:{port} ({error.strerror})", right) from None
    with listener:
        # asyncio sets this on connections only if their protocol was named; without it each answer waits 40 ms
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _on_signals(closing: asyncio.Event) -> None:
    """End in good order at the first Ctrl-C or SIGTERM, at once at the second."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        closing.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)


async def _first(keys: Keys, host: str) -> str:
    """The key that a place without keys gets; empty if there are some. Raises BadInput for an address that others reach
    while there are none."""
    if await keys.callers():
        return ""
    if not _own(host):
        right = f"{HOST}, until there is a key: kernos key add NAME"
        raise BadInput("--host", f"{host}, which others reach, and no key", right)
    return await keys.issue(Caller(FIRST, user(), frozenset({"operator", "approver", "member"})))


def _own(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _beacon(path: Path, here: str, keys: Keys) -> Iterator[None]:
    """While this lasts, commands on this machine find the address, and a key of their own, in a file that only its
    owner reads."""
    caller = Caller(LOCAL, user(), frozenset({"operator", "member"}))
    text = json.dumps({"url": here, "key": keys.lend(caller)})
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.touch(0o600)
    fresh.write_text(text, "utf-8")
    fresh.replace(path)
    try:
        yield
    finally:
        if path.is_file() and path.read_text("utf-8") == text:  # another may serve the place too
            path.unlink()


async def _hello(office: Office, place: Path, fresh: str) -> None:
    """What is served, and with which key."""
    agents = [slug for slug, card in office.employees.items() if not card.foreign]
    shown = {
        "any agent": f"OPENAI_BASE_URL={office.base}/v1",
        "MCP": f"{office.base}/mcp",
        **{f"A2A {slug}": f"{office.base}/a2a/{slug}/.well-known/agent-card.json" for slug in agents[:3]},
        "native API": f"{office.base}/api/openapi.json",
    }
    width = max(map(len, shown))
    for name, address in shown.items():
        click.secho(f"  {name:<{width}}  ", dim=True, nl=False)
        click.echo(address)
    if fresh:
        click.secho(f"\n  OPENAI_API_KEY={fresh}", fg="green", bold=True)
        click.echo(f"  This key is shown once. It is yours and may do everything: kernos key add NAME{there(place)}")
        click.echo("  makes one for an agent.\n")
    else:
        held = len(await office.keys.callers())
        click.echo(f"\n  Keys that hold: {held} (kernos key list{there(place)}, kernos key add NAME{there(place)})\n")
