"""Tables as wide as the terminal: of processes, of calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kernos.kernel.types import Status
from kernos.surfaces.cli.calls import Line
from kernos.surfaces.cli.places import ago, moment, now, span

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

WIDTH = 140
"""Columns of a table that goes to a file or a pipe."""
DAY = 86_400
_COLOURS = {"doubt": "yellow", "person": "yellow", "interrupted": "yellow", "failed": "red", "limit": "red"}


def print_processes(statuses: Sequence[Status], busy: bool) -> None:
    """The table of `kernos ps`; `busy` says whether a kernos is at work on the folder."""
    from rich.table import Table
    from rich.text import Text

    money, nice = any(status.money for status in statuses), any(status.priority for status in statuses)
    table = Table(box=None, pad_edge=False)
    for name in ("PID", "EMPLOYEE", "OWNER", "STATE", "WHY"):
        table.add_column(name, no_wrap=True, min_width=8 if name == "PID" else None)
    for name in ("CALLS", "TOKENS", *(["MONEY"] if money else []), "SERVICE", *(["NICE"] if nice else []), "LAST"):
        table.add_column(name, justify="right", no_wrap=True)
    for depth, status in _tree(statuses):
        phase, why = _state(status, busy)
        table.add_row(
            "  " * (depth - 1) + "└ " * (depth > 0) + status.pid, Text(status.employee), Text(status.owner),
            phase, Text(why, _COLOURS.get(why, "")), f"{status.calls:,}", f"{status.tokens:,}",
            *([f"{status.money:,.4f}"] if money else []), f"{status.seconds:,.1f} s",
            *([str(status.priority)] if nice else []), ago(status.at),
        )  # fmt: skip
    print_table(table)


def _tree(statuses: Sequence[Status]) -> Iterator[tuple[int, Status]]:
    """Processes in their order, children under their parents, each with its depth."""
    known = {status.pid for status in statuses}
    children: dict[str, list[Status]] = {}
    for status in statuses:
        children.setdefault(status.parent if status.parent in known else "", []).append(status)
    stack = [(0, status) for status in reversed(children.get("", ()))]
    while stack:
        depth, status = stack.pop()
        yield depth, status
        stack += [(depth + 1, child) for child in reversed(children.get(status.pid, ()))]


def _state(status: Status, busy: bool) -> tuple[str, str]:
    """Where a process stands: what nobody is at work on was broken off, whatever its last row says."""
    at_work = status.phase == "running" or (status.phase == "waiting" and status.why in ("engine", "tool"))
    if at_work and not busy:
        return "ready", "interrupted"
    if status.phase == "waiting" and status.why == "timer" and status.wake is not None:
        left = status.wake - now()
        return "waiting", f"timer, in {span(left)}" if left > 0 else "timer, due"
    return status.phase, status.why


def print_calls(shown: Sequence[Line], header: bool = True, costs: bool = True) -> None:
    """The table of calls; with `costs` also their tokens and seconds."""
    from rich.table import Table
    from rich.text import Text

    days = {moment(line.at, "%j") for line in shown}
    form = "%H:%M:%S" if len(days) < 2 else "%m-%d %H:%M:%S"
    table = Table(box=None, pad_edge=False, show_header=header)
    table.add_column("ROWS", justify="right", width=9, no_wrap=True)
    table.add_column("TIME", min_width=8, no_wrap=True)
    table.add_column("CALL", min_width=8, no_wrap=True)
    table.add_column("WHAT", ratio=1, overflow="fold")
    table.add_column("DECISION", width=14)
    for name in ("TOKENS", "SECONDS") if costs else ():
        table.add_column(name, justify="right", width=7)
    for line in shown:
        style = "red" if line.decision.startswith("deny") else "yellow" if _asks(line) else ""
        cost = (f"{line.tokens:,}" if line.tokens else "", "" if line.seconds is None else f"{line.seconds:.2f}")
        table.add_row(
            line.rows, moment(line.at, form), line.call, _detail(line.detail), Text(line.decision, style),
            *(cost if costs else ()),
        )  # fmt: skip
    print_table(table)


def _detail(text: str) -> Text:
    """What a call did; below it in yellow what is wrong with what it says."""
    from rich.text import Text

    first, *below = text.split("\n")
    return Text("\n").join([Text(first), *(Text(line, "yellow" if line.startswith("  !") else "") for line in below)])


def _asks(line: Line) -> bool:
    return line.decision in ("asks a person", "in doubt") or line.decision.startswith("ask")


def print_table(table: Table) -> None:
    """Print a table, as wide as the terminal, or as `WIDTH` says where there is none."""
    from rich.console import Console

    terminal = Console(highlight=False)
    (terminal if terminal.is_terminal else Console(highlight=False, width=WIDTH)).print(table)
