"""The reference monitor: may this call happen? It decides outside the model, before anything is done (I4, I9).

`Monitor.judge` answers with a verdict, the first of these that applies:
    grant      the employee holds no grant for the engine, tool or employee   deny
    family     the other process is neither its parent nor its child          deny
    schema     the arguments are not of the tool's form                       deny
    source     an argument has not the source that its parameter demands      deny, naming what a person must say
    claim      a text for the owner states what has no source                 deny
    a rule     the policy's, by what `flow` found out about the call          allow | ask | deny

`Monitor.offers` says the same beforehand, as schemas: a parameter that demands a source is narrowed to the values that
have one, so that a grammar made of it cannot choose another. What is offered is judged again when it is called.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from kernos.kernel import flow
from kernos.kernel.abi import Embed, Generate, Invoke, Propose, Request, Send, Spawn, Wait, call_of
from kernos.kernel.grants import Station
from kernos.kernel.labels import Quote, Sources
from kernos.kernel.limits import OFFERED_VALUES
from kernos.kernel.ports import Facts, Policy, Tool
from kernos.kernel.types import Allow, Ask, Asked, Deny, Json, Parameter, ToolSpec, Verdict

_KINDS: dict[str, tuple[type, ...]] = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)}


@dataclass(frozen=True)
class Family:
    """Whom a process serves, and the processes that it may speak with or wait for."""

    owner: str = ""
    parent: str = ""
    children: Collection[str] = ()


class Monitor:
    """Decides; holds no state of its own."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def judge(
        self, station: Station, sources: Sources, request: Request, family: Family = Family(),
        flags: frozenset[str] = frozenset(),
    ) -> Verdict:  # fmt: skip
        """The verdict on one request of an employee's process that has read `sources` and has this `family`. `flags`
        are the red lines that a guard saw crossed."""
        if flags:
            call = call_of(request).name
            about = request.tool if isinstance(request, Invoke) else call
            ruled = self._ruled(Facts(station.slug, family.owner, call, about, reaches=flags))
            if not isinstance(ruled, Allow):
                return ruled
        match request:
            case Generate() | Embed():
                return self._asks(station, request)
            case Invoke():
                return self._invoke(station, sources, request, family.owner)
            case Propose():
                return self._propose(station, sources, request, family.owner)
            case Send(to=""):
                return self._send(station, sources, request)
            case Send(to=pid) if pid not in (family.parent, *family.children):
                return Deny("family", f"{pid} is neither the parent nor a child of this process")
            case Wait(pid=pid) if pid not in family.children:
                return Deny("family", f"{pid} is no child of this process")
            case Spawn(employee=employee):
                granted = employee in station.spawns
                return self._ruled(Facts(station.slug, family.owner, "spawn", employee, granted=granted))
            case _:
                return Allow("every process may")

    def offers(self, station: Station, sources: Sources, names: Sequence[str]) -> dict[str, Json]:
        """The argument schemas of the named tools, narrowed to what has a source now.

        A tool that needs a value from data is left out while no tool has returned one.
        """
        specs = {name: station.tools[name].spec for name in names if name in station.tools}
        return {name: _narrowed(spec, sources) for name, spec in specs.items() if _possible(spec, sources)}

    def _asks(self, station: Station, request: Generate | Embed) -> Verdict:
        tools = request.tools if isinstance(request, Generate) else ()
        strange = [name for name in tools if name not in station.tools]
        if strange:
            return Deny("grant", f"{station.slug} is not granted: {', '.join(strange)}")
        if request.engine and request.engine not in (station.engine, *station.engines):
            return Deny("grant", f"{station.slug} is not granted the engine {request.engine}")
        return Allow("granted")

    def _invoke(self, station: Station, sources: Sources, request: Invoke, owner: str) -> Verdict:
        grant = station.grants.get(request.tool)
        tool = station.tools.get(request.tool)
        if grant is None or tool is None:
            return Deny("grant", f"{station.slug} is not granted the tool {request.tool}")
        if problem := _problem(tool, request.arguments):
            return Deny("schema", problem)
        evidence, unfounded = _sourced(tool.spec, sources, request.arguments)
        if unfounded:
            return _refusal(tool.spec, sources, unfounded)
        found = flow.examine(sources.origins, tool.spec, request.arguments, request.handles)
        facts = Facts(
            station.slug, owner, "invoke", request.tool, tool.spec.effects, approve=grant.ask, intended=found.intended,
            founded=not found.unfounded, unfounded=tuple(dict.fromkeys(item.parameter for item in found.unfounded)),
            covered=not found.uncovered, clean=sources.origins.clean, again=found.again,
            reaches=tool.spec.reaches | found.reaches, arguments=request.arguments,
        )  # fmt: skip
        evidence = {**found.evidence, **evidence}
        verdict = self._ruled(facts, evidence, found)
        settled = isinstance(verdict, Allow) or (isinstance(verdict, Ask) and verdict.approver == "owner")
        return Allow("approved", evidence) if found.approved and settled else verdict

    def _propose(self, station: Station, sources: Sources, request: Propose, owner: str) -> Verdict:
        """If a person has to allow the first of these calls, then all that a person has to allow of them on one
        card."""
        verdicts = [self._invoke(station, sources, call, owner) for call in request.calls]
        first = verdicts[0] if verdicts else None
        if not isinstance(first, Ask):
            return Allow("nothing to ask now")
        asked = tuple(part for verdict in verdicts if isinstance(verdict, Ask) for part in verdict.calls)
        return Ask(first.rule, f"{station.slug} wants to make {len(asked)} calls", calls=asked, approver=first.approver)

    def _send(self, station: Station, sources: Sources, request: Send) -> Verdict:
        for claim in station.claims:
            for match in claim.pattern.finditer(request.text):
                if not sources.states(claim.pattern, match[0]):
                    return Deny("claim", f"“{match[0]}” is {claim.what} that no tool returned: do not mention it")
        return Allow("every process may")

    def _ruled(
        self, facts: Facts, evidence: Mapping[str, str] | None = None, found: flow.Found = flow.NOTHING
    ) -> Verdict:
        ruling = self._policy.decide(facts)
        if ruling.verdict == "allow":
            return Allow(ruling.rules[0], evidence or {})
        if ruling.verdict == "deny":
            return Deny(ruling.rules[0], ruling.reason)
        asked = Asked(
            facts.tool, facts.arguments, ruling.rules[0], ruling.reason, found.items, evidence or {},
            tuple(sorted(facts.effects)),
        )  # fmt: skip
        return Ask(ruling.rules[0], ruling.reason, evidence or {}, (asked,), ruling.approver)


