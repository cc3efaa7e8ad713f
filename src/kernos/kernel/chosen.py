"""What the owner's words single out in what was read: a thing by its title, a person, a day or an amount in it.

    chosen = Chosen(words, reading)
    chosen.mentions(thing)                which of the owner's words fit it
    chosen.of(value, rule)                the origin of a value in a thing that they single out
    chosen.where(value, rule, spec)       of a place or a link: something stands there of which the owner speaks

Only things of led reads are singled out, and only what nobody can have forged in them counts. Where two things fit and
say different things, nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kernos.kernel.content import plain_links, standard, without_links
from kernos.kernel.lexicon import LINKS
from kernos.kernel.reading import Leaf, Reading, Thing, counts, fits, key
from kernos.kernel.texts import stem
from kernos.kernel.types import Json, Parameter, ToolSpec
from kernos.kernel.words import Words, is_time

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
NAMED_CHARS = 60
"""Of what a thing is called so much is shown."""


@dataclass(frozen=True)
class Origin:
    """Why a value may decide, with the words or the field that say so."""

    why: str
    quote: str

    def __str__(self) -> str:
        return f"{self.why}: {self.quote}" if self.quote else self.why


class Mention(NamedTuple):
    """What makes some words of the owner's fit a thing: `sure` if nobody can have forged it, `exact` if he quoted it.
    What is `weak` can only raise doubts. What stands `beside` it (with whom it is shared, to whom it was sent) says
    what of it is meant, not that it is. `field` is where it stands."""

    sure: bool
    exact: bool = False
    weak: bool = False
    beside: bool = False
    field: str = ""


class Chosen:
    """Compares; what it has found is kept until the owner says more."""

    def __init__(self, words: Words, reading: Reading) -> None:
        self._words = words
        self._reading = reading
        self._known: dict[Thing, Mapping[str, Mention]] = {}
        self._seen = 0

    def look(self, anew: bool) -> None:
        """Compare all things with the owner's words now, so that a decision need not: the new ones, or `anew` all."""
        if anew:
            self._known.clear()
            self._seen = 0
        for thing in self._reading.things[self._seen :]:
            self.mentions(thing)
        self._seen = len(self._reading.things)

    def mentions(self, thing: Thing) -> Mapping[str, Mention]:
        """The owner's words that fit a thing, each with what makes it fit."""
        if thing not in self._known:
            found = ((leaf, self._mention(leaf)) for leaf in thing.leaves)
            self._known[thing] = {
                quote: hit._replace(field=leaf.name) for leaf, hits in found for quote, hit in hits.items()
            }
        return self._known[thing]

    def surely(self, thing: Thing) -> bool:
        """Whether something that nobody can have forged is said of a thing."""
        return any(mention.sure for mention in self.mentions(thing).values())

    def _mention(self, leaf: Leaf) -> dict[str, Mention]:
        value, words, sure = leaf.value, self._words, leaf.attested
        if counts(leaf):
            return {f"{value:g}": Mention(True)} if sure and value > 1 and float(value) in words.numbers else {}
        if not isinstance(value, str) or key(value) in self._reading.identities:
            return {}
        if sure and is_time(value):
            return {value[:10]: Mention(True)} if words.day(value) else {}
        if "@" in value and not words.name(value):
            known = sure and leaf.thing.vetted
            return {part: Mention(known, weak=not known, beside=not leaf.field.author) for part in words.person(value)}
        if not leaf.field.names:
            quote = words.name(value) if sure and leaf.field.of else None
            return {quote: Mention(True, beside=not leaf.field.author)} if quote else {}
        if quote := words.phrase(value):
            return {quote: Mention(sure, words.exactly(value))}
        return {word: Mention(True) for word in words.shared(value)} if leaf.thing.own else {}

    def of(self, value: Json, rule: Parameter) -> Origin | None:
        """The origin of a value in a thing that the owner's words single out. What is sent to the owner himself, he has
        to have asked for."""
        if key(value) in self._reading.identities:
            return None
        for leaf in self._reading.leaves(value):
            thing = leaf.thing
            if not (leaf.attested and thing.read.led and fits(leaf, rule)):
                continue
            if self._pointed(thing) or self._singled_out(leaf, rule.use == "object") or self._person(leaf):
                return Origin("chosen", f"{leaf.place} of {_called(thing)}")
        return None

    def _pointed(self, thing: Thing) -> bool:
        """Whether it is all that a read returned which the owner's words name, and nobody else can have made it."""
        read = thing.read
        named = [self._words.name(part) for value in read.arguments.values() for part in _parts(value)]
        return bool(named) and all(named) and read.size == 1 and all(leaf.attested for leaf in thing.leaves)

    def _singled_out(self, leaf: Leaf, itself: bool) -> bool:
        """Whether the owner's words fit its thing, and every other thing that they may mean says the same.

        What nobody can have forged, or the owner quoted as it is, tells it from those that it does not fit. What is
        only called so has to stand against all that are called anything of the owner's, but for those that he quoted.
        Where the thing is meant `itself`, what stands beside it does not count; nor does of several values in one field
        one say that the others are meant.
        """
        found, own = self.mentions(leaf.thing), self._mention(leaf)
        mine = {
            quote: mention for quote, mention in found.items()
            if not (itself and mention.beside) and (mention.field != leaf.name or quote in own)
        }  # fmt: skip
        days = {quote for quote in mine if _DAY.match(quote)}
        telling = {quote for quote, mention in mine.items() if mention.sure or mention.exact} - days
        called = {quote for quote, mention in mine.items() if not mention.weak} - days
        for quotes in [{quote} for quote in telling] or [called]:
            rivals = [thing for thing in self._alike(leaf.thing) if self._rivals(thing, quotes, bool(telling))]
            if days:
                rivals = [thing for thing in rivals if days & self.mentions(thing).keys()]
            same = [[str(key(other.value)) for other in thing.leaves if other.name == leaf.name] for thing in rivals]
            if quotes and all(values == same[0] for values in same):
                return True
        return False

    def _alike(self, thing: Thing) -> Sequence[Thing]:
        return self._reading.alike[thing.shape]

    def _rivals(self, thing: Thing, quotes: Collection[str], plain: bool) -> bool:
        """Whether the words that fit a thing may also mean this one. Where that is `plain` only the same words can."""
        found = self.mentions(thing)
        if plain or quotes & found.keys():
            return bool(quotes & found.keys())
        return any(not mention.exact for quote, mention in found.items() if not _DAY.match(quote))

    def _person(self, leaf: Leaf) -> bool:
        """Whether it is the only address that fits a person of whom the owner speaks, in a thing of which he speaks.
        Anybody may write from an address of such a name: only a thing that no stranger wrote tells whose it is."""
        parts = set(self._words.person(str(leaf.value))) if "@" in str(leaf.value) else set()
        if not parts or not leaf.thing.vetted:
            return False
        alike = {key(other) for other in self._reading.addresses if parts & set(self._words.person(other))}
        spoken = self.mentions(leaf.thing).keys() - parts
        return alike == {key(leaf.value)} and (len(parts) > 1 or bool(spoken))

    # Where something stands

    def where(self, value: Json, rule: Parameter, spec: ToolSpec) -> Origin | None:
        """A link that is only looked at, or the one place where something stands of which the owner speaks."""
        if rule.use == "link":
            return self._posted(str(value)) if spec.effects <= {"reads"} else None
        places = {key(part): thing for thing in self._reading.things for part in thing.read.arguments.values()
                  if isinstance(part, str) and self._written_about(thing)}  # fmt: skip
        if len(places) == 1 and key(value) in places:
            return Origin("chosen", f"{value}, where {_called(places[key(value)])} stands")
        return None

    def _written_about(self, thing: Thing) -> bool:
        """Whether its authors are such as the owner names, and it speaks of what the owner speaks of."""
        texts = " ".join(str(leaf.value) for leaf in thing.leaves if not leaf.attested)
        named = [self._words.name(author.value) for author in thing.authors]
        return thing.read.led and bool(named) and all(named) and len(self._words.shared(texts)) >= 2

    def _posted(self, link: str) -> Origin | None:
        """A link to look at: it stands in what somebody wrote in a place that the owner names, and the owner speaks of
        what that author wrote, of what it is about, or of all links there."""
        wanted = standard(link)
        for leaf in self._reading.texts:
            thing = leaf.thing
            if not (thing.authors and thing.read.led and wanted in plain_links(str(leaf.value))):
                continue
            if not {stem(word) for word in thing.read.spec.name.split("_")[1:]} & self._words.stems:
                continue
            places = [part for part in thing.read.arguments.values() if isinstance(part, str)]
            written = any(self._words.wrote(str(author.value)) for author in thing.authors)
            if any(map(self._words.name, places)) and (written or self._spoken_of(str(leaf.value))):
                return Origin("chosen", f"{leaf.place} by {thing.authors[0].value}")
        return None

    def _spoken_of(self, text: str) -> bool:
        """Whether the owner's words are about what a text is about, or about all links."""
        return bool(self._words.shared(without_links(text))) or self._words.every(LINKS)


def _parts(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]


def _called(thing: Thing) -> str:
    names = [str(leaf.value) for leaf in thing.leaves if leaf.field.names]
    return f"“{names[0][:NAMED_CHARS]}”" if names else f"what {thing.read.spec.name} returned"
