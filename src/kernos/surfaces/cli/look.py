"""`kernos ps`, `kernos log` and `kernos audit verify`: reading what happened."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kernos.kernel.errors import NotFound
from kernos.kernel.types import Record, Status
from kernos.surfaces.cli import calls
from kernos.surfaces.cli.system import System

if TYPE_CHECKING:
    from rich.table import Table

FOLLOW_SECONDS = 0.5
WIDTH = 140
"""Columns of a table that goes to a file or a pipe."""
company = click.option(
    "-C", "--company", "place", type=click.Path(path_type=Path), default=".", help="the company's folder"
)


@click.command()
@company
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line")
@click.pass_obj
def ps(system: System, place: Path, as_json: bool) -> None:
    """List processes: state, calls, tokens, seconds of service.

    \b
    Examples:
      kernos ps
      kernos ps -C examples/beauty-advisor --json
    """
    if not place.exists():
        raise NotFound("--company", str(place), "a company's folder")
    statuses = asyncio.run(_statuses(system, place))
    if as_json:
        for status in statuses:
            click.echo(json.dumps(asdict(status), ensure_ascii=False))
    elif not statuses:
        click.echo("no processes yet (kernos chat starts one)")
    else:
        _print_table(_ps_table(statuses))


async def _statuses(system: System, place: Path) -> Sequence[Status]:
    try:
        ledger = await system.ledger(place)
    except NotFound:
        return []
    try:
        return await ledger.statuses()
    finally:
        await ledger.close()


def _ps_table(statuses: Sequence[Status]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("PID", "EMPLOYEE", "OWNER", "STATE", "WHY"):
        table.add_column(name, no_wrap=True)
    for name in ("CALLS", "TOKENS", "SERVICE", "LAST"):
        table.add_column(name, justify="right", no_wrap=True)
    for status in statuses:
        table.add_row(
            status.pid, status.employee, status.owner, status.phase, status.why, str(status.calls),
            f"{status.tokens:,}", f"{status.seconds:.1f} s", _ago(status.at),
        )  # fmt: skip
    return table


def _ago(at: float) -> str:
    seconds = max(0.0, time.time_ns() / 1e9 - at)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


@click.command()
@click.argument("pid")
@company
@click.option("--json", "as_json", is_flag=True, help="every row of the journal, one JSON object a line")
@click.option("-f", "--follow", is_flag=True, help="go on showing what comes, until Ctrl-C")
@click.pass_obj
def log(system: System, pid: str, place: Path, as_json: bool, follow: bool) -> None:
    """Show what a process did: every system call, its decision, tokens and time.

    \b
    Examples:
      kernos log 7k2q                     a pid may be shortened
      kernos log 7k2q --follow
      kernos log 7k2q --json | jq 'select(.kind == "intent")'
    """
    asyncio.run(_log(system, place, pid, as_json, follow))


async def _log(system: System, place: Path, pid: str, as_json: bool, follow: bool) -> None:
    ledger = await system.ledger(place)
    try:
        status = await ledger.find(pid)
        records = list(await ledger.records(status.pid))
        _print_log(records, as_json, summed=not follow)
        while follow and status.phase != "exited":
            await asyncio.sleep(FOLLOW_SECONDS)
            status = await ledger.find(status.pid)
            fresh = list(await ledger.records(status.pid, records[-1].seq)) if status.seq > records[-1].seq else []
            if fresh and (as_json or fresh[-1].kind != "intent"):
                _print_log(fresh, as_json, summed=False)
                records += fresh
    finally:
        await ledger.close()


def _print_log(records: Sequence[Record], as_json: bool, summed: bool) -> None:
    if as_json:
        for record in records:
            click.echo(json.dumps({**asdict(record), "body": dict(record.body)}, ensure_ascii=False))
        return
    shown = list(calls.lines(records))
    print_calls(shown, header=summed)
    if summed:
        click.echo(f"\n{calls.summary(shown)}")


def print_calls(shown: Sequence[calls.Line], header: bool = True) -> None:
    """The table of calls, as wide as the terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=header)
    table.add_column("ROWS", justify="right", width=9, no_wrap=True)
    table.add_column("TIME", width=8, no_wrap=True)
    table.add_column("CALL", width=8, no_wrap=True)
    table.add_column("WHAT", ratio=1, overflow="fold")
    table.add_column("DECISION", width=14)
    table.add_column("TOKENS", justify="right", width=6)
    table.add_column("SECONDS", justify="right", width=7)
    for line in shown:
        style = "red" if line.decision.startswith("deny") else "yellow" if "ask" in line.decision else ""
        table.add_row(
            line.rows, datetime.fromtimestamp(line.at, UTC).astimezone().strftime("%H:%M:%S"), line.call,
            Text(line.detail), Text(line.decision, style), f"{line.tokens:,}" if line.tokens else "",
            "" if line.seconds is None else f"{line.seconds:.2f}",
        )  # fmt: skip
    _print_table(table)


def _print_table(table: Table) -> None:
    from rich.console import Console

    terminal = Console(highlight=False)
    (terminal if terminal.is_terminal else Console(highlight=False, width=WIDTH)).print(table)


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
    """Find any row or content that was changed, removed, moved or put in. Exit code 1 if there is one."""
    return asyncio.run(_verify(system, place))


async def _verify(system: System, place: Path) -> int:
    ledger = await system.ledger(place)
    try:
        faults = await ledger.verify()
        statuses = await ledger.statuses()
    finally:
        await ledger.close()
    for fault in faults:
        click.secho(f"✗ {fault}", fg="red")
    if faults:
        return 1
    rows = sum(status.seq + 1 for status in statuses)
    click.secho(f"✓ {calls.count(len(statuses), 'process')}, {calls.count(rows, 'row')}: every chain holds", fg="green")
    return 0
