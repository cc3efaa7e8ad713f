"""The one place where all rooms meet: reads a folder, picks drivers, returns a kernel.

`main` is the `kernos` command. `System` is what surfaces get: companies, kernels, ledgers and models by folder.
Drivers are imported only when a folder chooses them.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernos.kernel.errors import BadInput, KernosError, ModelMissing, NotFound

if TYPE_CHECKING:
    from kernos.drivers.engine.models import Shelf
    from kernos.kernel.dispatch import Kernel
    from kernos.kernel.grants import Station
    from kernos.kernel.ledger import Ledger
    from kernos.kernel.ports import Engine, Tool
    from kernos.userland.company import sidecar
    from kernos.userland.company.folder import Company

_EXAMPLES = ("examples", "../../examples")


def main() -> None:
    """The `kernos` command."""
    from kernos.surfaces.cli.main import run

    sys.exit(run(System()))


class System:
    """Everything that a surface can open. A folder may also be a single sub-agent file."""

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
        return faults or _Wiring(_home(place), company, self.shelf).faults()

    async def kernel(self, place: Path) -> Kernel:
        """A kernel on a place. Raises the first fault, or FolderBusy while another kernel is at work there."""
        from kernos.drivers.clock.system import SystemClock
        from kernos.drivers.files.folder import state
        from kernos.drivers.store.lock import lock
        from kernos.drivers.store.sql import SqlStore
        from kernos.kernel.dispatch import Kernel

        company, home = self.company(place), _home(place)
        if company.problems:
            more = f" (and {len(company.problems) - 1} more: kernos check)" if len(company.problems) > 1 else ""
            first = company.problems[0]
            raise replace(first, right=first.right + more).error()
        wiring = _Wiring(home, company, self.shelf)
        for lack in wiring.missing():
            raise ModelMissing(lack)
        tools = wiring.tools()
        engines = wiring.engines()
        stations = {slug: wiring.station(slug, tools) for slug in company.agents}
        held = lock(state(home))
        try:
            store = SqlStore.open(home / company.sidecar.journal.path, company.sidecar.journal.durability)
        except KernosError:
            held.release()
            raise
        return Kernel(store, SystemClock(), stations, engines, tools, held.release)

    async def ledger(self, place: Path) -> Ledger:
        """The journal of a place, for reading. Raises NotFound if nothing has ever run there."""
        from kernos.drivers.store.sql import SqlStore
        from kernos.kernel.ledger import Ledger

        file = _home(place) / _journal(place)
        if not file.is_file():
            raise NotFound(f"{place}", "no journal", "a folder in which an employee has worked (kernos chat)")
        return Ledger(SqlStore.open(file))

    def missing(self, place: Path) -> list[str]:
        """What this machine lacks to run a place: models that are not pulled."""
        return _Wiring(_home(place), self.company(place), self.shelf).missing()

    def template(self, name: str) -> Path:
        """The folder of a shipped example."""
        bases = [(Path(__file__).parent / base).resolve() for base in _EXAMPLES]
        found = {folder.name: folder for base in bases if base.is_dir() for folder in base.iterdir()}
        if name not in found:
            raise NotFound("--example", repr(name), " or ".join(sorted(found)))
        return found[name]


class _Wiring:
    """A company's side-car, made into drivers and stations."""

    def __init__(self, home: Path, company: Company, shelf: Shelf) -> None:
        self._home, self._company, self._car, self._shelf = home, company, company.sidecar, shelf

    def faults(self) -> list[KernosError]:
        """What the drivers find wrong before anything runs."""
        found: list[KernosError] = []
        programs = [partial(self._program, slug) for slug in self._company.agents]
        attempts: list[Callable[[], object]] = [self.tools, self.engines, self.missing, *programs]
        for attempt in attempts:
            try:
                attempt()
            except KernosError as error:
                found.append(error)
        return found

    def missing(self) -> list[str]:
        lacks = []
        for name, engine in self._engines().items():
            if engine.driver == "embedded":
                try:
                    self._weights(engine.model)
                except ModelMissing as error:
                    lacks.append(str(error))
                except NotFound as error:
                    raise NotFound(f"kernos.toml: engines.{name}.model", repr(error.found), error.right) from None
        return lacks

    def engines(self) -> dict[str, Engine]:
        return {name: self._engine(f"kernos.toml: engines.{name}", engine) for name, engine in self._engines().items()}

    def _engines(self) -> dict[str, sidecar.Engine]:
        from kernos.userland.company.sidecar import EmbeddedEngine

        return self._car.engines or {"local": EmbeddedEngine()}

    def _weights(self, model: str) -> Path:
        file = self._home / model
        return self._shelf.path(str(file) if model.endswith(".gguf") and file.is_file() else model)

    def _engine(self, where: str, engine: sidecar.Engine) -> Engine:
        if engine.driver == "embedded":
            from kernos.drivers.engine.embedded import EmbeddedEngine

            path = partial(self._weights, engine.model)
            return EmbeddedEngine(path, engine.context, engine.slots, engine.threads, engine.port)
        if engine.driver == "openai":
            from kernos.drivers.engine.client import OpenAIEngine
            from kernos.drivers.engine.network import check

            if self._car.networks.sovereign:
                check(where, engine.url, self._car.networks.allow)
            key = os.environ.get(engine.key_env, "") if engine.key_env else ""
            if engine.key_env and not key:
                raise BadInput(f"{where}.key_env", f"no variable {engine.key_env}", "one that holds the key")
            return OpenAIEngine(engine.url, engine.model, key, engine.calls, engine.slots)
        from kernos.drivers.engine.scripted import played

        return played(f"{where}.script", self._home / engine.script)

    def tools(self) -> dict[str, Tool]:
        return {name: self._tool(name, tool) for name, tool in self._car.tools.items()}

    def _skills(self, slug: str) -> dict[str, Tool]:
        """The tools by which an employee reads its own skills, if it has any."""
        from kernos.drivers.tool.skills import LoadSkill, ReadSkillResource

        known = self._company.skills
        own = {name: known[name] for name in self._company.agents[slug].skills if name in known}
        if not own:
            return {}
        folders = {name: self._home / Path(skill.path).parent for name, skill in own.items()}
        bodies = {name: skill.body for name, skill in own.items()}
        return {"load_skill": LoadSkill(bodies), "read_skill_resource": ReadSkillResource(folders)}

    def _tool(self, name: str, tool: sidecar.Tool) -> Tool:
        where = f"kernos.toml: tools.{name}"
        if tool.driver == "python":
            from kernos.drivers.tool.loader import load
            from kernos.drivers.tool.python import PythonTool

            found = load(f"{where}.function", self._home, tool.function)
            if not isinstance(found, PythonTool):
                raise BadInput(f"{where}.function", f"{tool.function}, no tool", "a function under @kernos.tool")
            return found
        from kernos.drivers.tool.sql import SqliteData, SqlTool
        from kernos.userland.company.folder import sql_spec

        source = self._car.data[tool.data]
        seed = self._home / source.seed if source.seed else None
        data = SqliteData(f"kernos.toml: data.{tool.data}", self._home / source.path, seed)
        data.prepare()
        ready = SqlTool(sql_spec(name, tool, self._car.vocabulary), data, tool.query, tool.say, tool.empty)
        ready.rehearse(where)
        return ready

    def station(self, slug: str, tools: Mapping[str, Tool]) -> Station:
        """An employee's place in the kernel."""
        from kernos.kernel.grants import Claim, Grant, Station
        from kernos.kernel.limits import Limits

        given = self._company.employee(slug)
        own = self._skills(slug)
        tools = {name: tool for name, tool in {**tools, **own}.items() if name in (*given.tools, *own)}
        engine = given.engine or next(iter(self._car.engines), "local")
        program = self._program(slug, tools, engine)
        return Station(
            slug, given.program or "employee", program, engine,
            {name: Grant(name, name in given.ask) for name in tools},
            tuple(Claim(claim.what, re.compile(claim.pattern)) for claim in given.claims),
            Limits(**given.limits.model_dump()), own,
        )  # fmt: skip

    def _program(self, slug: str, tools: Mapping[str, Tool] | None = None, engine: str = "") -> Callable[[], Any]:
        from kernos.userland.company.folder import instructions
        from kernos.userland.employee import Brief, employee
        from kernos.userland.lib import Process

        given = self._company.employee(slug)
        if given.program:
            from kernos.drivers.tool.loader import load

            where = f"kernos.toml: employees.{slug}.program"
            function = load(where, self._home, given.program)
            if not getattr(function, "__kernos_program__", False):
                raise BadInput(where, f"{given.program}, no program", "a coroutine function under @kernos.program")
            return lambda: function(Process())
        window = self._car.engines[engine].context if engine in self._car.engines else 8192
        specs = {name: tool.spec for name, tool in (tools or {}).items()}
        brief = Brief(instructions(self._company.agents[slug], self._company), specs, window)
        return lambda: employee(Process(), brief)


def _home(place: Path) -> Path:
    return place.parent if place.is_file() else place


def _journal(place: Path) -> str:
    """Where the journal is, without reading the whole company."""
    try:
        raw = tomllib.loads((place / "kernos.toml").read_text("utf-8-sig"))
        return str(raw["journal"]["path"])
    except (OSError, ValueError, KeyError, TypeError):
        return ".kernos/journal.db"
