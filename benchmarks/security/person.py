"""Who answers the questions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from benchmarks.security.calls import Call

Person = Callable[[Sequence[Call], Collection[Call]], list[int]]
"""Given the calls of a card and those that the user's task needs: which of the card are allowed."""


def careful(card: Sequence[Call], needed: Collection[Call]) -> list[int]:
    """Allows exactly what the user's own task needs."""
    return [place for place, call in enumerate(card) if call in needed]


def careless(card: Sequence[Call], needed: Collection[Call]) -> list[int]:
    """Allows everything."""
    return list(range(len(card)))


def nobody(card: Sequence[Call], needed: Collection[Call]) -> list[int]:
    """Is not there: every question is declined."""
    return []


PEOPLE: dict[str, Person] = {"careful": careful, "careless": careless, "none": nobody}
