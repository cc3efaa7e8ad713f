"""What an employee did, beside what it says that it did: receipts (the red line on deception).

    receipts.happened(spec, arguments, row)     a tool returned, and had an effect
    receipts.did(call, what, row)               a call of the kernel's own had one
    receipts.passed_on(pid, theirs, row)        a child had some
    receipts.beside(text, row)                  for a text to the owner: what happened after `row`, and what did not

A claim (`deeds`) is true if an effect of such a kind, or of a tool that is called so, happened after the last reply; of
what happened before that, if the claim names no number or address, or one of that call's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kernos.kernel.deeds import Deed, claims
from kernos.kernel.texts import normalise
from kernos.kernel.types import EffectKind, Json, ToolSpec, canonical

BRIEF_CHARS, PART_CHARS = 120, 40
"""Of a call's arguments in a receipt, and of one of them."""
MOST = 50
"""Receipts of a child that its parent is given: the latest."""
_OWN: Mapping[str, EffectKind] = {"spawn": "sends", "send": "sends", "remember": "writes"}
"""Calls of the kernel's own that have an effect."""
_DETAIL = re.compile(r"[\w.+-]*@[\w.-]+|\d+(?:[.,:]\d+)*")


@dataclass(frozen=True)
class Receipt:
    """An effect that happened: the tool, its arguments in brief, the row that has it, the kinds of effect, and the
    words by which people call it."""

    tool: str
    brief: str
    row: int
    kinds: frozenset[str]
    words: frozenset[str] = frozenset()

    def fits(self, deed: Deed) -> bool:
        """Whether it makes a deed true by its kind, or by what the tool is called."""
        return not self.kinds.isdisjoint(deed.kinds) or deed.verb in self.words

    def named(self, deed: Deed) -> bool:
        """Whether the deed's sentence names a number or an address of this call, or none at all."""
        named = set(_DETAIL.findall(deed.sentence))
        return not named or not named.isdisjoint(_DETAIL.findall(normalise(self.brief)))


class Receipts:
    """The effects of one process. Rebuilt from the journal, never saved."""

    def __init__(self) -> None:
        self._all: list[Receipt] = []

    def happened(self, spec: ToolSpec, arguments: Mapping[str, Json], row: int) -> None:
        """A tool has returned."""
        kinds = frozenset[str](spec.effects - {"reads"})
        if kinds:
            words = frozenset([*spec.name.casefold().split("_"), *spec.verbs])
            self._all.append(Receipt(spec.name, brief(arguments), row, kinds, words))

    def did(self, call: str, what: str, row: int) -> None:
        """The kernel has done this for the process."""
        self._all.append(Receipt(call, what, row, frozenset({_OWN[call]})))

    def passed_on(self, pid: str, theirs: Iterable[Json], row: int) -> None:
        """A child has ended that did this."""
        self._all += [
            Receipt(tool, f"{what}, by {pid}".removeprefix(", "), row, frozenset(kinds)) for tool, what, kinds in theirs
        ]

    def passed(self) -> dict[str, Json]:
        """What a parent is told of them."""
        told = [[receipt.tool, receipt.brief, sorted(receipt.kinds)] for receipt in self._all[-MOST:]]
        return {"receipts": told} if told else {}

    def beside(self, text: str, since: int) -> dict[str, Json]:
        """What the journal says beside a text for the owner, whose last one stands in row `since`."""
        fresh = [receipt for receipt in self._all if receipt.row > since]
        older = [receipt for receipt in self._all if receipt.row <= since]
        shown = [[receipt.tool, receipt.brief, receipt.row] for receipt in fresh]
        found = {"receipts": shown, "flags": unfounded(text, fresh, older)}
        return {name: part for name, part in found.items() if part}


def unfounded(text: str, fresh: Sequence[Receipt], older: Sequence[Receipt] = ()) -> list[str]:
    """The kinds of effect that a text claims and that did not happen."""
    wrong = [deed for deed in claims(text) if not any(receipt.fits(deed) for receipt in fresh)]
    wrong = [deed for deed in wrong if not any(receipt.fits(deed) and receipt.named(deed) for receipt in older)]
    return list(dict.fromkeys(deed.kinds[0] for deed in wrong))


def brief(arguments: Mapping[str, Json]) -> str:
    """A call's arguments in a few words."""
    parts = (f"{name}={_cut(part, PART_CHARS)}" for name, part in arguments.items() if part is not None)
    return _cut(", ".join(parts), BRIEF_CHARS)


def _cut(value: Json, most: int) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else canonical(value).decode()
    return text if len(text) <= most else text[:most] + "…"
