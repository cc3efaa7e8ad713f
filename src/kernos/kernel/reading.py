"""What a process has read: things with fields, which tool returned them, and whether the owner's words led there.

    reading = Reading(identities)
    reading.add(spec, arguments, value, place, led)
    reading.leaves(value)                  every field that holds this value

A thing is a record of a result: its scalar fields, and the lists of scalars in it. What its tool attests of a field
(`types.Field`) says who may have written it. A read is *led* if nobody but the owner decided where it looked: all its
arguments had a source that may decide, or nothing that anyone may have written had been read before. Only things of led
reads can be singled out: otherwise a planner that obeys an attacker would read just what the attacker laid out.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from kernos.kernel.texts import normalise
from kernos.kernel.types import Field, Json, Parameter, ToolSpec

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNKNOWN = Field()
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s*|\n+")
_TELLING = 12
"""A shorter sentence is nobody's in particular."""
_SPACES = re.compile(r"\s+")
_QUANTITIES = ("", "money", "number", "quantity", "amount", "price")
"""Kinds of fields that say how much; any other number is a name."""


Path = tuple[str | int, ...]


class Part(NamedTuple):
    """A scalar in a result: the name of its field, what is declared of that, and the path to it; None for what is a
    field's name itself."""

    name: str
    value: Json
    field: Field
    path: Path | None


@dataclass(frozen=True, eq=False)
class Read:
    """One successful call of a tool."""

    spec: ToolSpec
    arguments: Mapping[str, Json]
    place: str
    led: bool
    size: int
    """How many things it returned."""


@dataclass(eq=False)
class Leaf:
    """A scalar in a result, and what is declared of its field."""

    name: str
    value: Json
    field: Field
    path: Path | None
    thing: Thing

    @cached_property
    def plain(self) -> str:
        """Its value as text, in normal form."""
        return normalise(str(self.value))

    @property
    def place(self) -> str:
        return f"{self.thing.read.place}.{self.name}" if self.name else self.thing.read.place

    @property
    def attested(self) -> bool:
        """Whether nobody but the service or the owner can have set it."""
        return self.field.attested or (self.thing.own and self.field.names)


@dataclass(eq=False)
class Thing:
    """A record that a tool returned. `own`: the owner made it."""

    read: Read
    leaves: list[Leaf] = field(default_factory=list)
    own: bool = False

    @cached_property
    def authors(self) -> list[Leaf]:
        """Who wrote it, as far as the service vouches for that."""
        return [leaf for leaf in self.leaves if leaf.field.author and leaf.field.attested]

    @property
    def vetted(self) -> bool:
        """Whether no stranger made it, as far as the service tells who makes such things."""
        return self.own or not any(leaf.field.author for leaf in self.leaves)

    @cached_property
    def shape(self) -> tuple[str, ...]:
        """What sort of record it is: by the declared fields, or, where none are, by those that it has. A field that is
        empty in one of them makes no difference."""
        return tuple(sorted(self.read.spec.returns or {leaf.name for leaf in self.leaves}))

    @cached_property
    def same(self) -> tuple[tuple[str, Json], ...]:
        """What it says: a thing that was read twice says the same."""
        return tuple((leaf.name, key(leaf.value)) for leaf in self.leaves)


