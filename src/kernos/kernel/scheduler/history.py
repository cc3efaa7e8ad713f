"""How much service a task probably still needs, from how much those of its kind have needed.

A task is what a process does from somebody's words until it waits for a person again or exits. Its kind is the
employee, and for a foreign agent also what it tells the model at the very beginning.

    history.began(pid, kind)          a call of a task; it goes on with the task that the process is at
    history.served(pid, seconds)      what a call took in the engine
    history.rest(pid)                 the index by which calls are ordered, in seconds: the lower, the sooner
    history.ended(pid)                the task is over: its kind is known better now

The index is Gittins': of all ways to go on, the least expected service for each task that gets done. It is the shortest
expected remaining work where the kind is regular, and lets the likely short ones first where it is not (Gittins 1989;
Scully and Harchol-Balter 2018). A kind of which too little is known, or a task that has outlived all of its kind, is
taken for as long as it was already, in levels, so that equals do not take turns all the time (attained service in
levels: Autellix, 2025).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from kernos.kernel import limits
from kernos.kernel.types import Record

LEVEL_SECONDS = 1.5
LEVEL_FACTOR = 3
"""A task of an unknown kind is in the first level until it has had so much service; each further one is so much
longer."""
SAMPLES = 64
"""So many of the latest tasks of a kind are remembered."""
KNOWN = 3
"""A kind is known by so many tasks that needed at least as many calls."""


@dataclass
class Task:
    """What a process is at: its kind, the calls that it has made, the seconds of service that it has had, and of these
    those of the call that it is making."""

    kind: str
    calls: int = 0
    seconds: float = 0.0
    now: float = 0.0


@dataclass
class _Kind:
    """The latest tasks of one kind, each by the seconds of its calls; and the index after so many calls."""

    tasks: deque[Sequence[float]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    known: dict[int, float | None] = field(default_factory=dict)

    def learn(self, calls: Sequence[float]) -> None:
        self.tasks.append(tuple(calls))
        self.known.clear()

    def index(self, calls: int) -> float | None:
        """The index of a task that has made so many calls; None if too few have made more."""
        if calls not in self.known:
            self.known[calls] = _gittins(sorted(sum(task[calls:]) for task in self.tasks if len(task) > calls))
        return self.known[calls]


def _gittins(rests: Sequence[float]) -> float | None:
    if len(rests) < KNOWN:
        return None
    best, done = float("inf"), 0.0
    for place, rest in enumerate(rests, 1):
        done += rest
        best = min(best, (done + (len(rests) - place) * rest) / place)
    return best


class History:
    """The kinds of tasks, and the tasks that are being worked at."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}
        self._tasks: dict[str, Task] = {}
        self._calls: dict[str, list[float]] = {}

    def began(self, pid: str, kind: str) -> None:
        """A process makes a model call."""
        task = self._tasks[pid] = self._tasks.pop(pid, Task(kind))
        task.kind, task.now = kind, 0.0
        if len(self._tasks) > limits.TASKS:  # an agent behind the API does not say that it has given up
            self.ended(next(iter(self._tasks)))

    def served(self, pid: str, seconds: float) -> None:
        """The call that it makes has had so much more service."""
        if task := self._tasks.get(pid):
            task.now += seconds
            task.seconds += seconds

    def answered(self, pid: str) -> None:
        """The call has its answer."""
        if task := self._tasks.get(pid):
            self._calls.setdefault(pid, []).append(task.now)
            task.calls, task.now = task.calls + 1, 0.0

    def ended(self, pid: str) -> None:
        """The task is over."""
        task, calls = self._tasks.pop(pid, None), self._calls.pop(pid, [])
        if task is not None and calls:
            self.learn(task.kind, calls)

    def learn(self, kind: str, calls: Sequence[float]) -> None:
        """A task of this kind is known: the seconds of service of each of its calls."""
        known = self._kinds[kind] = self._kinds.pop(kind, _Kind())
        known.learn(calls)
        if len(self._kinds) > limits.KINDS:
            del self._kinds[next(iter(self._kinds))]

    def task(self, pid: str) -> Task | None:
        """What a process is at."""
        return self._tasks.get(pid)

    def at_work(self) -> Sequence[str]:
        """The processes that are at a task."""
        return tuple(self._tasks)

    def rest(self, pid: str) -> float:
        """The index of a process's task; 0.0 if it is at none."""
        task = self._tasks.get(pid)
        if task is None:
            return 0.0
        kind = self._kinds.get(task.kind)
        index = kind.index(task.calls) if kind else None
        return _level(task.seconds) if index is None else max(index - task.now, limits.LEAST_REST)


def _level(seconds: float) -> float:
    level = LEVEL_SECONDS
    while seconds > level:
        level *= LEVEL_FACTOR
    return level


def tasks_of(employee: str, rows: Iterable[Record]) -> Iterator[tuple[str, list[float]]]:
    """The tasks in rows of a process's journal: each its kind, and the seconds of its calls. One that goes on is none
    yet, but of a foreign agent, which does not say when it has done."""
    kind, calls = employee, list[float]()
    for row in rows:
        if row.kind == "intent":
            kind = row.body.get("kind", employee)
        if calls and (row.kind == "exit" or (row.kind == "intent" and row.body["call"] in ("receive", "ask"))):
            yield kind, calls
            calls = []
        elif row.kind == "outcome" and "cost" in row.body:
            calls.append(row.body["cost"].get("seconds", 0.0))
    if calls and kind != employee:
        yield kind, calls
