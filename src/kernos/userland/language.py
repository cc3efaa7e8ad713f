"""Which language a person writes in, by the script of the letters: enough to choose among declared texts."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SCRIPTS = (
    ("ja", re.compile(r"[぀-ヿ]")),
    ("ko", re.compile(r"[가-힣]")),
    ("zh", re.compile(r"[一-鿿]")),
    ("ru", re.compile(r"[Ѐ-ӿ]")),
    ("ar", re.compile(r"[؀-ۿ]")),
)


def language_of(text: str, before: str = "en") -> str:
    """The language of a text; `before`, that of the conversation so far, where its letters do not tell ("25", "ok")."""
    for language, letters in _SCRIPTS:
        if letters.search(text):
            return language
    return "en" if len(re.findall(r"[A-Za-z]+", text)) > 1 else before


def choose(texts: Mapping[str, str], language: str) -> str:
    """The text in this language, else in English, else the first; empty if there is none."""
    return texts.get(language) or texts.get("en") or next(iter(texts.values()), "")
