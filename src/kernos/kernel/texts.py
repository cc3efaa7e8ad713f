"""How texts are compared: one normal form, and whole words."""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES = str.maketrans("’‘ʼ＇", "''''")
_SPACES = re.compile(r"[\s\-_‐-―]+")


def normalise(text: str) -> str:
    """The form in which texts are compared: Unicode NFKC, case folded, one kind of apostrophe, and runs of white
    space, hyphens and underscores made one space."""
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)).strip()


def bounded(words: str) -> str:
    """A pattern for normalised words; where they begin or end with a Latin letter or digit, only at a word's edge. The
    apostrophe of "I'm" is none."""
    head = r"(?<![a-z0-9])(?<![a-z]')" if re.match(r"[a-z0-9]", words) else ""
    tail = r"(?![a-z0-9])" if re.search(r"[a-z0-9]$", words) else ""
    return head + re.escape(words) + tail
