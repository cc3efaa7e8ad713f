"""`kernos work`: turns for every process of a folder, without a person."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from kernos.kernel.errors import KernosError
from kernos.kernel.office import Kernel, Ledger
from kernos.kernel.types import Status
from kernos.surfaces.cli import calls
from kernos.surfaces.cli.cards import asks
from kernos.surfaces.cli.places import at_work, moment, now, place_argument, reading, there
from kernos.surfaces.cli.system import System
from kernos.surfaces.cli.turns import News, Turned, Watched, during

ANCHOR_SECONDS = 60.0
"""How often the journals' heads are signed."""
_ANSWERED = {"doubt": "doubts", "approval": "approve"}
"""The command that answers a question of some kind, where that is not `tell`."""
LOOK_SECONDS = 1.0
"""How often it is asked whether others have left anything to do."""


@click.command()
@place_argument
@click.option("--until-idle", is_flag=True, help="end when nothing is left to do and nobody sleeps")
@click.pass_obj
def work(system: System, place: Path, until_idle: bool) -> None:
    """Give turns to every process of a folder until Ctrl-C. Says in one line each what has exited, what a person is
    asked, and what went wrong; a process whose turn failed is tried again, less and less often.

    Exit code 2 if something is left that fails when --until-idle ends.

    \b
    Examples:
      kernos work                          in another terminal: kernos ps, kernos tell, kernos kill
      kernos run shop "..." --detach && kernos work shop --until-idle
    """
    ending = "until nothing is left to do" if until_idle else "until Ctrl-C"
    click.secho(f"kernos work: turns for the processes of {place.resolve()}, {ending}", dim=True)
    asyncio.run(_work(system, place, until_idle))


async def _work(system: System, place: Path, until_idle: bool) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
    async with at_work(system, place) as site, reading(system, place) as ledger:
        worker = Worker(site.kernel, ledger, there(place))
        await during(worker.anchor(), during(site.dispatcher.serve(worker.watched.kernel), worker.listen(until_idle)))
    if worker.failing:
        raise KernosError(f"{calls.count(len(worker.failing), 'process')} cannot go on: {', '.join(worker.failing)}")


class Worker:
    """What the operator hears of the turns. `failing` holds the processes whose last turn went wrong, and why."""

    def __init__(self, kernel: Kernel, ledger: Ledger, where: str) -> None:
        self.failing: dict[str, str] = {}
        self._news: asyncio.Queue[News] = asyncio.Queue()
        self.watched = Watched(kernel, self._news.put_nowait)
        self._kernel, self._ledger, self._where = kernel, ledger, where
        self._said: dict[str, str] = {}
        self._exits: dict[str, str] = {}

    async def listen(self, until_idle: bool) -> None:
        """Say what happens; with `until_idle`, until nothing more will."""
        while not (until_idle and await self._idle()):
            try:
                async with asyncio.timeout(LOOK_SECONDS if until_idle else None):
                    news = await self._news.get()
            except TimeoutError:
                continue
            if isinstance(news, Turned):
                await self._turned(news)
            elif news.record is not None and news.record.kind == "exit":
                self._exits[news.pid] = str(news.record.body.get("error", ""))

    async def anchor(self) -> None:
        """Have the heads signed again and again."""
        while True:
            await asyncio.sleep(ANCHOR_SECONDS)
            try:
                await self._kernel.anchor()
            except KernosError as error:
                _say("red", "✗", f"the journals could not be signed: {error} [{error.code}]")

    async def _idle(self) -> bool:
        due = await self._kernel.due()
        left = [pid for pid in due.pids if pid not in self.failing]
        if left or self.watched.running or not self._news.empty():
            return False
        return due.next is None or not await self._sleepers()

    async def _sleepers(self) -> bool:
        """Whether anybody waits for the time alone: what a person is asked expires too, but that is no work."""
        return any(status.wake and status.why != "person" for status in await self._ledger.statuses())

    async def _turned(self, turned: Turned) -> None:
        self.failing.pop(turned.pid, None)
        if turned.error is not None:
            code = f" [{turned.error.code}]" if isinstance(turned.error, KernosError) else ""
            if turned.pid:
                self.failing[turned.pid] = str(turned.error)
            text = f"{turned.pid or 'the journal'}: {turned.error}{code}; it is tried again"
            self._once(turned.pid, str(turned.error), "red", "✗", text)
            return
        self._said.pop("", None)
        if turned.status is not None:
            try:
                await self._stands(turned.status)
            except KernosError as error:  # what it asks cannot be read now; the others go on
                self._once(turned.pid, str(error), "red", "✗", f"{turned.pid}: {error} [{error.code}]")

    async def _stands(self, status: Status) -> None:
        who = f"{status.pid} {status.employee} for {status.owner}"
        if status.pid in self._exits:
            self._said.pop(status.pid, None)
            colour, mark = ("green", "✓") if status.why == "done" else ("red", "✗")
            error = self._exits.pop(status.pid)
            _say(colour, mark, f"{who}: {status.why}" + (f": {error}" if error else ""))
        elif status.phase == "waiting" and (question := await self._kernel.question(status.pid)) is not None:
            command = f"kernos {_ANSWERED.get(question.kind, 'tell')} {status.pid}{self._where}"
            self._once(status.pid, f"question {question.seq}", "yellow", "?", f"{who}: {asks(question)} ({command})")

    def _once(self, pid: str, key: str, colour: str, mark: str, text: str) -> None:
        """Say something of a process unless that was what was said of it last."""
        if self._said.get(pid) != key:
            self._said[pid] = key
            _say(colour, mark, text)


def _say(colour: str, mark: str, text: str) -> None:
    click.secho(f"{moment(now())} {mark} {' '.join(text.split())}", fg=colour)
