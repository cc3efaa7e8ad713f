"""What is wrong in a folder, and where: collected, so that one look shows all of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from kernos.kernel.errors import BadInput


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the file and the field in it, what was found, what would be right."""

    where: str
    found: str
    right: str

    def __str__(self) -> str:
        return str(self.error())

    def error(self) -> BadInput:
        return BadInput(self.where, self.found, self.right)


def nearest(name: str, names: Iterable[str], otherwise: str) -> str:
    """The right name nearest to a wrong one, as a phrase after "expected"; `otherwise` if none is near."""
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return repr(near[0])
    return f"one of {', '.join(known)}" if known and len(known) <= 12 else otherwise
