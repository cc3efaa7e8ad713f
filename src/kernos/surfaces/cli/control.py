"""`kernos pause`, `kill`, `nice`, `tell` and `fork`: what people do to processes, whoever is at work on the folder.

Everything is put to the desk first, so that it is not lost. Then whoever is at work takes it; if nobody is, this does.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from kernos.kernel.errors import BadInput, FolderBusy, KernosError
from kernos.kernel.ports import Kernel
from kernos.kernel.types import Signal
from kernos.surfaces.cli.person import HOW, answer
from kernos.surfaces.cli.places import beside, company, desk_of, find, stands, there, user
from kernos.surfaces.cli.system import System

BUSY = "noted for the kernos at work on the folder"
_DONE: dict[Signal, str] = {"pause": "paused", "kill": "killed", "nice": "has priority"}


@click.command()
@click.argument("pid")
@company
@click.pass_obj
def pause(system: System, pid: str, place: Path) -> None:
    """Let a process rest before its next call, until `kernos resume`.

    \b
    Examples:
      kernos pause 7k2q
    """
    asyncio.run(_signal(system, place, pid, "pause"))


@click.command()
@click.argument("pid")
@company
@click.pass_obj
def kill(system: System, pid: str, place: Path) -> None:
    """End a process and its children, for good. A tool that is being called is not broken off: it ends first.

    \b
    Examples:
      kernos kill 7k2q
    """
    asyncio.run(_signal(system, place, pid, "kill"))


@click.command(context_settings={"ignore_unknown_options": True})  # or -5 would be one
@click.argument("pid")
@click.argument("priority", type=click.IntRange(-20, 19))
@company
@click.pass_obj
def nice(system: System, pid: str, priority: int, place: Path) -> None:
    """Give a process another priority, from -20 to 19: the lower, the sooner its model calls are served.

    \b
    Examples:
      kernos nice 7k2q 10                  it may wait
      kernos nice 7k2q -5                  before others
    """
    asyncio.run(_signal(system, place, pid, "nice", priority))


async def _signal(system: System, place: Path, prefix: str, signal: Signal, priority: int = 0) -> None:
    status = await find(system, place, prefix)
    async with desk_of(system, place) as desk:
        await desk.signal(status.pid, signal, user(), priority)
    done = _DONE[signal] + (f" {priority}" if signal == "nice" else "")
    later = await taken(system, place, status.pid)
    click.echo(f"process {status.pid}: {f'{signal}: {later}' if later else done}")


async def taken(system: System, place: Path, pid: str) -> str:
    """See to it that what was put to a process is taken. Empty, or if not now: who will do it, or when."""
    if system.busy(place):
        return BUSY
    try:
        kernel = await system.kernel(place)
    except FolderBusy:
        return BUSY
    except KernosError as error:
        return f"noted; it is done as soon as a kernos can work here, which it cannot now: {error}"
    try:
        await _take(kernel, pid)
    finally:
        await kernel.close()
    return ""


def onward(place: Path, pid: str, done: str, later: str) -> str:
    """What to say of a process that was given what it waited for."""
    go_on = "" if later == BUSY else later or f"kernos resume {pid}{there(place)} goes on with it"
    return f"process {pid}: {done}" + (f"; {go_on}" if go_on else "")


async def _take(kernel: Kernel, pid: str) -> None:
    """Have a process take its notes; if it exits by that, its tree too: who is killed takes the children along."""
    status = await kernel.take(pid)
    ended = status.phase == "exited"
    while ended:
        due = (await kernel.due(status.root)).pids
        ended = any([(await kernel.take(child)).phase == "exited" for child in due])


@click.command()
@click.argument("pid")
@click.argument("text", default="")
@company
@click.pass_obj
def tell(system: System, pid: str, text: str, place: Path) -> None:
    """Answer what a process asks, or send it a message; without TEXT show what it asks.

    It goes on at its next turn: `kernos work` or `kernos resume` gives it one.

    \b
    Examples:
      kernos tell 7k2q                     what does it ask?
      kernos tell 7k2q yes                 to an approval
      kernos tell 7k2q "a table for 4"     an answer, or a message
    """
    asyncio.run(_tell(system, place, pid, text))


async def _tell(system: System, place: Path, prefix: str, text: str) -> None:
    status = await find(system, place, prefix)
    async with desk_of(system, place) as desk:
        question = await desk.question(status.pid)
        if not text:
            click.echo(question.text if question else f"process {status.pid} asks nothing: it is {stands(status)}")
            return
        if question is None:
            await desk.deliver(status.pid, text)
        elif (reply := answer(question, text)) is None:
            raise BadInput("TEXT", repr(text), f"{HOW[question.kind]}, for it asks: {question.text}")
        else:
            await desk.answer(status.pid, reply)
    later = await taken(system, place, status.pid)
    click.echo(onward(place, status.pid, "answered" if question else "told", later))


@click.command()
@click.argument("pid")
@click.option("--at", required=True, type=click.IntRange(min=0), metavar="ROW", help="the last row that both share")
@company
@click.pass_obj
def fork(system: System, pid: str, at: int, place: Path) -> None:
    """Start a new process that shares another's journal up to a row, and goes its own way from there.

    \b
    Examples:
      kernos log 7k2q                      which row?
      kernos fork 7k2q --at 12
    """
    asyncio.run(_fork(system, place, pid, at))


async def _fork(system: System, place: Path, prefix: str, at: int) -> None:
    status = await find(system, place, prefix)
    async with beside(system, place) as kernel:
        name = await kernel.fork(status.pid, at)
    click.echo(name)
    click.secho(f"process {name} shares rows 0-{at} of {status.pid}: kernos resume {name}{there(place)}", err=True)
