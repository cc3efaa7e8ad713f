"""A company's side-car, made into drivers and stations. Drivers are imported only when a folder chooses them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from kernos.boot.servers import Servers
from kernos.kernel.errors import BadInput, KernosError, ModelMissing, NotFound, ProgramError
from kernos.kernel.grants import Claim, Grant, Station
from kernos.kernel.limits import Limits, Price, Sums
from kernos.kernel.scheduler.waiting import Share

if TYPE_CHECKING:
    from kernos.drivers.engine.embedded import EmbeddedEngine
    from kernos.drivers.engine.models import Shelf
    from kernos.drivers.network.gate import Gate
    from kernos.drivers.policy.cedar import CedarPolicy
    from kernos.kernel.ports import Engine, Program, SlotEngine, Tool
    from kernos.kernel.types import Json, Snapshot
    from kernos.userland.company import sidecar
    from kernos.userland.company.folder import Company

_OWN = ((sys.executable, "-m", "kernos.drivers.engine.server"), ("bwrap", "--unshare-net"))
"""The programs that drivers start: one listens on loopback, the other has no network."""


AGENT = "agent"
"""The employee that any agent is who comes in through the API, if the company has none for that."""


async def _elsewhere(snapshot: Snapshot) -> Json:
    """The program of a foreign agent, which runs elsewhere: its calls come in through the API."""
    raise ProgramError("a foreign agent has no program here")


class Wiring:
    """What a company needs to run."""

    def __init__(self, home: Path, company: Company, shelf: Shelf) -> None:
        from kernos.drivers.secrets.veil import Veil

        self._home, self._company, self._car, self._shelf = home, company, company.sidecar, shelf
        self._veil = Veil()
        self._serving: list[EmbeddedEngine] = []

    @cached_property
    def _servers(self) -> Servers:
        return Servers(self._home, self._company, self._gate, self._secret)

    async def meet(self) -> bool:
        """Have the tools of new MCP servers listed in the folder, which has then to be read again; whether there were
        any."""
        with self.guarded(), self._veil.errors():
            try:
                return await self._servers.meet()
            finally:
                await self.close()

    async def listed(self, server: str) -> Mapping[str, Json]:
        """The tools that an MCP server lists now."""
        with self.guarded(), self._veil.errors():
            try:
                return await self._servers.listed(server)
            finally:
                await self.close()

    async def close(self) -> None:
        """End the MCP servers that were started."""
        await self._servers.close()

    @cached_property
    def _gate(self) -> Gate | None:
        """What engines, tools and databases may reach; None: everything."""
        from kernos.drivers.network.gate import Gate

        given = self._car.networks
        programs = [*_OWN, *((name,) for name in given.programs)]
        return Gate(given.allow, given.hosts, programs) if given.sovereign else None

    def admits(self, host: str) -> bool:
        """Whether bytes may go to an address."""
        return self._gate is None or self._gate.admits(host)

    def guarded(self) -> AbstractContextManager[None]:
        """Puts all of this program behind the gate, if there is one."""
        return self._gate.closed() if self._gate else nullcontext()

    def faults(self) -> list[KernosError]:
        """What the drivers find wrong before anything runs."""
        found: list[KernosError] = []
        programs = [partial(self._program, slug) for slug in self._company.agents]
        attempts: list[Callable[[], object]] = [self.tools, self.engines, self.missing, self.policy, *programs]
        try:
            guarded = self.guarded()
        except BadInput as error:  # the networks themselves are wrong
            return [error]
        with guarded:
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

    def engines(self) -> dict[str, Engine | SlotEngine]:
        given = self._engines().items()
        return {name: self._veil.engine(self._engine(f"kernos.toml: engines.{name}", engine)) for name, engine in given}

    def roles(self) -> dict[str, str]:
        """The role of each engine that others stand in for."""
        return {name: engine.role for name, engine in self._engines().items() if engine.role}

    def shares(self) -> dict[str, Share]:
        """What owners get of the engines."""
        given = self._car.owners.items()
        return {owner: Share(own.share, own.calls_at_once, own.tokens_at_once) for owner, own in given}

    def prices(self) -> dict[str, Price]:
        return {name: Price(**engine.price.model_dump()) for name, engine in self._engines().items()}

    def _engines(self) -> dict[str, sidecar.Engine]:
        from kernos.userland.company.sidecar import EmbeddedEngine

        return self._car.engines or {"local": EmbeddedEngine()}

    def _weights(self, model: str) -> Path:
        file = self._home / model
        return self._shelf.path(str(file) if model.endswith(".gguf") and file.is_file() else model)

    def _engine(self, where: str, engine: sidecar.Engine) -> Engine | SlotEngine:
        if engine.driver == "embedded":
            from kernos.drivers.engine.embedded import EmbeddedEngine

            path = partial(self._weights, engine.model)
            key = self._secret(f"{where}.key_env", engine.key_env) if engine.key_env else ""
            if engine.listen != "127.0.0.1" and not (key and engine.port):
                right = "a port and a key_env, so that other workers find it and nobody else uses it"
                raise BadInput(f"{where}.listen", repr(engine.listen), right)
            embedded = EmbeddedEngine(
                path, engine.context, engine.slots, engine.threads, engine.port, engine.listen, key
            )  # fmt: skip
            self._serving += [embedded] if engine.listen != "127.0.0.1" else []
            return embedded
        if engine.driver == "openai":
            from kernos.drivers.engine.client import OpenAIEngine
            from kernos.drivers.engine.vectors import EmbeddingEngine

            if self._gate:
                self._gate.check(where, engine.url)
            key = self._secret(f"{where}.key_env", engine.key_env) if engine.key_env else ""
            direct = self._gate is not None
            kind = EmbeddingEngine if engine.embeddings else OpenAIEngine
            return kind(
                engine.url, engine.model, key, engine.calls, engine.slots, direct=direct, hints=engine.hints
            )  # fmt: skip
        from kernos.drivers.engine.scripted import played

        return played(f"{where}.script", self._home / engine.script)

    async def serve(self) -> None:
        """Start the engines that other workers use too."""
        for engine in self._serving:
            await engine.start()

    def identities(self) -> dict[str, list[str]]:
        """Of each owner what is his own."""
        return {owner: given.names for owner, given in self._car.owners.items()}

    def policy(self) -> CedarPolicy:
        """The rules: the shipped ones, those of the folder's grants, and its own."""
        from kernos.drivers.policy.cedar import CedarPolicy
        from kernos.userland.company.grants import compiled

        return CedarPolicy([*compiled(self._car.employees).items(), *self._company.policies.items()])

    def _secret(self, where: str, variable: str) -> str:
        """A secret out of the environment, which no driver lets out from now on."""
        if not os.environ.get(variable):
            raise BadInput(where, f"no variable {variable}", "one that holds the secret")
        return self._veil.hide(os.environ[variable])

    def tools(self) -> dict[str, Tool]:
        own = {name: self._tool(name, tool) for name, tool in self._car.tools.items()}
        return {name: self._veil.tool(tool) for name, tool in {**own, **self._servers.tools()}.items()}

    def _skills(self, slug: str) -> dict[str, Tool]:
        """The tools by which an employee reads its own skills, if it has any."""
        from kernos.drivers.tool.skills import SCRIPTS, LoadSkill, ReadSkillResource, RunSkillScript

        known = self._company.skills
        own = {name: known[name] for name in self._company.agents[slug].skills if name in known}
        if not own:
            return {}
        folders = {name: self._home / Path(skill.path).parent for name, skill in own.items()}
        bodies = {name: skill.body for name, skill in own.items()}
        tools: dict[str, Tool] = {"load_skill": LoadSkill(bodies), "read_skill_resource": ReadSkillResource(folders)}
        if scripted := {name: folder for name, folder in folders.items() if (folder / SCRIPTS).is_dir()}:
            from kernos.drivers.sandbox.bubblewrap import Bubblewrap

            kept = self._home / ".kernos" / "files"
            tools["run_skill_script"] = RunSkillScript(scripted, Bubblewrap(), kept)
        return tools

    def _tool(self, name: str, tool: sidecar.Tool) -> Tool:
        where = f"kernos.toml: tools.{name}"
        if tool.driver == "python":
            from kernos.drivers.tool.loader import load
            from kernos.drivers.tool.python import PythonTool

            for variable in tool.secrets:
                self._secret(f"{where}.secrets", variable)
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

    def _calls(self, slug: str, tools: Mapping[str, Tool]) -> dict[str, Tool]:
        """The system calls that an employee's model may choose; in Python it may call these and its tools."""
        from kernos.drivers.tool.schema import Unserved
        from kernos.userland.calls import specs

        given = self._company.employee(slug)
        declared = specs(given.calls, given.spawns)
        calls: dict[str, Tool] = {name: Unserved(spec) for name, spec in declared.items()}
        if code := declared.pop("python", None):
            from kernos.drivers.sandbox.monty import Monty
            from kernos.drivers.tool.code import PythonCode

            offered = {**{name: tool.spec for name, tool in tools.items()}, **declared}
            functions = {name: tuple(spec.schema["properties"]) for name, spec in offered.items()}
            calls["python"] = PythonCode(code, Monty(), functions)
        return calls

    def stations(self, tools: Mapping[str, Tool]) -> dict[str, Station]:
        """The places of all employees in the kernel, and of a foreign agent if none of them is one."""
        found = {slug: self._station(slug, tools) for slug in self._company.agents}
        if not any(station.foreign for station in found.values()):
            found.setdefault(AGENT, self._foreign(AGENT))
        return found

    def _foreign(self, slug: str) -> Station:
        """The place of an agent behind the API that nothing was given to but engines."""
        engines = list(self._engines())
        return Station(
            slug, "foreign", _elsewhere, engines[0], limits=Limits(), guard=self._car.redlines.guard, foreign=True,
            engines=frozenset(engines),
        )  # fmt: skip

    def _station(self, slug: str, tools: Mapping[str, Tool]) -> Station:
        """An employee's place in the kernel."""
        given = self._company.employee(slug)
        skills = self._skills(slug)
        tools = {name: tool for name, tool in {**tools, **skills}.items() if name in (*given.granted, *skills)}
        own = {**skills, **self._calls(slug, tools)}
        tools = {**tools, **own}
        engine = given.engine or next(iter(self._engines()))
        program = self._program(slug, tools, engine)
        return Station(
            slug, given.program or "employee", program, engine,
            {name: Grant(name, name in given.ask) for name in tools},
            tuple(Claim(claim.what, re.compile(claim.pattern)) for claim in given.claims),
            self._limits(given), own, frozenset(given.spawns), self._car.redlines.guard, given.foreign,
            frozenset(given.engines or (self._engines() if given.foreign else ())), given.service,
        )  # fmt: skip

    def _limits(self, given: sidecar.Employee) -> Limits:
        tree, day = (Sums(**sums.model_dump()) for sums in (given.limits.tree, self._car.day))
        return Limits(**given.limits.model_dump() | {"soft": frozenset(given.limits.soft), "tree": tree, "day": day})

    def _program(self, slug: str, tools: Mapping[str, Tool] | None = None, engine: str = "") -> Program:
        from kernos.userland.company.folder import instructions
        from kernos.userland.employee import Brief, employee
        from kernos.userland.lib import Process

        given = self._company.employee(slug)
        if given.foreign:
            return _elsewhere
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
