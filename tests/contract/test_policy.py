"""A policy in Cedar: what it decides, what it refuses to load, and that no company can weaken what is shipped (I9)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernos.drivers.policy.cedar import CedarPolicy
from kernos.drivers.policy.rules import MOST_CHARS, RESOURCES, in_force, shipped
from kernos.kernel.abi import TABLE
from kernos.kernel.errors import BadInput
from kernos.kernel.ports import Facts, Policy, Ruling
from kernos.userland.company.grants import always

PAY = Facts(
    "clerk", "ada", "invoke", "pay", frozenset({"pays"}), arguments={"to": "landlord", "amount": 900, "note": "rent"}
)
SCOPE = '(principal == Employee::"clerk", action == Action::"invoke", resource == Tool::"pay")'
PLAIN = CedarPolicy()
TOUCHES = ("employees", "skills", "engines", "kernel", "grants", "limits", "priority", "credentials", "policies",
           "weapons", "attack", "network", "journal")  # fmt: skip


def policy(*texts: str) -> Policy:
    return CedarPolicy([(f"policies/{place}.cedar", text) for place, text in enumerate(texts)])


def decided(text: str, facts: Facts = PAY) -> Ruling:
    return policy(text).decide(facts)


def when(condition: str, arguments: dict[str, Any]) -> str:
    """The verdict on a call with these arguments, where a condition on them forbids it."""
    return decided(f'@id("x") forbid{SCOPE} when {{ {condition} }};', replace(PAY, arguments=arguments)).verdict


def refusal(*texts: str) -> BadInput:
    with pytest.raises(BadInput) as caught:
        policy(*texts)
    return caught.value


# The shipped rules


def test_what_is_granted_and_has_nothing_against_it_is_allowed() -> None:
    assert PLAIN.decide(PAY) == Ruling("allow", ("granted",), "clerk is granted pay.")


def test_i9_what_no_policy_permits_is_denied() -> None:
    assert PLAIN.decide(replace(PAY, granted=False)) == Ruling("deny", ("grant",), "clerk is not granted pay")


ASKS = [
    ("flow", {"founded": False}),
    ("intent", {"intended": False}),
    ("audience", {"covered": False}),
    ("again", {"again": True}),
    ("approval", {"approve": True}),
]


@pytest.mark.parametrize(("rule", "found"), ASKS)
def test_what_a_person_may_stand_for_is_asked(rule: str, found: dict[str, bool]) -> None:
    ruling = PLAIN.decide(replace(PAY, **found))  # type: ignore[arg-type]
    assert (ruling.verdict, ruling.rules, ruling.approver) == ("ask", (rule,), "owner")
    assert "clerk" in ruling.reason
    assert "{" not in ruling.reason


def test_several_questions_are_one_and_all_are_told() -> None:
    ruling = PLAIN.decide(replace(PAY, founded=False, unfounded=("to", "amount"), intended=False))
    assert ruling.rules == ("flow", "intent")
    assert "to, amount." in ruling.reason or "amount, to." in ruling.reason
    assert "nothing that you asked for" in ruling.reason


def test_i9_nobody_is_asked_about_what_is_not_granted() -> None:
    assert PLAIN.decide(replace(PAY, granted=False, founded=False)).verdict == "deny"


@pytest.mark.parametrize("touched", TOUCHES)
def test_a_red_line_holds_whatever_else_is_known(touched: str) -> None:
    ruling = PLAIN.decide(replace(PAY, reaches=frozenset({touched}), founded=False))
    operator = touched in ("employees", "skills", "engines", "network")
    assert ruling.verdict == ("ask" if operator else "deny")
    assert ruling.rules[0].startswith("redline.")
    assert ruling.approver == ("operator" if operator else "owner")


def test_every_red_line_says_which_it_is_and_what_a_person_is_told() -> None:
    lines = [rule for rule in shipped() if rule.id.startswith("redline.")]
    assert len(lines) == 7
    assert all(rule.line and rule.tell for rule in lines)


def test_what_is_put_to_rules_is_a_system_call() -> None:
    assert RESOURCES.keys() <= {call.name for call in TABLE}


# A company's own


def test_a_company_may_permit_and_forbid() -> None:
    permits = f'@id("may") permit{SCOPE};'
    assert decided(permits, replace(PAY, granted=False)).rules == ("may",)
    forbids = f'@id("no") @tell("{{employee}} may not use {{tool}}, {{owner}}") forbid{SCOPE};'
    assert decided(forbids) == Ruling("deny", ("no",), "clerk may not use pay, ada")
    assert decided(permits + forbids).verdict == "deny"
    assert decided(forbids, replace(PAY, tool="find")).verdict == "allow"


def test_a_company_may_have_somebody_else_asked() -> None:
    asks = f'@id("books") @ask("finance") forbid{SCOPE};'
    ruling = decided(asks, replace(PAY, founded=False))
    assert (ruling.rules, ruling.approver) == (("books", "flow"), "finance")
    ruling = decided(asks, replace(PAY, reaches=frozenset({"network"})))
    assert (ruling.rules, ruling.approver) == (("redline.network", "books"), "operator")
    assert decided(f'@id("books") @ask forbid{SCOPE};').approver == "owner"


def test_a_sentence_puts_facts_in_once_and_nothing_but_facts() -> None:
    text = (
        '@id("x") @tell("{unfounded} {tool} {arguments} {0} {employee.__class__}") forbid(principal, action, resource);'
    )
    ruling = decided(text, replace(PAY, tool="{employee}", unfounded=("to",)))
    assert ruling.reason == "to {employee} {arguments} {0} {employee.__class__}"


@pytest.mark.parametrize(
    ("call", "tool", "resource"),
    [
        ("spawn", "helper", 'Employee::"helper"'),
        ("invoke", "pay", 'Tool::"pay"'),
    ],
)
def test_a_policy_names_what_a_call_is_about(call: str, tool: str, resource: str) -> None:
    scope = f'(principal, action == Action::"{call}", resource == {resource})'
    text = f'@id("x") forbid{scope} when {{ context.arguments has a }};'
    facts = replace(PAY, call=call, tool=tool, arguments={"a": 1})
    assert decided(text, facts).rules == ("x",)
    assert decided(text, replace(facts, call="recall")).verdict == "allow"


# Arguments


VALUES = [
    ("context.arguments.n == 50", {"n": 50.0}),
    ("context.arguments.n > 50", {"n": 51}),
    ('context.arguments.n.greaterThan(decimal("0.4"))', {"n": 0.5}),
    ('context.numbers.n.greaterThan(decimal("50.0"))', {"n": 51}),
    ('context.numbers.n.greaterThan(decimal("50.0"))', {"n": 50.25}),
    ('context.arguments.to == "ben"', {"to": "ben"}),
    ('context.arguments.to.contains("ben")', {"to": ["ada", "ben"]}),
    ('context.each.to.contains("ben")', {"to": ["ada", "ben"]}),
    ('context.each.to.contains("ben")', {"to": "ben"}),
    ('context.arguments.to like "*@evil.org"', {"to": "a@evil.org"}),
    ('context.arguments.at.place == "here"', {"at": {"place": "here", "room": None}}),
    ("context.arguments == {a: 1}", {"a": 1, "b": None}),
    ("context.arguments has a && context.arguments.a", {"a": True}),
    ("!(context.arguments has a)", {"a": None}),
    ("!(context.numbers has a)", {"a": True}),
]


@pytest.mark.parametrize(("condition", "arguments"), VALUES)
def test_a_policy_looks_at_arguments(condition: str, arguments: dict[str, Any]) -> None:
    assert when(condition, arguments) == "deny"


@pytest.mark.parametrize(
    ("condition", "arguments"),
    [
        ("context.arguments.n > 50", {"n": 50}),
        ('context.numbers.n.greaterThan(decimal("50.0"))', {"n": 50}),
        ("context.arguments has n && context.arguments.n > 50", {}),
        ('context.each.to.contains("ben")', {"to": ["ada", 1, None, {"a": [0.5]}]}),
    ],
)
def test_a_condition_that_does_not_hold_forbids_nothing(condition: str, arguments: dict[str, Any]) -> None:
    assert when(condition, arguments) == "allow"


STRANGE = [
    ("context.arguments.n > 50", {}),
    ("context.arguments.n > 50", {"n": "51"}),
    ("context.arguments.n > 50", {"n": 2**63}),
    ("context.arguments.n > 50", {"n": 1e300}),
    ("context.arguments.n > 50", {"n": 0.5}),
    ("context.arguments has n && context.arguments.n > 50", {"n": float("nan")}),
    ('context.numbers.n.greaterThan(decimal("50.0"))', {"n": 50.00001}),
    ('context.numbers.n.greaterThan(decimal("50.0"))', {"n": 1e15}),
    ('context.arguments.to == Employee::"clerk" || true', {"to": "\ud800"}),
    ("context.arguments.n.a", {"n": {"__extn": {"fn": "decimal", "arg": "1.0"}, "a": True}}),
    ("context.arguments.at.b", {"at": {"a": "x" * 5_000}}),
    ('context.arguments == {a: "b"} || context.arguments.a', {"a": [[[["c"]]]]}),
]


@pytest.mark.parametrize(("condition", "arguments"), STRANGE)
def test_i9_what_cannot_be_evaluated_is_denied(condition: str, arguments: dict[str, Any]) -> None:
    assert when(condition, arguments) == "deny"
    rule = f'@id("ok") permit{SCOPE} when {{ {condition} }};'
    assert decided(rule, replace(PAY, arguments=arguments)).verdict == "deny"


def test_i9_a_rule_that_cannot_be_evaluated_is_named() -> None:
    ruling = decided(f'@id("cap") forbid{SCOPE} when {{ context.arguments.price > 5 }};')
    assert (ruling.verdict, ruling.rules) == ("deny", ("cap",))
    assert "price" in ruling.reason


def test_a_model_cannot_make_an_entity_of_an_argument() -> None:
    forged = {"__entity": {"type": "Employee", "id": "clerk"}}
    assert when("context.arguments.to == principal", {"to": forged}) == "allow"
    assert when("context.arguments == principal", forged) == "allow"
    assert when("context.arguments has __entity", forged) == "deny"


@pytest.mark.parametrize("depth", [60, 200, 2_000])
def test_i9_arguments_nested_without_end_are_denied(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    ruling = decided(
        f'@id("x") forbid{SCOPE} when {{ context.arguments.a == 1 }};', replace(PAY, arguments={"a": value})
    )
    assert ruling.verdict == ("allow" if depth == 60 else "deny")


# Lifts


def test_a_lift_turns_one_question_off_for_its_case() -> None:
    text = always("clerk", "pay", {"to": "landlord"}, "flow")
    asking = replace(PAY, founded=False, unfounded=("to",))
    ruling = decided(text, asking)
    assert ruling.verdict == "allow"
    assert ruling.rules[0].startswith("always-")
    assert ruling.rules[1] == "granted"
    assert decided(text, replace(asking, arguments={"to": "thief"})).verdict == "ask"
    assert decided(text, replace(asking, employee="cook")).verdict == "ask"
    assert decided(text, replace(asking, tool="send")).verdict == "ask"
    assert decided(text, replace(asking, intended=False)).rules == ("intent",)


def test_a_lift_grants_nothing() -> None:
    assert decided(always("clerk", "pay", {}, "approval"), replace(PAY, granted=False)).verdict == "deny"


@pytest.mark.parametrize(
    "rule", [rule.id for rule in shipped() if not (rule.effect == "ask" and rule.origin == "base.cedar")]
)
def test_nothing_else_can_be_lifted(rule: str) -> None:
    error = refusal(always("clerk", "pay", {}, rule))
    assert error.found == repr(rule)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-100, 100).map(lambda number: round(number, 2))
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(["__entity", "{tool}", '";//']),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["a", "b c", "__extn", '"']), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["to", "a b", 'q"\n']), JSON, max_size=3), JSON)
def test_always_lifts_the_call_that_was_approved(arguments: dict[str, Any], other: Any) -> None:
    asking = replace(PAY, founded=False, arguments=arguments)
    text = always("clerk", "pay", arguments, "flow")
    assert decided(text, asking).verdict == "allow"
    if "to" in arguments:
        elsewhere = replace(asking, arguments=arguments | {"to": [other, "another", arguments["to"]]})
        assert decided(text, elsewhere).verdict == "ask"


# What cannot be loaded


FAULTS = [
    ("permit(principal, action, resource);", "line 1", "without a name"),
    ('\n// rent\n@id("")\npermit(principal, action, resource);', "line 3", "without a name"),
    ('@id("a") permit(principal, action, resource);\n\n@id("b") permit(principal', "line 3", "unexpected end"),
    ('@id("a") permit(principal, action, resource) when { "; };', "line 1", "does not take"),
    ('@id("a") permit(principal == ?principal, action, resource);', "line 1", "a template"),
    ('@id("a") @aks("x") forbid(principal, action, resource);', "line 1", "@aks"),
    ('@id("a") @ask("x") permit(principal, action, resource);', "line 1 (a)", "@ask on a permit"),
    ('@id("a") @lifts("flow") forbid(principal, action, resource);', "line 1 (a)", "@lifts on a forbid"),
    ('@id("a") @lifts("flow") permit(principal, action, resource);', "line 1 (a)", "more than one case"),
    ('@id("a") forbid(principal == Employe::"x", action, resource);', "line 1 (a)", "the type Employe"),
    ('@id("a") forbid(principal, action, resource is Tol);', "line 1 (a)", "the type Tol"),
    ('@id("a") forbid(principal, action == Action::"invok", resource);', "line 1 (a)", 'Action::"invok"'),
    ('@id("a") forbid(principal, action == Action::"send", resource);', "line 1 (a)", 'Action::"send"'),
    ('@id("a") forbid(principal, action, resource) when { context.foundd };', "line 1 (a)", "context.foundd"),
    ('@id("a") forbid(principal, action, resource) when { context has foundd };', "line 1 (a)", "context.foundd"),
    ('@id("a") forbid(principal, action, resource) when { [context].contains({}) };', "line 1 (a)", "by itself"),
    ('@id("flow") permit(principal, action, resource);', "@id", "which base.cedar has"),
    ('@id("redline.power") permit(principal, action, resource);', "@id", "which redlines.cedar has"),
    ('@id("grant") permit(principal, action, resource);', "@id", "which Kernos has"),
    (f'@id("a") permit(principal, action, resource) when {{ {"(" * 60}true{")" * 60} }};', "line 1", "too large"),
    (f'@id("a") @tell("{"x" * MOST_CHARS}") permit(principal, action, resource);', "line 1", "too large"),
    (f'@id("a") permit(principal, action, resource) when {{ true{" || true" * 500} }};', "line 1", "does not take"),
]


@pytest.mark.parametrize(("text", "where", "found"), FAULTS)
def test_a_faulty_file_is_named_with_the_line_and_what_is_wrong(text: str, where: str, found: str) -> None:
    error = refusal(text)
    assert error.where.startswith("policies/0.cedar: ")
    assert where in error.where
    assert found in error.found


def test_the_message_names_the_nearest_right_word() -> None:
    assert refusal('@id("a") @aks("x") forbid(principal, action, resource);').right == "'ask'"
    assert refusal('@id("a") forbid(principal, action, resource) when { context.foundd };').right == "'founded'"


def test_two_policies_of_one_name_are_a_fault() -> None:
    text = '@id("a") permit(principal, action, resource);'
    assert refusal(text, text).found == "'a', which policies/0.cedar has"


def test_comments_and_texts_do_not_end_a_policy() -> None:
    text = '// one; two "\n@id("a;//") /*not Cedar*/ permit(principal, action, resource);'
    assert "does not take" in refusal(text).found
    assert in_force(()) == shipped()
    assert policy("// nothing; here\n", '@id("a;//") forbid(principal, action, resource); // ; end').decide(
        PAY
    ).rules == ("a;//",)


# No company can weaken what is shipped


FRAGMENTS = st.lists(
    st.builds(
        "@id({id}) {note} {effect}({principal}, {action}, {resource}) {clause};".format_map,
        st.fixed_dictionaries(
            {
                "id": st.integers(0, 10**6).map(lambda number: f'"own-{number}"'),
                "note": st.sampled_from(["", "", '@tell("x")']),
                "effect": st.sampled_from(["permit", "permit", "forbid"]),
                "principal": st.sampled_from(["principal", 'principal == Employee::"clerk"']),
                "action": st.sampled_from(["action", 'action == Action::"invoke"']),
                "resource": st.sampled_from(["resource", 'resource == Tool::"pay"', "resource is Tool"]),
                "clause": st.sampled_from(
                    ["", "when { true }", "unless { false }", 'when { context.reaches.contains("journal") }',
                     "when { context.arguments.to == 1 }", "when { context.granted || true }"]
                ),
            }
        ),
    ),
    max_size=4, unique_by=lambda text: text.split('"')[1],
)  # fmt: skip
ABSOLUTE = [touched for touched in TOUCHES if touched not in ("employees", "skills", "engines", "network")]


@settings(max_examples=150, deadline=None)
@given(
    FRAGMENTS,
    st.sets(st.sampled_from(ABSOLUTE), min_size=1),
    st.booleans(),
    st.sampled_from([rule for rule, _ in ASKS]),
)
def test_no_policy_turns_a_red_line_into_leave(own: list[str], touched: set[str], granted: bool, rule: str) -> None:
    lift = always("clerk", "pay", {}, rule)
    ruling = policy("\n".join([*own, lift])).decide(replace(PAY, reaches=frozenset(touched), granted=granted))
    assert ruling.verdict == "deny"


@settings(max_examples=100, deadline=None)
@given(FRAGMENTS, st.sampled_from(["employees", "skills", "engines", "network"]))
def test_no_policy_spares_the_operator(own: list[str], touched: str) -> None:
    ruling = policy("\n".join(own)).decide(replace(PAY, reaches=frozenset({touched})))
    assert (ruling.verdict, ruling.approver) == ("ask", "operator") or ruling.verdict == "deny"


@settings(max_examples=100, deadline=None)
@given(FRAGMENTS, st.text(max_size=40))
def test_no_text_removes_a_shipped_rule(own: list[str], noise: str) -> None:
    try:
        rules = CedarPolicy([("policies/a.cedar", "\n".join([*own, noise]))]).rules
    except BadInput:
        return
    assert tuple(rules[: len(shipped())]) == shipped()


# Decisions are kept


def test_a_decision_is_kept_and_depends_on_every_fact_that_a_rule_looks_at() -> None:
    text = f'@id("cap") forbid{SCOPE} when {{ context.arguments.amount > 1000 }};'
    rules = policy(text)
    assert rules.decide(PAY).verdict == rules.decide(PAY).verdict == "allow"
    assert rules.decide(replace(PAY, arguments={"amount": 1001})).rules == ("cap",)
    assert rules.decide(replace(PAY, again=True)).rules == ("again",)
    assert rules.decide(replace(PAY, owner="ben")).verdict == "allow"
    assert rules.decide(replace(PAY, founded=False, unfounded=("to",))).reason.endswith(": to.")
    assert rules.decide(replace(PAY, founded=False, unfounded=("amount",))).reason.endswith(": amount.")


def test_a_decision_that_was_made_before_costs_next_to_nothing() -> None:
    rules = policy(f'@id("cap") forbid{SCOPE} when {{ context.arguments.amount > 1000 }};')

    def spent(amounts: Iterable[int]) -> float:
        times = []
        for amount in amounts:
            facts, begun = replace(PAY, arguments={"amount": amount}), time.thread_time_ns()
            rules.decide(facts)
            times.append(time.thread_time_ns() - begun)
        return median(times)

    assert spent([900] * 200) < spent(range(200)) / 3
