"""What a person sees of processes at work: what they do in grey, what one says as it says it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from kernos.kernel.office import Question
from kernos.kernel.types import Event, Json, Record
from kernos.surfaces.cli.calls import beside
from kernos.surfaces.cli.cards import Cards, open_until
from kernos.surfaces.cli.person import how
from kernos.surfaces.cli.places import moment, span

if TYPE_CHECKING:
    from rich.status import Status as Spinner

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class View:
    """Prints the events of one process, and of others only what they say."""

    def __init__(self, pid: str, cards: Cards) -> None:
        from rich.console import Console

        self._cards = cards
        self._console = Console(highlight=False)
        self._spinner: Spinner | None = None
        self._pid = pid
        self._draft = ""
        self._troubles: dict[str, str] = {}

    def event(self, event: Event) -> None:
        """Something has happened in a turn."""
        if event.pid != self._pid:
            self._other(event)
        elif event.kind == "draft":
            self.idle()
            self._draft += event.text
            click.echo(_plain(event.text), nl=False)
        elif event.kind == "redraft":
            self.note("the engine died; asking it again")
        elif event.record is not None:
            self._record(event.record)

    def question(self, question: Question) -> None:
        """Somebody is asked something."""
        self.idle()
        self._end_draft()
        whose = "" if question.pid == self._pid else f"{question.pid}: "
        calls = "this call" if len(question.calls) == 1 else f"these {len(question.calls)} calls"
        text = f"may it make {calls}? ({open_until(question)})" if question.calls else question.text
        click.secho(f"? {whose}{text}", fg="yellow")
        self._cards.show(question)
        for evidence in question.evidence:
            click.secho(f"  {evidence}", fg="yellow")
        if question.approver != "owner":
            click.secho(f"  (the {question.approver} has to answer: {self._cards.command(question)})", dim=True)
        elif how(question):
            click.secho(f"  ({how(question)})", dim=True)

    def trouble(self, pid: str, error: Exception) -> None:
        """A turn of another process has failed; it is tried again. Said once."""
        if self._troubles.get(pid) != str(error):
            self._troubles[pid] = str(error)
            self.note(f"{pid or 'the journal'}: {error}; it is tried again", fg="red")

    def note(self, text: str, fg: str | None = None) -> None:
        """A line in grey."""
        self.idle()
        self._end_draft()
        click.secho(f"  · {text}", dim=fg is None, fg=fg)

    def busy(self) -> None:
        """Show that something is going on."""
        if self._console.is_terminal and self._spinner is None and not self._draft:
            self._spinner = self._console.status("[dim]…[/dim]", spinner="dots")
            self._spinner.start()

    def idle(self) -> None:
        """Show no more that something is going on."""
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None

    def _other(self, event: Event) -> None:
        body = event.record.body if event.record is not None and event.record.kind == "intent" else {}
        if body.get("call") == "send" and "to" not in body and body["verdict"]["is"] != "deny":
            self.idle()
            self._end_draft()
            click.secho(f"{event.pid}: {_plain(body['text'])}", fg="cyan")
            self._beside(body)

    def _record(self, record: Record) -> None:
        body = record.body
        match record.kind:
            case "intent" if body["call"] == "send" and body["verdict"]["is"] != "deny":
                self._say(body)
            case "intent" if body["call"] == "ask":
                self._beside(body)
            case "intent":
                if told := _intended(body):
                    self.note(told)
            case "outcome" if body["call"] == "spawn" and "child" in body:
                self.note(f"process {body['child']} was started")
            case "child":
                self.note(f"process {body['child']} has ended: {body['how']}")
            case "signal" if body["signal"] in ("pause", "kill"):
                done = {"pause": "paused", "kill": "killed"}[body["signal"]]
                self.note(f"{'stopped' if body.get('halt') else done} by {body['by']}")
            case "late":
                self.note("a worker that had lost the process has reported what came of the call")

    def _say(self, body: Json) -> None:
        """What the employee says; its draft may be on the screen already."""
        self.idle()
        if "to" in body:
            self.note(f"to process {body['to']}: {body['text']}")
        elif self._draft.strip() == body["text"].strip() and body["text"]:
            click.echo()
        else:
            self._end_draft()
            click.secho(_plain(body["text"]), fg="cyan")
        self._draft = ""
        self._beside(body)

    def _beside(self, body: Json) -> None:
        """What the journal says beside a text."""
        for line, colour in beside(body):
            click.secho(f"  {line}", fg=colour or None, dim=not colour)

    def _end_draft(self) -> None:
        if self._draft:
            click.echo()
        self._draft = ""


def _plain(text: str) -> str:
    """A text without what a terminal would obey."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _intended(body: Json) -> str:
    """A call that begins, in a few words; empty for one that shows by itself."""
    verdict, call = body["verdict"], body["call"]
    if call == "invoke":
        said = {"allow": "allowed", "ask": "waits for approval"}
        return f"{body['tool']}: {said.get(verdict['is'], verdict.get('reason'))}"
    if verdict["is"] == "deny":
        return f"not said: {verdict['reason']}" if call == "send" else f"{call}: {verdict['reason']}"
    if call == "sleep":
        return f"sleeps {span(body['seconds'])}, until {moment(body['until'])}"
    return f"waits for process {body['pid']}" if call == "wait" else ""
