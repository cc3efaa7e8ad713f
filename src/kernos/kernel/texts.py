"""How texts are compared: one normal form, whole words, and what is not what it looks like."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

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


_TOKEN = re.compile(r"[^\W_]+")
_CJK = re.compile(r"([\u3400-\u9fff])")
_ENDINGS = ("ingly", "ings", "ing", "edly", "ied", "ies", "ed", "es", "s", "e")


def tokens(text: str) -> list[str]:
    """The words of a text in normal form; a Chinese character is one."""
    return _TOKEN.findall(_CJK.sub(r" \1 ", normalise(text)))


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """A word without its English ending, so that "booking" is "book" and "hobbies" is "hobby"."""
    for end in _ENDINGS:
        if word.endswith(end) and len(word) - len(end) >= 3:
            root = word[: -len(end)] + ("y" if end in ("ied", "ies") else "")
            return root[:-1] if len(root) > 3 and root[-1] == root[-2] and root[-1] not in "sl" else root
    return word


def hidden(text: str) -> bool:
    """Whether a text holds what nobody sees: control and format characters, such as zero-width and direction marks."""
    return any(unicodedata.category(char) in ("Cf", "Cc", "Co", "Cn") and char not in "\n\t\r" for char in text)


def disguised(text: str) -> bool:
    """Whether a text is not what it looks like: hidden characters, or letters, digits and the signs of addresses in
    another shape."""
    return hidden(text) or any(map(_shaped, text))


def _shaped(char: str) -> bool:
    if char.isascii():
        return False
    plain = unicodedata.normalize("NFKC", char)
    return plain.isascii() and (plain.isalnum() or plain in "@./\\_")


def lower(text: str) -> str:
    """A text in lower case, each character where it was."""
    return "".join(char if len(low := char.casefold()) != 1 else low for char in text)
