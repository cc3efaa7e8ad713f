"""`kernos chat`, `kernos run` and `kernos resume`: an employee at work, in a terminal or without one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kernos.kernel.errors import BadInput, FolderBusy, KernosError, NotFound
from kernos.kernel.types import Status
from kernos.surfaces.cli import calls
from kernos.surfaces.cli.cards import Cards
from kernos.surfaces.cli.control import BUSY, resume_all
from kernos.surfaces.cli.person import Given, Person, Typed, people
from kernos.surfaces.cli.places import (
    Site,
    at_work,
    beside,
    company,
    desk_of,
    family,
    place_argument,
    reading,
    stands,
    there,
    user,
)  # fmt: skip
from kernos.surfaces.cli.session import Session
from kernos.surfaces.cli.system import System
from kernos.surfaces.cli.tables import print_calls

if TYPE_CHECKING:
    from kernos.userland.company.folder import Company

employee_option = click.option(
    "-e", "--employee", default="", help="which employee (default: the only one, or the first)"
)
owner_option = click.option("--as", "owner", default="", help="for whom it works (default: you)")


@click.command()
@place_argument
@employee_option
@owner_option
@click.option("--play", type=click.Path(path_type=Path), help="a recorded person: a text file, one message a line")
@click.pass_obj
def chat(system: System, place: Path, employee: str, owner: str, play: Path | None) -> None:
    """Talk with an employee. Ctrl-D or an empty line ends the talk; `kernos resume` goes on with it.

    \b
    Examples:
      kernos chat examples/beauty-advisor
      kernos chat examples/beauty-advisor --play examples/beauty-advisor/demo/customer.zh.txt
      kernos chat .claude/agents/reviewer.md
    """
    asyncio.run(_chat(system, place, employee, owner, people(play)))


async def _chat(system: System, place: Path, employee: str, owner: str, person: Person) -> None:
    chosen = _chosen(system.company(place), employee)
    pid = ""
    try:
        async with at_work(system, place) as site:
            pid = await site.kernel.spawn(chosen, owner or user())
            click.secho(f"process {pid}: type a message; an empty line ends the talk", dim=True)
            status = await _session(system, place, site, await family(system, place, pid), person)
    finally:
        if pid:
            await _report(system, place, pid)
    await _judge(system, place, status)


@click.command()
@place_argument
@click.argument("text", default="")
@employee_option
@owner_option
@click.option("--detach", is_flag=True, help="only start it, and print its pid: kernos work gives it turns")
@click.pass_obj
def run(system: System, place: Path, text: str, employee: str, owner: str, detach: bool) -> None:
    """Give an employee one task, or run its program to the end. At a terminal you are asked what it asks.

    \b
    Examples:
      kernos run examples/beauty-advisor "I'm 30, male, oily skin: which face wash?"
      kernos run shop --employee restocker
      kernos run shop --employee restocker --detach && kernos work shop
    """
    found = system.company(place)
    if not text and not found.employee(_chosen(found, employee)).program:
        raise BadInput("TEXT", "nothing", "the task, in words: this employee waits for a message")
    asyncio.run(_run(system, place, _chosen(found, employee), owner or user(), text, detach))


async def _run(system: System, place: Path, employee: str, owner: str, text: str, detach: bool) -> None:
    if detach:
        async with beside(system, place) as kernel:
            click.echo(await kernel.spawn(employee, owner, text))
        return
    async with at_work(system, place) as site:
        pid = await site.kernel.spawn(employee, owner, text)
        person = Typed() if sys.stdin.isatty() else Given()
        status = await _session(system, place, site, await family(system, place, pid), person, once=True)
    await _judge(system, place, status)
    if status.phase != "exited" and status.why != "message":
        click.secho(f"process {pid} is {stands(status)}: kernos resume {pid}{there(place)}", err=True, dim=True)


@click.command()
@click.argument("pid", default="")
@click.option("--all", "everything", is_flag=True, help="lift the pause of every process of the folder, and end")
@company
@click.pass_obj
def resume(system: System, pid: str, everything: bool, place: Path) -> None:
    """Go on with a process from its journal; a pause is lifted. The model is asked nothing twice.

    \b
    Examples:
      kernos resume 7k2q
      kernos resume 7k2q -C examples/beauty-advisor
      kernos resume --all                  after kernos stop --all
    """
    if bool(pid) == everything:
        raise BadInput("resume", "both PID and --all" if pid else "nothing said of which process", "PID, or --all")
    asyncio.run(resume_all(system, place) if everything else _resume(system, place, pid))


async def _resume(system: System, place: Path, prefix: str) -> None:
    tree = await family(system, place, prefix)
    status = tree[0]
    if status.phase == "exited":
        raise BadInput(f"process {status.pid}", f"an exited process ({status.why})", "one that runs or waits")
    if status.phase == "paused":
        async with desk_of(system, place) as desk:
            await desk.signal(status.pid, "resume", user())
    try:
        async with at_work(system, place) as site:
            click.secho(f"process {status.pid}: {calls.count(status.calls, 'call')} from its journal", dim=True)
            status = await _session(system, place, site, tree, people())
    except FolderBusy:
        if status.phase != "paused":
            raise
        click.echo(f"process {status.pid}: resume: {BUSY}")
        return
    await _report(system, place, status.pid)
    await _judge(system, place, status)


async def _session(
    system: System, place: Path, site: Site, tree: Sequence[Status], person: Person, once: bool = False
) -> Status:
    async with reading(system, place) as ledger:
        return await Session(site, ledger, tree, person, Cards(system, place), once).run()


def _chosen(found: Company, employee: str) -> str:
    given = list(found.sidecar.employees)
    names = [*given, *(slug for slug in found.agents if slug not in given)]
    if employee and employee not in names:
        raise NotFound("--employee", repr(employee), f"one of {', '.join(names)}")
    return employee or (names[0] if names else "")


async def _judge(system: System, place: Path, status: Status) -> None:
    """Say that a process did not end well, as the error that it is."""
    if status.phase != "exited" or status.why == "done":
        return
    async with reading(system, place) as ledger:
        rows = await ledger.records(status.pid, status.seq - 1)
    raise KernosError(f"process {status.pid} ended: {status.why}: {rows[-1].body.get('error', '')}")


async def _report(system: System, place: Path, pid: str) -> None:
    """What the process did, read back from its journal."""
    async with reading(system, place, audit=True) as ledger:
        shown = calls.lines(await ledger.records(pid))
        faults = await ledger.verify()
        status = await ledger.find(pid)
    click.secho(f"\nWhat process {pid} did, from its journal:", bold=True)
    print_calls(shown, costs=calls.costly(shown))
    chain = f"{len(faults)} faults: kernos audit verify" if faults else "its hash chain holds"
    click.echo(f"\n{calls.summary(shown)}; {chain}")
    onward = "" if status.phase == "exited" else f"   Go on: kernos resume {pid}{there(place)}"
    click.secho(f"Again: kernos log {pid}{there(place)}{onward}", dim=True)