def _problem(tool: Tool, arguments: Mapping[str, Json]) -> str | None:
    try:
        return tool.problem(arguments)
    except Exception as error:  # a check that cannot be evaluated is a denial (I9), whatever the reason
        return f"the arguments cannot be checked: {type(error).__name__}"


def _schema(spec: ToolSpec, name: str) -> Json:
    """A parameter's schema: of a list its items', of one that may be null the other's."""
    schema = spec.schema.get("properties", {}).get(name, {})
    for choice in schema.get("anyOf", ()):
        schema = choice if choice.get("type") != "null" else schema
    return schema.get("items", schema)


def _said(spec: ToolSpec, sources: Sources, name: str) -> dict[Json, Quote]:
    """What the owner has said of a parameter; of one that may be left out only what is clearly meant for it."""
    needed = name in spec.schema.get("required", ())
    return sources.said(spec.rule(name), _schema(spec, name), _siblings(spec, name), needed)


def _siblings(spec: ToolSpec, name: str) -> tuple[str, ...]:
    return tuple(unit for other, rule in spec.parameters.items() if other != name for unit in rule.units)


def _quote(spec: ToolSpec, sources: Sources, name: str, value: Json) -> Quote | None:
    """The source of one argument, if it has the one that its parameter demands."""
    rule = spec.rule(name)
    if rule.source == "data":
        return sources.returned(value)
    if isinstance(value, dict | list):
        return None
    if rule.aliases or isinstance(value, int | float):
        return _said(spec, sources, name).get(value)
    return sources.spoken(value) if isinstance(value, str) else None


