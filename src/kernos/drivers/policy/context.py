"""What a call looks like to Cedar: the facts as a record, and its arguments in three views.

`context.arguments` are the values themselves. Cedar knows texts, whole numbers, true and false, sets and records, and
decimals of at most four places. So 50.0 is 50, 0.5 is a decimal, a list is a set, and what is null is not there. What
Cedar cannot hold stands as its text: a comparison with it cannot be evaluated, and so denies.
`context.numbers` has every argument that is a number, as a decimal: for bounds that hold for 50 and 50.5.
`context.each` has every argument as a set: of a list its elements, of another the one value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal

from kernos.drivers.policy.rules import RESOURCES
from kernos.kernel.types import Json, canonical

LARGEST_WHOLE, LARGEST_DECIMAL = 2**63 - 1, Decimal("922337203685477.5807")
PLACES = 4
_ESCAPES = {"__entity", "__extn", "__expr"}
"""Keys by which Cedar's JSON makes of a record something else, and a model would forge an entity."""
_encode = json.JSONEncoder(default=list, separators=(",", ":")).encode


def resource(call: str, tool: str) -> tuple[str, str]:
    """What a call is about: the type and the id."""
    return (RESOURCES[call], tool) if call in RESOURCES else ("System", "")


def request(facts: Mapping[str, Json], wanted: Iterable[str], views: str) -> dict[str, Json]:
    """A question to Cedar, with the facts that are wanted. `views` is what `viewed` returned; empty if nobody looks."""
    kind, about = resource(facts["call"], facts["tool"])
    known = {name: facts[name] for name in wanted}
    return {
        "principal": {"type": "Employee", "id": facts["employee"]},
        "action": {"type": "Action", "id": facts["call"]},
        "resource": {"type": kind, "id": about},
        "context": f"{_encode(known)[:-1]},{views[1:]}" if known and views else views or _encode(known),
    }


def viewed(arguments: Mapping[str, Json], wanted: Mapping[str, Collection[str]]) -> str:
    """The wanted views of a call's arguments, as one JSON object: of each the arguments that are named, or all ("")."""
    views = {}
    for view, names in wanted.items():
        given = {
            name: value for name, value in arguments.items() if ("" in names or name in names) and value is not None
        }
        views[view] = _text(given) if _ESCAPES & given.keys() else _VIEWS[view](given)
    return _encode(views)


def _numbers(given: Mapping[str, Json]) -> Json:
    return {name: _decimal(value) for name, value in given.items() if type(value) in (int, float)}


def _each(given: Mapping[str, Json]) -> Json:
    return {name: _value(value) if isinstance(value, list) else [_value(value)] for name, value in given.items()}


def _value(value: Json) -> Json:
    """A JSON value as Cedar holds it."""
    match value:
        case bool() | str():
            return value
        case int() | float() if value % 1 == 0:
            return int(value) if abs(value) <= LARGEST_WHOLE else _text(value)
        case float():
            return _decimal(value)
        case list():
            return [_value(part) for part in value]
        case dict() if not _ESCAPES & value.keys():
            return {name: _value(part) for name, part in value.items() if part is not None}
        case _:
            return _text(value)


def _decimal(number: float) -> Json:
    exact = Decimal(repr(number))
    if not exact.is_finite() or abs(exact) > LARGEST_DECIMAL or exact != round(exact, PLACES):
        return _text(number)
    return {"__extn": {"fn": "decimal", "arg": f"{exact:.{PLACES}f}"}}


def _text(value: Json) -> str:
    return canonical(value).decode()


_VIEWS: Mapping[str, Callable[[Mapping[str, Json]], Json]] = {"arguments": _value, "numbers": _numbers, "each": _each}
