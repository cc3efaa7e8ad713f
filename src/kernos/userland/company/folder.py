"""A whole company, from the texts of its folder: what there is, what is wrong, what was asked for and not granted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kernos.kernel.types import Field, Json, ToolSpec
from kernos.kernel.types import Parameter as Rule
from kernos.userland.company import mcp, sidecar
from kernos.userland.company.markdown import Agent, Reader, Skill, Task
from kernos.userland.company.problems import Problem, nearest
from kernos.userland.company.sidecar import Employee, JournalTool, OpenAIEngine, Sidecar, SqlTool

SKILL_TOOLS = ("load_skill", "read_skill_resource")
"""Tools that every employee with skills has: they only read its own skills."""


@dataclass(frozen=True)
class Company:
    """A company as its folder has it. `notes` are not errors: they say what was asked for and is not granted.
    `policies` are its files of them, by path, `servers` the MCP servers whose tools it has, by name."""

    name: str
    agents: Mapping[str, Agent]
    skills: Mapping[str, Skill]
    tasks: Mapping[str, Task]
    sidecar: Sidecar
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    policies: Mapping[str, str] = field(default_factory=dict)
    servers: Mapping[str, mcp.Server] = field(default_factory=dict)

    def employee(self, slug: str) -> Employee:
        """What the side-car gives to an agent; nothing if it does not name it."""
        return self.sidecar.employees.get(slug, Employee())


def read(files: Mapping[str, str]) -> Company:
    """The company in these files, path to text. It never fails: what is wrong stands in `problems`."""
    reader = Reader()
    name = str(reader.document("COMPANY.md", files.get("COMPANY.md", "")).fields.get("name") or "")
    agents = {slug: reader.agent(slug, document) for slug, document in reader.documents("agent", files).items()}
    skills = {slug: reader.skill(slug, document) for slug, document in reader.documents("skill", files).items()}
    tasks = {slug: reader.task(slug, document) for slug, document in reader.documents("task", files).items()}
    car, faults = sidecar.parse(files)
    servers, strange = mcp.read(files)
    problems = [*reader.problems, *faults, *strange, *_references(agents, car, servers)]
    if not agents:
        problems.append(Problem("agents/", "no employee", "agents/<slug>/AGENTS.md (kernos init makes one)"))
    notes = (*_notes(agents, skills, tasks, car), *mcp.notes(servers))
    policies = {path: text for path, text in files.items() if path.endswith(".cedar")}
    return Company(name, agents, skills, tasks, car, tuple(problems), notes, policies, servers)


def read_single(path: str, text: str) -> Company:
    """A company of one: a Claude or Copilot sub-agent file."""
    reader = Reader()
    file = re.split(r"[/\\]", path)[-1]
    slug = re.sub(r"(\.agent)?\.md$", "", file)
    agent = reader.agent(slug, reader.document(file, text))
    notes = tuple(_notes({slug: agent}, {}, {}, Sidecar()))
    return Company(agent.name, {slug: agent}, {}, {}, Sidecar(), tuple(reader.problems), notes)


def _references(agents: Mapping[str, Agent], car: Sidecar, servers: Mapping[str, mcp.Server]) -> Iterator[Problem]:
    """Names in the side-car that name nothing."""
    for slug, employee in car.employees.items():
        at = f"{sidecar.FILE}: employees.{slug}"
        if slug not in agents:
            yield Problem(at, "no such agent", nearest(slug, agents, "the name of a folder under agents/"))
        yield from _employee(at, employee, agents, car, servers)
        yield from _limits(f"{at}.limits", employee)
    yield from _tools(car)
    yield from _guard(car)
    yield from _roles(car)
    yield from mcp.references(servers, car.mcp, car.tools)
    for name, server in car.mcp.items():
        for tool, declared in server.tools.items():
            for parameter, origin in declared.parameters.items():
                yield from _vocabulary(f"{sidecar.FILE}: mcp.{name}.tools.{tool}.parameters.{parameter}", origin, car)
    if car.journal.dispatcher == "procrastinate" and not car.journal.url:
        right = "a PostgreSQL database in journal.url: workers meet there"
        yield Problem(f"{sidecar.FILE}: journal.dispatcher", "'procrastinate' without a url", right)


def _roles(car: Sidecar) -> Iterator[Problem]:
    """Engines can stand in for each other only if all of them do the same."""
    vectors: dict[str, bool] = {}
    for name, one in car.engines.items():
        at, embeds = f"{sidecar.FILE}: engines.{name}.role", isinstance(one, OpenAIEngine) and one.embeddings
        if one.role in car.engines and one.role != name:
            yield Problem(at, f"{one.role!r}, which is an engine", "a name that no engine has")
        if one.role and vectors.setdefault(one.role, embeds) != embeds:
            yield Problem(
                at, f"{one.role!r}, of which only some make vectors", "embeddings = true for all, or for none"
            )


def _guard(car: Sidecar) -> Iterator[Problem]:
    """The engine that looks for red lines has to be one of the company's."""
    if car.redlines.guard and car.redlines.guard not in car.engines:
        right = nearest(car.redlines.guard, car.engines, "a table under [engines]")
        yield Problem(f"{sidecar.FILE}: redlines.guard", repr(car.redlines.guard), right)


