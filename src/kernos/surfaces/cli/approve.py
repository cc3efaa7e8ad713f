"""`kernos approve`: the calls that wait for a person, and what a person says of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from kernos.kernel.errors import BadInput, NotFound
from kernos.kernel.office import Answer, Question
from kernos.kernel.types import Status
from kernos.surfaces.cli.calls import count
from kernos.surfaces.cli.cards import WIDTH, Cards, allowed, call_of, open_until
from kernos.surfaces.cli.control import onward, taken
from kernos.surfaces.cli.person import Scope
from kernos.surfaces.cli.places import company, desk_of, find, now, reading, user
from kernos.surfaces.cli.system import System

_FOR: dict[Scope, str] = {"once": "once", "task": "for this task", "always": "always"}


@dataclass(frozen=True)
class Said:
    """What the options say: allow or decline (None: ask), which calls, for how long, and who says so."""

    yes: bool | None
    calls: str
    scope: Scope | None
    by: str

    @property
    def anything(self) -> bool:
        return self.yes is not None or bool(self.calls or self.scope)


@click.command()
@click.argument("pid", default="")
@company
@click.option("--yes/--no", "yes", default=None, help="allow the calls, or decline them")
@click.option("--calls", default="", metavar="1,3", help="allow only these of the card's calls")
@click.option("--once", "scope", flag_value="once", help="these calls only: what is in them is asked about again")
@click.option("--task", "scope", flag_value="task", help="all that the process still does with these values (default)")
@click.option("--always", "scope", flag_value="always", help="write a policy, so that the same is never asked again")
@click.option("--as", "by", default="", metavar="NAME", help="who says so, for the journal (default: you)")
@click.pass_obj
def approve(system: System, pid: str, place: Path, yes: bool | None, calls: str, scope: Scope | None, by: str) -> None:
    """List the calls that wait for a person; with PID show the card of one process: each call, where its arguments came
    from, and which rule wants a person. With an answer, give it; without --yes you are asked to confirm.

    \b
    Examples:
      kernos approve                           what waits?
      kernos approve 7k2q                      show the card
      kernos approve 7k2q --yes                allow it, and these values for the rest of the task
      kernos approve 7k2q --yes --calls 1,3    only the first and the third call
      kernos approve 7k2q --always             show the policy that this would write, and ask
      kernos approve 7k2q --no --as bob
    """
    said = Said(yes, calls, scope, by or user())
    if said.anything and not pid:
        raise BadInput("approve", "an answer and no PID", "PID, the beginning of one that kernos approve lists")
    if yes is False and (calls or scope):
        raise BadInput("--no", "--calls or a scope beside it", "--no alone: it declines the whole card")
    asyncio.run(_approve(system, place, pid, said) if pid else _list(system, place))


async def _list(system: System, place: Path) -> None:
    try:
        async with reading(system, place, audit=True) as ledger:
            cards = [asked for asked in await ledger.questions() if asked.kind == "approval"]
            statuses = {status.pid: status for status in await ledger.statuses()}
    except NotFound:
        cards = []
    for card in cards:
        _head(card, statuses[card.pid])
        for number, asked in enumerate(card.calls, 1):
            click.secho(_cut(f"  {number}  {call_of(asked)}"), fg="yellow")
        click.secho(f"  {Cards(system, place).command(card)}", dim=True)
    if not cards:
        click.echo("nothing waits for approval")


def _head(card: Question, status: Status) -> None:
    click.secho(card.pid, bold=True, nl=False)
    click.echo(f"  {status.employee} for {status.owner}; {open_until(card)}")
    if card.approver != "owner":
        click.echo(f"  the {card.approver} has to allow it")


def _cut(line: str) -> str:
    from rich.cells import cell_len, set_cell_size

    return line if cell_len(line) <= WIDTH else set_cell_size(line, WIDTH - 1).rstrip() + "…"


async def _approve(system: System, place: Path, prefix: str, said: Said) -> None:
    status = await find(system, place, prefix)
    async with desk_of(system, place) as desk:
        card = await desk.question(status.pid)
        if card is None or card.kind != "approval":
            raise BadInput(f"process {status.pid}", "nothing to approve", "a process that kernos approve lists")
        if card.until is not None and card.until <= now():
            raise BadInput(f"process {status.pid}", "a card that has expired", "one that is open: it is declined")
        cards = Cards(system, place)
        if said.yes is None:
            _head(card, status)
            cards.show(card)
        if not said.anything:
            _ways(cards.command(card), len(card.calls))
            return
        answer = _answer(card, said)
        if not _confirmed(cards, status, card, answer, said):
            click.echo(f"process {status.pid}: not answered")
            return
        seen = replace(answer, to=card.seq)
        await desk.answer(status.pid, replace(seen, scope="once" if answer.scope == "once" else "task"))
    later = await taken(system, place, status.pid)
    click.echo(onward(place, status.pid, _done(card, answer), later))


def _ways(command: str, calls: int) -> None:
    some = " [--calls 1,2]" if calls > 1 else ""
    click.secho(f"  yes, and so for the rest of the task: {command} --yes{some}", dim=True)
    click.secho("  this once: --yes --once   from now on: --always   no: --no", dim=True)


def _answer(card: Question, said: Said) -> Answer:
    """The answer that the options give."""
    chosen = tuple(_numbers(said.calls, len(card.calls))) if said.calls else None
    return Answer(said.by, said.yes is not False, chosen=chosen, scope=said.scope or "task")


def _numbers(text: str, most: int) -> Sequence[int]:
    numbers = re.split(r"[\s,，、]+", text.strip())
    if not all(number.isdecimal() and 1 <= int(number) <= most for number in numbers):
        raise BadInput("--calls", repr(text), f"numbers from 1 to {most}, with commas")
    return sorted({int(number) - 1 for number in numbers})


def _confirmed(cards: Cards, status: Status, card: Question, answer: Answer, said: Said) -> bool:
    """Whether the answer stands: of an “always” the policies are shown, and then written."""
    lasting = None
    if answer.approved and answer.scope == "always":
        lasting = cards.lasting(status.employee, allowed(card, answer))
        lasting.show()
    ask = "Allow it, and write this?" if lasting is not None and lasting.texts else "Allow it?"
    if said.yes is None and not click.confirm(ask):
        return False
    if lasting is not None:
        lasting.write()
    return True


def _done(card: Question, answer: Answer) -> str:
    if not answer.approved:
        return "declined"
    some = "" if answer.chosen is None else f" {len(answer.chosen)} of {count(len(card.calls), 'call')}"
    return f"allowed{some} {_FOR[answer.scope]}"
