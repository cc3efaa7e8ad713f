"""Who decided a value: the owner, the service, or anyone? Argument by argument, without asking a model (I4).

    origins = Origins(identities)
    origins.heard(text)                       the owner's words
    origins.read(spec, arguments, value, place)
    origins.of(value, parameter, spec)        why this value may decide something; None: nothing says that it may

While nothing has been read that anyone may have written, every value is the owner's and the model's, and may decide.
From then on a value may decide something only if
    owner      the owner named it
    approved   a person stood for it
    made       this process made the thing that it names
    chosen     a field that nobody can forge holds it, in a thing that the owner's words single out, and no other such
               thing differs (`chosen`)
    computed   it is the one with the most, the least, the latest; or one of all; or the one whose name begins so
    derived    it is a sum of amounts that may decide (`computed`)
    handle     a program's own code took it from a field that nobody can forge, in what a led read returned
and everything else may be the attacker's. A password or a command is never found in what was read: only the owner names
it. What a planner has reached by itself after that moment singles out nothing (`Reading`: a read is led or not).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from kernos.kernel.chosen import Chosen, Origin
from kernos.kernel.computed import Computed
from kernos.kernel.reading import Reading, counts, fits, key, tells_nothing
from kernos.kernel.texts import disguised, hidden, stem, tokens
from kernos.kernel.types import AUDIENCE, EFFECT, Action, Item, Json, Parameter, ToolSpec, canonical
from kernos.kernel.words import Words

CLEAN = Origin("clean", "")
_SEARCHES = (None, "query", "name", "choice", "content")
"""What a read does with an argument that looks for something, where words of the owner's are enough."""


def call_key(tool: str, arguments: Mapping[str, Json]) -> bytes:
    """What makes two calls the same."""
    return canonical([tool, dict(arguments)])


