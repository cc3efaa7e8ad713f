"""Which kinds of effect a task may have: settled by the owner's words, and by what was planned before anything was read
that anyone may have written. Text that is read later adds none.

    asked(words, spec)       whether the owner asked for what this tool does
"""

from __future__ import annotations

import re
from functools import lru_cache

from kernos.kernel.lexicon import CHINESE, COMPOUNDS, ENGLISH, NOT, NOUN
from kernos.kernel.texts import stem
from kernos.kernel.types import EffectKind, ToolSpec
from kernos.kernel.words import Words

_STEMS = {kind: frozenset(map(stem, words.split())) for kind, words in ENGLISH.items()}
_PARTS = {kind: words.split() for kind, words in CHINESE.items()}


def asked(words: Words, spec: ToolSpec) -> bool:
    """Whether the owner asked for what this tool does: by one of its verbs, or, if it declares none, by a word for each
    kind of its effects."""
    text, stems = _wanted(tuple(words.said))
    if spec.verbs:
        return any(_says(verb, stems, text) for verb in spec.verbs)
    return all(_spoken(kind, stems, text) for kind in spec.effects - {"reads"})


@lru_cache(maxsize=256)
def _wanted(said: tuple[str, ...]) -> tuple[str, frozenset[str]]:
    """What was said without what is not wanted and without nouns that look like verbs, and the stems of its words."""
    text = COMPOUNDS.sub(" ", NOUN.sub(r" \1 ", NOT.sub(" ", " ".join(said).casefold())))
    return text, frozenset(stem(word) for word in re.findall(r"[a-z]+", text))


def _says(verb: str, stems: frozenset[str], text: str) -> bool:
    return stem(verb) in stems if verb.isascii() and verb.isalpha() else verb in text


def _spoken(kind: EffectKind, stems: frozenset[str], text: str) -> bool:
    return bool(_STEMS[kind] & stems) or any(word in text for word in _PARTS[kind])
