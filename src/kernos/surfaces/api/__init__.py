"""The native API, `/api/...`: processes, journals, approvals, engines, employees and keys, for programs.

    surface(office) -> Surface           what boot mounts

`table` has every operation once: its path, what it takes and gives, and who may. The routes are made of it, and so is
the description at `/api/openapi.json` (`document`). `rights` says who may see and answer what, `processes`, `answers`
and `office` do it, and `events` streams what a process does.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from kernos.kernel.office import Office
from kernos.surfaces.api.document import document
from kernos.surfaces.api.operation import route
from kernos.surfaces.api.table import TABLE
from kernos.surfaces.http import Surface


def surface(office: Office) -> Surface:
    """The routes of the native API."""

    async def described(_: Request) -> JSONResponse:
        return JSONResponse(document(TABLE, office.version))

    return Surface([Route("/api/openapi.json", described), *(route(operation, office) for operation in TABLE)])