class Origins:
    """The owner's words and what was read, side by side. Rebuilt from the journal, never saved."""

    def __init__(self, identities: frozenset[str] = frozenset()) -> None:
        self.words = Words()
        self.reading = Reading(identities)
        self.calls: Counter[bytes] = Counter()
        self.done: set[bytes] = set()
        self.steered = False
        """Whether what anyone may have written has reached the program otherwise than as a tool's reply: by a model's
        answer, say. From then on its choices may be the attacker's."""
        self._approved: set[Json] = set()
        self._chosen = Chosen(self.words, self.reading)
        self._computed = Computed(self.words, self.reading, self._chosen)
        self._vocabulary: set[str] = set()
        self._worded = 0

    def heard(self, text: str) -> None:
        """The owner said this."""
        self.words.add(text)
        self._chosen.look(anew=True)

    def read(
        self, spec: ToolSpec, arguments: Mapping[str, Json], value: Json, place: str, handles: Mapping[str, Json] = {}
    ) -> None:
        """A tool returned this; a call that a person had allowed is now used up."""
        this = call_key(spec.name, arguments)
        self.calls -= Counter([this])
        self.done.add(this)
        self.reading.add(spec, arguments, value, place, self._led(spec, arguments, value, handles))
        self._chosen.look(anew=False)

    def met(self, text: str, place: str, call: Action | None) -> None:
        """This came from nobody knows where, by this call of something that is not known here, if it was one."""
        spec = ToolSpec(call.name if call else "", "", {})
        arguments = call.arguments if call else {}
        self.reading.add(spec, arguments, text, place, call is not None and self._led(spec, arguments, text))
        self._chosen.look(anew=False)

    def may(self, tool: str, arguments: Mapping[str, Json]) -> None:
        """A person allowed this very call, once."""
        self.calls[call_key(tool, arguments)] += 1

    def approve(self, item: Item) -> None:
        """A person stands for a value or a kind of effect. Who may see what was read, he says of one call only: the
        next may hold something else."""
        if item.parameter != AUDIENCE:
            self._approved.add((item.parameter if item.parameter == EFFECT else "", key(item.value)))

    def stands(self, value: Json, kind: str = "") -> bool:
        """Whether a person stands for it."""
        return (kind, key(value)) in self._approved

    @property
    def clean(self) -> bool:
        """Whether nothing has been read that anyone may have written."""
        return self.reading.clean

    def of(self, value: Json, rule: Parameter, spec: ToolSpec) -> Origin | None:
        """Why a scalar may decide what this parameter decides."""
        if tells_nothing(value) or self.clean:
            return CLEAN
        if isinstance(value, str) and disguised(value):
            return None
        if self.stands(value):
            return Origin("approved", str(value))
        match rule.use:
            case "amount":
                return self._computed.amount(float(value)) if isinstance(value, int | float) else None
            case "secret" | "command":
                quote = self.words.exact(str(value))
                return Origin("owner", quote) if quote else None
        return self._said(value, rule) or self._found(value, rule, spec)

    def carried(self, value: Json, rule: Parameter, handles: Sequence[Json]) -> Origin | None:
        """Why a value may decide that a program took from one of these places: its code chose the place, and nobody
        can have forged what stands there."""
        if self.steered or rule.use in ("secret", "command"):
            return None
        for place, *path in handles:
            leaf = self.reading.at.get((place, tuple(path)))
            if leaf is None or key(leaf.value) != key(value) or not (leaf.attested and leaf.thing.read.led):
                continue
            if counts(leaf) if rule.use == "amount" else fits(leaf, rule):
                return Origin("handle", leaf.place)
        return None

    def _said(self, value: Json, rule: Parameter) -> Origin | None:
        """What the owner named, or this process made."""
        if quote := self.words.name(value):
            return Origin("owner", quote)
        if isinstance(value, str) and self.words.day(value):
            return Origin("owner", value)
        if key(value) in self.reading.identities and self.words.me():
            return Origin("owner", "me")
        if rule.use == "object" and (rule.of, key(value)) in self.reading.made:
            return Origin("made", str(value))
        return None

    def _found(self, value: Json, rule: Parameter, spec: ToolSpec) -> Origin | None:
        """What stands in what was read, and the owner's words lead to. What is sent to a link, that must name."""
        if rule.use == "link" and not spec.effects <= {"reads"}:
            return None
        return (
            self._chosen.of(value, rule) or self._computed.of(value, rule) or self._chosen.where(value, rule, spec)
        )  # fmt: skip

    def name(self, text: str) -> Origin | None:
        """Why something may be called so: every word is the owner's, or stands in what his words led to."""
        if self.clean or self.words.holds(text) or self.stands(text):
            return CLEAN
        if hidden(text):
            return None
        known = self._led_words()
        rest = [word for word in tokens(text) if not self.words.holds(word) and stem(word) not in known]
        return None if rest else Origin("chosen", text)

    def _led_words(self) -> set[str]:
        """The words of all that nobody can have forged in what the owner's words led to."""
        for thing in self.reading.things[self._worded :]:
            leaves = thing.leaves if thing.read.led else ()
            self._vocabulary |= {stem(word) for leaf in leaves if leaf.attested for word in tokens(str(leaf.value))}
        self._worded = len(self.reading.things)
        return self._vocabulary

    # A read is led

    def _led(
        self, spec: ToolSpec, arguments: Mapping[str, Json], value: Json, handles: Mapping[str, Json] = {}
    ) -> bool:
        size = len(value) if isinstance(value, list) else None
        return all(
            self.carried(part, spec.rule(name), handles.get(name, ())) or self._leads(part, spec.rule(name), spec, size)
            for name, part in arguments.items()
        )

    def _leads(self, value: Json, rule: Parameter, spec: ToolSpec, size: int | None) -> bool:
        """Whether an argument of a read is none that an attacker can have chosen: it is a bound that cut nothing off
        (of a list of so many), or it has an origin."""
        if isinstance(value, list):
            return all(self._leads(part, rule, spec, size) for part in value)
        if isinstance(value, int) and size is not None and value > size and rule.use in _SEARCHES and not rule.of:
            return True
        if isinstance(value, str) and rule.use in _SEARCHES and self.words.holds(value):
            return True
        if self.of(value, rule, spec) is not None:
            return True
        return any(leaf.thing.read.led and leaf.attested for leaf in self.reading.leaves(value) if fits(leaf, rule))
