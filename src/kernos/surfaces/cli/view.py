"""A turn as the person sees it: what the employee does in grey, what it says as it says it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from kernos.kernel.ports import Kernel
from kernos.kernel.types import Event, Record, Status

if TYPE_CHECKING:
    from rich.status import Status as Spinner


class View:
    """Prints the events of one process."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)
        self._spinner: Spinner | None = None
        self._draft = ""

    async def turn(self, kernel: Kernel, pid: str) -> Status:
        """Run the process until it waits or exits, showing what happens meanwhile."""
        async with kernel.events(pid) as queue:
            work = asyncio.ensure_future(kernel.tick(pid))
            try:
                self._busy("…")
                while not (work.done() and queue.empty()):
                    news = asyncio.ensure_future(queue.get())
                    await asyncio.wait({work, news}, return_when=asyncio.FIRST_COMPLETED)
                    if news.done():
                        self._show(news.result())
                    else:
                        news.cancel()
                return await work
            finally:
                self._idle()
                if not work.done():
                    work.cancel()
                    await asyncio.wait({work})

    def question(self, text: str) -> None:
        """The process asks its owner something."""
        click.secho(f"? {text}", fg="yellow")

    def heard(self, line: str) -> None:
        """The person said something; nothing to show, the terminal has it."""

    def _show(self, event: Event) -> None:
        if event.kind == "draft":
            self._idle()
            self._draft += event.text
            click.echo(event.text, nl=False)
        elif event.kind == "redraft":
            self._end_draft()
            click.secho("  · the engine died; asking it again", dim=True)
            self._busy("…")
        elif event.record is not None:
            self._record(event.record)

    def _record(self, record: Record) -> None:
        body = record.body
        match record.kind, body.get("call"):
            case "intent", "generate":
                self._busy("thinking")
            case "intent", "invoke":
                said = {"allow": "allowed", "ask": "waits for approval"}
                self._note(f"{body['tool']}: {said.get(body['verdict']['is'], body['verdict'].get('reason'))}")
            case "intent", "send" if body["verdict"]["is"] != "deny":
                self._say(body["text"])
            case "intent", "send":
                self._note(f"not said: {body['verdict']['reason']}")

    def _say(self, text: str) -> None:
        """What the employee says; its draft may be on the screen already."""
        self._idle()
        if self._draft.strip() == text.strip() and text:
            click.echo()
        else:
            self._end_draft()
            click.secho(text, fg="cyan")
        self._draft = ""

    def _end_draft(self) -> None:
        if self._draft:
            click.echo()
        self._draft = ""

    def _note(self, text: str) -> None:
        self._idle()
        self._end_draft()
        click.secho(f"  · {text}", dim=True)

    def _busy(self, what: str) -> None:
        if self._console.is_terminal and self._spinner is None:
            self._spinner = self._console.status(f"[dim]{what}[/dim]", spinner="dots")
            self._spinner.start()

    def _idle(self) -> None:
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None
