"""The place as a whole through the API: engines, employees, keys, the stop of everything, and whether it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from kernos.kernel.errors import BadInput
from kernos.kernel.office import EngineView, View
from kernos.kernel.ports import Caller, KeyRole
from kernos.surfaces.api.operation import Call, Form
from kernos.surfaces.http import sees

OTHERS = "(another's)"
"""What stands for the pid of a process that the caller may not see."""


class NewKey(Form):
    """A key to be made. With `process` it is for an agent that is this process, with `employee` for one that may start
    processes of that employee; `speaks` says that what such an agent sends as a user's message is its owner's words."""

    name: str
    owner: str = ""
    roles: Annotated[frozenset[KeyRole], Field(min_length=1)] = frozenset({"member"})
    employee: str = ""
    process: str = ""
    speaks: bool = False


@dataclass(frozen=True)
class Issued:
    """A new key. `key` is shown this once."""

    name: str
    key: str


@dataclass(frozen=True)
class Worker:
    """An employee: what it is for, and what it was granted."""

    slug: str
    name: str
    title: str
    skills: dict[str, str]
    tools: list[str]
    engine: str
    foreign: bool


@dataclass(frozen=True)
class Pids:
    """Processes by their pids."""

    pids: list[str]


@dataclass(frozen=True)
class Health:
    """That Kernos is there, and which."""

    version: str
    status: str = "ok"


async def health(call: Call) -> Health:
    """Whether this Kernos serves. Needs no key."""
    return Health(call.office.version)


async def engines(call: Call) -> View:
    """What the engines and the scheduler are doing. Only an operator's key shows the processes of others."""
    view, caller = call.office.kernel.view(), call.caller
    if "operator" in caller.roles:
        return view
    mine = {status.pid for status in await call.office.ledger.statuses() if sees(caller, status)}
    shown = tuple(_hidden(engine, mine) for engine in view.engines)
    return View(shown, tuple(process for process in view.processes if process.pid in mine))


def _hidden(engine: EngineView, mine: set[str]) -> EngineView:
    return replace(engine, slots=tuple(pid if pid in mine or not pid else OTHERS for pid in engine.slots))


async def employees(call: Call) -> Sequence[Worker]:
    """Who works here."""
    cards = call.office.employees.values()
    return [
        Worker(card.slug, card.name, card.title, dict(card.skills), [tool.name for tool in card.tools], card.engine,
               card.foreign)
        for card in cards if call.caller.employee in ("", card.slug)
    ]  # fmt: skip


async def keys(call: Call) -> Sequence[Caller]:
    """List the keys that hold. Nothing shows their secrets."""
    return await call.office.keys.callers()


async def issued(call: Call) -> Issued:
    """Make a key. Its secret is in the answer, and nowhere else afterwards."""
    form, office = call.body, call.office
    assert isinstance(form, NewKey)
    if form.employee and form.employee not in office.employees:
        raise BadInput("body: employee", repr(form.employee), " or ".join(sorted(office.employees)))
    status = await office.ledger.find(form.process) if form.process else None
    owner = form.owner or (status.owner if status else call.caller.owner)
    pid = status.pid if status else ""
    secret = await office.keys.issue(Caller(form.name, owner, form.roles, form.employee, pid, form.speaks))
    return Issued(form.name, secret)


async def revoked(call: Call) -> None:
    """Revoke a key: from now on it opens nothing."""
    await call.office.keys.revoke(call.path["name"])


async def stopped(call: Call) -> Pids:
    """Halt every process at once. Nothing but a person's resume starts one again."""
    return Pids(list(await call.office.kernel.stop_all(call.caller.owner)))


async def resumed(call: Call) -> Pids:
    """Lift every pause."""
    return Pids(list(await call.office.kernel.resume_all(call.caller.owner)))
