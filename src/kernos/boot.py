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
    from kernos.drivers.store.sql import SqlStore
    from kernos.kernel.desk import Desk
    from kernos.kernel.dispatch import Kernel
    from kernos.kernel.grants import Station
    from kernos.kernel.journal import Journal
    from kernos.kernel.ledger import Ledger
    from kernos.kernel.limits import Limits
    from kernos.kernel.ports import Dispatcher, Engine, Program, Store, Tool, Witness
    from kernos.userland.company import sidecar
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
        return faults or _Wiring(_home(place), company, self.shelf).faults()

    async def kernel(self, place: Path, alone: bool = True) -> Kernel:
        """A kernel on a place. Raises the first fault, or FolderBusy while another kernel is at work there.

        Without `alone` the place is not locked: to replay, fork, adopt and prune only, and for workers that share it.
        """
        from kernos.drivers.clock.system import SystemClock
        from kernos.drivers.files.folder import state
        from kernos.drivers.store.lock import lock
        from kernos.kernel.dispatch import Kernel
        from kernos.kernel.limits import Price

        company, home = self.company(place), _home(place)
        if company.problems:
            more = f" (and {len(company.problems) - 1} more: kernos check)" if len(company.problems) > 1 else ""
            first = company.problems[0]
            raise replace(first, right=first.right + more).error()
        wiring = _Wiring(home, company, self.shelf)
        for lack in wiring.missing() if alone else ():
            raise ModelMissing(lack)
        tools = wiring.tools()
        engines = wiring.engines()
        stations = {slug: wiring.station(slug, tools) for slug in company.agents}
        archive = _Archive(place, company.sidecar.journal)
        folder = state(home)
        held = lock(folder) if alone and not archive.shared else None
        try:
            store = archive.open()
            if held is not None:
                store.hold()
            key = await archive.new_key(store)
            witness = archive.witness(signing=True)
        except KernosError:
            if held is not None:
                held.release()
            raise
        prices = {name: Price(**engine.price.model_dump()) for name, engine in company.sidecar.engines.items()}
        return Kernel(
            store, SystemClock(), stations, engines, tools, key=key, prices=prices, witness=witness,
            skew=CLOCK_SKEW if archive.shared else None, hint=self._hints.get(place, lambda pid: None),
            release=held.release if held is not None else lambda: None,
        )  # fmt: skip

    def dispatcher(self, place: Path) -> Dispatcher:
        """Who gives turns to the processes of a place. Open it before its kernel, which then gives it hints."""
        archive = _Archive(place)
        dispatcher: Dispatcher
        if archive.shared:
            from kernos.drivers.clock.system import SystemClock
            from kernos.drivers.dispatch.procrastinate import ProcrastinateDispatcher

            dispatcher = ProcrastinateDispatcher(archive.url, SystemClock())
        else:
            from kernos.drivers.dispatch.local import LocalDispatcher

            dispatcher = LocalDispatcher()
        self._hints[place] = dispatcher.hint
        return dispatcher

    def busy(self, place: Path) -> bool:
        """Whether a kernos is at work on a place; of one that workers share nobody can tell from here."""
        from kernos.drivers.store.lock import held

        return _Archive(place).shared or held(_home(place) / ".kernos")

    async def desk(self, place: Path) -> Desk:
        """Where things are put to processes, whoever is at work on the place."""
        from kernos.drivers.clock.system import SystemClock
        from kernos.kernel.desk import Desk

        return Desk(_Archive(place).journal(), SystemClock())

    async def ledger(self, place: Path, audit: bool = False) -> Ledger:
        """The journal of a place, for reading; for an audit also what was signed of it. Raises NotFound if nothing has
        ever run there."""
        from kernos.kernel.ledger import Ledger

        archive = _Archive(place)
        return Ledger(archive.journal(keyed=audit), archive.witness(signing=False) if audit else None)

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
        from kernos.userland.company.folder import sql_spec

        if tool.driver == "journal":
            from kernos.drivers.tool.joined import JoinedTool

            return JoinedTool(sql_spec(name, tool, self._car.vocabulary), tool.statement)
        from kernos.drivers.tool.sql import SqliteData, SqlTool

        source = self._car.data[tool.data]
        seed = self._home / source.seed if source.seed else None
        data = SqliteData(f"kernos.toml: data.{tool.data}", self._home / source.path, seed)
        data.prepare()
        ready = SqlTool(sql_spec(name, tool, self._car.vocabulary), data, tool.query, tool.say, tool.empty)
        ready.rehearse(where)
        return ready

    def _calls(self, slug: str) -> dict[str, Tool]:
        """The system calls that an employee's model may choose."""
        from kernos.drivers.tool.schema import Unserved
        from kernos.userland.calls import specs

        given = self._company.employee(slug)
        return {name: Unserved(spec) for name, spec in specs(given.calls, given.spawns).items()}

    def station(self, slug: str, tools: Mapping[str, Tool]) -> Station:
        """An employee's place in the kernel."""
        from kernos.kernel.grants import Claim, Grant, Station

        given = self._company.employee(slug)
        own = {**self._skills(slug), **self._calls(slug)}
        tools = {name: tool for name, tool in {**tools, **own}.items() if name in (*given.tools, *own)}
        engine = given.engine or next(iter(self._car.engines), "local")
        program = self._program(slug, tools, engine)
        return Station(
            slug, given.program or "employee", program, engine,
            {name: Grant(name, name in given.ask) for name in tools},
            tuple(Claim(claim.what, re.compile(claim.pattern)) for claim in given.claims),
            self._limits(given), own, frozenset(given.spawns),
        )  # fmt: skip

    def _limits(self, given: sidecar.Employee) -> Limits:
        from kernos.kernel.limits import Limits, Sums

        plain = given.limits.model_dump() | {"soft": frozenset(given.limits.soft)}
        plain |= {"tree": Sums(**given.limits.tree.model_dump()), "day": Sums(**self._car.day.model_dump())}
        return Limits(**plain)

    def _program(self, slug: str, tools: Mapping[str, Tool] | None = None, engine: str = "") -> Program:
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
            return lambda snapshot: function(Process(snapshot))
        window = self._car.engines[engine].context if engine in self._car.engines else 8192
        specs = {name: tool.spec for name, tool in (tools or {}).items()}
        brief = Brief(instructions(self._company.agents[slug], self._company), specs, window, given.calls)
        return lambda snapshot: employee(Process(snapshot), brief)


