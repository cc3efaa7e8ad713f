"""`kernos policy`: the rules of a folder, what they say to cases, and which of them decided a call."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from kernos.kernel.errors import BadInput, NotFound
from kernos.kernel.ports import Facts, Ruling
from kernos.kernel.types import Record, Status
from kernos.surfaces.cli.calls import count
from kernos.surfaces.cli.cards import GONE
from kernos.surfaces.cli.places import company, place_argument, reading
from kernos.surfaces.cli.system import Rule, System
from kernos.surfaces.cli.tables import print_table
from kernos.userland.cards import visible

CASES = "policies/cases.toml"
_VERDICTS = {"allow": "was allowed", "ask": "was put to a person", "deny": "was denied"}
_ORIGINS = {"grant": "what nothing permits is denied", "policy": "what cannot be evaluated is denied"}
_PARTS_OF_CALLS = ("intent", "begin", "doubt", "answer", "outcome")


@click.group()
def policy() -> None:
    """Show and test the rules of a folder, and explain what they decided.

    \b
    Examples:
      kernos policy show
      kernos policy test
      kernos policy explain 7k2q 12
    """


@policy.command()
@place_argument
@click.pass_obj
def show(system: System, place: Path) -> None:
    """List every rule in force: the shipped ones, those of the grants in kernos.toml, and those of policies/*.cedar.

    \b
    Examples:
      kernos policy show shop
    """
    rows = [(rule.id, rule.origin, _effect(rule), _who(rule), rule.tell) for rule in system.policy(place).rules]
    _print(("RULE", "FROM", "EFFECT", "WHO MAY ALLOW", "WHAT IS SAID"), rows)


def _effect(rule: Rule) -> str:
    return f"lifts {rule.lifts}" if rule.lifts else rule.effect


def _who(rule: Rule) -> str:
    return {"ask": rule.approver, "forbid": "nobody"}.get(rule.effect, "")


@dataclass(frozen=True)
class Case:
    """A line of the table: what is known of a call, and what the rules should say to it."""

    name: str
    facts: Facts
    expect: str
    rule: str

    def fits(self, ruling: Ruling) -> bool:
        return ruling.verdict == self.expect and self.rule in ("", ruling.rules[0])


@policy.command()
@place_argument
@click.pass_obj
def test(system: System, place: Path) -> int:
    """Put the cases of policies/cases.toml to the rules. Exit code 1 if one is decided otherwise than it says.

    A case has a name, what it expects (allow, ask or deny), the rule if it matters, and what is known of the call: what
    is left out is as for a granted call of which nothing is wrong.

    \b
    Examples:
      kernos policy test shop

    \b
    A case:
      [[cases]]
      name = "nobody pays to an account from a mail"
      employee = "clerk"
      tool = "pay"
      effects = ["pays"]
      arguments = { to = "X-1", amount = 50 }
      unfounded = ["to"]
      expect = "ask"
      rule = "flow"
    """
    rules = system.policy(place)
    decided = [(case, rules.decide(case.facts)) for case in _cases(place)]
    wrong = [ruling for case, ruling in decided if not case.fits(ruling)]
    _print(("", "CASE", "EXPECTED", "DECIDED", "RULE", "WHAT IS SAID"), [_line(*pair) for pair in decided])
    click.echo()
    click.secho(f"{count(len(decided), 'case')}, {len(wrong)} wrong", fg="red" if wrong else "green")
    return 1 if wrong else 0


def _line(case: Case, ruling: Ruling) -> tuple[str, ...]:
    fits = case.fits(ruling)
    expected = f"{case.expect} ({case.rule})" if case.rule else case.expect
    return "✓" if fits else "✗", case.name, expected, ruling.verdict, ruling.rules[0], "" if fits else ruling.reason


def _cases(place: Path) -> list[Case]:
    path = place / CASES
    try:
        raw = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise NotFound(str(path), str(error.strerror).lower(), "a table of cases (kernos policy test --help)") from None
    except ValueError as error:
        raise BadInput(CASES, f"TOML that does not parse: {error}", "valid TOML") from None
    cases = raw.pop("cases", [])
    if raw or not isinstance(cases, list):
        raise BadInput(CASES, repr(next(iter(raw), "cases")), "tables [[cases]] and nothing else")
    return [_case(f"{CASES}: cases[{number}]", given) for number, given in enumerate(cases)]


def _case(where: str, given: Any) -> Case:
    known = [field.name for field in fields(Facts)]
    if not isinstance(given, dict):
        raise BadInput(where, repr(given), "a table")
    for key in given:
        if key not in (*known, "name", "expect", "rule"):
            raise BadInput(f"{where}.{key}", "an unknown key", f"one of name, expect, rule, {', '.join(known)}")
    for key, right in (("name", "what the case is called"), ("expect", "allow, ask or deny")):
        if not isinstance(given.get(key), str) or (key == "expect" and given[key] not in _VERDICTS):
            raise BadInput(f"{where}.{key}", repr(given.get(key, "nothing")), right)
    return Case(given["name"], _facts(where, given), given["expect"], str(given.get("rule", "")))


def _facts(where: str, given: Mapping[str, Any]) -> Facts:
    """What a case says of its call, the rest as for a call of which nothing is wrong."""
    from pydantic import TypeAdapter, ValidationError

    known = {name: value for name, value in given.items() if name not in ("name", "expect", "rule")}
    usual = {"owner": "owner", "call": "invoke", "founded": not known.get("unfounded")}
    try:
        return TypeAdapter(Facts).validate_python(usual | known)
    except ValidationError as error:
        fault = error.errors()[0]
        at = ".".join(map(str, fault["loc"]))
        right = fault["msg"].removeprefix("Input should be ")
        found = "nothing" if fault["type"] == "missing" else repr(fault["input"])[:80]
        raise BadInput(f"{where}.{at}", found, "a value" if found == "nothing" else right) from None


@policy.command()
@click.argument("pid")
@click.argument("seq", type=int)
@company
@click.pass_obj
def explain(system: System, pid: str, seq: int, place: Path) -> None:
    """Say which rule decided a call, where that rule is from, and what was known of each argument. SEQ is a row of the
    call, as `kernos log` shows it.

    \b
    Examples:
      kernos policy explain 7k2q 12
    """
    status, intent, answer = asyncio.run(_call(system, place, pid, seq))
    rules = {rule.id: rule for rule in system.policy(place).rules}
    for line in _explained(status, intent, answer, rules):
        click.echo(" " * (len(line) - len(line.lstrip())) + visible(line))


async def _call(system: System, place: Path, prefix: str, seq: int) -> tuple[Status, Record, Record | None]:
    """The call that a row belongs to, and what a person answered to it."""
    async with reading(system, place) as ledger:
        status = await ledger.find(prefix)
        records = await ledger.records(status.pid)
    kinds = {record.seq: record.kind for record in records}
    begun = [record for record in records if record.kind == "intent" and record.seq <= seq]
    if kinds.get(seq) not in _PARTS_OF_CALLS or not begun:
        found = f"a row {kinds[seq]}" if seq in kinds else "no such row"
        raise NotFound(f"row {seq} of {status.pid}", found, f"the row of a call (kernos log {status.pid})")
    intent = begun[-1]
    after = (record for record in records if record.seq > intent.seq)
    answer = next((record for record in after if record.kind in ("answer", "outcome", "intent")), None)
    return status, intent, answer if answer is not None and answer.kind == "answer" else None


def _explained(status: Status, intent: Record, answer: Record | None, rules: Mapping[str, Rule]) -> Iterator[str]:
    body, verdict = intent.body, intent.body["verdict"]
    rule = rules.get(verdict["rule"])
    origin = rule.origin if rule else _ORIGINS.get(verdict["rule"], GONE)
    decided = f"{_called(body)} {_VERDICTS[verdict['is']]} by the rule {verdict['rule']} ({origin})"
    reason = verdict.get("reason") or _told(rule, status, body)
    yield f"{decided}: {reason}" if reason else decided
    if rule and rule.line:
        yield f"  red line: {rule.line}"
    if verdict["is"] == "ask":
        said = ("allowed" if answer.body.get("approved") else "declined") if answer else "not answered yet"
        yield f"  asked: {verdict.get('approver', 'owner')}; {said}" + (f" by {answer.body['by']}" if answer else "")
    for name, quote in verdict.get("evidence", {}).items():
        yield f"  {name} ← {quote}"
    for item in _items(body, verdict):
        place = item.get("found") or "nowhere: the model made it up"
        yield f"  {item['parameter']} = {_json(item['value'])} ← {place}"


def _items(body: Mapping[str, Any], verdict: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a person was asked to stand for, of all calls on the card."""
    return [item for asked in body.get("card", verdict.get("calls", ())) for item in asked.get("items", ())]


def _told(rule: Rule | None, status: Status, body: Mapping[str, Any]) -> str:
    tell = rule.tell if rule else ""
    return tell.replace("{employee}", status.employee).replace("{tool}", str(body.get("tool", body["call"])))


def _called(body: Mapping[str, Any]) -> str:
    inside = ", ".join(f"{name}={_json(value)}" for name, value in body.get("arguments", {}).items())
    return f"{body['tool']}({inside})" if "tool" in body else str(body["call"])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _print(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in head:
        table.add_column(name, overflow="fold", no_wrap=name in ("", "EFFECT"))
    for row in rows:
        style = "red" if row[0] == "✗" else ""
        table.add_row(*(Text(cell, style) for cell in row))
    print_table(table)
