"""`kernos mcp list | accept`: what MCP servers say of their tools now, beside what was kept of it.

All of it are words of strangers, so everything that a terminal would hide or obey is spelled out.
"""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Mapping
from pathlib import Path

import click

from kernos.kernel.errors import BadInput, NotFound
from kernos.kernel.types import Json
from kernos.surfaces.cli.places import company, place_argument, there
from kernos.surfaces.cli.system import System
from kernos.userland.cards import visible
from kernos.userland.company.mcp import Change, changes, list_of

_SAID: Mapping[Change, str] = {
    "same": "as kept", "changed": "changed: refused", "new": "new: not there", "gone": "gone: fails",
}  # fmt: skip


@click.group()
def mcp() -> None:
    """List the tools of MCP servers, and accept those that have changed.

    \b
    Examples:
      kernos mcp list shop
      kernos mcp accept calendar
    """


@mcp.command("list")
@place_argument
@click.pass_obj
def list_tools(system: System, place: Path) -> None:
    """Ask every server of mcp.json for its tools, and compare them with what is kept.

    \b
    Examples:
      kernos mcp list shop
    """
    for name, server in system.company(place).servers.items():
        click.secho(visible(name), bold=True)
        try:
            listed = asyncio.run(system.listed(place, name))
        except BadInput as error:
            click.secho(f"  {visible(str(error))}", fg="red")
            continue
        found = changes(server.tools or {}, listed)
        for tool, change in found.items():
            click.secho(f"  {server.tool_name(tool)}  {_SAID[change]}", fg=None if change == "same" else "yellow")
        if any(change != "same" for change in found.values()):
            click.echo(f"  to accept what it lists now: kernos mcp accept {visible(name)}{there(place)}")


@mcp.command()
@click.argument("server")
@click.option("-y", "--yes", is_flag=True, help="keep the new list without asking")
@company
@click.pass_obj
def accept(system: System, server: str, yes: bool, place: Path) -> None:
    """Ask a server for its tools, show what differs from what is kept, and keep the new list.

    \b
    Examples:
      kernos mcp accept calendar
      kernos mcp accept calendar --yes -C shop
    """
    known = system.company(place).servers
    if server not in known:
        raise NotFound("mcp.json: mcpServers", repr(server), " or ".join(known) or "a server")
    kept, listed = known[server].tools, asyncio.run(system.listed(place, server))
    if kept == listed:
        click.echo(f"{visible(server)} lists what is kept")
        return
    for line in difflib.unified_diff(_lines(kept or {}), _lines(listed), "kept", "listed now", lineterm=""):
        click.secho(line, fg={"+": "green", "-": "red"}.get(line[0]))
    if yes or click.confirm("Keep what it lists now?"):
        system.accept(place, server, listed)
        click.echo(f"kept in {place / list_of(server)}; a kernos that runs has to be started again")


def _lines(tools: Mapping[str, Json]) -> list[str]:
    """A list of tools, in lines to compare."""
    written = json.dumps(tools, ensure_ascii=False, indent=2, sort_keys=True).splitlines()
    return [" " * (len(line) - len(line.lstrip(" "))) + visible(line) for line in written]
