"""Where values come from: the label algebra, and the search for a value's source in what a process has read.

`Sources` remembers what the owner said and what tools returned, each with its place in the journal. The monitor asks it
`said` (which values of a parameter has the owner expressed?) and `returned` (did a tool return this value?), and its
`origins` who decided a value, the owner or anyone.

The owner's words are compared in one normal form (`texts.normalise`), data exactly as it was returned. Numbers are
found as digits, Chinese numerals and English number words (`numerals`). In a vocabulary the longest alias wins
("混合干皮" hides "干皮"), Latin words match whole, and a mention under a negation ("not dry", "不是干皮") takes its
value back. Of what was said at different times about one parameter the last counts: people correct themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from kernos.kernel.limits import EVIDENCE_CHARS
from kernos.kernel.numerals import Number, numbers
from kernos.kernel.origins import Origins
from kernos.kernel.texts import bounded, normalise
from kernos.kernel.types import Action, Item, Json, Label, Parameter, Source, ToolSpec

_NEGATION = re.compile(
    r"(?:不是|并非|不要|不想要|别给我|没有|\bnot(?: a| an| really| for)?|n't(?: have| want)?|\bno|\bwithout) ?$"
)


def join(labels: Iterable[Label]) -> Label:
    """The label of a value made of others: all their sources, only the readers that all allow."""
    sources: frozenset[Source] = frozenset()
    readers: frozenset[str] | None = None
    for label in labels:
        sources |= label.sources
        if label.readers is not None:
            readers = label.readers if readers is None else readers & label.readers
    return Label(sources, readers)


def trusted(label: Label) -> bool:
    """Whether nothing in a value can have been written by just anyone."""
    return all(source.kind != "anyone" for source in label.sources)


@dataclass(frozen=True)
class Quote:
    """A piece of what a source says, as evidence: of the owner's words in normal form, of data as returned."""

    source: Source
    text: str

    def __str__(self) -> str:
        return f"{self.source.name} at {self.source.place}: “{self.text[:EVIDENCE_CHARS]}”"


def leaves(value: Json, name: str = "") -> Iterator[tuple[str, Json]]:
    """Every scalar in a JSON value, with the nearest field name above it."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from leaves(part, str(key))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from leaves(part, name)
    elif value is not None:
        yield name, value


@lru_cache(maxsize=256)
def _lexicon(vocabulary: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    values = {normalise(alias): value for value, aliases in vocabulary for alias in (value, *aliases)}
    longest_first = sorted(values, key=len, reverse=True)
    return re.compile("|".join(map(bounded, longest_first)) or r"(?!)"), values


def mentions(parameter: Parameter, text: str) -> Iterator[tuple[str, str, bool]]:
    """The vocabulary's values in a normalised text: value, quote, and whether it is under a negation."""
    pattern, values = _lexicon(tuple((value, tuple(aliases)) for value, aliases in parameter.aliases.items()))
    for match in pattern.finditer(text):
        yield values[match[0]], match[0], bool(_NEGATION.search(text[: match.start()]))


