"""Policies as they are written: Cedar texts, read into rules that can be counted on.

Entry points: `read(origin, text)` for each file of a company, then `in_force(own)` for these and the shipped packs.
What could silently never match (a type, a call or a fact that does not exist, an unknown annotation) is BadInput with
the file and the line on which the policy begins; so is what would weaken a shipped rule.

    @id("name")        by which it is journaled; needed
    @ask("role")       of a forbid: a person in this role may allow the call ("owner" if empty); without it nobody may
    @lifts("rule")     of a permit for one employee, call and tool: there, that rule asks nobody; it grants nothing
    @tell("sentence")  what the person or the model is told, with {employee}, {tool}, {unfounded} and the like
    @line("sentence")  the red line that it holds
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files
from typing import Literal

import cedarpy

from kernos.kernel.errors import BadInput
from kernos.kernel.ports import Facts
from kernos.kernel.types import Json

PACKS = ("redlines.cedar", "base.cedar")
"""The shipped packs, in the order in which their rules are named."""
NO_GRANT, NO_RULE = "grant", "policy"
"""The rules that deny what no policy permits, and what cannot be evaluated."""
RESOURCES = {"invoke": "Tool", "spawn": "Employee"}
"""The calls that are put to rules, with what they are about, as the type of the resource. A text that goes out in any
other call is put to them too, about `System::""`, if a guard sees it cross a red line."""
VIEWS = ("arguments", "numbers", "each")
"""The facts that are made of a call's arguments; see `context`."""
MOST_CHARS, MOST_DEPTH = 10_000, 50
"""Of one policy. Cedar's parser overruns its stack on text that is nested thousands deep."""

_TYPES = {"Employee", "Action", "System", *RESOURCES.values()}
_FACTS = {*(known.name for known in fields(Facts)), *VIEWS} - {"employee", "call", "tool"}
_NOTES = ("id", "ask", "lifts", "tell", "line")
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|\S', re.DOTALL)


@dataclass(frozen=True)
class Rule:
    """One policy, and what it does where it matches: permit, forbid, ask a person, or lift another's question.

    `origin` is the file that it is from, `line` the red line that it holds, `policy` its form in Cedar's JSON. `facts`
    are those that it looks at, `arguments` the arguments, each with its view ("": it looks at them all).
    """

    id: str
    origin: str
    effect: Literal["permit", "forbid", "ask", "lift"]
    tell: str = ""
    approver: str = ""
    lifts: str = ""
    line: str = ""
    policy: Json = field(default=None, repr=False)
    facts: frozenset[str] = frozenset()
    arguments: frozenset[tuple[str, str]] = frozenset()

    def may_match(self, about: str) -> bool:
        """Whether it can match a call whose resource has this id."""
        scope = self.policy["resource"]
        return scope["op"] != "==" or bool(scope["entity"]["id"] == about)


@cache
def shipped() -> tuple[Rule, ...]:
    """The rules of the packs."""
    folder = files(__package__) / "packs"
    return tuple(rule for name in PACKS for rule in read(name, (folder / name).read_text("utf-8")))


def in_force(own: Sequence[Rule]) -> tuple[Rule, ...]:
    """The shipped rules and a company's own. Raises BadInput for an id that is taken, and a lift of what stays."""
    known = {rule.id: rule for rule in shipped()}
    for rule in own:
        where = f"{rule.origin}: @id"
        if rule.id in (*known, NO_GRANT, NO_RULE):
            owner = known[rule.id].origin if rule.id in known else "Kernos"
            raise BadInput(where, f"{rule.id!r}, which {owner} has", "an id of its own")
        known[rule.id] = rule
    liftable = [rule.id for rule in known.values() if rule.effect == "ask" and _liftable(rule)]
    for rule in own:
        if rule.lifts and rule.lifts not in liftable:
            raise BadInput(f"{rule.origin}: {rule.id}: @lifts", repr(rule.lifts), _nearest(rule.lifts, liftable))
    return tuple(known.values())


def _liftable(rule: Rule) -> bool:
    return rule.origin == "base.cedar" or rule.id.startswith("grants.")


def read(origin: str, text: str) -> Iterator[Rule]:
    """The rules of one file."""
    for line, policy in _policies(text):
        yield _rule(f"{origin}: line {line}", origin, policy)


