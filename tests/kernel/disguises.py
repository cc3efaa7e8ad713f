"""Ways to write a value so that nobody sees where it comes from, for property tests."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

_ALIKE = str.maketrans("aeopcyxis", "аеорсухіѕ")


@dataclass(frozen=True)
class Disguise:
    """`alike`: to a person it looks like the value itself."""

    name: str
    write: Callable[[str], str]
    alike: bool = False


DISGUISES = (
    Disguise("base64", lambda text: base64.b64encode(text.encode()).decode()),
    Disguise("hex", lambda text: text.encode().hex()),
    Disguise("percent", lambda text: "".join(f"%{byte:02X}" for byte in text.encode())),
    Disguise("reversed", lambda text: text[::-1]),
    Disguise("spaced", " ".join),
    Disguise("zero width", "\u200b".join, True),
    Disguise("soft hyphen", "\u00ad".join, True),
    Disguise("homoglyphs", lambda text: text.translate(_ALIKE), True),
    Disguise("bidi", lambda text: f"\u202e{text[::-1]}\u202c", True),
    Disguise("full width", lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text), True),
    Disguise("bold", lambda text: "".join(chr(ord(c) - 97 + 0x1D41A) if "a" <= c <= "z" else c for c in text), True),
    Disguise("dots", lambda text: text.replace(".", "[.]")),
    Disguise("dot", lambda text: text.replace(".", " dot ")),
    Disguise("split", lambda text: f"{text[: len(text) // 2]} {text[len(text) // 2 :]}"),
)

_WORD = st.text("abcdefghijklmnopqrstuvwxyz", min_size=4, max_size=9)
ADDRESSES = st.builds("{}.{}@{}.com".format, _WORD, _WORD, _WORD)
LINKS = st.builds("https://{}.com/{}".format, _WORD, _WORD)
ACCOUNTS = st.from_regex(r"[A-Z]{2}[0-9]{16}", fullmatch=True)
VALUES = ADDRESSES | LINKS | ACCOUNTS