class Sources:
    """What one process has read. Rebuilt from the journal, never saved; changed only through `heard`, `learned`, `met`
    and `stands`. `identities` are the owner's own names, addresses and accounts."""

    def __init__(self, identities: Iterable[str] = ()) -> None:
        self.origins = Origins(frozenset(identities))
        self._words: list[tuple[Source, str]] = []
        self._data: dict[tuple[bool, Json], Quote] = {}
        self._fields: dict[str, dict[tuple[bool, Json], Json]] = {}
        self._texts: list[str] = []

    def heard(self, source: Source, text: str) -> None:
        """The owner said this."""
        self._words.append((source, normalise(text)))
        self._texts.append(text)
        self.origins.heard(text)

    def met(self, text: str = "", place: str = "", call: Action | None = None) -> None:
        """Something came in that anyone may have written, and that is no result of a tool that is known here: its text,
        and the call that it is said to come from, as far as there are any."""
        if text:
            self.origins.met(text, place, call)
        self.origins.reading.clean = False

    def stands(self, approved: Json) -> None:
        """A person stands for these values, and allows these calls."""
        for item in approved["items"]:
            self.origins.approve(Item(**item))
        for tool, arguments in approved["calls"]:
            self.origins.may(tool, arguments)

    def learned(
        self, source: Source, value: Json, say: Json = None, spec: ToolSpec | None = None,
        arguments: Mapping[str, Json] | None = None, handles: Mapping[str, Json] | None = None,
    ) -> None:  # fmt: skip
        """A tool returned this to these arguments; `spec` is None of a tool that is no longer there."""
        gone = ToolSpec(source.name, "", {})
        self.origins.read(spec or gone, arguments or {}, value, f"{source.name} at {source.place}", handles or {})
        value = [value, say]
        for name, leaf in leaves(value):
            origin = Source(source.kind, source.name, f"{source.place}.{name}")
            self._data.setdefault(_key(leaf), Quote(origin, str(leaf)))
            self._fields.setdefault(name, {})[_key(leaf)] = leaf
            self._texts.append(str(leaf))

    def said(
        self, parameter: Parameter, schema: Json, siblings: tuple[str, ...] = (), bare: bool = True
    ) -> dict[Json, Quote]:
        """The values of a parameter that the owner has expressed, with the quotes; empty if none.

        `siblings` are the units of other parameters: a number with one of those is not meant here. Without `bare` a
        number counts only with a unit of the parameter's own.
        """
        if parameter.aliases:
            return self._chosen(parameter)
        if schema.get("type") in ("integer", "number"):
            return self._counted(parameter, schema, siblings, bare)
        return {}

    def _chosen(self, parameter: Parameter) -> dict[Json, Quote]:
        taken_back: set[str] = set()
        for source, text in reversed(self._words):
            found: dict[Json, Quote] = {}
            for value, quote, negated in mentions(parameter, text):
                if negated:
                    taken_back.add(value)
                else:
                    found[value] = Quote(source, quote)
            if found := {value: quote for value, quote in found.items() if value not in taken_back}:
                return found
        return {}

    def _counted(self, parameter: Parameter, schema: Json, siblings: tuple[str, ...], loose: bool) -> dict[Json, Quote]:
        low, high = schema.get("minimum", float("-inf")), schema.get("maximum", float("inf"))
        bare: dict[Json, Quote] = {}
        units = (*siblings, *parameter.units)
        for source, text in reversed(self._words):
            fitting = [number for number in numbers(text) if low <= number.value <= high and _whole(number, schema)]
            measured = {number: number.unit(units) for number in fitting}
            own = {n.value: Quote(source, n.text) for n, unit in measured.items() if unit in parameter.units}
            if own:
                return own
            free = [number for number, unit in measured.items() if loose and not (unit or number.vague)]
            found = {number.value: Quote(source, number.text) for number in free}
            if len(free) == len(measured) == 1 and free[0].naked:
                return bare or found
            bare = bare or found
        return bare

    def spoken(self, value: str) -> Quote | None:
        """Where the owner said this text, word for word after normalisation."""
        wanted = normalise(value)
        pattern = re.compile(bounded(wanted))
        hits = (Quote(source, wanted) for source, text in reversed(self._words) if wanted and pattern.search(text))
        return next(hits, None)

    def returned(self, value: Json) -> Quote | None:
        """Which tool returned exactly this value, in which field."""
        return None if isinstance(value, dict | list) else self._data.get(_key(value))

    def states(self, claim: re.Pattern[str], span: str) -> bool:
        """Whether a claim that was found in a text stands in a source: the same pattern finds the same there, in what
        a tool returned or the owner said."""
        found = (match[0] for text in self._texts for match in claim.finditer(text))
        return any(normalise(stated) == normalise(span) for stated in found)

    def field(self, name: str) -> list[Json]:
        """The values that tools have returned in fields of this name, oldest first."""
        return list(self._fields.get(name, {}).values())


def _key(value: Json) -> tuple[bool, Json]:
    """What makes two scalars the same value: 89 and 89.0 are, 1 and True and "1" are not."""
    return isinstance(value, bool), value


def _whole(number: Number, schema: Json) -> bool:
    return schema["type"] != "integer" or isinstance(number.value, int)
