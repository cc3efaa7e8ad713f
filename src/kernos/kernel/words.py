"""The owner's words, as the monitor reads them: what they name, which kinds of thing they mean, which choice they make.

    words = Words()
    words.add("Add Alice to the channel with the most users")
    words.name("Alice")                    the quote, or None
    words.most({"users"})                  1: the owner means the one with the most of these, -1: the fewest, 0: neither

Nothing here knows what has been read: only `origins` sets the two side by side. A value is compared in the normal form
of `texts.normalise` and as whole words; an address, a link or a file's name as it stands. A value that holds characters
which nobody sees is never the owner's, whatever it looks like.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from kernos.kernel.lexicon import ABOUT, ALL, LEAST, ME, MONTHS, MOST, NOUN, PALE, PREFIX, QUANTITIES, STOP, WROTE
from kernos.kernel.numerals import numbers
from kernos.kernel.texts import hidden, lower, normalise, stem, tokens

_ADDRESS = re.compile(r"[@/\\]|\w\.\w")
_SPELT = re.compile(rf"{_ADDRESS.pattern}|\w[_-]\w")
"""What makes a value an address, a file's name or an identifier: it is named letter by letter, but for case, width."""
_NUMBERED = r"(?:\bid|\bnumber|\bno\.?|#|编号|号码)\W{0,3}(?:is |of |为|是)?['\"“]?"
_SCHEME = re.compile(r"(?i)\bhttps?://")
_BEFORE, _AFTER = re.compile(r"[\w@.\-/+%]$"), re.compile(r"[\w@\-+%]|/\w|\.[a-z0-9]")
"""What a named address may not have beside it; "www.example.com.They" is a sentence's end."""
_GIVEN = r"(?:\b(?:to|as|is|be|run|execute|with)|[:=：]|为|成|是|用|运行|执行)\s*"
"""What stands before a password or a command that is given."""
_SENTENCE = re.compile(r"(?<=\w{4}\.)\s+|(?<=[!?;])\s+|[\n。！？；]+")
"""Between two sentences; "Dr. Smith" is one."""
_QUOTE = re.compile(r"[\"“‘'「『《]([^\"”’'」』》\n]{2,120})[\"”’'」』》]")
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII)


def is_time(text: str) -> bool:
    """Whether a text is a date, with or without a time, and nothing else."""
    return _TIME.fullmatch(text) is not None