def _employee(
    at: str, employee: Employee, agents: Mapping[str, Agent], car: Sidecar, servers: Mapping[str, mcp.Server]
) -> Iterator[Problem]:
    if employee.engine:
        yield from _engine(f"{at}.engine", employee.engine, car)
    for engine in employee.engines:
        yield from _engine(f"{at}.engines", engine, car)
    for tool in employee.tools:
        yield from _tool(f"{at}.tools", tool, car, servers)
    for place, grant in enumerate(employee.grants):
        yield from _grant(f"{at}.grants[{place}]", grant, employee, car, servers)
    for tool in set(employee.ask) - set(employee.tools):
        yield Problem(f"{at}.ask", repr(tool), nearest(tool, employee.tools, "one of its tools"))
    for other in employee.spawns:
        if other not in agents:
            yield Problem(f"{at}.spawns", repr(other), nearest(other, agents, "an agent of this company"))


def _engine(at: str, engine: str, car: Sidecar) -> Iterator[Problem]:
    if engine not in car.engines:
        yield Problem(at, repr(engine), nearest(engine, car.engines, "a table under [engines]"))


def _tool(at: str, tool: str, car: Sidecar, servers: Mapping[str, mcp.Server]) -> Iterator[Problem]:
    """A tool that is neither the company's own nor of one of its servers, as far as these are known."""
    if tool not in car.tools and not any(server.may_have(tool) for server in servers.values()):
        known = [*car.tools, *(name for server in servers.values() for name in server.names)]
        yield Problem(at, repr(tool), nearest(tool, known, "a table under [tools]"))


def _grant(
    at: str, grant: sidecar.Grant, employee: Employee, car: Sidecar, servers: Mapping[str, mcp.Server]
) -> Iterator[Problem]:
    yield from _tool(f"{at}.tool", grant.tool, car, servers)
    if grant.tool in employee.tools:
        yield Problem(f"{at}.tool", f"{grant.tool!r}, which `tools` grants without conditions", "it in one of the two")
    tool = car.tools.get(grant.tool)
    parameters: Mapping[str, Json] | None = tool.parameters if isinstance(tool, SqlTool | JournalTool) else None
    for server in servers.values():
        if grant.tool in server.names:
            parameters = server.parameters(server.names[grant.tool])
    for name in grant.when.keys() - parameters.keys() if parameters is not None else ():
        yield Problem(f"{at}.when", repr(name), nearest(name, parameters or (), "a parameter of the tool"))


def _tools(car: Sidecar) -> Iterator[Problem]:
    for name, declared in car.tools.items():
        at = f"{sidecar.FILE}: tools.{name}"
        if isinstance(declared, SqlTool):
            if declared.data not in car.data:
                right = nearest(declared.data, car.data, "a table under [data]")
                yield Problem(f"{at}.data", repr(declared.data), right)
            yield from _sql(at, "query", declared.query, declared.parameters, car)
        elif isinstance(declared, JournalTool):
            if not car.journal.tables:
                yield Problem(f"{at}", "no tables to write to", "a script in journal.tables that makes them")
            yield from _sql(at, "statement", declared.statement, declared.parameters, car, ("key",))


def _limits(at: str, employee: Employee) -> Iterator[Problem]:
    known = [*(name for name in sidecar.Limits.model_fields if name not in ("tools", "tree", "soft"))]
    sums = [f"{table}.{name}" for table in ("tree", "day") for name in sidecar.Sums.model_fields]
    counted = [f"tools.{name}" for name in employee.limits.tools]
    for name in employee.limits.soft:
        if name not in (*known, *sums, *counted):
            yield Problem(f"{at}.soft", repr(name), nearest(name, [*known, *sums, *counted], "the name of a limit"))
    for name in set(employee.limits.tools) - set(employee.granted):
        yield Problem(f"{at}.tools", repr(name), nearest(name, employee.granted, "one of its tools"))


