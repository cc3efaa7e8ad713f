"""Grants with conditions, and a person's “always”, written as policies in Cedar.

Entry points: `compiled(employees)` when a folder is opened; `always(...)` when a person has answered so.

What is granted the shipped rules permit, so a narrowed grant is a forbid that holds unless one of the grants does.
Bounds look at `context.numbers`, which has 50 and 50.5 alike, and choices at `context.each`, which has a list and a
single value alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from kernos.kernel.errors import BadInput
from kernos.kernel.types import Json, canonical, digest
from kernos.userland.company.sidecar import FILE, PLACES, Condition, Employee, Grant, fits

MOST_CHARS, MOST_DEPTH = 8_000, 20
"""Of the policy of one “always”: what is larger no person has read."""
_SHOWN = 5
_ESCAPES = {"__entity", "__extn", "__expr"}


def compiled(employees: Mapping[str, Employee]) -> dict[str, str]:
    """The policies of all grants that have conditions, by their place in the side-car."""
    texts = {slug: "\n".join(_policies(slug, employee.grants)) for slug, employee in employees.items()}
    return {f"{FILE}: employees.{slug}.grants": text for slug, text in texts.items() if text}


def _policies(slug: str, grants: Sequence[Grant]) -> Iterator[str]:
    for tool in dict.fromkeys(grant.tool for grant in grants):
        own = [grant for grant in grants if grant.tool == tool]
        free = [grant for grant in own if not grant.ask]
        scope = _scope(slug, tool)
        if all(grant.when for grant in own):
            tell = f"{{employee}} may use {{tool}} only if {_words(own)}."
            yield _forbid(f"grants.{slug}.{tool}", tell, scope, own)
        if free != own and all(grant.when for grant in free):
            how = f"without asking only if {_words(free)}" if free else "only when a person agrees"
            tell = f"{{employee}} may use {{tool}} {how}."
            yield _forbid(f"grants.{slug}.{tool}.ask", tell, scope, free, '@ask("owner")\n')


def _scope(slug: str, tool: str) -> str:
    return f'(principal == Employee::{_quoted(slug)}, action == Action::"invoke", resource == Tool::{_quoted(tool)})'


def _forbid(name: str, tell: str, scope: str, grants: Sequence[Grant], ask: str = "") -> str:
    unless = "".join(f"\nunless {{ {' && '.join(_holds(grant))} }}" for grant in grants)
    return f"@id({_quoted(name)})\n{ask}@tell({_quoted(tell)})\nforbid{scope}{unless};\n"


def _holds(grant: Grant) -> Iterator[str]:
    """The conditions of a grant in Cedar; an argument that is not given fails its own."""
    for name, condition in grant.when.items():
        key = _quoted(name)
        for bound, relation in ((condition.max, "lessThanOrEqual"), (condition.min, "greaterThanOrEqual")):
            if bound is not None:
                number = f"context.numbers[{key}].{relation}({_decimal(bound)})"
                yield f"context.numbers has {key} && {number}"
        if condition.one_of is not None:
            yield f"context.each has {key} && {_literal(condition.one_of)}.containsAll(context.each[{key}])"
        if condition.equals is not None:
            yield _given(name, condition.equals)


def _words(grants: Sequence[Grant]) -> str:
    """Grants' conditions for a person."""
    return ", or if ".join(
        " and ".join(f"{name} is {said}" for name, condition in grant.when.items() for said in _said(condition))
        for grant in grants
    )


def _said(condition: Condition) -> Iterator[str]:
    if condition.max is not None:
        yield f"at most {condition.max:g}"
    if condition.min is not None:
        yield f"at least {condition.min:g}"
    if condition.one_of is not None:
        more = f" or {len(condition.one_of) - _SHOWN} others" if len(condition.one_of) > _SHOWN else ""
        yield f"one of {', '.join(f'“{value}”' for value in condition.one_of[:_SHOWN])}{more}"
    if condition.equals is not None:
        yield f"“{condition.equals}”"


def always(employee: str, tool: str, arguments: Mapping[str, Json], rule: str) -> str:
    """The policy by which `rule` no longer asks about this employee's calls of a tool with these arguments; those that
    are not named may be anything. The same answer makes the same text.

    Raises BadInput for arguments that are too large to be put into a policy.
    """
    when = "".join(f"\nwhen {{ {_given(name, value)} }}" for name, value in arguments.items())
    policy = f"@lifts({_quoted(rule)})\npermit{_scope(employee, tool)}{when};\n"
    if len(policy) > MOST_CHARS:
        raise BadInput("always", f"a policy of {len(policy):,} characters", f"at most {MOST_CHARS:,}")
    return f'@id("always-{digest(policy.encode())[:12]}")\n{policy}'


def _given(name: str, value: Json) -> str:
    """That an argument has just this value; of a list, that it has just these, in any order."""
    key = _quoted(name)
    if value is None:
        return f"!(context.arguments has {key})"
    return f"context.arguments has {key} && context.arguments[{key}] == {_literal(value)}"


def _literal(value: Json, depth: int = 0) -> str:
    """A JSON value in Cedar, as the driver shows it to Cedar: what has no form there stands as its text."""
    if depth > MOST_DEPTH:
        raise BadInput("always", f"a value nested more than {MOST_DEPTH} deep", "a simpler one")
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _quoted(value)
        case int() | float() if value % 1 == 0 and abs(value) < 2**63:
            return str(int(value))
        case float() if fits(value):
            return _decimal(value)
        case list():
            return f"[{', '.join(_literal(part, depth + 1) for part in value)}]"
        case dict() if not _ESCAPES & value.keys():
            parts = (
                f"{_quoted(name)}: {_literal(part, depth + 1)}" for name, part in value.items() if part is not None
            )
            return f"{{{', '.join(parts)}}}"
    return _quoted(canonical(value).decode())


def _decimal(number: float) -> str:
    return f'decimal("{Decimal(repr(number)):.{PLACES}f}")'


def _quoted(text: str) -> str:
    """A text as Cedar writes it; what cannot be seen is spelled out."""
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in '\\"':
        return f"\\{char}"
    return char if char.isprintable() else f"\\u{{{ord(char):x}}}"
