"""`kernos key add | list | revoke`: who may call the API of a folder, and as whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

import click

from kernos.kernel.errors import BadInput
from kernos.kernel.ports import Caller, KeyRole
from kernos.surfaces.cli.places import closing, company, find, there, user
from kernos.surfaces.cli.system import System


@click.group()
def key() -> None:
    """Make, list and revoke the keys of the API. Only their hashes are kept.

    \b
    Examples:
      kernos key add laptop --role operator --role member
      kernos key add researcher --employee agent
      kernos key list
      kernos key revoke laptop
    """


@key.command()
@click.argument("name")
@company
@click.option("--owner", default="", metavar="NAME", help="whom it acts for (default: you)")
@click.option("--role", "roles", multiple=True, type=click.Choice(get_args(KeyRole)), help="default: member")
@click.option("--employee", default="", metavar="SLUG", help="an agent's key: it starts its processes only")
@click.option("--process", "pid", default="", metavar="PID", help="an agent's key: it is this process")
@click.option("--speaks", is_flag=True, help="what this agent sends as a user's message is its owner's words")
@click.pass_obj
def add(
    system: System, name: str, place: Path, owner: str, roles: Sequence[str], employee: str, pid: str, speaks: bool
) -> None:  # fmt: skip
    """Make a key, and print it on a line of its own, this once.

    \b
    Roles:
      member     sees and steers the processes of its owner, and answers what they ask their owner
      approver   answers what processes of others ask an approver
      operator   sees and steers all processes, engines and keys

    A key with --employee or --process is for an agent: it makes system calls and looks at its own processes. It answers
    no question and steers nothing.

    \b
    Examples:
      kernos key add ada --owner ada
      kernos key add ops --role operator --role approver
      kernos key add researcher --owner ada --employee agent
      export OPENAI_API_KEY=$(kernos key add researcher --employee agent)
    """
    if employee and employee not in (staff := system.staff(place)):
        raise BadInput("--employee", repr(employee), " or ".join(sorted(staff)))
    wanted = frozenset(cast(Sequence[KeyRole], roles)) or frozenset({"member"})
    asyncio.run(_add(system, place, Caller(name, owner, wanted, employee, pid, speaks)))


async def _add(system: System, place: Path, caller: Caller) -> None:
    status = await find(system, place, caller.pid) if caller.pid else None
    owner = caller.owner or (status.owner if status else user())
    async with closing(system.keys(place)) as keys:
        secret = await keys.issue(replace(caller, owner=owner, pid=status.pid if status else ""))
    click.echo(secret)
    click.secho(f"{caller.key}: {_who(replace(caller, owner=owner))}; shown this once", dim=True, err=True)


@key.command("list")
@company
@click.pass_obj
def list_keys(system: System, place: Path) -> None:
    """List the keys that hold: whom each acts for, and what it may do."""
    asyncio.run(_list(system, place))


@key.command()
@click.argument("name")
@company
@click.pass_obj
def revoke(system: System, name: str, place: Path) -> None:
    """Revoke a key. A kernos at work on the folder takes it for five seconds more at the most.

    \b
    Examples:
      kernos key revoke laptop
    """
    asyncio.run(_revoke(system, place, name))
    click.echo(f"{name}: revoked")


async def _list(system: System, place: Path) -> None:
    async with closing(system.keys(place)) as keys:
        callers = await keys.callers()
    width = max((len(caller.key) for caller in callers), default=0)
    for caller in callers:
        click.secho(f"{caller.key:<{width}}", bold=True, nl=False)
        click.echo(f"  {_who(caller)}")
    if not callers:
        click.echo(f"no keys yet: kernos key add NAME{there(place)}, or kernos up makes the first")


def _who(caller: Caller) -> str:
    """Whom a key acts for, in words."""
    if not (caller.pid or caller.employee):
        return f"{', '.join(sorted(caller.roles))} for {caller.owner}"
    what = f"process {caller.pid}" if caller.pid else f"processes of {caller.employee}"
    return f"an agent's, {what} for {caller.owner}" + (", whose words are its owner's" if caller.speaks else "")


async def _revoke(system: System, place: Path, name: str) -> None:
    async with closing(system.keys(place)) as keys:
        await keys.revoke(name)
