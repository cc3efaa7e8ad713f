"""Numbers as people write them: digits, Chinese numerals up to 99,999,999, English number words up to 99.

`numbers` finds them in a normalised text (see `texts.normalise`): "25", "二十五" and "twenty five" are one value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kernos.kernel.texts import bounded, normalise

_DIGITS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_SCALES = {"十": 10, "百": 100, "千": 1000}
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_WORDS = {word: value for value, word in enumerate(_UNITS)} | {word: 20 + 10 * i for i, word in enumerate(_TENS)}
_NUMBER = re.compile(
    r"(?<![a-z\d.])(?P<digits>\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?)"
    rf"|(?P<chinese>[{''.join(_DIGITS)}十百千万]+)"
    rf"|\b(?P<english>(?:{'|'.join(_TENS)})(?: (?:{'|'.join(_UNITS[1:10])}))?|{'|'.join(_UNITS)})\b"
)


@dataclass(frozen=True)
class Number:
    """A number found in a text: its value, the text it was, and what stands before and after it."""

    value: int | float
    text: str
    before: str
    after: str

    @property
    def vague(self) -> bool:
        """Whether the text often means no number at all ("一款", "十分", "this one"), but for a unit beside it."""
        return self.text == "one" or (len(self.text) == 1 and not self.text.isascii())

    @property
    def naked(self) -> bool:
        """Whether no word follows it, as in a bare answer or correction: "sorry, 30"."""
        return not self.after[:1].isalnum()

    def unit(self, units: tuple[str, ...]) -> str:
        """The longest of these units that follows or precedes it as a whole word; empty if none does."""
        beside = [unit for unit in units if self._beside(bounded(normalise(unit)))]
        return max(beside, key=len, default="")

    def _beside(self, pattern: str) -> bool:
        return bool(re.match(pattern, self.after) or re.search(f"(?:{pattern})$", self.before))


def numbers(text: str) -> Iterator[Number]:
    """Every number in a normalised text."""
    for match in _NUMBER.finditer(text):
        before, after = text[: match.start()].rstrip(), text[match.end() :].lstrip()
        yield Number(_value(match), match[0], before, after)


def _value(match: re.Match[str]) -> int | float:
    if digits := match["digits"]:
        plain = digits.replace(",", "")
        return float(plain) if "." in plain else int(plain)
    if chinese := match["chinese"]:
        return _chinese(chinese)
    return sum(_WORDS[word] for word in match["english"].split())


def _chinese(text: str) -> int:
    """二十五 → 25, 一百零三 → 103, 三万 → 30000; 三百五, as people say prices, → 350; digits in a row: 二五 → 25."""
    if not set(text) & {*_SCALES, "万"}:
        return int("".join(str(_DIGITS[char]) for char in text))
    total = section = digit = 0
    for char in text:
        if char in _DIGITS:
            digit = _DIGITS[char]
        elif char == "万":
            total, section, digit = (total + section + digit or 1) * 10_000, 0, 0
        else:
            section, digit = section + (digit or 1) * _SCALES[char], 0
    before_last = {**_SCALES, "万": 10_000}.get(text[-2:-1], 10)
    return total + section + digit * before_last // 10
