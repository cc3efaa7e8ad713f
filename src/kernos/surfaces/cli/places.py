"""What commands share: the folder that they are about, its journal and kernel, who gives them, and times in words."""

from __future__ import annotations

import getpass
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

import click

from kernos.kernel.office import Desk, Kernel, Ledger
from kernos.kernel.ports import Dispatcher
from kernos.kernel.types import Status
from kernos.surfaces.cli.system import System

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))

company = click.option(
    "-C", "--company", "place", type=click.Path(path_type=Path), default=".", help="the company's folder"
)
place_argument = click.argument("place", type=click.Path(path_type=Path), default=".")


@dataclass(frozen=True)
class Site:
    """A kernel, who gives turns to its processes, and whether others may be at work on the same ones."""

    kernel: Kernel
    dispatcher: Dispatcher
    shared: bool


def there(place: Path) -> str:
    """What a command about this folder needs beside its arguments."""
    return "" if place == Path() else f" -C {place}"


class _Closes(Protocol):
    async def close(self) -> None: ...


C = TypeVar("C", bound=_Closes)


@asynccontextmanager
async def closing(opening: Awaitable[C]) -> AsyncIterator[C]:
    """What is being opened, while the block runs."""
    opened = await opening
    try:
        yield opened
    finally:
        await opened.close()


def reading(system: System, place: Path, audit: bool = False) -> AbstractAsyncContextManager[Ledger]:
    """The journal of a place; `audit` where more is done than showing it."""
    return closing(system.ledger(place, audit))


def beside(system: System, place: Path) -> AbstractAsyncContextManager[Kernel]:
    """A kernel that may stand beside another's work: to start, fork, replay, take in and prune."""
    return closing(system.kernel(place, alone=False))


def desk_of(system: System, place: Path) -> AbstractAsyncContextManager[Desk]:
    """Where things are put to the processes of a place."""
    return closing(system.desk(place))


@asynccontextmanager
async def at_work(system: System, place: Path) -> AsyncIterator[Site]:
    """A place to work at. Raises FolderBusy where only one kernos can and another does."""
    shared = system.busy(place)
    dispatcher = system.dispatcher(place)
    try:
        async with closing(system.kernel(place)) as kernel:
            yield Site(kernel, dispatcher, shared)
    finally:
        await dispatcher.close()


async def find(system: System, place: Path, prefix: str) -> Status:
    """The process whose pid begins so."""
    async with reading(system, place) as ledger:
        return await ledger.find(prefix)


async def family(system: System, place: Path, prefix: str) -> Sequence[Status]:
    """The process whose pid begins so, and then its descendants."""
    async with reading(system, place) as ledger:
        top, statuses = await ledger.find(prefix), await ledger.statuses()
    kept = {top.pid: top}
    for status in statuses:  # oldest first: parents before their children
        if status.parent in kept:
            kept[status.pid] = status
    return list(kept.values())


def user() -> str:
    """Who gives commands here."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "owner"


def stands(status: Status) -> str:
    """Where a process stands, in words."""
    return f"{status.phase} ({status.why})" if status.why else status.phase


def now() -> float:
    """Seconds since 1970, UTC."""
    return time.time_ns() / 1e9


def ago(at: float) -> str:
    """How long ago a moment was."""
    return f"{span(now() - at)} ago"


def span(seconds: float) -> str:
    """A length of time, to its largest unit."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    return f"{max(0.0, seconds) / size:.{0 if seconds >= 1 or seconds <= 0 else 1}f} {unit}"


def moment(at: float, form: str = "%H:%M:%S") -> str:
    """A moment as the clock on the wall has it."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime(form)