def key(value: Json) -> Json:
    """What makes two values the same: numbers by their value, texts but for case, width and the number of spaces. A
    hyphen is none: `bob-smith` and `bob_smith` may be two people."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int | float):
        return float(value)
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", str(value)).casefold()).strip()


def tells_nothing(value: Json) -> bool:
    """Whether there is nothing in a value that anybody could have chosen: it is empty, or yes or no."""
    return value is None or value == "" or isinstance(value, bool)


def counts(leaf: Leaf) -> bool:
    """Whether a field says how much."""
    return isinstance(leaf.value, int | float) and not isinstance(leaf.value, bool) and leaf.field.of in _QUANTITIES


def fits(leaf: Leaf, rule: Parameter) -> bool:
    """Whether a field holds the kind of thing that a parameter names."""
    return leaf.field.of == rule.of


class Reading:
    """All that one process has read. `identities` are the owner's own names, addresses and accounts."""

    def __init__(self, identities: frozenset[str] = frozenset()) -> None:
        self.identities = frozenset(map(key, identities))
        self.reads: list[Read] = []
        self.things: list[Thing] = []
        self.alike: dict[tuple[str, ...], list[Thing]] = defaultdict(list)
        self.clean = True
        self.undirected = False
        self.private: list[Leaf] = []
        self.made: set[tuple[str, Json]] = set()
        self.addresses: set[str] = set()
        self.texts: list[Leaf] = []
        self.at: dict[tuple[str, Path], Leaf] = {}
        """Every field by the place of its read, and the path to it in that."""
        self._by_value: dict[Json, list[Leaf]] = defaultdict(list)
        self._anyone: list[Leaf] = []

    def add(self, spec: ToolSpec, arguments: Mapping[str, Json], value: Json, place: str, led: bool) -> None:
        """A tool returned this."""
        records = list(_records(value, spec))
        read = Read(spec, arguments, place, led, len(records))
        made = "reads" not in spec.effects
        if not made:
            self.reads.append(read)
        before = self.clean
        for fields in records:
            self._thing(Thing(read), fields, made)
        if not led and not before and not made:
            self.undirected = True

    def _thing(self, thing: Thing, fields: list[Part], made: bool) -> None:
        thing.leaves += [Leaf(*part, thing) for part in fields]
        self.at |= {(thing.read.place, leaf.path): leaf for leaf in thing.leaves if leaf.path is not None}
        thing.own = bool(thing.authors) and all(key(leaf.value) in self.identities for leaf in thing.authors)
        self.things.append(thing)
        self.alike[thing.shape].append(thing)
        for leaf in thing.leaves:
            self._by_value[key(leaf.value)].append(leaf)
            if isinstance(leaf.value, str) and " " in leaf.value.strip():
                self.texts.append(leaf)
            if leaf.field.private:
                self.private.append(leaf)
            if not leaf.attested:
                self._anyone.append(leaf)
            if not safe(leaf.field, leaf.value, thing.own):
                self.clean = False
            if made and leaf.attested:
                self.made.add((leaf.field.of, key(leaf.value)))
            if "@" in str(leaf.value) and leaf.attested:
                self.addresses.add(str(leaf.value))

    def leaves(self, value: Json) -> list[Leaf]:
        """Every field that holds exactly this value."""
        return self._by_value.get(key(value), [])

    def repeated(self, text: str) -> list[tuple[str, str]]:
        """The sentences of a text that stand in what anyone may have written, each with its place."""
        found: list[tuple[str, str]] = []
        for sentence in _SENTENCE.split(text):
            plain = normalise(sentence)
            leaf = next((leaf for leaf in self._anyone if len(plain) >= _TELLING and plain in leaf.plain), None)
            found += [(sentence.strip(), leaf.place)] if leaf else []
        return found

    def quote(self, value: Json) -> Leaf | None:
        """A field that holds this value or a text in which it stands, whoever wrote it."""
        if exact := self.leaves(value):
            return exact[0]
        wanted = normalise(str(value))
        return next((leaf for leaf in reversed(self._anyone) if wanted and wanted in leaf.plain), None)


def attested(spec: ToolSpec, value: Json, error: bool = False) -> bool:
    """Whether nobody but the service can have written anything in a result. A failure's text may quote anything."""
    if error:
        return spec.returns.get("*", _UNKNOWN).attested
    return all(safe(part.field, part.value) for fields in _records(value, spec) for part in fields)


def safe(declared: Field, value: Json, own: bool = False) -> bool:
    """Whether a value cannot tell a model what to do: nobody chose its words. What a thing is called somebody chose."""
    if tells_nothing(value) or isinstance(value, int | float):
        return True
    return own and declared.names or declared.attested and not declared.names


def _records(value: Json, spec: ToolSpec, path: Path = ()) -> Iterator[list[Part]]:
    """The records in a result, each as its fields."""
    declared = spec.returns
    rest = declared.get("*", _UNKNOWN)
    if isinstance(value, Mapping):
        if not _is_record(value, declared):
            yield from ([Part("", name, declared.get("", rest), None)] for name in value)
            for name, part in value.items():
                yield from _records(part, spec, (*path, name))
            return
        inside = [(name, *split) for name, part in value.items() for split in _split(part, (*path, name))]
        for _, where, inner in inside:
            if isinstance(inner, Mapping | list):
                yield from _records(inner, spec, where or ())
        scalars = [one for one in inside if not (one[2] is None or isinstance(one[2], Mapping | list))]
        if scalars:
            yield [Part(name, inner, declared.get(name, rest), where) for name, where, inner in scalars]
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            yield from _records(part, spec, (*path, place))
    elif value is not None:
        yield [Part("", value, declared.get("", rest), path)]


def _is_record(value: Mapping[str, Json], declared: Mapping[str, Field]) -> bool:
    return any(name in declared for name in value) or all(_NAME.fullmatch(name) for name in value)


def _split(part: Json, path: Path) -> Iterator[tuple[Path | None, Json]]:
    """What is in a field, each with its path: its scalars (of a table its keys too, which are data), and what has
    fields of its own."""
    if isinstance(part, Mapping):
        inside = any(isinstance(inner, Mapping | list) for inner in part.values())
        if inside or all(_NAME.fullmatch(name) for name in part):
            yield path, part
            return
        yield from ((None, name) for name in part)
        yield from (((*path, name), inner) for name, inner in part.items())
    elif isinstance(part, list | tuple):
        yield from (((*path, place), inner) for place, inner in enumerate(part))
    else:
        yield path, part
