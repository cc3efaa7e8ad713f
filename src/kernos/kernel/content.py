"""Texts that flow to others: what in them acts by itself, or hides what it is.

A reader of a text opens its links and follows its addresses; so these decide something, though they stand in content.
`links` finds them as they stand and as people hide them: spaced out, reversed, in base64, hex or percent signs, with
look-alike letters. `opaque` finds what could hide anything.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from html import unescape
from urllib.parse import unquote

from kernos.kernel.numerals import numbers
from kernos.kernel.texts import bounded, hidden, normalise
from kernos.kernel.types import Json

_WORDS = "me us top online shop site info app link page club live store pro tech co".split()
_HOSTS = (
    "com org net edu gov io ai dev biz ly gl xyz uk de cn fr eu ru ch tk zip mov cc pw icu mobi ws su jp kr au br nl "
    "es se pl cz ca"
).split()
"""Endings by which a host's name is known where no path follows; `_WORDS` may also begin a sentence."""
_LETTER = "a-z0-9\u00df-\u024f\u0370-\u1fff"
"""Of what names of hosts consist. Chinese characters have no spaces between words, and end a link."""
_REST = r"[^\s'\"<>()\[\]，。；、！？“”‘’]"
_START = rf"(?<![{_LETTER}@_./-])"
_KNOWN = (
    rf"(?:(?<![a-z0-9+])[a-z0-9+]+://|www\.){_REST}+"
    rf"|{_START}(?:[{_LETTER}-]+\.)+(?:{'|'.join(_WORDS + _HOSTS)})(?![{_LETTER}_-])(?::\d+)?(?:[/?#]{_REST}*)?"
)
_LINK = re.compile(
    rf"{_KNOWN}|{_START}(?:(?:[{_LETTER}-]+\.)+[a-z]{{2,}}|(?:\d{{1,3}}\.){{3}}\d{{1,3}})(?::\d+)?/{_REST}*"
)
_BACKWARDS = re.compile(_KNOWN)
"""Backwards every path would be a link of an unknown ending."""
_HEX = 24
_OPAQUE = re.compile(r"[A-Za-z0-9+/=_\-%]{16,}")
_TOKEN = re.compile(r"(?<![A-Za-z0-9+/=_-])(?=[A-Za-z+/=_-]*[0-9]|[A-Z]*[a-z+/=_-]+[A-Z])[A-Za-z0-9+/=_-]{8,}")
"""What may be a code: no word has capitals or digits in it."""
_DOTS = re.compile(r"\s*(?:\[\.\]|\(\.\)|\{\.\}|\[dot\]|\(dot\)|\bdot\b|点)\s*|(?<=[a-z0-9])。(?=[a-z])")
_APART = re.compile(rf" (?:\.|:(?=/)|/) ?|\. (?=(?:{'|'.join(_HOSTS)})(?![\w-]))|: (?=//)")
"""Spaces beside the signs of a link. That a word follows a stop is a sentence's end."""
_HINTS = re.compile(rf"[.。点%&]|(?i:dot)|{_TOKEN.pattern}")
"""Without one of these no text can turn into a link."""
_SPREAD = re.compile(r"(?<=[\w/:.]) (?=[\w/:.])")
_ALIKE = str.maketrans("аеорсухіјѕԁɡһνωտɑ０οερτικυ", "aeopcyxijsdghvwsa0oeptiku")
"""Letters of other alphabets that look like Latin ones."""


@lru_cache(maxsize=1024)
def links(text: str) -> tuple[str, ...]:
    """Every link in a text, hidden ones too, in one form: no scheme, no "www.", lower case, no closing stop."""
    shown = list(_shown(text))
    found = [match[0] for one in shown for match in _LINK.finditer(one)]
    found += [match[0] for match in _BACKWARDS.finditer(shown[0][::-1])]
    return tuple(dict.fromkeys(map(standard, found)))


def plain_links(text: str) -> list[str]:
    """The links that stand in a text for all to see, in one form."""
    return [standard(match[0]) for match in _LINK.finditer(unicodedata.normalize("NFKC", text).casefold())]


def without_links(text: str) -> str:
    """A text without the links that stand in it: their words are nobody's."""
    return _LINK.sub(" ", unicodedata.normalize("NFKC", text).casefold())


def standard(link: str) -> str:
    """The one form of a link."""
    plain = re.sub(r"^[a-z0-9+]+://", "", unicodedata.normalize("NFKC", link).strip().casefold())
    return plain.removeprefix("www.").rstrip("/.,!?;:'\"")


@lru_cache(maxsize=1024)
def opaque(text: str) -> tuple[str, ...]:
    """Long runs of letters and digits mixed as no word is, which may hide anything."""
    return tuple(run for run in _OPAQUE.findall(text) if _mixed(run))


def _mixed(run: str) -> bool:
    digits, letters = sum(c.isdigit() for c in run), sum(c.isalpha() for c in run)
    changes = sum(a.isupper() != b.isupper() for a, b in zip(run, run[1:], strict=False) if a.isalpha() and b.isalpha())
    if letters and len(run) >= _HEX and set(run.lower()) <= set("0123456789abcdef"):
        return True
    return (digits >= 2 and letters >= 4 and "-" not in run and "_" not in run) or changes >= 4 or run.count("%") >= 3


def _shown(text: str) -> Iterator[str]:
    """A text as it stands, and all that it may turn into."""
    seen = unescape("".join(char for char in unicodedata.normalize("NFKC", text) if not hidden(char)))
    plain = seen.casefold().translate(_ALIKE)
    yield plain
    if not _HINTS.search(seen):
        return
    yield _DOTS.sub(".", plain)
    yield _APART.sub(lambda found: found[0].strip(), plain)
    if _spread(plain):
        yield _SPREAD.sub("", plain)
    if "%" in plain:
        yield unquote(plain)
    yield from _decoded(seen)


def _spread(text: str) -> bool:
    """Whether most of a text is single letters with spaces between."""
    parts = text.split()
    return len(parts) > 6 and sum(len(part) == 1 for part in parts) > len(parts) / 3


def _decoded(text: str) -> Iterator[str]:
    for token in _TOKEN.findall(text):
        for decode in (_base64, bytes.fromhex):
            try:
                yield decode(token).decode().casefold()
            except (ValueError, binascii.Error):
                continue


def _base64(token: str) -> bytes:
    return base64.b64decode(
        token + "=" * (-len(token) % 4), altchars=b"-_" if set(token) & set("-_") else None, validate=True
    )


def extracted(found: Mapping[str, Json], schema: Mapping[str, Json], text: str) -> dict[str, Json]:
    """Of what a model wrote down of a text, the values that are of the schema and stand in the text. A choice of the
    schema (enum, boolean) may be inferred."""
    kept: dict[str, Json] = {}
    for name, rule in schema.get("properties", {}).items():
        value = found.get(name)
        if rule.get("type") == "array":
            parts = value if isinstance(value, list) else []
            if holding := [part for part in parts if _stands(part, rule.get("items", {}), text)]:
                kept[name] = holding
        elif _stands(value, rule, text):
            kept[name] = value
    return kept


def _stands(value: Json, rule: Mapping[str, Json], text: str) -> bool:
    kind = rule.get("type")
    if "enum" in rule:
        return any(value == choice and type(value) is type(choice) for choice in rule["enum"])
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, int | float):
        whole = kind == "integer" and float(value).is_integer()
        return (whole or kind == "number") and float(value) in {float(n.value) for n in numbers(normalise(text))}
    if not isinstance(value, str) or not value.strip() or kind != "string":
        return False
    return re.search(bounded(normalise(value)), normalise(text)) is not None
