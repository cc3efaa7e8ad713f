"""`kernos ps`, `kernos log` and `kernos wait`: reading what happens, whoever is at work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from kernos.kernel.errors import NotFound
from kernos.kernel.office import Ledger
from kernos.kernel.types import Record, Status
from kernos.surfaces.cli import calls
from kernos.surfaces.cli.places import company, family, reading, stands
from kernos.surfaces.cli.system import System
from kernos.surfaces.cli.tables import print_calls, print_processes

FOLLOW_SECONDS = 0.5
WAIT_SECONDS = 0.1


@click.command()
@click.argument("pid", default="")
@company
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line, as it stands in the process table")
@click.pass_obj
def ps(system: System, pid: str, place: Path, as_json: bool) -> None:
    """List processes as a tree: state, why they wait, calls, tokens, cost, seconds of service. With PID only that
    process and its descendants.

    \b
    Examples:
      kernos ps
      kernos ps 7k2q
      kernos ps -C examples/beauty-advisor --json

    \b
    States:
      ready     has something to do; "interrupted": a kernos was stopped while it was at it
      running   at it
      waiting   for: engine, tool, message, person (asked something), doubt, timer, process (a child)
      paused    kernos pause; kernos resume lifts it
      exited    done, failed, killed, or limit (it had used up what it may use)
    """
    if not place.exists():
        raise NotFound("--company", str(place), "a company's folder")
    statuses = asyncio.run(_statuses(system, place, pid))
    if as_json:
        for status in statuses:
            click.echo(json.dumps(asdict(status), ensure_ascii=False))
    elif not statuses:
        click.echo("no processes yet (kernos chat starts one)")
    else:
        print_processes(statuses, system.busy(place))


async def _statuses(system: System, place: Path, prefix: str) -> Sequence[Status]:
    if prefix:
        return await family(system, place, prefix)
    try:
        async with reading(system, place) as ledger:
            return await ledger.statuses()
    except NotFound:
        return []


@click.command()
@click.argument("pid")
@company
@click.option("--json", "as_json", is_flag=True, help="every row of the journal, one JSON object a line")
@click.option("-f", "--follow", is_flag=True, help="go on showing what comes, until it exits or Ctrl-C")
@click.option("-a", "--all", "every", is_flag=True, help="checkpoints too")
@click.pass_obj
def log(system: System, pid: str, place: Path, as_json: bool, follow: bool, every: bool) -> None:
    """Show what a process did: every system call, its decision, tokens and time.

    \b
    Examples:
      kernos log 7k2q                     a pid may be shortened
      kernos log 7k2q --follow
      kernos log 7k2q --json | jq 'select(.kind == "intent")'
    """
    asyncio.run(_log(system, place, pid, as_json, follow, every))


async def _log(system: System, place: Path, pid: str, as_json: bool, follow: bool, every: bool) -> None:
    async with reading(system, place) as ledger:
        status = await ledger.find(pid)
        records = list(await ledger.records(status.pid))
        shown = calls.lines(records, every)
        if as_json:
            _print_rows(records)
        else:
            print_calls(shown, costs=follow or calls.costly(shown))
            click.echo("" if follow else f"\n{calls.summary(shown)}", nl=not follow)
        while follow and status.phase != "exited":
            await asyncio.sleep(FOLLOW_SECONDS)
            status = await ledger.find(status.pid)
            fresh = await ledger.records(status.pid, records[-1].seq) if status.seq > records[-1].seq else []
            records += fresh
            if as_json:
                _print_rows(fresh)
            elif fresh and (news := _news(calls.lines(records, every), shown)):
                shown += news
                print_calls(news, header=False)


def _news(now: Sequence[calls.Line], shown: Sequence[calls.Line]) -> list[calls.Line]:
    """Lines that were not shown like this before, without those of engines and tools that are still at it."""
    before = set(shown)
    return [line for line in now if line not in before and not line.going]


def _print_rows(records: Sequence[Record]) -> None:
    for record in records:
        click.echo(json.dumps({**asdict(record), "body": dict(record.body)}, ensure_ascii=False))


@click.command()
@click.argument("pid")
@company
@click.option("--timeout", type=click.FloatRange(min=0), help="give up after so many seconds")
@click.pass_obj
def wait(system: System, pid: str, place: Path, timeout: float | None) -> int:
    """Wait until a process has exited. Exit code 0 if it is done; 1 if it ended otherwise, or not in time.

    \b
    Examples:
      kernos wait 7k2q && echo done
      kernos wait 7k2q --timeout 60
    """
    return asyncio.run(_wait(system, place, pid, timeout))


async def _wait(system: System, place: Path, prefix: str, timeout: float | None) -> int:
    async with reading(system, place) as ledger:
        status = await ledger.find(prefix)
        if status.phase != "exited" and not system.busy(place):
            click.secho("no kernos is at work on this folder: kernos work or kernos resume", fg="yellow", err=True)
        try:
            async with asyncio.timeout(timeout):
                status = await _exited(ledger, status)
        except TimeoutError:
            status = await ledger.find(status.pid)
    done = (status.phase, status.why) == ("exited", "done")
    said = status.why if status.phase == "exited" else f"still {stands(status)}"
    click.secho(f"process {status.pid}: {said}", fg=None if done else "red")
    return 0 if done else 1


async def _exited(ledger: Ledger, status: Status) -> Status:
    while status.phase != "exited":
        await asyncio.sleep(WAIT_SECONDS)
        status = await ledger.find(status.pid)
    return status
