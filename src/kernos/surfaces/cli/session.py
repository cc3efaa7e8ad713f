"""A person and a tree of processes: what these do is shown, what they ask is asked, what is said is put to them.

    session = Session(site, ledger, tree, person, cards)
    status = await session.run()          # until the process exits or is paused, or the person has no more to say

Only the dispatcher gives turns; the session sees them go by (`turns.Watched`) and never takes one itself. Where others
are at work too, one of these may give them: then it reads what happened from the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from kernos.kernel.errors import BadInput
from kernos.kernel.office import Answer, Ledger, Question
from kernos.kernel.types import Event, Status
from kernos.surfaces.cli.cards import Cards, allowed
from kernos.surfaces.cli.person import Person, answer, how, yes
from kernos.surfaces.cli.places import Site
from kernos.surfaces.cli.turns import News, Turned, Watched, during
from kernos.surfaces.cli.view import View

LOOK_SECONDS = 0.5
"""How often it is looked what others do with the process, where others can."""
_PERSONS = ("message", "person", "doubt")
"""Why a process waits when a person has to say something."""


class Session:
    """One talk.

    Args:
        tree: where the process stood when the session began, first, and then its descendants.
        cards: how approvals are shown at this place.
        once: whether the talk is over when the process waits for a message.
    """

    def __init__(
        self, site: Site, ledger: Ledger, tree: Sequence[Status], person: Person, cards: Cards, once: bool = False
    ) -> None:
        self._kernel, self._dispatcher = site.kernel, site.dispatcher
        self._ledger, self._patience = ledger, LOOK_SECONDS if site.shared else None
        self._status, self._pid = tree[0], tree[0].pid
        self._person, self._once = person, once
        self._cards, self._view = cards, View(self._pid, cards)
        self._news: asyncio.Queue[News] = asyncio.Queue()
        self._asking = [status.pid for status in tree[1:] if _asks(status)]
        self._asked: Question | None = None
        self._seen = self._status.seq
        self._taken = self._status.seq
        """The process has not taken what was said last while its newest row is not a later one."""

    async def run(self) -> Status:
        """Talk until the process exits or is paused, or the person has no more to say.

        Raises what goes wrong in one of the process's own turns.
        """
        watched = Watched(self._kernel, self._news.put_nowait)
        root = self._status.root
        if _settled(self._status) and self._pid not in (await self._kernel.due(root)).pids:
            self._taken = -1
            await watched.tick(self._pid)  # no dispatcher would: so a program that was changed is found out at once
        try:
            return await during(self._dispatcher.serve(watched.kernel, root), self._talk())
        finally:
            self._view.idle()

    async def _talk(self) -> Status:
        while True:
            await self._work()
            if self._status.phase in ("exited", "paused"):
                return self._status
            question = await self._question()
            if question is None and not self._waits:
                continue
            if question is None and self._once:
                return self._status
            if question is not None and question != self._asked:
                self._view.question(question)
            self._asked = question
            line = await self._line()
            if line is None:
                return self._status
            if line:
                await self._put(question, line)

    @property
    def _waits(self) -> bool:
        """Whether the process itself wants its person, or has ended."""
        return self._status.seq > self._taken and _settled(self._status)

    async def _work(self) -> None:
        """Show what happens until somebody wants a person, or the process has ended."""
        while not (self._waits or self._asking):
            self._view.busy()
            try:
                async with asyncio.timeout(self._patience):
                    self._take(await self._news.get())
            except TimeoutError:
                await self._look()
        self._view.idle()

    async def _look(self) -> None:
        """Read what another worker has done with the process or its descendants."""
        statuses = await self._ledger.statuses()
        for record in await self._ledger.records(self._pid, self._seen):  # read later: none is missing
            self._show(Event(self._pid, "record", record))
        for status in statuses:
            if status.root == self._status.root:
                self._stands(status)

    def _take(self, news: News) -> None:
        if not isinstance(news, Turned):
            self._show(news)
        elif news.error is not None and news.pid == self._pid:
            raise news.error
        elif news.error is not None:
            self._view.trouble(news.pid, news.error)
        elif news.status is not None:
            self._stands(news.status)

    def _stands(self, status: Status) -> None:
        if status.pid == self._pid:
            self._status = status
        elif _asks(status) and status.pid not in self._asking:
            self._asking.append(status.pid)

    def _show(self, event: Event) -> None:
        if event.pid == self._pid and event.record is not None:
            if event.record.seq <= self._seen:
                return
            self._seen = event.record.seq
        self._view.event(event)

    async def _question(self) -> Question | None:
        """What a descendant asks; if none does, the process itself."""
        while self._asking:
            question = await self._kernel.question(self._asking[0])
            if question is not None:
                return question
            del self._asking[0]
        return await self._kernel.question(self._pid)

    async def _line(self) -> str | None:
        """What the person says; empty if something happened meanwhile that may change what is asked."""
        before = (self._status, [*self._asking])
        saying = asyncio.ensure_future(self._person.says())
        try:
            while before == (self._status, self._asking):
                news = asyncio.ensure_future(self._news.get())
                await asyncio.wait({saying, news}, return_when=asyncio.FIRST_COMPLETED)
                if news.done():
                    self._take(news.result())
                else:
                    news.cancel()
                if saying.done():
                    return saying.result()
            return ""
        finally:
            if not saying.done():
                saying.cancel()
                await asyncio.wait({saying})

    async def _put(self, question: Question | None, line: str) -> None:
        """Put a line to whoever it is for."""
        reply = answer(question, line) if question is not None else None
        if question is not None and reply is None:
            self._view.note(f"answer: {how(question)}")
            return
        if question is not None and question.approver != "owner":
            self._view.note(f"the {question.approver} has to answer: {self._cards.command(question)}")
            return
        if question is not None and reply is not None and reply.scope == "always":
            reply = await self._for_good(question, reply)
        if question is not None and reply is None:
            return
        pid = question.pid if question is not None else self._pid
        try:
            if reply is not None:
                await self._kernel.answer(pid, reply)
            else:
                await self._kernel.deliver(pid, line)
        except BadInput as error:  # somebody else was first, or it is nothing that can be said
            self._view.note(str(error))
            return
        if pid == self._pid:
            self._taken = self._status.seq
        else:
            self._asking.remove(pid)
        self._dispatcher.hint(pid)

    async def _for_good(self, question: Question, reply: Answer) -> Answer | None:
        """An “always”: what it would write is shown, and written if that is confirmed. None if it is not."""
        status = await self._ledger.find(question.pid)
        try:
            lasting = self._cards.lasting(status.employee, allowed(question, reply))
            lasting.show()
            if lasting.texts:
                self._view.note("write this? (yes or no)")
                if not yes(await self._person.says() or ""):
                    self._view.note(f"not written. Answer: {how(question)}")
                    return None
            lasting.write()
        except BadInput as error:
            self._view.note(str(error))
            return None
        return replace(reply, scope="task")


def _asks(status: Status) -> bool:
    return status.phase == "waiting" and status.why in ("person", "doubt")


def _settled(status: Status) -> bool:
    """Whether nothing but a person's doing will move it on."""
    return status.phase in ("exited", "paused") or (status.phase == "waiting" and status.why in _PERSONS)
