"""`kernos chat`, `kernos run` and `kernos resume`: an employee at work, in a terminal or without one."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kernos.kernel.errors import BadInput, KernosError, NotFound
from kernos.kernel.ports import Answer, Kernel
from kernos.kernel.types import Status
from kernos.surfaces.cli import calls
from kernos.surfaces.cli.look import company, print_calls
from kernos.surfaces.cli.system import System
from kernos.surfaces.cli.view import View

if TYPE_CHECKING:
    from kernos.userland.company.folder import Company

place_argument = click.argument("place", type=click.Path(path_type=Path), default=".")
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
    asyncio.run(_session(system, place, employee, owner, _people(play), report=True))


@click.command()
@place_argument
@click.argument("text", default="")
@employee_option
@owner_option
@click.pass_obj
def run(system: System, place: Path, text: str, employee: str, owner: str) -> None:
    """Give an employee one task, or run its program to the end.

    \b
    Examples:
      kernos run examples/beauty-advisor "I'm 30, male, oily skin: which face wash?"
      kernos run shop --employee restocker
    """
    found = system.company(place)
    if not text and not found.employee(_chosen(found, employee)).program:
        raise BadInput("TEXT", "nothing", "the task, in words: this employee waits for a message")
    lines = _given([text] if text else [])
    asyncio.run(_session(system, place, employee, owner, lines, report=False))


@click.command()
@click.argument("pid")
@company
@click.pass_obj
def resume(system: System, pid: str, place: Path) -> None:
    """Go on with a process from its journal. The model is asked nothing twice.

    \b
    Examples:
      kernos resume 7k2q
      kernos resume 7k2q -C examples/beauty-advisor
    """
    asyncio.run(_resume(system, place, pid))


async def _resume(system: System, place: Path, prefix: str) -> None:
    ledger = await system.ledger(place)
    try:
        status = await ledger.find(prefix)
    finally:
        await ledger.close()
    if status.phase == "exited":
        raise BadInput(f"process {status.pid}", f"an exited process ({status.why})", "one that runs or waits")
    kernel = await system.kernel(place)
    try:
        click.secho(f"process {status.pid}: {calls.count(status.calls, 'call')} from its journal", dim=True)
        await _talk(kernel, status.pid, _people(None), greet=False)
    finally:
        await kernel.close()
    await _report(system, place, status.pid)


async def _session(
    system: System, place: Path, employee: str, owner: str, lines: AsyncIterator[str], report: bool
) -> None:
    """Spawn a process and take its owner's messages to it; then show what it did."""
    chosen = _chosen(system.company(place), employee)
    kernel = await system.kernel(place)
    pid = ""
    try:
        pid = await kernel.spawn(chosen, owner or _user())
        status = await _talk(kernel, pid, lines, greet=report)
    finally:
        await kernel.close()
        if pid and report:
            await _report(system, place, pid)
    if status.phase == "exited" and status.why != "done":
        ledger = await system.ledger(place)
        try:
            last = (await ledger.records(pid))[-1]
        finally:
            await ledger.close()
        raise KernosError(f"process {pid} ended: {status.why}: {last.body.get('error', '')}")


def _chosen(found: Company, employee: str) -> str:
    given = list(found.sidecar.employees)
    names = [*given, *(slug for slug in found.agents if slug not in given)]
    if employee and employee not in names:
        raise NotFound("--employee", repr(employee), f"one of {', '.join(names)}")
    return employee or (names[0] if names else "")


async def _talk(kernel: Kernel, pid: str, lines: AsyncIterator[str], greet: bool) -> Status:
    """Turn after turn until the process ends or the person does."""
    view = View()
    if greet:
        click.secho(f"process {pid}: type a message; an empty line ends the talk", dim=True)
    status = await view.turn(kernel, pid)
    while status.phase != "exited":
        question = kernel.question(pid)
        if question is not None:
            view.question(question)
        line = await anext(lines, None)
        if line is None:
            break
        view.heard(line)
        if question is None:
            await kernel.deliver(pid, line)
        else:
            await kernel.answer(pid, Answer(_user(), _agreed(line), line))
        status = await view.turn(kernel, pid)
    return status


def _agreed(line: str) -> bool:
    return line.strip().casefold() in ("y", "yes", "ok", "是", "好", "同意", "可以")


def _people(play: Path | None) -> AsyncIterator[str]:
    """The person: a recorded one, whoever types, or what comes through a pipe."""
    if play is not None:
        try:
            return _given([line for line in play.read_text("utf-8").splitlines() if line.strip()], echo=True)
        except (OSError, UnicodeDecodeError) as error:
            raise NotFound("--play", f"{play}: {error}", "a text file, one message a line") from None
    return (
        _typed()
        if sys.stdin.isatty()
        else _given([line for line in sys.stdin.read().splitlines() if line.strip()], echo=True)
    )


async def _given(lines: list[str], echo: bool = False) -> AsyncIterator[str]:
    for line in lines:
        if echo:
            click.secho(f"› {line}", bold=True)
        yield line


async def _typed() -> AsyncIterator[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.formatted_text import HTML

    session: PromptSession[str] = PromptSession(HTML("<b>› </b>"))
    while True:
        try:
            line = await session.prompt_async()
        except EOFError:
            return
        if not line.strip():
            return
        yield line


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "owner"


async def _report(system: System, place: Path, pid: str) -> None:
    """What the process did, read back from its journal."""
    ledger = await system.ledger(place)
    try:
        shown = list(calls.lines(await ledger.records(pid)))
        faults = await ledger.verify()
    finally:
        await ledger.close()
    click.secho(f"\nWhat process {pid} did, from its journal:", bold=True)
    print_calls(shown)
    chain = f"{len(faults)} faults: kernos audit verify" if faults else "its hash chain holds"
    click.echo(f"\n{calls.summary(shown)}; {chain}")
    there = "" if place == Path() else f" -C {place}"
    click.secho(f"Again: kernos log {pid}{there}   Go on: kernos resume {pid}{there}", dim=True)
