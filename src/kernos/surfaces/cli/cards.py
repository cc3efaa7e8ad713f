"""Approvals as cards: what a person is shown of the calls that wait, and how an “always” becomes a policy.

    cards = Cards(system, place)
    cards.show(question)                     each call, where its arguments came from, the rule, what it would do
    lasting = cards.lasting(employee, calls) the policies that an “always” would add
    lasting.show(); lasting.write()

What strangers wrote is quoted here, so everything that a terminal would hide or obey is spelled out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from kernos.kernel.errors import BadInput, KernosError
from kernos.kernel.office import Answer, Question
from kernos.kernel.types import AUDIENCE, EFFECT, Asked, Item
from kernos.surfaces.cli.places import moment, now, span, there
from kernos.surfaces.cli.system import Rule, System
from kernos.userland.cards import Style, lines, value_of, visible

WIDTH = 80
FILE = "policies/approved.cedar"
HEADER = "// What a person has allowed for good (kernos approve --always). Delete a policy to be asked again.\n"
_STYLES: Mapping[Style, Mapping[str, Any]] = {
    "": {}, "bold": {"bold": True}, "dim": {"dim": True}, "yellow": {"fg": "yellow"},
}  # fmt: skip
GONE = "the kernel's own check, or a policy that is gone"


def call_of(asked: Asked) -> str:
    """A call in one line."""
    inside = ", ".join(f"{name}={value_of(value)}" for name, value in asked.arguments.items())
    return f"{visible(asked.tool)}({inside})"


def asks(question: Question) -> str:
    """What is asked, in one line."""
    wanted = "; ".join(map(call_of, question.calls))
    return f"{visible(question.calls[0].reason)} {wanted}" if wanted else question.text


def open_until(question: Question) -> str:
    """Until when a card may be answered."""
    if question.until is None:
        return ""
    left = question.until - now()
    return f"open until {moment(question.until, '%Y-%m-%d %H:%M')}, {span(left)} left" if left > 0 else "expired"


def allowed(question: Question, answer: Answer) -> list[Asked]:
    """The calls of a card that an answer allows."""
    return [asked for place, asked in enumerate(question.calls) if answer.chosen is None or place in answer.chosen]


class Cards:
    """The cards of a place."""

    def __init__(self, system: System, place: Path) -> None:
        self._system, self._place = system, place

    @cached_property
    def _rules(self) -> Mapping[str, Rule]:
        return {rule.id: rule for rule in self._system.policy(self._place).rules}

    def show(self, question: Question) -> None:
        """The calls of one card, at most 80 columns wide."""
        from rich.console import Console
        from rich.text import Text

        console = Console()
        width = min(WIDTH, console.width)
        for number, asked in enumerate(question.calls, 1):
            head = f"{number}  " if len(question.calls) > 1 else ""
            for indent, text, style in lines(asked, self._origin, head):
                for line in Text(text).wrap(console, max(width - indent - 2, 20), overflow="fold"):
                    click.secho(" " * (indent + 2) + line.plain.rstrip(), **_STYLES[style])

    def command(self, question: Question) -> str:
        """How a card is answered in a shell."""
        return f"kernos approve {question.pid}{there(self._place)}"

    def _origin(self, name: str) -> str:
        """Where a rule stands."""
        rule = self._rules.get(name)
        return f" ({rule.origin if rule else GONE})"

    def lasting(self, employee: str, calls: Sequence[Asked]) -> Lasting:
        """What an “always” to these calls adds. Raises BadInput where no policy can lift the rule that asked."""
        from kernos.userland.company.grants import always

        if self._place.is_file():
            raise BadInput("--always", "a single sub-agent file", "a company's folder: there the policy is kept")
        path = self._place / FILE
        before = path.read_text("utf-8") if path.is_file() else ""
        wanted: dict[str, None] = {}
        for asked in calls:
            for rule in self._lifted(asked):
                wanted[always(employee, asked.tool, asked.arguments, rule)] = None
        return Lasting(self._system, self._place, before, tuple(text for text in wanted if text not in before))

    def _lifted(self, asked: Asked) -> Iterator[str]:
        """The rules that would ask about a call again, the one that did first."""
        rules = dict.fromkeys([asked.rule, *map(_rule_of, asked.items)])
        for name in rules:
            rule = self._rules.get(name)
            if rule is not None and rule.effect == "ask" and _liftable(rule):
                yield name
            elif name == asked.rule:
                raise BadInput("--always", f"the rule {name}, which no policy lifts", "--once or --task")


def _liftable(rule: Rule) -> bool:
    return rule.origin == "base.cedar" or rule.id.startswith("grants.")


def _rule_of(item: Item) -> str:
    """The shipped rule that asks about an item."""
    return {EFFECT: "intent", AUDIENCE: "audience"}.get(item.parameter, "flow")


@dataclass(frozen=True)
class Lasting:
    """Policies that an “always” adds to the file of them; `before` is what stands there."""

    system: System
    place: Path
    before: str
    texts: tuple[str, ...]

    @property
    def after(self) -> str:
        return "\n".join([self.before.rstrip("\n") + "\n" if self.before.strip() else HEADER, *self.texts])

    def show(self) -> None:
        """The change, as a diff."""
        lines = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), FILE, FILE, lineterm="")
        for line in lines if self.texts else ():
            click.secho(line, fg="green" if line.startswith("+") else None, dim=not line.startswith("+"))

    def write(self) -> None:
        """Make the change. Raises BadInput, and leaves the file as it was, if the rules do not hold together then."""
        path = self.place / FILE
        if not self.texts:
            return
        path.parent.mkdir(exist_ok=True)
        self._replace(path, self.after)
        try:
            self.system.policy(self.place)
        except KernosError as error:
            self._replace(path, self.before)
            raise BadInput("--always", f"a policy that does not fit the others: {error}", "--once or --task") from None

    @staticmethod
    def _replace(path: Path, text: str) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(text, "utf-8")
        fresh.replace(path)
