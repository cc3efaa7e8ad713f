"""What the owner's words compute from what was read: the largest, the fewest, one of all, and amounts made of amounts.

    computed = Computed(words, reading, chosen)
    computed.of(value, rule)              the origin of a value that a selection over attested fields leads to
    computed.amount(value)                the origin of an amount

Only fields that nobody can forge, in what led reads returned, are counted and compared.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import product

from kernos.kernel.chosen import Chosen, Origin
from kernos.kernel.lexicon import SHARES
from kernos.kernel.reading import Leaf, Reading, counts, fits, key
from kernos.kernel.texts import stem
from kernos.kernel.types import Json, Parameter
from kernos.kernel.words import Words, is_time

_SHARES = frozenset(map(stem, SHARES))
_CENT = 0.005
"""Amounts that differ by less are the same."""


class Computed:
    """Computes anew at each question; keeps nothing."""

    def __init__(self, words: Words, reading: Reading, chosen: Chosen) -> None:
        self._words = words
        self._reading = reading
        self._chosen = chosen

    def of(self, value: Json, rule: Parameter) -> Origin | None:
        """The origin of a value that is the most, the least, one of all, or the one whose name begins so."""
        found = [leaf for leaf in self._reading.leaves(value)
                 if leaf.attested and leaf.thing.read.led and fits(leaf, rule)]  # fmt: skip
        if not found:
            return None
        if self._words.compares and any(map(self._extreme, found)):
            return Origin("computed", f"{value} is the one that was asked for")
        if self._words.compares and (self._fullest(value, rule) or any(map(self._most_frequent, found))):
            return Origin("computed", f"{value} was counted")
        if rule.of and self._words.every([rule.of]):
            return Origin("computed", f"one of all: {value}")
        if prefix := self._prefixed(str(value), rule):
            return Origin("computed", f"it begins with {prefix}")
        return None

    def _led(self) -> Iterator[Leaf]:
        for thing in self._reading.things:
            if thing.read.led:
                yield from (leaf for leaf in thing.leaves if leaf.attested)

    def _extreme(self, named: Leaf) -> bool:
        """Whether its thing alone has the largest or smallest of what the owner's words speak of, among all that are
        known of its kind: a planner might have compared only some."""
        group = {thing.same: thing for thing in self._reading.alike[named.thing.shape] if thing.read.led}.values()
        compared = {key(leaf.value) for thing in group for leaf in thing.leaves if leaf.name == named.name}
        if not {key(leaf.value) for leaf in self._led() if leaf.field.of == named.field.of} <= compared:
            return False
        for leaf in named.thing.leaves:
            way = self._words.most(re.split(r"[_\W]+", leaf.name)) if leaf.field.attested and _orders(leaf) else 0
            values = [other.value for thing in group for other in thing.leaves
                      if way and other.name == leaf.name and type(other.value) is type(leaf.value)]  # fmt: skip
            best = max(values) if way > 0 else min(values, default=None)
            if way and leaf.value == best and values.count(best) == 1:
                return True
        return False

    def _fullest(self, value: Json, rule: Parameter) -> bool:
        """Whether the read that asked about it returned the most, or the fewest, of all such reads. Every one that the
        service lists must have been asked about, and nothing else counts."""
        listed = {key(leaf.value) for leaf in self._led() if leaf.field.of == rule.of
                  and not leaf.thing.read.arguments}  # fmt: skip
        asked, ways = self._asked(rule)
        counted = 0 if any(ways.values()) else self._words.number_of()
        for tool, found in asked.items():
            sizes = {one: size for one, size in found.items() if one in listed}
            way = ways[tool] or counted  # what was counted is not always called as the owner calls it
            if way and key(value) in sizes and listed == sizes.keys():
                return sizes[key(value)] == (max if way > 0 else min)(sizes.values())
        return False

    def _asked(self, rule: Parameter) -> tuple[dict[str, dict[Json, int]], dict[str, int]]:
        """By tool: how many things it returned about each one of a kind, and whether the owner means the most."""
        asked: dict[str, dict[Json, int]] = {}
        ways: dict[str, int] = {}
        for read in self._reading.reads if rule.of else ():
            if len(read.arguments) == 1:
                [(name, part)] = read.arguments.items()
                if read.spec.rule(name).of == rule.of and not isinstance(part, list):
                    asked.setdefault(read.spec.name, {})[key(part)] = read.size
                    kinds = {field.of for field in read.spec.returns.values() if field.of}
                    ways[read.spec.name] = self._words.most((kinds | {*read.spec.name.split("_")}) - {rule.of})
        return asked, ways

    def _most_frequent(self, leaf: Leaf) -> bool:
        """Whether it is the author of the most, or the fewest, of the things of its sort. What was read twice counts
        once."""
        if not leaf.field.author:
            return False
        way = self._words.most([*leaf.thing.read.spec.name.split("_"), "active"])
        things = {thing.same: thing for thing in self._reading.alike[leaf.thing.shape] if thing.read.led}
        group = Counter(key(other.value) for thing in things.values() for other in thing.leaves
                        if other.name == leaf.name)  # fmt: skip
        return bool(way) and group[key(leaf.value)] == (max if way > 0 else min)(group.values())

    def _prefixed(self, value: str, rule: Parameter) -> str:
        """The beginning of which the owner speaks, if this is the only one that begins so."""
        fitting = [prefix for prefix in self._words.prefixes() if value.casefold().startswith(prefix)]
        if not fitting:
            return ""
        others = {key(leaf.value) for leaf in self._led() if fits(leaf, rule)
                  and any(str(leaf.value).casefold().startswith(prefix) for prefix in fitting)}  # fmt: skip
        return fitting[0] if len(others) == 1 else ""

    # Amounts

    def amount(self, value: float) -> Origin | None:
        """An amount that the owner named, that stands in a thing that he singled out, or is made of such amounts."""
        said = self._words.numbers
        if value in said:
            return Origin("owner", f"{value:g}")
        things = [thing for thing in self._reading.things if thing.read.led and self._chosen.surely(thing)]
        known = {
            float(leaf.value): leaf for thing in things for leaf in thing.leaves if leaf.field.attested and counts(leaf)
        }
        if value in known:
            return Origin("chosen", known[value].place)
        halves = {number / 2 for number in said} if _SHARES & self._words.stems else set[float]()
        for amount, number in product(known, said | halves):
            for form, result in _with_more(_sums(amount, number), said - {number}):
                if abs(result - value) < _CENT and value > 0:
                    return Origin("derived", form)
        return None


def _with_more(sums: Iterator[tuple[str, float]], more: Collection[float]) -> Iterator[tuple[str, float]]:
    """The sums, and each with one more number added."""
    for form, result in sums:
        yield form, result
        yield from ((f"{form} + {number:g}", result + number) for number in more)


def _sums(amount: float, number: float) -> Iterator[tuple[str, float]]:
    """What people mean by two numbers: a difference, a sum, a share in percent, and a rise by that."""
    yield f"{amount:g} - {number:g}", amount - number
    yield f"{number:g} - {amount:g}", number - amount
    yield f"{amount:g} + {number:g}", amount + number
    yield f"{number:g} % of {amount:g}", amount * number / 100
    yield f"{amount:g} and {number:g} %", amount * (1 + number / 100)


def _orders(leaf: Leaf) -> bool:
    return counts(leaf) or (isinstance(leaf.value, str) and is_time(leaf.value))
