"""The engines of one role: who of those that wait is let in, and who of those that are served has to give way.

A call that may go is given to the engine that its process had last, where its prefix still is, else to the one with the
most room. No engine has room while a call waits that it could take (I8).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from kernos.kernel import limits
from kernos.kernel.errors import EngineError
from kernos.kernel.ports import Clock
from kernos.kernel.scheduler.history import History
from kernos.kernel.scheduler.lines import Line, Turn
from kernos.kernel.scheduler.waiting import Queue, Share, Waiting, base


class Pool:
    """The engines of one role, and the calls that wait for them."""

    def __init__(self, lines: Sequence[Line], shares: Mapping[str, Share], clock: Clock, history: History) -> None:
        self.lines = lines
        self._queue, self._clock, self._history = Queue(shares), clock, history
        self._turns: dict[Waiting, Turn] = {}
        self._last: OrderedDict[str, Line] = OrderedDict()

    def __len__(self) -> int:
        return len(self._queue)

    def waiting(self) -> Iterable[str]:
        """The processes whose calls wait."""
        return (call.pid for call in self._turns)

    def turn(self, pid: str, owner: str, tokens: int, priority: int, batch: bool) -> Turn:
        """A call that comes now, of at most so many tokens."""
        place = base(priority, batch, self._clock.monotonic())
        return Turn(Waiting(pid, owner, tokens, place), place, self._clock, self._history, self._again)

    async def wait(self, turn: Turn) -> None:
        """Wait for an engine. Raises EngineError when all of them are to be left alone."""
        if all(line.resting for line in self.lines):
            line = min(self.lines, key=lambda line: line.resting)
            raise EngineError(f"{line.last_words} (it is not asked again for {line.resting:.0f} s)")
        came = self._clock.monotonic()
        turn.granted = asyncio.get_running_loop().create_future()
        turn.call.key = turn.base + self._history.rest(turn.call.pid)
        self._turns[turn.call] = turn
        self._queue.push(turn.call)
        self._dispatch()
        try:
            await turn.granted
        except BaseException:
            self._queue.remove(turn.call)
            self.leave(turn)
            raise
        finally:
            self._turns.pop(turn.call, None)
            turn.queued += self._clock.monotonic() - came

    def leave(self, turn: Turn) -> None:
        """A call is served no more: who waits may have its place."""
        if turn.line is not None:
            self._queue.over(turn.call, turn.stop())
        self._dispatch()

    def failed(self, line: Line, pid: str, words: str) -> None:
        """An engine has failed a call of this process, which looks for another; when it may be asked again, who waits
        is let in."""
        self._last.pop(pid, None)
        if seconds := line.failed(words):
            asyncio.get_running_loop().call_later(seconds, self._dispatch)
        if all(each.resting for each in self.lines):
            for turn in self._turns.values():
                if not turn.granted.done():
                    turn.granted.set_exception(EngineError(words))

    async def _again(self, turn: Turn) -> None:
        self.leave(turn)
        await self.wait(turn)

    def _dispatch(self) -> None:
        """Let in what may go in; then see whether a call that is served has to give way."""
        while room := [line for line in self.lines if line.room]:
            call = self._queue.pop()
            if call is None:
                return
            last = self._last.get(call.pid)
            line = last if last in room else max(room, key=lambda line: (-line.failures, line.room))
            assert line is not None
            self._remember(call.pid, line)
            self._turns[call].begin(line)
        first = self._queue.first()
        stoppable = [turn for line in self.lines if line.stops for turn in line.running] if first else []
        if first and stoppable:
            last_of_all = max(stoppable, key=self._place)
            if first.key + limits.PREEMPTION_MARGIN < self._place(last_of_all):
                last_of_all.wanted.set()

    def _place(self, turn: Turn) -> float:
        """Where a call that is served would stand in the order now."""
        return turn.base + self._history.rest(turn.call.pid)

    def _remember(self, pid: str, line: Line) -> None:
        self._last[pid] = line
        self._last.move_to_end(pid)
        if len(self._last) > limits.AFFINITIES:
            self._last.popitem(last=False)
