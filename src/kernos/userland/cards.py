"""Approvals as text: what a person is shown of calls that wait.

    card(question)           the whole card, for who reads it in another program: an MCP client, an agent's console
    lines(asked, origin)     one call, line by line: its indent, its text, and what a terminal may make of it
    value_of(value), visible(text)

What strangers wrote is quoted here, so whatever a program would hide or obey is spelled out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Literal

from kernos.kernel.office import Question
from kernos.kernel.types import AUDIENCE, EFFECT, Asked, Json

VALUE_CHARS = 2_000
"""Of one value that is shown; of what is longer the rest is counted."""
DOES = {
    "pays": "moves money", "sends": "sends something to others", "destroys": "removes something for good",
    "grants": "changes who may do or see what", "writes": "changes data", "reads": "reads",
}  # fmt: skip
Style = Literal["", "bold", "dim", "yellow"]
"""Yellow is what the person has to stand for."""


def card(question: Question) -> str:
    """What a person is asked, in full."""
    if not question.calls:
        return visible(question.text)
    many = len(question.calls) > 1
    calls = (lines(asked, head=f"{number}  " if many else "") for number, asked in enumerate(question.calls, 1))
    return "\n".join(" " * indent + text for call in calls for indent, text, _ in call)


def lines(
    asked: Asked, origin: Callable[[str], str] = lambda rule: "", head: str = ""
) -> Iterator[tuple[int, str, Style]]:
    """A call on a card: what it would do, where each value came from, and the rule that wants a person, of which
    `origin` says where it stands."""
    effects = [effect for effect in asked.effects if effect != "reads"] or asked.effects
    does = ", ".join(DOES.get(effect, effect) for effect in effects)
    yield 0, head + visible(asked.tool) + (f" ({does})" if does else ""), "bold"
    inner = len(head)
    for name, value in asked.arguments.items():
        yield inner + 2, f"{visible(name)} = {value_of(value)}", ""
        yield from ((inner + 6, text, style) for text, style in _origins(asked, name, value))
    for item in asked.items:
        if item.parameter == EFFECT:
            yield inner + 2, "nobody has asked for anything of this kind", "yellow"
        if item.parameter == AUDIENCE:
            yield inner + 2, f"{value_of(item.value)} would see it: {visible(item.found)}", "yellow"
    rule = visible(asked.rule) + origin(asked.rule)
    yield inner, f"put to a person by the rule {rule}: {visible(asked.reason)}", "dim"


def _origins(asked: Asked, name: str, value: Json) -> Iterator[tuple[str, Style]]:
    """Where the value of an argument came from."""
    items = [item for item in asked.items if item.parameter == name or item.parameter.startswith(f"{name}.")]
    for item in items:
        part = "" if item.value == value else f"{value_of(item.value)} "
        yield f"{part}← {visible(item.found) or 'nowhere: the model made it up'}", "yellow"
    if name in asked.evidence:
        yield f"← {visible(asked.evidence[name])}", "dim"
    elif not items:
        yield "← the model", "dim"


def value_of(value: Json) -> str:
    """A value as it would be passed to a tool."""
    text = visible(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= VALUE_CHARS else f"{text[:VALUE_CHARS]}… ({len(text) - VALUE_CHARS:,} characters more)"


def visible(text: str) -> str:
    """A text on one line in which nothing is hidden: what cannot be seen, or a program would obey, is spelled out."""
    return "".join(char if char.isprintable() else f"\\u{{{ord(char):x}}}" for char in " ".join(text.split()))
