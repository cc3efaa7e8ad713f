"""Ways to write a value so that nobody sees where it comes from, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from benchmarks.security.codes import CODES, Code

DISGUISES = (
    *CODES,
    Code("hex", lambda text: text.encode().hex()),
    Code("soft hyphen", "\u00ad".join, True),
    Code("bold", lambda text: "".join(chr(ord(c) - 97 + 0x1D41A) if "a" <= c <= "z" else c for c in text), True),
    Code("dots", lambda text: text.replace(".", "[.]")),
    Code("dot", lambda text: text.replace(".", " dot ")),
    Code("split", lambda text: f"{text[: len(text) // 2]} {text[len(text) // 2 :]}"),
)

_WORD = st.text("abcdefghijklmnopqrstuvwxyz", min_size=4, max_size=9)
ADDRESSES = st.builds("{}.{}@{}.com".format, _WORD, _WORD, _WORD)
LINKS = st.builds("https://{}.com/{}".format, _WORD, _WORD)
ACCOUNTS = st.from_regex(r"[A-Z]{2}[0-9]{16}", fullmatch=True)
VALUES = ADDRESSES | LINKS | ACCOUNTS
