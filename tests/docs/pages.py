"""Pages of the documentation as tests read them: their fenced blocks, and what is the same in two runs of a command."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HOW_TO = ROOT / "docs" / "how-to"
FENCE = re.compile(r"^```(?P<language>\w*)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_PASSING = re.compile(r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d|[\d.]+ (?:s|min) ago")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it is to be saved as (if it says so), its text."""

    language: str
    file: str
    text: str


def blocks(page: Path, language: str) -> list[Block]:
    found = (Block(match["language"], match["file"] or "", match["text"]) for match in FENCE.finditer(page.read_text()))
    return [block for block in found if block.language == language]


def printed(page: Path, marker: str) -> str:
    """The one block of output on a page that holds these words."""
    (text,) = [block.text for block in blocks(page, "text") if marker in block.text]
    return text


def lasting(output: str, **names: str) -> list[str]:
    """The lines of an output without times and spaces that move; what has a name is called by it."""
    for name, value in names.items():
        output = output.replace(value, name)
    return [" ".join(_PASSING.sub("TIME", line).split()) for line in output.splitlines() if line.strip()]