def _sql(
    at: str,
    field: str,
    text: str,
    parameters: Mapping[str, sidecar.Parameter],
    car: Sidecar,
    more: tuple[str, ...] = (),
) -> Iterator[Problem]:
    for name, parameter in parameters.items():
        yield from _parameter(f"{at}.parameters.{name}", parameter, car)
        if not re.search(rf":{re.escape(name)}\b", text):
            yield Problem(f"{at}.{field}", f"no :{name}", f"every parameter in the {field}")
    for name in set(re.findall(r"(?<!:):([a-zA-Z_]\w*)", text)) - {*parameters, *more}:
        yield Problem(f"{at}.{field}", f":{name}", nearest(name, parameters, "a parameter of the tool"))


def _vocabulary(at: str, origin: sidecar.Origin, car: Sidecar) -> Iterator[Problem]:
    if origin.vocabulary and origin.vocabulary not in car.vocabulary:
        right = nearest(origin.vocabulary, car.vocabulary, "a table under [vocabulary]")
        yield Problem(f"{at}.vocabulary", repr(origin.vocabulary), right)


def _parameter(at: str, parameter: sidecar.Parameter, car: Sidecar) -> Iterator[Problem]:
    """What keeps a parameter from ever having a value."""
    yield from _vocabulary(at, parameter, car)
    if parameter.vocabulary and parameter.type != "string":
        right = "'string': the values of a vocabulary are texts"
        yield Problem(f"{at}.type", f"{parameter.type!r} with a vocabulary", right)
    elif parameter.type == "boolean" and parameter.source == "user":
        right = "'string' with a vocabulary: a person says words, never true or false"
        yield Problem(f"{at}.type", "'boolean' with the source 'user'", right)


def _notes(
    agents: Mapping[str, Agent], skills: Mapping[str, Skill], tasks: Mapping[str, Task], car: Sidecar
) -> Iterator[str]:
    """What the company's own files ask for and do not get."""
    for slug, agent in agents.items():
        granted = {*car.employees.get(slug, Employee()).granted, *SKILL_TOOLS}
        yield from (
            f"{agent.path}: asks for the tool {tool}: not granted" for tool in agent.tools if tool not in granted
        )
        for name in agent.skills:
            skill = skills.get(name)
            if skill is None:
                yield f"{agent.path}: asks for the skill {name}: not in this folder"
                continue
            strange = (tool for tool in skill.tools if tool not in granted)
            yield from (f"{skill.path}: asks for the tool {tool}: not granted to {slug}" for tool in strange)
        if agent.reports_to and agent.reports_to not in agents:
            yield f"{agent.path}: reports to {agent.reports_to}: no such agent"
    for task in tasks.values():
        if task.assignee and task.assignee not in agents:
            yield f"{task.path}: assigned to {task.assignee}: no such agent"


def instructions(agent: Agent, company: Company) -> str:
    """The system message of an employee: its own words, then its skills by name and description."""
    parts = [agent.instructions]
    known = [company.skills[name] for name in agent.skills if name in company.skills]
    if known:
        lines = "\n".join(f"- {skill.name}: {skill.description}" for skill in known)
        parts.append(f"# Skills\nLoad a skill with load_skill before you use it.\n{lines}")
    return "\n\n".join(parts)


_OURS = {"*": Field(attested=True)}
"""The company's own databases hold what the company wrote."""


def sql_spec(name: str, tool: SqlTool | JournalTool, vocabulary: Mapping[str, Mapping[str, list[str]]]) -> ToolSpec:
    """The kernel's view of a tool that the side-car declares as a query or a statement."""
    properties: dict[str, Json] = {}
    rules: dict[str, Rule] = {}
    for key, parameter in tool.parameters.items():
        properties[key] = _property(parameter, list(vocabulary.get(parameter.vocabulary, ())))
        rules[key] = mcp.rule(parameter, vocabulary)
    schema = {
        "type": "object",
        "properties": properties,
        "required": [key for key, parameter in tool.parameters.items() if not parameter.optional],
        "additionalProperties": False,
    }
    if isinstance(tool, JournalTool):
        return ToolSpec(name, tool.description, schema, rules, frozenset(tool.effects), joins=True, returns=_OURS)
    return ToolSpec(name, tool.description, schema, rules, frozenset({"reads"}), True, returns=_OURS)


def _property(parameter: sidecar.Parameter, values: list[str]) -> Json:
    """A parameter's JSON schema."""
    enum = parameter.enum or values
    parts = {
        "type": parameter.type,
        "description": parameter.description,
        "enum": enum,
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
    }
    return {key: part for key, part in parts.items() if part not in (None, "", [])}
