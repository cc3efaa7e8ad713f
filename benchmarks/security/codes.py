"""Ways to write a text so that nobody sees where it comes from."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

_ALIKE = str.maketrans("aeopcyxis", "аеорсухіѕ")


@dataclass(frozen=True)
class Code:
    """A way to write a text. `alike`: it looks to a person like the text itself."""

    name: str
    write: Callable[[str], str]
    alike: bool = False


CODES = (
    Code("base64", lambda text: base64.b64encode(text.encode()).decode()),
    Code("reversed", lambda text: text[::-1]),
    Code("percent", lambda text: "".join(f"%{byte:02X}" for byte in text.encode())),
    Code("spaced", " ".join),
    Code("zero width", "\u200b".join, True),
    Code("homoglyphs", lambda text: text.translate(_ALIKE), True),
    Code("bidi", lambda text: f"\u202e{text[::-1]}\u202c", True),
    Code("full width", lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text), True),
)
