"""Grants with conditions, and what a person always allows: which policies they become, and what those then decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kernos.drivers.policy.cedar import CedarPolicy
from kernos.kernel.errors import BadInput
from kernos.kernel.ports import Facts, Ruling
from kernos.userland.company import sidecar
from kernos.userland.company.folder import read
from kernos.userland.company.grants import MOST_CHARS, always, compiled

TOOLS = """
[tools.pay]
driver = "python"
function = "tools.py:pay"

[tools.note]
driver = "journal"
description = "note"
statement = "insert into notes (text) values (:text)"
parameters = { text = {} }

[journal]
tables = "tables.sql"
"""
AGENT = "---\nname: Clerk\n---\nYou work."


def grants(*lines: str, more: str = "") -> str:
    tables = "\n".join(f"[[employees.clerk.grants]]\n{line}\n" for line in lines)
    return f"{TOOLS}\n[employees.clerk]\n{more}\n{tables}"


def policies(*lines: str) -> Mapping[str, str]:
    car, problems = sidecar.parse({sidecar.FILE: grants(*lines)})
    assert problems == []
    return compiled(car.employees)


def decided(lines: tuple[str, ...], arguments: Mapping[str, Any]) -> Ruling:
    facts = Facts("clerk", "ada", "invoke", "pay", frozenset({"pays"}), arguments=arguments)
    return CedarPolicy(policies(*lines).items()).decide(facts)


def problem(*lines: str, more: str = "") -> str:
    (found,) = read({"agents/clerk/AGENTS.md": AGENT, "kernos.toml": grants(*lines, more=more)}).problems
    return str(found).removeprefix("kernos.toml: employees.clerk.grants")


MAX = 'tool = "pay"\nwhen.amount.max = 100'
CONDITIONS: list[tuple[str, dict[str, Any], bool]] = [
    ("amount.max = 100", {"amount": 100}, True),
    ("amount.max = 100", {"amount": 99.99}, True),
    ("amount.max = 100", {"amount": 100.01}, False),
    ("amount.max = 100", {"amount": 101}, False),
    ("amount.max = 100", {"amount": "50"}, False),
    ("amount.max = 100", {"amount": None}, False),
    ("amount.max = 100", {}, False),
    ("amount.max = 100", {"amount": 10**30}, False),
    ("amount.max = 100", {"amount": -(10**30)}, False),
    ("amount.max = 100", {"amount": 0.00001}, False),
    ("amount = { min = 0.5, max = 2.5 }", {"amount": 0.5}, True),
    ("amount = { min = 0.5, max = 2.5 }", {"amount": 0}, False),
    ("amount = { min = 0.5, max = 2.5 }", {"amount": 3}, False),
    ('to.one_of = ["landlord", "bank"]', {"to": "bank"}, True),
    ('to.one_of = ["landlord", "bank"]', {"to": "thief"}, False),
    ('to.one_of = ["landlord", "bank"]', {"to": ["bank", "landlord"]}, True),
    ('to.one_of = ["landlord", "bank"]', {"to": ["bank", "thief"]}, False),
    ("months.one_of = [1, 2.5, true]", {"months": 2.5}, True),
    ("months.one_of = [1, 2.5, true]", {"months": 1.0}, True),
    ("months.one_of = [1, 2.5, true]", {"months": "1"}, False),
    ('to.equals = "bank"', {"to": "bank"}, True),
    ('to.equals = "bank"', {"to": "Bank"}, False),
    ("urgent.equals = false", {"urgent": False}, True),
    ("urgent.equals = false", {"urgent": 0}, False),
    ('"to whom".equals = "a \\"b\\" \\\\ {tool}"', {"to whom": 'a "b" \\ {tool}'}, True),
]


@pytest.mark.parametrize(("condition", "arguments", "holds"), CONDITIONS)
def test_a_condition_narrows_a_grant(condition: str, arguments: dict[str, Any], holds: bool) -> None:
    ruling = decided((f'tool = "pay"\nwhen.{condition}',), arguments)
    assert ruling.verdict == ("allow" if holds else "deny")


def test_a_grant_that_does_not_hold_is_denied_by_its_name_with_what_would() -> None:
    ruling = decided((MAX + '\nwhen.to.one_of = ["landlord", "bank"]',), {"amount": 500, "to": "bank"})
    assert ruling.rules == ("grants.clerk.pay",)
    assert ruling.reason == "clerk may use pay only if amount is at most 100 and to is one of “landlord”, “bank”."


def test_of_several_grants_one_is_enough() -> None:
    lines = (MAX, 'tool = "pay"\nwhen.to.equals = "landlord"')
    assert decided(lines, {"amount": 50, "to": "thief"}).verdict == "allow"
    assert decided(lines, {"amount": 900, "to": "landlord"}).verdict == "allow"
    assert decided(lines, {"amount": 900, "to": "thief"}).verdict == "deny"


def test_a_grant_may_ask_where_another_does_not_reach() -> None:
    lines = (MAX, 'tool = "pay"\nask = true\nwhen.amount.max = 1000')
    assert decided(lines, {"amount": 100}).verdict == "allow"
    asked = decided(lines, {"amount": 1000})
    assert (asked.verdict, asked.rules, asked.approver) == ("ask", ("grants.clerk.pay.ask",), "owner")
    assert asked.reason == "clerk may use pay without asking only if amount is at most 100."
    assert decided(lines, {"amount": 1001}).rules == ("grants.clerk.pay",)
    assert decided((MAX, 'tool = "pay"\nask = true'), {"amount": 10**6}).verdict == "ask"
    assert decided(('tool = "pay"\nask = true',), {"amount": 1}).rules == ("grants.clerk.pay.ask",)


def test_a_person_may_always_allow_what_a_grant_asks_about() -> None:
    text = always("clerk", "pay", {"to": "landlord"}, "grants.clerk.pay.ask")
    rules = CedarPolicy([*policies('tool = "pay"\nask = true').items(), ("policies/approved.cedar", text)])
    facts = Facts("clerk", "ada", "invoke", "pay", arguments={"to": "landlord"})
    assert rules.decide(facts).verdict == "allow"


def test_a_grant_without_conditions_needs_no_policy() -> None:
    assert policies('tool = "pay"') == {}
    assert policies(MAX, 'tool = "pay"') == {}


def test_another_employee_and_another_tool_are_not_narrowed() -> None:
    rules = CedarPolicy(policies(MAX).items())
    assert rules.decide(Facts("cook", "ada", "invoke", "pay", arguments={"amount": 500})).verdict == "allow"
    assert rules.decide(Facts("clerk", "ada", "invoke", "note", arguments={"amount": 500})).verdict == "allow"


def test_the_policies_of_grants_say_where_they_are_from() -> None:
    assert list(policies(MAX)) == ["kernos.toml: employees.clerk.grants"]


def test_what_is_granted_under_conditions_counts_as_granted() -> None:
    car, _ = sidecar.parse({sidecar.FILE: grants(MAX, 'tool = "pay"\nask = true', more='tools = ["note"]')})
    assert car.employees["clerk"].granted == ("note", "pay")


PROBLEMS = [
    ('tool = "pya"', "[0].tool: found 'pya'; expected 'pay'"),
    ('tool = "note"\nwhen.txt.equals = "x"', "[0].when: found 'txt'; expected 'text'"),
    ('tool = "pay"\nwhen.amount.most = 1', "[0].when.amount.most: found an unknown key; expected one of equals, max"),
    ('tool = "pay"\nwen.amount.max = 1', "[0].wen: found an unknown key; expected 'when'"),
    ('tool = "pay"\nwhen.amount = {}', "[0].when.amount: found a table; expected a condition: max, min"),
    ('tool = "pay"\nwhen.amount.max = 0.00001', "[0].when.amount.max: found 1e-05; expected a number of at most 4"),
    ('tool = "pay"\nwhen.amount.max = inf', "[0].when.amount.max: found inf; expected a number of at most 4"),
    ('tool = "pay"\nwhen.to.equals = ["a"]', "[0].when.to.equals: found a list; expected a text, a number"),
    ("ask = true", "[0].tool: found nothing; expected a value"),
]


@pytest.mark.parametrize(("line", "said"), PROBLEMS)
def test_a_fault_in_a_grant_is_one_problem(line: str, said: str) -> None:
    assert problem(line).startswith(said)


def test_a_tool_is_granted_with_conditions_or_without() -> None:
    assert "which `tools` grants without conditions" in problem(MAX, more='tools = ["pay"]')


# Always


def test_always_says_for_whom_what_and_which_question() -> None:
    assert always("clerk", "pay", {"to": "landlord"}, "flow") == (
        '@id("always-3ee584d367de")\n@lifts("flow")\n'
        'permit(principal == Employee::"clerk", action == Action::"invoke", resource == Tool::"pay")\n'
        'when { context.arguments has "to" && context.arguments["to"] == "landlord" };\n'
    )


def test_the_same_answer_twice_is_the_same_policy() -> None:
    assert always("clerk", "pay", {"to": "a"}, "flow") == always("clerk", "pay", {"to": "a"}, "flow")
    assert always("clerk", "pay", {"to": "a"}, "flow") != always("clerk", "pay", {"to": "b"}, "flow")


def test_what_cannot_be_seen_is_spelled_out() -> None:
    assert r"pay\u{200b}\u{202e}\"\\" in always("clerk", 'pay\u200b\u202e"\\', {}, "flow")


def test_what_no_person_can_have_read_is_not_always_allowed() -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    for value in ("x" * MOST_CHARS, deep):
        with pytest.raises(BadInput):
            always("clerk", "pay", {"to": value}, "flow")
