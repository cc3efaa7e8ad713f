"""A turn of an employee that is talked with: it is told something, and all that it says until it waits again is its
answer.

    generation = await Talk(office, pid, words, draft).turn()

What happens here is seen as it happens (`kernel.events`); what another worker does with the process is read from the
journal. A question that the employee asks belongs to the answer, and the owner's next words answer it. For whatever
else a person has to decide, an approval for example, the turn waits.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from kernos.kernel.errors import BadInput, ProgramError
from kernos.kernel.office import Office
from kernos.kernel.types import REPLY, Action, Event, Generation, Record
from kernos.surfaces.http import tell

Draft = Callable[[str], None]
LOOK_SECONDS = 1.0
"""How often it is looked what another worker has done with a process."""
_COUNTED = ("prompt", "cached", "completion")
_BETWEEN = "\n\n"
"""What stands between two things that an employee says in one turn."""


async def news(queue: asyncio.Queue[Event]) -> Event | None:
    """What happened next to a process; None if that was nothing for a while."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await queue.get()
    except TimeoutError:
        return None


class Talk:
    """One turn. `draft` gets what the employee says, piece by piece."""

    def __init__(self, office: Office, pid: str, words: str, draft: Draft) -> None:
        self._office, self._kernel, self._pid = office, office.kernel, pid
        self._words, self._draft = words, draft
        self._said: list[str] = []
        self._drafted = False
        self._cost = Counter[str]()
        self._seen, self._told = -1, -1
        self._end: Record | None = None

    async def turn(self) -> Generation:
        """Raises ProgramError if the employee's program failed, BadInput if it was paused or has exited before."""
        status = await self._office.ledger.find(self._pid)
        self._seen = status.seq
        async with self._kernel.events(self._pid) as queue:
            await tell(self._office, status, self._words)
            while not await self._over():
                self._take(await news(queue) or await self._office.ledger.records(self._pid, self._seen))
        if self._end is not None and not self._said:
            self._exited(self._end)
        text = _BETWEEN.join(self._said)
        prompt, cached, completion = (self._cost[part] for part in _COUNTED)
        return Generation(Action(REPLY, {"text": text}), prompt, cached, completion)

    async def _over(self) -> bool:
        """Whether the employee has heard what it was told, and nothing but a word of its owner moves it on."""
        status = await self._office.ledger.find(self._pid)
        unheard = self._told < 0 and status.phase != "exited"  # what comes after a kill is never taken
        if unheard or not self._told <= status.seq <= self._seen:
            return False
        if status.phase == "paused":
            raise BadInput(f"process {self._pid}", "a paused process", "one that runs (kernos resume)")
        if status.why == "person":
            question = await self._kernel.question(self._pid)
            return question is not None and question.kind == "ask"
        return status.phase == "exited" or (status.phase == "waiting" and status.why == "message")

    def _take(self, news: Event | Sequence[Record]) -> None:
        if isinstance(news, Event) and news.record is None:
            if news.kind == "draft":
                self._speak(news.text, drafted=True)
            return
        for row in [news.record] if isinstance(news, Event) else news:
            if row is not None and row.seq > self._seen:
                self._seen = row.seq
                self._row(row)

    def _row(self, row: Record) -> None:
        match row.kind, row.body:
            case (("message" | "answer"), {"text": self._words}):
                self._told = row.seq if self._told < 0 else self._told
            case "intent", {"call": "send" | "ask" as call, "text": text, "verdict": {"is": verdict}, **about}:
                if (call == "ask" or verdict == "allow") and "to" not in about:
                    self._hear(str(text))
            case "outcome", {"cost": cost}:
                self._cost.update({part: cost.get(part, 0) for part in _COUNTED})
            case "exit", _:
                self._end = row

    def _hear(self, text: str) -> None:
        if not self._drafted:
            self._speak(text)
        self._said.append(text)
        self._drafted = False

    def _speak(self, text: str, drafted: bool = False) -> None:
        self._draft(text if self._drafted or not self._said else _BETWEEN + text)
        self._drafted = drafted

    def _exited(self, end: Record) -> None:
        """What a program returned without having said anything is its answer; an error is one."""
        if end.body["how"] != "done":
            raise ProgramError(f"process {self._pid} has ended: {end.body['how']}: {end.body.get('error', '')}")
        result = end.body.get("result")
        self._hear(result if isinstance(result, str) else "")
