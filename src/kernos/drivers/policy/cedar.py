"""The rules of a company, written in Cedar, and what they say to one call (I9).

Entry points: `CedarPolicy(files)`, then `decide(facts)` for each call; `rules` lists what is in force. A decision is
the first of these that applies:

    a forbid without @ask matches                            deny
    a policy that was looked at cannot be evaluated          deny, by the rule "policy" if it has no name
    no permit matches                                        deny, by the rule "grant"
    a forbid with @ask matches, and no @lifts for it         ask
    otherwise                                                allow

A company adds permits and forbids to the shipped ones; none of its own takes one of those away.
Only `__init__` sets fields. A decision depends on nothing but the facts, so the last ones are kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from typing import Literal

import cedarpy

from kernos.drivers.policy.context import request, resource, viewed
from kernos.drivers.policy.rules import NO_GRANT, NO_RULE, Rule, in_force, read
from kernos.kernel.ports import Facts, Ruling
from kernos.kernel.types import Json

KEPT = 4_096
"""Decisions that are kept."""
KEPT_CHARS = 2_000
"""A call whose arguments are longer is decided anew each time."""

_NAMES = tuple(known.name for known in fields(Facts) if known.name != "arguments")
_plain: Callable[[Facts], tuple[Json, ...]] = attrgetter(*_NAMES)
_NOBODY = cedarpy.Entities.from_json_str("[]")
_PLACE = re.compile(r"\{(employee|owner|call|tool|effects|unfounded|reaches)\}")
_FAILED = re.compile(r"policy `(.+?)`: ")


class CedarPolicy:
    """The shipped rules and a company's own.

    Args:
        own: the company's files, each its name and its text. Raises BadInput for what is wrong in them.
    """

    def __init__(self, own: Iterable[tuple[str, str]] = ()) -> None:
        self.rules: Sequence[Rule] = in_force([rule for name, text in own for rule in read(name, text)])
        self._general = _Group([rule for rule in self.rules if not rule.arguments])
        self._close = _Group([rule for rule in self.rules if rule.arguments])
        self._place = {rule.id: place for place, rule in enumerate(self.rules)}
        self._wanted = lru_cache(KEPT)(self._looked_at)
        self._known = lru_cache(KEPT)(lambda plain: self._general.asked(dict(zip(_NAMES, plain, strict=True)), ""))
        self._kept = lru_cache(KEPT)(self._decided)

    def decide(self, facts: Facts) -> Ruling:
        """What the rules say to a call. What cannot be evaluated is denied, whatever the reason."""
        try:
            wanted = self._wanted(resource(facts.call, facts.tool)[1])
            views = viewed(facts.arguments, wanted) if wanted else ""
            decided = self._kept if len(views) <= KEPT_CHARS else self._decided
            return decided(_plain(facts), views)
        except Exception as error:
            return Ruling("deny", (NO_RULE,), f"the rules cannot be evaluated: {type(error).__name__}")

    def _looked_at(self, about: str) -> Mapping[str, set[str]]:
        """The arguments that rules look at in a call whose resource has this id, by view."""
        wanted: dict[str, set[str]] = {}
        for view, name in (pair for rule in self._close.rules if rule.may_match(about) for pair in rule.arguments):
            wanted.setdefault(view, set()).add(name)
        return wanted

    def _decided(self, plain: tuple[Json, ...], views: str) -> Ruling:
        facts = dict(zip(_NAMES, plain, strict=True))
        names, failed = self._known(plain)
        if views:
            more, failures = self._close.asked(facts, views)
            names, failed = names + more, failed + failures
        matched = [self.rules[place] for place in sorted(self._place[name] for name in names)]
        if walls := [rule for rule in matched if rule.effect == "forbid"]:
            return _ruling("deny", walls, facts)
        if failed:
            rules = dict.fromkeys(found[1] for text in failed if (found := _FAILED.search(text)))
            return Ruling("deny", tuple(rules) or (NO_RULE,), f"a rule cannot be evaluated: {'; '.join(failed)}")
        permits = [rule for rule in matched if rule.effect == "permit"]
        if not permits:
            return Ruling("deny", (NO_GRANT,), f"{facts['employee']} is not granted {facts['tool'] or facts['call']}")
        lifted = {rule.lifts for rule in matched}
        if asks := [rule for rule in matched if rule.effect == "ask" and rule.id not in lifted]:
            asks.sort(key=lambda ask: ask.approver == "owner")  # others than the owner first, the shipped before all
            return _ruling("ask", asks, facts, asks[0].approver)
        lifts = [rule for rule in matched if rule.effect == "lift"]
        return _ruling("allow", [*lifts, *permits], facts)


class _Group:
    """Rules that Cedar evaluates together, with the facts that they look at.

    Those that look at a call's arguments are a group of their own: it is small, and what the others say is the same for
    many calls. Where a forbid matches Cedar names nothing else, so rules that ask are put as permits, which it names
    side by side; what forbids for good stays a forbid.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self._facts = sorted({name for rule in rules for name in rule.facts})
        effects = {rule.id: "forbid" if rule.effect == "forbid" else "permit" for rule in rules}
        policies = {rule.id: rule.policy | {"effect": effects[rule.id]} for rule in rules}
        document = {"staticPolicies": policies, "templates": {}, "templateLinks": []}
        self._policies = cedarpy.PolicySet.from_json_str(json.dumps(document))

    def asked(self, facts: Mapping[str, Json], views: str) -> tuple[list[str], list[str]]:
        """The rules that match, and what could not be evaluated."""
        answer = cedarpy.is_authorized(request(facts, self._facts, views), self._policies, _NOBODY).diagnostics
        return answer.reasons, answer.errors


def _ruling(
    verdict: Literal["allow", "ask", "deny"], rules: Sequence[Rule], facts: dict[str, Json], approver: str = "owner"
) -> Ruling:
    """The verdict with what each rule tells."""
    told = dict.fromkeys(_told(rule, facts) for rule in rules)
    return Ruling(verdict, tuple(rule.id for rule in rules), " ".join(told), approver)


def _told(rule: Rule, facts: dict[str, Json]) -> str:
    """A rule's sentence, with the facts that it names put in once: what they say is not read again."""

    def fact(place: re.Match[str]) -> str:
        value = facts[place[1]]
        return value if isinstance(value, str) else ", ".join(sorted(value)) if value else "nothing"

    text = rule.tell or f"The rule {rule.id} {'permits' if rule.effect == 'permit' else 'forbids'} it."
    return _PLACE.sub(fact, text)
