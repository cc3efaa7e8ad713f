"""`kernos pause`, `stop`, `kill`, `nice`, `tell` and `fork`: what people do to processes, whoever is at work on them.

Everything is put to the desk first, so that it is not lost. Then whoever is at work takes it; if nobody is, this does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from kernos.kernel.errors import BadInput, FolderBusy, KernosError
from kernos.kernel.office import Kernel, Ledger
from kernos.kernel.types import Signal
from kernos.surfaces.cli.calls import count
from kernos.surfaces.cli.cards import asks
from kernos.surfaces.cli.person import answer, how
from kernos.surfaces.cli.places import beside, company, desk_of, find, now, reading, stands, there, user
from kernos.surfaces.cli.system import System

BUSY = "noted for the kernos at work on the folder"
HALT_SECONDS = 5.0
"""How long it is waited for those at work to halt their processes."""
LOOK_SECONDS = 0.02
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
@click.option("--all", "everything", is_flag=True, help="every process of the folder")
@company
@click.pass_obj
def stop(system: System, everything: bool, place: Path) -> int:
    """Halt every process at once, until a person resumes it. What a model is asked is broken off, and so is a tool that
    may be called again; another ends, and nothing follows. Exit code 1 if that takes longer than some seconds.

    \b
    Examples:
      kernos stop --all
      kernos resume --all                  have them go on
    """
    if not everything:
        raise BadInput("stop", "nothing said of which processes", "--all, or kernos pause PID")
    return asyncio.run(_stop(system, place))


async def _stop(system: System, place: Path) -> int:
    async with desk_of(system, place) as desk:
        began = now()
        pids = await desk.stop_all(user())
    later = await taken(system, place, *pids) if pids else ""
    left = await _moving(system, place) if pids and later in ("", BUSY) else []
    seconds = now() - began
    if left:
        click.secho(f"{count(len(left), 'process')} not halted yet: {', '.join(left)}; it is noted", fg="red", err=True)
        return 1
    if later not in ("", BUSY):
        click.echo(f"{count(len(pids), 'process')}: stop: {later}")
    else:
        click.echo(f"{count(len(pids), 'process')} halted in {seconds:.1f} s: kernos resume --all{there(place)}")
    return 0


async def _moving(system: System, place: Path) -> Sequence[str]:
    """The processes that neither rest nor have exited; waits a little for them to halt."""
    deadline = now() + HALT_SECONDS
    async with reading(system, place) as ledger:
        left = await _awake(ledger)
        while left and now() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
            left = await _awake(ledger)
        return left


async def _awake(ledger: Ledger) -> Sequence[str]:
    return [status.pid for status in await ledger.statuses() if status.phase not in ("exited", "paused")]


async def resume_all(system: System, place: Path) -> None:
    """Lift every pause."""
    async with desk_of(system, place) as desk:
        pids = await desk.resume_all(user())
    later = await taken(system, place, *pids) if pids else ""
    onward = later if later not in ("", BUSY) else "" if later else f"kernos work{there(place)} gives them turns"
    click.echo(f"{count(len(pids), 'process')} resumed" + (f"; {onward}" if onward and pids else ""))


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


async def taken(system: System, place: Path, *pids: str) -> str:
    """See to it that what was put to processes is taken. Empty, or if not now: who will do it, or when."""
    if system.busy(place):
        return BUSY
    try:
        kernel = await system.kernel(place)
    except FolderBusy:
        return BUSY
    except KernosError as error:
        return f"noted; it is done as soon as a kernos can work here, which it cannot now: {error}"
    try:
        for pid in pids:
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
            click.echo(asks(question) if question else f"process {status.pid} asks nothing: it is {stands(status)}")
            return
        if question is None:
            await desk.deliver(status.pid, text)
        elif (reply := answer(question, text)) is None:
            raise BadInput("TEXT", repr(text), f"{how(question)}, for it asks: {asks(question)}")
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
