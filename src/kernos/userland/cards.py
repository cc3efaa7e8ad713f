"""Approvals as plain text, for a person who reads them in another program: an MCP client, another agent's console.

    card(question)      the calls that wait, where each value came from, and the rule that wants a person
    visible(text)       a text in which nothing is hidden

What strangers wrote is quoted here, so whatever a program would hide or obey is spelled out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from kernos.kernel.ports import Question
from kernos.kernel.types import AUDIENCE, EFFECT, Asked, Json

VALUE_CHARS = 2_000
"""Of one value that is shown; of what is longer the rest is counted."""


def card(question: Question) -> str:
    """What a person is asked, in full."""
    if not question.calls:
        return visible(question.text)
    many = len(question.calls) > 1
    shown = (_call(asked, f"{number}. " if many else "") for number, asked in enumerate(question.calls, 1))
    return "\n".join(line for lines in shown for line in lines)


def visible(text: str) -> str:
    """A text on one line in which nothing is hidden: what cannot be seen, or a program would obey, is spelled out."""
    return "".join(char if char.isprintable() else f"\\u{{{ord(char):x}}}" for char in " ".join(text.split()))


def _call(asked: Asked, head: str) -> Iterator[str]:
    yield f"{head}{visible(asked.tool)} ({', '.join(asked.effects)})"
    for name, value in asked.arguments.items():
        yield f"  {visible(name)} = {_value(value)}"
        yield from (f"    ← {place}" for place in _places(asked, name))
    for item in asked.items:
        if item.parameter == EFFECT:
            yield "  nobody has asked for anything of this kind"
        if item.parameter == AUDIENCE:
            yield f"  {_value(item.value)} would see it: {visible(item.found)}"
    yield f"  put to a person by the rule {visible(asked.rule)}: {visible(asked.reason)}"


def _places(asked: Asked, name: str) -> Iterator[str]:
    """Where the value of an argument came from."""
    items = [item for item in asked.items if item.parameter == name or item.parameter.startswith(f"{name}.")]
    for item in items:
        yield visible(item.found) or "nowhere: the model made it up"
    if name in asked.evidence:
        yield visible(asked.evidence[name])
    elif not items:
        yield "the model"


def _value(value: Json) -> str:
    text = visible(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= VALUE_CHARS else f"{text[:VALUE_CHARS]}… ({len(text) - VALUE_CHARS:,} characters more)"
