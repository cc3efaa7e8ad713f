"""`kernos top`: what the engines and the scheduler of the kernos at work are doing, live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kernos.kernel.errors import NotFound
from kernos.surfaces.cli.places import company, span, there
from kernos.surfaces.cli.system import System

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from rich.console import RenderableType

EVERY = 1.0
"""Seconds between two looks."""
PATIENCE = 10.0
MOST = 40
"""So many processes are shown: those that are at it first."""


@dataclass(frozen=True)
class Seen:
    """One look: the engines and what the scheduler knows of each process, and the process table."""

    engines: Sequence[Mapping[str, Any]]
    service: Mapping[str, Mapping[str, Any]]
    processes: Sequence[Mapping[str, Any]]


@click.command()
@company
@click.option("--once", is_flag=True, help="print it once")
@click.pass_obj
def top(system: System, place: Path, once: bool) -> None:
    """Show what the kernos that serves a folder (kernos up) is doing: each engine with its slots, queue, tokens a
    second and cache, and each process that lives, with the service that it has had and is expected to need. Ctrl-C ends
    it; where there is no terminal it prints once.

    \b
    Examples:
      kernos top
      kernos top -C shop --once
    """
    asyncio.run(_top(system, place, once))


async def _top(system: System, place: Path, once: bool) -> None:
    from aiohttp import ClientError, ClientSession, ClientTimeout
    from rich.console import Console
    from rich.live import Live

    silent = NotFound(str(place), "nobody who serves it", f"a folder at which kernos up{there(place)} is at work")
    beacon = _read(system.beacon(place))
    if beacon is None:
        raise silent
    console = Console(highlight=False)
    headers = {"Authorization": f"Bearer {beacon['key']}"}
    try:
        async with ClientSession(
            beacon["url"], headers=headers, raise_for_status=True, timeout=ClientTimeout(PATIENCE)
        ) as session:
            seen = await _look(session)
            if once or not console.is_terminal:
                console.print(_shown(seen))
                return
            with Live(_shown(seen), console=console, screen=True, auto_refresh=False) as live:
                while True:
                    await asyncio.sleep(EVERY)
                    live.update(_shown(await _look(session)), refresh=True)
    except (ClientError, TimeoutError):
        raise silent from None


def _read(path: Path) -> Mapping[str, str] | None:
    """Where it is served, and the key for commands on this machine."""
    try:
        found: Mapping[str, str] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found


async def _look(session: ClientSession) -> Seen:
    async with session.get("/api/engines") as got:
        view = await got.json()
    async with session.get("/api/processes") as got:
        processes = await got.json()
    return Seen(view["engines"], {known["pid"]: known for known in view["processes"]}, processes)


def _shown(seen: Seen) -> RenderableType:
    from rich.console import Group

    return Group(_engines(seen), "", _processes(seen))


def _engines(seen: Seen) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("ENGINE", no_wrap=True)
    for name in ("RUNNING", "QUEUED", "TOKENS/S", "CACHED"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("SLOTS", overflow="fold")
    for engine in seen.engines:
        slots = " ".join(pid or "·" for pid in engine["slots"])
        table.add_row(
            Text(engine["name"], "" if engine["up"] else "red"), f"{engine['running']} of {engine['most']}",
            Text(str(engine["queued"]), "yellow" if engine["queued"] else ""), f"{engine['rate']:,.1f}",
            f"{engine['cached']:.0%}", slots if engine["up"] else Text("down", "red"),
        )  # fmt: skip
    return table


def _processes(seen: Seen) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    living = [process for process in seen.processes if process["phase"] != "exited"]
    table = Table(box=None, pad_edge=False, caption=_rest(living), caption_justify="left")
    for name in ("PID", "EMPLOYEE", "OWNER", "STATE", "ENGINE"):
        table.add_column(name, no_wrap=True)
    for name in ("TOKENS", "SERVICE", "REST"):
        table.add_column(name, justify="right", no_wrap=True)
    for process in sorted(living, key=lambda process: _order(process, seen))[:MOST]:
        known = seen.service.get(process["pid"], {})
        state, engine = str(known.get("phase") or _state(process)), str(known.get("engine", ""))
        table.add_row(
            process["pid"], Text(process["employee"]), Text(process["owner"]), Text(state), Text(engine),
            f"{process['tokens']:,}", span(known.get("service", process["seconds"])),
            f"~{span(known['rest'])}" if known else "",
        )  # fmt: skip
    return table


def _rest(living: Sequence[Mapping[str, Any]]) -> str:
    """What is said below the table."""
    if not living:
        return "no process lives"
    return f"and {len(living) - MOST} more" if len(living) > MOST else ""


def _order(process: Mapping[str, Any], seen: Seen) -> tuple[bool, bool, float]:
    """Those at an engine first, then those that the scheduler knows, each by what is expected to be left."""
    known = seen.service.get(process["pid"])
    return (not (known and known["phase"]), known is None, known["rest"] if known else -process["at"])


def _state(process: Mapping[str, Any]) -> str:
    return f"{process['phase']} ({process['why']})" if process["why"] else str(process["phase"])
