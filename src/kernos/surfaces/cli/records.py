"""`kernos replay`, `kernos audit` and `kernos journal`: journals as evidence, and what becomes of them."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from kernos.kernel.errors import BadInput, NotFound, ReplayDiverged
from kernos.kernel.types import Status
from kernos.surfaces.cli import calls
from kernos.surfaces.cli.places import beside, company, find, now, reading, there
from kernos.surfaces.cli.system import System

_UNITS = {"min": 60, "h": 3_600, "d": 86_400, "w": 604_800}


@click.command()
@click.argument("pid")
@company
@click.pass_obj
def replay(system: System, pid: str, place: Path) -> int:
    """Run a process's program against its journal, touching nothing: does it still make the same calls? Exit code 1
    with the first call that differs.

    \b
    Examples:
      kernos replay 7k2q
    """
    return asyncio.run(_replay(system, place, pid))


async def _replay(system: System, place: Path, prefix: str) -> int:
    status = await find(system, place, prefix)
    async with beside(system, place) as kernel:
        try:
            same = await kernel.replay(status.pid)
        except ReplayDiverged as error:
            click.secho(f"✗ process {error.pid}: the call of row {error.seq} differs", fg="red")
            click.secho(f"  recorded: {error.recorded}\n  now:      {error.made}", fg="red")
            return 1
    click.secho(f"✓ process {status.pid}: the same {calls.count(same, 'call')}", fg="green")
    return 0


@click.group()
def audit() -> None:
    """Verify the journal's hash chains.

    \b
    Examples:
      kernos audit verify
      kernos audit verify -C examples/beauty-advisor
    """


@audit.command()
@company
@click.pass_obj
def verify(system: System, place: Path) -> int:
    """Find any row or content that was changed, removed, moved or put in, and anything that no longer is as it was
    signed. Exit code 1 if there is one.

    \b
    Examples:
      kernos audit verify
    """
    return asyncio.run(_verify(system, place))


async def _verify(system: System, place: Path) -> int:
    async with reading(system, place, audit=True) as ledger:
        faults = await ledger.verify()
        statuses = await ledger.statuses()
    for fault in faults:
        click.secho(f"✗ {fault}", fg="red")
    if faults:
        return 1
    rows = sum(status.seq - _shared(status) for status in statuses)
    click.secho(f"✓ {calls.count(len(statuses), 'process')}, {calls.count(rows, 'row')}: every chain holds", fg="green")
    return 0


def _shared(status: Status) -> int:
    """The last row that a fork has of another process; -1 for a process with rows of its own only."""
    return int(status.origin.rpartition(":")[2] or -1)


@click.group()
def journal() -> None:
    """Move processes between journals, and drop what is old.

    \b
    Examples:
      kernos journal export 7k2q -o 7k2q.jsonl
      kernos journal import 7k2q.jsonl -C elsewhere
      kernos journal prune --older-than 30d
    """


@journal.command()
@click.argument("pid")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="the file (default: standard output)")
@company
@click.pass_obj
def export(system: System, pid: str, output: Path | None, place: Path) -> None:
    """Write a process's journal as lines of text, its hash chain intact. It has to be paused, or to have exited.

    \b
    Examples:
      kernos journal export 7k2q -o 7k2q.jsonl
      kernos journal export 7k2q -C here | kernos journal import - -C there
    """
    status, lines = asyncio.run(_export(system, place, pid))
    text = "".join(f"{line}\n" for line in lines)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        raise BadInput("--output", f"{output}: {error.strerror}", "a file that can be written") from None
    click.echo(f"{output}: process {status.pid}, {calls.count(status.seq + 1, 'row')}")


async def _export(system: System, place: Path, prefix: str) -> tuple[Status, Sequence[str]]:
    async with reading(system, place) as ledger:
        status = await ledger.find(prefix)
        return status, await ledger.export(status.pid)


@journal.command("import")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@company
@click.pass_obj
def take_in(system: System, file: Path, place: Path) -> None:
    """Take in a process that was exported. Its chain must hold under this folder's key, and its employee be here.

    \b
    Examples:
      kernos journal import 7k2q.jsonl
    """
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound("FILE", f"{file}: {error}", "what kernos journal export wrote") from None
    asyncio.run(_import(system, place, text.splitlines()))


async def _import(system: System, place: Path, lines: list[str]) -> None:
    async with beside(system, place) as kernel:
        pid = await kernel.adopt(lines)
    click.echo(f"process {pid} is here: kernos log {pid}{there(place)}")


@journal.command()
@click.option("--older-than", "age", required=True, metavar="AGE", help="of exited processes: 12h, 30d, 8w")
@company
@click.pass_obj
def prune(system: System, age: str, place: Path) -> None:
    """Drop the contents (messages, arguments, results) of processes that exited so long ago, for good. Their rows and
    hashes stay, and `kernos audit verify` still passes.

    \b
    Examples:
      kernos journal prune --older-than 30d
    """
    found = re.fullmatch(r"(\d+) ?(min|h|d|w)", age.strip())
    if found is None:
        raise BadInput("--older-than", repr(age), "a number and its unit: 90min, 12h, 30d, 8w")
    asyncio.run(_prune(system, place, int(found[1]) * _UNITS[found[2]]))


async def _prune(system: System, place: Path, age: float) -> None:
    async with beside(system, place) as kernel:
        pruned = await kernel.prune(now() - age)
    click.echo(f"{calls.count(pruned, 'process')} pruned")