def _sourced(spec: ToolSpec, sources: Sources, arguments: Mapping[str, Json]) -> tuple[dict[str, str], dict[str, Json]]:
    """The evidence for the arguments that need a source, and those arguments that have none."""
    evidence: dict[str, str] = {}
    unfounded: dict[str, Json] = {}
    declared = [name for name in spec.schema.get("properties", {}) if name in arguments]
    for name in dict.fromkeys([*declared, *arguments]):  # in the order in which a person should be asked
        value = arguments[name]
        if spec.rule(name).source == "any" or value is None:
            continue
        for part in value if isinstance(value, list) and value else [value]:
            quote = _quote(spec, sources, name, part)
            if quote is None:
                unfounded[name] = part
            else:
                evidence[name] = str(quote)
    return evidence, unfounded


def _refusal(spec: ToolSpec, sources: Sources, unfounded: Mapping[str, Json]) -> Deny:
    """Deny, in words that a model can act on: what to ask for, what was said instead, what to look up first."""
    missing, hints = [], []
    for name, value in unfounded.items():
        rule = spec.rule(name)
        said = _said(spec, sources, name)
        if rule.source == "data":
            hints.append(f"{name}: no tool has returned {value!r}; look it up first")
        elif said:
            stated = ", ".join(f"“{quote.text}”, which is {value!r}" for value, quote in said.items())
            hints.append(f"{name}: not {value!r}: the customer said {stated}")
        else:
            missing.append(name)
    if missing:
        hints.insert(0, f"ask the customer for: {', '.join(missing)}")
    return Deny("source", "; ".join(hints), tuple(missing))


def _possible(spec: ToolSpec, sources: Sources) -> bool:
    needed = (name for name in spec.schema.get("required", ()) if spec.rule(name).source == "data")
    return all(_values(spec, sources, name) for name in needed)


def _narrowed(spec: ToolSpec, sources: Sources) -> Json:
    """The tool's schema, each parameter that demands a source narrowed to the values that have it.

    One that may be left out is left out if it has none, and is needed if the owner has said it.
    """
    properties = dict(spec.schema.get("properties", {}))
    required = list(spec.schema.get("required", ()))
    for name, schema in list(properties.items()):
        values = _values(spec, sources, name)
        if values:
            narrow = {"enum": values[-OFFERED_VALUES:]}
            properties[name] = {**schema, "items": narrow} if schema.get("type") == "array" else narrow
            required += [name] if spec.rule(name).source == "user" and name not in required else []
        elif name not in required and _countable(spec.rule(name), _schema(spec, name)):
            del properties[name]
    return {**spec.schema, "properties": properties, "required": required}


def _values(spec: ToolSpec, sources: Sources, name: str) -> list[Json]:
    """The values of a parameter that have the source that it demands, as far as they can be listed."""
    rule, schema = spec.rule(name), _schema(spec, name)
    if rule.source == "user":
        return list(_said(spec, sources, name))
    kinds = _KINDS.get(schema.get("type", ""), (str, int, float, bool))
    known = sources.field(name) if rule.source == "data" else []
    return [value for value in known if isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)]


def _countable(rule: Parameter, schema: Json) -> bool:
    """Whether a parameter demands a source whose values can be listed: free text can only be looked up."""
    if rule.source == "any":
        return False
    return rule.source == "data" or bool(rule.aliases) or schema.get("type") in ("integer", "number")
