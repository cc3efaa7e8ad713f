"""A house behind a real socket: its kernel at work, keys in its database, one surface served by uvicorn.

async with served(house, surface) as site:
    secret = await site.key("laptop", owner="ada", employee="clerk")
    … site.url, site.office …
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from kernos.drivers.dispatch.local import LocalDispatcher
from kernos.drivers.store.keys import SqlKeys
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.errors import KernosError
from kernos.kernel.grants import Station
from kernos.kernel.journal import Journal
from kernos.kernel.ledger import Ledger
from kernos.kernel.office import EmployeeCard, Kernel, Office
from kernos.kernel.ports import Caller
from kernos.kernel.types import Status
from kernos.surfaces.http import Gatekeeper, Surface, on_error
from tests.support import OWNER, House


@dataclass(frozen=True)
class Site:
    """What is served, and where, to one owner."""

    url: str
    office: Office
    owner: str = OWNER

    @property
    def kernel(self) -> Kernel:
        return self.office.kernel

    async def key(self, name: str, owner: str = "", **more: Any) -> str:
        """A new key's secret."""
        owner = owner or self.owner
        return await self.office.keys.issue(Caller(f"{name}-{self.owner}", owner, **more))

    async def statuses(self) -> list[Status]:
        """The owner's processes."""
        return [status for status in await self.office.ledger.statuses() if status.owner == self.owner]

    async def spawn(self, employee: str) -> str:
        """A new process for the owner."""
        return await self.kernel.spawn(employee, self.owner)

    def of(self, owner: str) -> Site:
        """The same for another owner."""
        return replace(self, owner=owner)


@asynccontextmanager
async def served(house: House, surface: Callable[[Office], Surface]) -> AsyncIterator[Site]:
    """A house at work. Its database must be an `SqlStore`."""
    assert isinstance(house.store, SqlStore)
    kernel, keys, dispatcher = house.boot(), SqlKeys(house.store, house.clock), LocalDispatcher()
    stations = [house.station, *house.others.values()]
    cards = {station.slug: _card(house, station) for station in stations}
    ledger, engines = Ledger(Journal(house.store, house.key)), (house.station.engine,)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    office = Office(kernel, ledger, keys, dispatcher, house.clock, cards, engines, url, "1.0")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_ended, asyncio.ensure_future(dispatcher.serve(kernel)))
        await stack.enter_async_context(listening(office, surface, listener))
        yield Site(url, office)
        office.closing.set()


@asynccontextmanager
async def listening(
    office: Office, surface: Callable[[Office], Surface], listener: socket.socket, secret: str = ""
) -> AsyncIterator[None]:
    """One surface of an office, behind its keys, on a socket; for clients that can send none, this one is theirs."""
    mounted = surface(office)
    app = Starlette(
        routes=mounted.routes, middleware=[Middleware(_Lent, secret=secret), Middleware(Gatekeeper, keys=office.keys)],
        exception_handlers={KernosError: on_error}, lifespan=lambda _: mounted.lifespan(),
    )  # fmt: skip
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1, lifespan="on"))
    serving = asyncio.ensure_future(server.serve([listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


class _Lent:
    """Adds a key to every request."""

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self._app, self._headers = app, [(b"authorization", f"Bearer {secret}".encode())] if secret else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "headers": [*scope.get("headers", ()), *self._headers]}, receive, send)


def foreign(station: Station) -> Station:
    """The same station for an agent whose program runs elsewhere."""
    return replace(station, foreign=True)


def _card(house: House, station: Station) -> EmployeeCard:
    tools = tuple(house.tools[name].spec for name in station.grants)
    return EmployeeCard(
        station.slug, station.slug.title(), "It keeps the office.", {"filing": "Finds and files things."}, tools,
        station.engine, station.foreign,
    )  # fmt: skip


async def _ended(task: asyncio.Future[None]) -> None:
    if task.cancelled():
        return
    task.cancel()
    await asyncio.wait({task})