def _home(place: Path) -> Path:
    return place.parent if place.is_file() else place


class _Archive:
    """Where a place's journal is, and what vouches for it.

    Without a section it reads that of kernos.toml as it stands, without the whole company: commands that only look have
    to be quick, and what is wrong in it is `kernos check`'s to say.
    """

    def __init__(self, place: Path, section: sidecar.JournalSection | None = None) -> None:
        self._place, self._home = place, _home(place)
        self._given = section.model_dump() if section else _raw(place)
        self.shared = self._given.get("dispatcher") == "procrastinate"

    @property
    def url(self) -> str:
        """The database's address, with variables put in. Raises BadInput for one that is not set."""
        url = os.path.expandvars(str(self._given.get("url", "")))
        if url and "$" in url:
            raise BadInput("kernos.toml: journal.url", "a variable that is not set", "one that is, or none")
        return url

    @property
    def file(self) -> Path:
        return self._home / str(self._given.get("path") or ".kernos/journal.db")

    def open(self) -> SqlStore:
        """The store, made if it is not there."""
        from kernos.drivers.store.sql import SqlStore

        store = SqlStore.open(self.url or self.file, self._given.get("durability", "power"))
        if tables := self._given.get("tables"):
            where = "kernos.toml: journal.tables"
            store.script(where, _text(where, self._home / tables))
        return store

    def journal(self, keyed: bool = True) -> Journal:
        """The journal as it is; not `keyed` where nothing is checked. Raises NotFound if nothing has ever run there."""
        from kernos.kernel.journal import Journal

        if not self.url and not self.file.is_file():
            right = "a folder in which an employee has worked (kernos chat)"
            raise NotFound(f"{self._place}", "no journal", right)
        return Journal(self.open(), self._key(make=False) if keyed else b"")

    async def new_key(self, store: Store) -> bytes:
        """The key of the chains, made where there are none yet: another would not fit those that there are."""
        try:
            return self._key(make=False)
        except NotFound:
            if await store.statuses():
                raise
            return self._key(make=True)

    def _key(self, make: bool) -> bytes:
        from kernos.drivers.files.keys import journal_key

        return journal_key(os.environ, self._path("key"), make)

    def witness(self, signing: bool) -> Witness | None:
        """Who keeps the anchors, if the place has any; to sign, or only to read."""
        path = self._path("anchors", ".kernos/anchors.jsonl")
        if path is None:
            return None
        from kernos.drivers.files.keys import signing_key, verifying_key
        from kernos.drivers.witness.file import FileWitness

        private = signing_key(os.environ, self._path("anchor_key")) if signing else None
        return FileWitness(path, verifying_key(os.environ, self._path("anchor_key")), private)

    def _path(self, name: str, default: str = "") -> Path | None:
        given = os.path.expandvars(str(self._given.get(name, default)))
        return self._home / Path(given).expanduser() if given else None


def _raw(place: Path) -> Mapping[str, Any]:
    try:
        found = tomllib.loads((place / "kernos.toml").read_text("utf-8-sig")).get("journal", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(where: str, file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(where, f"{file}: {error}", "an SQL script") from None
