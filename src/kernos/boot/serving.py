"""A place behind one socket: its office, the application of all surfaces, and the server.

async with opened(system, place, base) as office:      kernel, journal, keys, who works there
    await serve(office, listener)                      until `office.closing` is set
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from kernos.drivers.clock.system import SystemClock
from kernos.kernel.errors import KernosError
from kernos.kernel.grants import Station
from kernos.kernel.office import EmployeeCard, Office
from kernos.surfaces.http import Gatekeeper, Surface, on_error

if TYPE_CHECKING:
    from kernos.boot import System
    from kernos.userland.company.folder import Company

SURFACES = ("openai", "api", "mcp", "a2a")
GRACE = 3
"""So many seconds an answer that is being given has when the server ends."""
CONNECTIONS = 4_096
"""So many clients are served at once; to more the answer is 503."""
YOUNG = 10_000
"""So many new objects are looked through for cycles at once: those of some calls, not of a part of one."""


@asynccontextmanager
async def opened(system: System, place: Path, base: str) -> AsyncIterator[Office]:
    """The office of a place, which is at work from now on. Raises what `System.kernel` raises."""
    company = system.company(place)
    async with AsyncExitStack() as stack:
        dispatcher = system.dispatcher(place)
        stack.push_async_callback(dispatcher.close)
        kernel = await system.kernel(place)
        stack.push_async_callback(kernel.close)
        ledger = await system.ledger(place, audit=True)
        stack.push_async_callback(ledger.close)
        keys = await system.keys(place)
        stack.push_async_callback(keys.close)
        yield Office(
            kernel, ledger, keys, dispatcher, SystemClock(), _cards(company, kernel.stations),
            tuple(company.sidecar.engines) or ("local",), base, version("kernos"), admits=system.admits(place),
        )  # fmt: skip


def _cards(company: Company, stations: Mapping[str, Station]) -> dict[str, EmployeeCard]:
    cards = {}
    for slug, station in stations.items():
        agent = company.agents.get(slug)
        skills = {name: company.skills[name].description for name in (agent.skills if agent else ())}
        tools = tuple(tool.spec for tool in station.tools.values())
        cards[slug] = EmployeeCard(
            slug, agent.name if agent else slug, agent.title if agent else "", skills, tools, station.engine,
            station.foreign,
        )  # fmt: skip
    return cards


def application(office: Office) -> Starlette:
    """All surfaces as one application, behind the keys."""
    modules = [import_module(f"kernos.surfaces.{name}") for name in SURFACES]
    surfaces: list[Surface] = [module.surface(office) for module in modules]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for surface in surfaces:
                await stack.enter_async_context(surface.lifespan())
            yield

    return Starlette(
        routes=[route for surface in surfaces for route in surface.routes],
        middleware=[Middleware(Gatekeeper, keys=office.keys, admits=office.admits)],
        exception_handlers={KernosError: on_error, HTTPException: on_error, Exception: on_error},
        lifespan=lifespan,
    )


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever started it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(office: Office, listener: socket.socket) -> None:
    """Serve all surfaces on a socket that is bound, until the office is closing."""
    config = uvicorn.Config(
        application(office), http="httptools", ws="none", lifespan="on", access_log=False, log_config=None,
        timeout_graceful_shutdown=GRACE, server_header=False, limit_concurrency=CONNECTIONS,
    )  # fmt: skip
    server = _Server(config)
    gc.freeze()  # what is loaded now stays: to look through it again and again was a tenth of each call
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
    serving = asyncio.ensure_future(server.serve([listener]))
    closing = asyncio.ensure_future(office.closing.wait())
    try:
        await asyncio.wait({serving, closing}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            raise KernosError("the server did not start: the lines above say why")
    finally:
        closing.cancel()
        server.should_exit = True
        await serving