class Words:
    """All that the owner has said to one process."""

    def __init__(self) -> None:
        self._text = self._spelt = ""
        self._plain = " "
        self._quoted: set[str] = set()
        self._named: dict[str, str | None] = {}
        self.compares = False
        self.stems: set[str] = set()
        self.numbers: set[float] = set()
        self.said: list[str] = []

    def add(self, text: str) -> None:
        """The owner said this too."""
        self.said.append(text)
        self._named.clear()
        self._spelt += "\n" + _SCHEME.sub("", unicodedata.normalize("NFKC", text))
        self._text += "\n" + unicodedata.normalize("NFKC", text).casefold()
        self._plain += "".join(f"| {' '.join(tokens(sentence))} " for sentence in _SENTENCE.split(text))
        found = tokens(text)
        self._quoted |= {normalise(quote[1]) for quote in _QUOTE.finditer(text)}
        self.stems |= {stem(word) for word in found}
        self.compares = self.compares or any(word in ABOUT or word in MOST + LEAST for word in found)
        self.numbers |= {float(number.value) for number in numbers(normalise(text))}

    def name(self, value: object) -> str | None:
        """The quote by which the owner named this value."""
        text = str(value)
        if text not in self._named:
            self._named[text] = self._found(text.strip())
        return self._named[text]

    def _found(self, text: str) -> str | None:
        if not text or hidden(text):
            return None
        if _SPELT.search(text):
            return self._literal(text)
        if text.isascii() and text.isdigit() and len(text) < 6:
            return text if re.search(rf"{_NUMBERED}{text}(?![a-z0-9]|\.\d)", self._text) else None
        return self._sequence(tokens(text))

    def _literal(self, text: str) -> str | None:
        wanted = lower(_SCHEME.sub("", unicodedata.normalize("NFKC", text), count=1)).rstrip("/")
        spelt, place = lower(self._spelt), -1
        while wanted and (place := spelt.find(wanted, place + 1)) >= 0:
            end = place + len(wanted)
            if not _BEFORE.search(spelt[max(0, place - 1) : place]) and not _AFTER.match(self._spelt[end : end + 2]):
                return wanted
        return None

    def _sequence(self, wanted: list[str]) -> str | None:
        """Words that the owner said one after another; of a single one that means something by itself."""
        if not wanted or (len(wanted) == 1 and (len(wanted[0]) < 2 or wanted[0] in PALE)):
            return None
        text = " ".join(wanted)
        return text if f" {text} " in self._plain else None

    def exact(self, value: str) -> str | None:
        """The quote by which the owner gave a password or a command: letter by letter, in quotes or after a word that
        introduces it ("change it to Abc_1")."""
        if not value.strip() or hidden(value):
            return None
        spelt = re.escape(value)
        given = re.compile(rf"{_GIVEN}{spelt}(?=[\s,;!?，。；！？]|\.?\s|\.?$)|[\"“‘'`「]{spelt}[\"”’'`」]")
        return value if any(map(given.search, self.said)) else None

    def phrase(self, value: str) -> str | None:
        """Like `name`, for what a thing is called: a file's name also without its ending, and of a longer name half
        will do ("the grocery list" for grocery-list-today.docx)."""
        if hidden(value):
            return None
        wanted = tokens(re.sub(r"\.\w{1,5}$", "", value.strip()))
        if len(wanted) == 1 and len(wanted[0]) < 4 and wanted[0].isascii():
            return self.name(value)
        enough = max(2, (len(wanted) + 1) // 2)
        runs = (wanted[i : i + enough] for i in range(len(wanted) - enough + 1))
        return self.name(value) or self._sequence(wanted) or next(filter(None, map(self._telling, runs)), None)

    def exactly(self, value: str) -> bool:
        """Whether the owner wrote a thing's whole name as one: a file's with its ending, any other in quotes."""
        plain = normalise(value)
        return bool(_ADDRESS.search(value) and self.name(value)) or plain in self._quoted

    def _telling(self, run: list[str]) -> str | None:
        return self._sequence(run) if sum(word not in STOP and len(word) > 2 for word in run) >= 2 else None

    def holds(self, text: str) -> bool:
        """Whether every word of a text that means something is one of the owner's."""
        return all(word in STOP or stem(word) in self.stems for word in tokens(text)) and not hidden(text)

    def shared(self, text: str) -> set[str]:
        """The meaningful words that a text shares with the owner's."""
        return {stem(word) for word in tokens(text) if len(word) > 3 and word not in PALE} & self.stems

    def wrote(self, author: str) -> bool:
        """Whether the owner speaks of what somebody wrote: "the article that Bob posted", "the message from Bob"."""
        name = " ".join(tokens(author))
        return bool(name) and bool(re.search(rf" (?:(?:from|by) {name}|{name} (?:\w+ )?(?:{WROTE})) ", self._plain))

    def person(self, address: str) -> list[str]:
        """The parts of an address's name that the owner said as a name, with a capital: ["mark"] of mark@example.com in
        "with Mark", and nothing of files@example.com in "my files"."""
        parts = re.findall(r"[^\W\d_]+", address.split("@")[0].casefold())
        said = [part for part in parts if len(part) >= 3 and part not in PALE and f" {part} " in self._plain]
        return [part for part in said if re.search(rf"\b{part.capitalize()}\b", self._spelt)]

    def every(self, kinds: Iterable[str]) -> bool:
        """Whether the owner speaks of all things of a kind: "all users", "each of them"."""
        wanted = {stem(kind) for kind in kinds}
        found = self._plain.split()
        for place, word in enumerate(found):
            if word in ("everyone", "everybody"):
                return True
            if word in ALL and wanted & {stem(later) for later in found[place + 1 : place + 5]}:
                return True
        return False

    def me(self) -> bool:
        """Whether the owner wants something sent to himself."""
        return any(ME.search(NOUN.sub(r"\1 thing", text)) for text in (self._plain, self._text))

    def most(self, nouns: Iterable[str]) -> int:
        """1 if the owner means the one with the most of these ("the channel with the most users", "the largest file"),
        -1 if with the fewest, 0 if neither."""
        wanted = {stem(noun) for noun in nouns}
        for quantity, names in QUANTITIES.items():
            if wanted & {stem(name) for name in names}:
                wanted.add(f"*{quantity}")
        found = self._plain.split()
        for place, word in enumerate(found):
            way, quantity = ABOUT.get(word, (0, ""))
            if way and f"*{quantity}" in wanted:
                return way
            if word in MOST + LEAST and wanted & {stem(later) for later in found[place + 1 : place + 5]}:
                return 1 if word in MOST else -1
        return 0

    def number_of(self) -> int:
        """1 if the owner means the one with the largest number of something, -1 the smallest, 0 neither."""
        found = re.search(rf" ({'|'.join(MOST + LEAST)}) (?:total )?(?:number|count|amount) of ", self._plain)
        return 0 if not found else 1 if found[1] in MOST else -1

    def prefixes(self) -> list[str]:
        """What names begin with, if the owner says so: "the channel starting with External"."""
        return [(found[1] or found[2]) for found in PREFIX.finditer(self._text.replace("_", " "))]

    def day(self, text: str) -> bool:
        """Whether the owner named the day of a date or time (2024-05-15), in digits or as a month and a day."""
        found = _TIME.fullmatch(text)
        if not found or not 1 <= int(found[2]) <= 12:
            return False
        date, month, day = text[:10], MONTHS[int(found[2]) - 1], int(found[3])
        short = rf"{month[:3]}(?:{month[3:]})?\.?"
        named = rf"\b{short} (?:the )?{day}(?:st|nd|rd|th)?\b|\b{day}(?:st|nd|rd|th)?(?: of)? {short}\b"
        return bool(re.search(rf"(?<!\d){date}(?!\d)|{named}|(?<!\d){int(found[2])}月{day}[日号]", self._text))