def _policies(text: str) -> Iterator[tuple[int, str]]:
    """Each policy of a file and the line on which it begins: Cedar's own errors name no place."""
    start: int | None = None
    for token in _TOKEN.finditer(text):
        if token[0].startswith("//"):
            continue
        start = token.start() if start is None else start
        if token[0] == ";":
            yield text.count("\n", 0, start) + 1, text[start : token.end()]
            start = None
    if start is not None:
        yield text.count("\n", 0, start) + 1, text[start:]


def _rule(where: str, origin: str, text: str) -> Rule:
    policy = _parsed(where, text)
    notes = {name: value or "" for name, value in policy.get("annotations", {}).items()}
    for name in notes.keys() - {*_NOTES}:
        raise BadInput(where, f"the annotation @{name}", _nearest(name, _NOTES))
    if not notes.get("id", "").strip():
        raise BadInput(where, "a policy without a name", '@id("a name") before it')
    where = f"{where} ({notes['id']})"
    _check_words(where, policy)
    permits = policy["effect"] == "permit"
    if misplaced := {"ask"} & notes.keys() if permits else {"lifts"} & notes.keys():
        right = "it on a forbid" if permits else "it on a permit"
        raise BadInput(where, f"@{misplaced.pop()} on a {policy['effect']}", right)
    if "lifts" in notes:
        _check_narrow(where, policy)
    effect: Literal["permit", "forbid", "ask", "lift"] = (
        "lift" if "lifts" in notes else "permit" if permits else "ask" if "ask" in notes else "forbid"
    )
    approver = notes["ask"] or "owner" if effect == "ask" else ""
    named = list(_named(policy))
    return Rule(
        notes["id"], origin, effect, notes.get("tell", ""), approver, notes.get("lifts", ""), notes.get("line", ""),
        policy, frozenset(name for kind, name in named if kind == "context" and name not in VIEWS),
        frozenset(pair for pair in named if pair[0] in VIEWS),
    )  # fmt: skip


def _parsed(where: str, text: str) -> Json:
    """One policy in Cedar's JSON form."""
    depth = most = 0
    for token in _TOKEN.findall(text):
        depth += (token in "([{") - (token in ")]}")
        most = max(most, depth)
    if len(text) > MOST_CHARS or most > MOST_DEPTH:
        right = f"at most {MOST_CHARS:,} characters, nested at most {MOST_DEPTH} deep"
        raise BadInput(where, "a policy that is too large", right)
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(text))
        cedarpy.PolicySet.from_json_str(json.dumps(parsed))
    except (ValueError, RecursionError) as error:
        raise BadInput(where, f"a policy that Cedar does not take: {error}", "a policy in Cedar") from None
    if parsed["templates"]:
        raise BadInput(where, "a template", "a policy without ?principal and ?resource")
    [policy] = parsed["staticPolicies"].values()
    return policy


def _check_words(where: str, policy: Json) -> None:
    """Types, calls and facts that do not exist would make a policy that never matches."""
    for kind, name in _named(policy):
        if kind == "context" and name not in _FACTS:
            found = f"context.{name}" if name else "context by itself"
            raise BadInput(where, found, _nearest(name, _FACTS))
        if kind == "type" and name not in _TYPES:
            raise BadInput(where, f"the type {name}", _nearest(name, _TYPES))
        if kind == "Action" and name not in RESOURCES:
            raise BadInput(where, f'Action::"{name}"', _nearest(name, RESOURCES))


def _named(node: Json) -> Iterator[tuple[str, str]]:
    """The facts, arguments, types and actions that a policy names, each with its kind."""
    if isinstance(node, list):
        for part in node:
            yield from _named(part)
    if not isinstance(node, dict):
        return
    match node:
        case {"left": {".": {"left": {"Var": "context"}, "attr": str(view)}}, "attr": str(name)} if view in VIEWS:
            yield view, name
            return
        case {"left": {"Var": "context"}, "attr": str(name)}:
            yield "context", name
            yield name, ""
            return
        case {"Var": "context"}:
            yield "context", ""
        case {"type": str(kind), "id": str(name)}:
            yield "type", kind
            yield kind, name
        case {"entity_type": str(kind)}:
            yield "type", kind
    for part in node.values():
        yield from _named(part)


def _check_narrow(where: str, policy: Json) -> None:
    if any(policy[part]["op"] != "==" for part in ("principal", "action", "resource")):
        right = 'one employee, call and tool: permit(principal == Employee::"…", action == …, resource == …)'
        raise BadInput(where, "@lifts for more than one case", right)


def _nearest(name: str, names: Iterable[str]) -> str:
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=1)
    return repr(near[0]) if near else f"one of {', '.join(known)}"
