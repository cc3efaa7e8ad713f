"""The one place where all rooms meet: reads a folder, picks drivers, returns a kernel.

`main` is the `kernos` command. `System` is what surfaces get: companies, kernels, ledgers and models by folder.
Drivers are imported only when a folder chooses them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kernos.boot.archive import Archive, home_of
from kernos.boot.wiring import AGENT, Wiring
from kernos.kernel.errors import KernosError, ModelMissing, NotFound

if TYPE_CHECKING:
    import asyncio
    import socket

    from kernos.drivers.engine.models import Shelf
    from kernos.drivers.policy.cedar import CedarPolicy
    from kernos.drivers.store.keys import SqlKeys
    from kernos.kernel.desk import Desk
    from kernos.kernel.dispatch import Kernel
    from kernos.kernel.ledger import Ledger
    from kernos.kernel.office import Office
    from kernos.kernel.ports import Dispatcher
    from kernos.kernel.types import Json
    from kernos.userland.company.folder import Company

CLOCK_SKEW = 2.0
"""By so many seconds the clocks of workers on one journal may differ."""
_EXAMPLES = ("examples", "../../examples")


def main() -> None:
    """The `kernos` command."""
    from kernos.surfaces.cli.main import run

    sys.exit(run(System()))


class System:
    """Everything that a surface can open. A folder may also be a single sub-agent file."""

    def __init__(self) -> None:
        self._hints: dict[Path, Callable[[str], None]] = {}

    @property
    def shelf(self) -> Shelf:
        """The models on this machine."""
        from kernos.drivers.engine.models import Shelf, default_folder

        return Shelf(default_folder(os.environ))

    def company(self, place: Path) -> Company:
        """The company at a place. Problems stand in it; only a place that cannot be read raises."""
        from kernos.drivers.files.folder import texts
        from kernos.userland.company.folder import read, read_single

        found = texts(place)
        return read_single(place.name, found[place.name]) if place.is_file() else read(found)

    def faults(self, place: Path) -> list[KernosError]:
        """Everything that is wrong at a place, the drivers' own checks included."""
        company = self.company(place)
        faults: list[KernosError] = [problem.error() for problem in company.problems]
        return faults or Wiring(home_of(place), company, self.shelf).faults()

    async def kernel(self, place: Path, alone: bool = True) -> Kernel:
        """A kernel on a place. Raises the first fault, or FolderBusy while another kernel is at work there.

        Without `alone` the place is not locked: to replay, fork, adopt and prune only, and for workers that share it.
        """
        from kernos.drivers.clock.system import SystemClock
        from kernos.drivers.files.folder import state
        from kernos.drivers.store.lock import lock
        from kernos.kernel.dispatch import Kernel

        wiring = self._wiring(place)
        if await wiring.meet():
            wiring = self._wiring(place)
        for lack in wiring.missing() if alone else ():
            raise ModelMissing(lack)
        archive = Archive(place)
        folder = state(home_of(place))
        async with AsyncExitStack() as opened:  # what stays open only if all of it can be opened
            released = await opened.enter_async_context(AsyncExitStack())
            released.enter_context(wiring.guarded())  # before any code of the company's is read
            tools = wiring.tools()
            stations = wiring.stations(tools)
            held = released.enter_context(lock(folder)) if alone and not archive.shared else None
            released.push_async_callback(wiring.close)
            store = archive.open()
            opened.push_async_callback(store.close)
            if held is not None:
                store.hold()
            key, engines = await archive.new_key(store), wiring.engines()
            await wiring.serve()
            kernel = Kernel(
                store, SystemClock(), stations, engines, tools, key=key, prices=wiring.prices(),
                witness=archive.witness(signing=True), skew=CLOCK_SKEW if archive.shared else None,
                hint=self._hints.get(place, lambda pid: None), release=released.aclose, policy=wiring.policy(),
                identities=wiring.identities(), shares=wiring.shares(), roles=wiring.roles(),
            )  # fmt: skip
            opened.pop_all()
        if alone:
            await kernel.learn()
        return kernel

    def _wiring(self, place: Path) -> Wiring:
        """A place's company, ready to be made. Raises its first fault."""
        company = self.company(place)
        if company.problems:
            more = f" (and {len(company.problems) - 1} more: kernos check)" if len(company.problems) > 1 else ""
            first = company.problems[0]
            raise replace(first, right=first.right + more).error()
        return Wiring(home_of(place), company, self.shelf)

    async def listed(self, place: Path, server: str) -> Mapping[str, Json]:
        """The tools that an MCP server of a place lists now, by name. Raises NotFound if there is no such server,
        BadInput if it does not answer."""
        return await Wiring(home_of(place), self.company(place), self.shelf).listed(server)

    def accept(self, place: Path, server: str, tools: Mapping[str, Json]) -> None:
        """Keep this as the list of a server's tools."""
        from kernos.drivers.files.folder import keep
        from kernos.userland.company.mcp import list_of, listing

        keep(home_of(place), list_of(server), listing(tools))

    def dispatcher(self, place: Path) -> Dispatcher:
        """Who gives turns to the processes of a place. Open it before its kernel, which then gives it hints."""
        archive = Archive(place)
        if archive.shared:
            from kernos.drivers.clock.system import SystemClock
            from kernos.drivers.dispatch.procrastinate import ProcrastinateDispatcher

            dispatcher: Dispatcher = ProcrastinateDispatcher(archive.url, SystemClock())
        else:
            from kernos.drivers.dispatch.local import LocalDispatcher

            dispatcher = LocalDispatcher()
        self._hints[place] = dispatcher.hint
        return dispatcher

    def busy(self, place: Path) -> bool:
        """Whether a kernos is at work on a place; of one that workers share nobody can tell from here."""
        from kernos.drivers.store.lock import held

        return Archive(place).shared or held(home_of(place) / ".kernos")

    async def desk(self, place: Path) -> Desk:
        """Where things are put to processes, whoever is at work on the place."""
        from kernos.drivers.clock.system import SystemClock
        from kernos.kernel.desk import Desk

        return Desk(Archive(place).journal(), SystemClock())

    async def keys(self, place: Path) -> SqlKeys:
        """The keys of the API of a place, which has a journal from then on."""
        from kernos.drivers.clock.system import SystemClock
        from kernos.drivers.files.folder import state
        from kernos.drivers.store.keys import SqlKeys

        state(home_of(place))
        return SqlKeys(Archive(place).open(), SystemClock())

    async def ledger(self, place: Path, audit: bool = False) -> Ledger:
        """The journal of a place, for reading; for an audit also what was signed of it. Raises NotFound if nothing has
        ever run there."""
        from kernos.kernel.ledger import Ledger

        archive = Archive(place)
        return Ledger(archive.journal(keyed=audit), archive.witness(signing=False) if audit else None)

    def policy(self, place: Path) -> CedarPolicy:
        """The rules in force at a place."""
        return self._wiring(place).policy()

    def missing(self, place: Path) -> list[str]:
        """What this machine lacks to run a place: models that are not pulled."""
        return Wiring(home_of(place), self.company(place), self.shelf).missing()

    def staff(self, place: Path) -> list[str]:
        """Whom an agent's key may be for: the company's employees, and any agent where none of them is foreign."""
        company = self.company(place)
        foreign = any(company.employee(slug).foreign for slug in company.agents)
        return [*company.agents, *([] if foreign or AGENT in company.agents else [AGENT])]

    def office(self, place: Path, base: str) -> AbstractAsyncContextManager[Office]:
        """A place at work, with everything that a surface with a socket needs; `base` is where that is served."""
        from kernos.boot.serving import opened

        return opened(self, place, base)

    async def serve(self, office: Office, listener: socket.socket) -> None:
        """All surfaces on one socket, until the office is closing."""
        from kernos.boot.serving import serve

        await serve(office, listener)

    def loop(self, place: Path) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """What makes the fastest event loop that a place may have: uvloop, though not in sovereign mode. It connects in
        C, where the gate cannot stand (I10)."""
        if self.company(place).sidecar.networks.sovereign:
            return None
        import uvloop

        return uvloop.new_event_loop

    def admits(self, place: Path) -> Callable[[str], bool]:
        """Which addresses a place may answer: in sovereign mode those that it may reach."""
        return Wiring(home_of(place), self.company(place), self.shelf).admits

    def beacon(self, place: Path) -> Path:
        """Where it is written at which address a place is served."""
        return home_of(place) / ".kernos" / "up.json"

    def template(self, name: str) -> Path:
        """The folder of a shipped example."""
        bases = [(Path(__file__).parent.parent / base).resolve() for base in _EXAMPLES]
        found = {folder.name: folder for base in bases if base.is_dir() for folder in base.iterdir()}
        if name not in found:
            raise NotFound("--example", repr(name), " or ".join(sorted(found)))
        return found[name]
