"""`kernos doubts`: calls of which nobody knows whether they happened, and what a person says of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from kernos.kernel.errors import BadInput, NotFound
from kernos.kernel.office import Answer, Ledger, Question
from kernos.kernel.types import Record
from kernos.surfaces.cli.control import onward, taken
from kernos.surfaces.cli.places import ago, company, desk_of, find, moment, reading, there, user
from kernos.surfaces.cli.system import System


@dataclass(frozen=True)
class Doubt:
    """A call in doubt: the question, the row in which it was begun, and the row that doubts it."""

    question: Question
    intent: Record
    row: Record

    @property
    def call(self) -> str:
        arguments = self.intent.body.get("arguments", {})
        inside = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())
        return f"{self.intent.body['tool']}({inside})"


@click.command()
@click.argument("pid", default="")
@company
@click.option("--happened", is_flag=False, flag_value="null", metavar="[JSON]", help="it happened, and returned this")
@click.option("--did-not", is_flag=True, help="it did not happen: it is called again")
@click.option("--stop", is_flag=True, help="nobody can tell, or it should not go on: the process is killed")
@click.pass_obj
def doubts(system: System, pid: str, place: Path, happened: str | None, did_not: bool, stop: bool) -> None:
    """List the calls that were begun and of which nobody knows whether they happened. With PID and an answer it settles
    one.

    \b
    Examples:
      kernos doubts                                   what is in doubt?
      kernos doubts 7k2q --happened '"paid 20"'       it happened, and this is what the tool returned
      kernos doubts 7k2q --happened                   it happened, and returned nothing
      kernos doubts 7k2q --did-not                    it did not: call it again
      kernos doubts 7k2q --stop                       end the process
    """
    answers = [happened is not None, did_not, stop]
    if sum(answers) > 1 or (any(answers) and not pid):
        raise BadInput("doubts", "no PID" if not pid else "two answers", "PID and one of --happened, --did-not, --stop")
    if happened is not None:
        answer = Answer(user(), settled="happened", value=_json(happened))
    else:
        answer = Answer(user(), settled="not" if did_not else "stop")
    asyncio.run(_settle(system, place, pid, answer) if any(answers) else _show(system, place, pid))


def _json(text: str) -> object:
    try:
        return json.loads(text) if text.strip() else None
    except ValueError:
        right = """what it returned, as JSON; a text stands in quotes: '"paid 20"'"""
        raise BadInput("--happened", text, right) from None


async def _show(system: System, place: Path, prefix: str) -> None:
    try:
        async with reading(system, place, audit=True) as ledger:
            pid = (await ledger.find(prefix)).pid if prefix else ""
            found = [await _doubt(ledger, asked) for asked in await _questions(ledger, pid)]
    except NotFound:
        if prefix:
            raise
        found = []
    for number, doubt in enumerate(found):
        _print(doubt, number, there(place))
    if not found:
        click.echo("nothing is in doubt")


async def _questions(ledger: Ledger, pid: str) -> Sequence[Question]:
    return [asked for asked in await ledger.questions() if asked.kind == "doubt" and pid in ("", asked.pid)]


async def _doubt(ledger: Ledger, question: Question) -> Doubt:
    records = {record.seq: record for record in await ledger.records(question.pid)}
    row = records[question.seq]
    return Doubt(question, records[row.body["call"]], row)


def _print(doubt: Doubt, number: int, where: str) -> None:
    pid, intent, row = doubt.question.pid, doubt.intent, doubt.row
    click.secho(("\n" if number else "") + pid, bold=True, nl=False)
    click.secho(f"  {doubt.call}", fg="yellow")
    click.echo(f"  begun in row {intent.seq}, {moment(intent.at, '%Y-%m-%d %H:%M:%S')}, {ago(intent.at)}")
    click.echo(f"  in doubt since {moment(row.at, '%Y-%m-%d %H:%M:%S')}: {row.body['reason']}")
    for evidence in doubt.question.evidence:
        click.echo(f"  evidence: {evidence}")
    click.secho(f"  kernos doubts {pid}{where} --happened [JSON] | --did-not | --stop", dim=True)


async def _settle(system: System, place: Path, prefix: str, answer: Answer) -> None:
    status = await find(system, place, prefix)
    if status.why != "doubt":
        raise BadInput(f"process {status.pid}", "nothing in doubt", "a process that kernos doubts lists")
    async with desk_of(system, place) as desk:
        await desk.answer(status.pid, answer)
    settled = {"happened": "it happened", "not": "it did not happen"}.get(answer.settled or "", "stop")
    later = await taken(system, place, status.pid)
    click.echo(onward(place, status.pid, f"settled: {settled}", later))
