"""The kernel against a small model of it, over histories that nobody thought of.

Every process runs one program, which does what its messages say. Hypothesis delivers them, answers, signals, lets time
pass, and gives turns by one of two workers, of which any may stop at any write. `Reference` says what must be so then:
where each process stands, who is due, what was done and in which order, how many calls that took.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kernos.drivers.engine.scripted import say
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import StoreError
from kernos.kernel.office import Answer
from kernos.kernel.ports import Tool
from kernos.kernel.types import Message, Settlement, Signal, Status
from kernos.userland.lib import Process
from tests.support import CLERK, OWNER, Failing, HandClock, House, runs

Result = TypeVar("Result")
NAP = 60
WORDS = ("note", "act", "leave", "ask", "think", "sleep", "spawn", "wait", "tell", "keep") * 2 + ("end",)
ORDERS = st.lists(st.sampled_from(WORDS), min_size=2, max_size=8)
WHICH, WORKER, SECONDS = st.integers(0, 9), st.integers(0, 1), st.integers(1, 2 * NAP)


async def obey(process: Process) -> str:
    """Does what its messages say: a word, and a number that no other message has."""
    children: list[str] = list(process.state or ())
    while True:
        word, _, number = (await process.receive()).partition(" ")
        if word == "end":
            return number
        await do(process, word, number, children)


async def do(process: Process, word: str, number: str, children: list[str]) -> None:
    match word:
        case "note" | "act" | "leave":
            await process.invoke(word, number=number)
        case "ask":
            await process.ask(number)
        case "think":
            await process.generate([Message("user", number)])
        case "sleep":
            await process.sleep(NAP)
        case "spawn":
            children.append(await process.spawn(CLERK, f"note {number}"))
        case "wait" if children:
            await process.wait(children[-1])
        case "tell" if children:
            await process.send(f"note {number}", children[-1])
        case "keep":
            await process.checkpoint(children)


@dataclass
class Model:
    """One process: what lies in its mailbox, what it has read of it, what it waits for, and what it has done."""

    parent: str = ""
    notes: list[tuple[str, Any]] = field(default_factory=list)
    mail: list[str] = field(default_factory=list)
    why: str = "born"
    word: str = ""
    number: str = ""
    asked: int = 0
    answer: Any = None
    until: float = 0.0
    paused: bool = False
    how: str = ""
    calls: int = 0
    tokens: int = 0
    children: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    @property
    def stands(self) -> tuple[str, str]:
        if self.how:
            return "exited", self.how
        return ("paused", "") if self.paused else ("ready", "") if self.why == "born" else ("waiting", self.why)


class Reference:
    """What every kernel has to do, for all processes."""

    def __init__(self) -> None:
        self.processes: dict[str, Model] = {}
        self.now = 0.0

    def due(self, me: Model) -> bool:
        awake = me.why == "born" or (me.why == "timer" and self.now >= me.until)
        return bool(me.notes) or (awake and not me.paused and not me.how)

    def turn(self, pid: str, births: Iterator[str], doubtful: str) -> None:
        """Take the notes and run until something has to come; `doubtful` is the call that a crash left in doubt."""
        me = self.processes[pid]
        if me.how:
            me.notes.clear()
        while me.notes and not me.how:
            self.take(pid, me, *me.notes.pop(0))
        while not me.how and not me.paused and self.goes_on(pid, me, births, doubtful):
            pass

    def take(self, pid: str, me: Model, kind: str, body: Any) -> None:
        match kind:
            case "message":
                me.mail.append(body)
            case "child":
                me.children[body[0]] = body[1]
            case "answer" if body[0] == me.asked and me.answer is None:
                me.answer = body[1]
            case "pause" | "resume":
                me.paused = kind == "pause"
            case "kill":
                self.exit(pid, me, "killed")

    def exit(self, pid: str, me: Model, how: str) -> None:
        me.how, me.paused = how, False
        if me.parent:
            self.processes[me.parent].notes.append(("child", (pid, how)))
        for child in [child for child, ended in me.children.items() if how == "killed" and not ended]:
            self.processes[child].notes.append(("kill", None))

    def goes_on(self, pid: str, me: Model, births: Iterator[str], doubtful: str) -> bool:
        """One step of the program; False if it has to wait."""
        match me.why:
            case "born" | "":
                me.why, me.calls = "message", me.calls + 1
            case "message" if me.mail:
                me.word, _, me.number = me.mail.pop(0).partition(" ")
                self.begin(pid, me, births, doubtful)
            case "timer" if self.now >= me.until:
                me.why = ""
            case "process" if me.children[list(me.children)[-1]]:
                me.why = ""
            case "person" | "doubt" if me.answer is not None:
                self.answered(pid, me, me.answer, doubtful)
            case _:
                return False
        return True

    def begin(self, pid: str, me: Model, births: Iterator[str], doubtful: str) -> None:
        me.why = ""
        if me.word == "end":
            self.exit(pid, me, "done")
        elif me.word == "keep":
            me.calls += 1
        elif me.children or me.word not in ("wait", "tell"):
            me.calls += 1
            self.call(pid, me, births, doubtful)

    def call(self, pid: str, me: Model, births: Iterator[str], doubtful: str) -> None:
        match me.word:
            case "note" | "act":
                self.act(me, doubtful)
            case "ask" | "leave":
                self.asks(me, "person")
            case "think":
                me.tokens += 2
            case "sleep":
                me.why, me.until = "timer", self.now + NAP
            case "spawn":
                child = next(births)
                me.children[child] = ""
                self.processes[child] = Model(pid, mail=[f"note {me.number}"])
            case "wait":
                me.why = "process"
            case "tell" if not self.processes[child := list(me.children)[-1]].how:
                self.processes[child].notes.append(("message", f"note {me.number}"))

    def asks(self, me: Model, why: str) -> None:
        me.why, me.asked, me.answer = why, me.asked + 1, None

    def act(self, me: Model, doubtful: str) -> None:
        """An effect happens, once, unless nobody knows whether it did."""
        me.why = ""
        if me.number == doubtful:
            self.asks(me, "doubt")
        else:
            me.done.append(me.number)

    def answered(self, pid: str, me: Model, answer: Any, doubtful: str) -> None:
        match answer:
            case ("stop", did):
                me.done += [me.number] if did else []
                self.exit(pid, me, "killed")
            case "happened":
                me.done.append(me.number)
                me.why = ""
            case "yes" | "not" if me.word != "ask":
                self.act(me, doubtful)
            case _:
                me.why = ""


class Machine(RuleBasedStateMachine):
    """Does to a kernel and to its model the same."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.acted: list[str] = []
        self.once: list[str] = []
        tools = [self.tool("note", idempotent=True), self.tool("act"), self.tool("leave")]
        self.house = House(runs(obey, tools, ask=["leave"], spawns=[CLERK]), tools, lambda _: say("x"))
        self.house.clock = self.clock = HandClock()
        self.workers = [self.house.boot(), self.house.boot()]
        self.model = Reference()
        self.model.now = self.clock.time
        self.numbers = 0

    def tool(self, name: str, idempotent: bool = False) -> Tool:
        async def act(number: str) -> None:
            """Act."""
            self.acted.append(number)
            if not idempotent:
                self.once.append(number)

        act.__name__ = name
        return PythonTool(act, ["pays"], idempotent)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.house.__aexit__(None, None, None))
        self.runner.close()

    def chosen(self, which: int, alive: bool = False) -> str | None:
        pids = [pid for pid, me in self.model.processes.items() if not (alive and me.how)]
        return pids[which % len(pids)] if pids else None

    @initialize()
    def first(self) -> None:
        self.spawn()

    @precondition(lambda self: sum(not me.how for me in self.model.processes.values()) < 2)
    @rule()
    def spawn(self) -> None:
        pid = self.run(self.workers[0].spawn(CLERK, OWNER))
        self.model.processes[pid] = Model()

    @rule(which=WHICH, words=ORDERS, worker=WORKER)
    def serve(self, which: int, words: list[str], worker: int) -> None:
        """Messages, and turns for whoever is due."""
        if pid := self.chosen(which, alive=True):
            for word in words:
                self.deliver(self.workers[worker], pid, word)
            self.tick_all(worker)

    @rule(which=WHICH, word=st.sampled_from(WORDS), durable=st.booleans())
    def lose(self, which: int, word: str, durable: bool) -> None:
        """A message under which the store fails, before it is durable or after."""
        if pid := self.chosen(which, alive=True):
            self.deliver(self.house.boot(Failing(self.house.store, 1, durable)), pid, word, lost=not durable)

    def deliver(self, kernel: Kernel, pid: str, word: str, lost: bool = False) -> None:
        self.numbers += 1
        with suppress(StoreError):
            self.run(kernel.deliver(pid, f"{word} {self.numbers}"))
        if not lost:
            self.model.processes[pid].notes.append(("message", f"{word} {self.numbers}"))

    @rule(which=WHICH, signal=st.sampled_from(["pause", "pause", "resume", "resume", "resume", "kill"]))
    def signal(self, which: int, signal: Signal) -> None:
        if pid := self.chosen(which, alive=True):
            self.run(self.workers[0].signal(pid, signal, OWNER))
            self.model.processes[pid].notes.append((signal, None))

    @rule(approved=st.booleans(), stop=st.booleans(), seconds=SECONDS, worker=WORKER)
    def attend(self, approved: bool, stop: bool, seconds: int, worker: int) -> None:
        """Answers for whoever asks, some time, and turns for whoever is due."""
        self.answer(approved, stop)
        self.time_passes(seconds)
        self.tick_all(worker)

    @rule(approved=st.booleans(), stop=st.booleans())
    def answer(self, approved: bool, stop: bool) -> None:
        """What is true of a doubt, or yes or no, to whoever asks."""
        for pid, me in self.model.processes.items():
            if me.why not in ("person", "doubt") or me.how or me.answer is not None:
                continue
            did, doubt = me.number in self.acted, me.why == "doubt"
            settled: Settlement = "stop" if stop else "happened" if did else "not"
            self.run(self.workers[1].answer(pid, Answer(OWNER, approved, settled=settled if doubt else None)))
            said: Any = ("stop", did) if stop else settled
            me.notes.append(("answer", (me.asked, said if doubt else "yes" if approved else "no")))

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: int) -> None:
        self.clock.time += seconds
        self.model.now = self.clock.time

    @rule(worker=WORKER)
    def restart(self, worker: int) -> None:
        self.workers[worker] = self.house.boot()

    @rule(which=WHICH, worker=WORKER)
    def tick(self, which: int, worker: int) -> None:
        if pid := self.chosen(which):
            self.turn(self.workers[worker], pid)

    @rule(worker=WORKER)
    def tick_all(self, worker: int) -> None:
        for pid in self.run(self.workers[worker].due()).pids:
            self.turn(self.workers[worker], pid)

    @rule(which=WHICH, words=ORDERS, write=st.integers(1, 20), durable=st.booleans(), lives_on=st.booleans())
    def crash(self, which: int, words: list[str], write: int, durable: bool, lives_on: bool) -> None:
        """A turn whose store fails at a write; then others, by the same kernel or by one that knows nothing."""
        pid = self.chosen(which)
        if pid is None:
            return
        for word in words if not self.model.processes[pid].how else ():
            self.deliver(self.workers[0], pid, word)
        failing, fresh = self.house.boot(Failing(self.house.store, write, durable)), self.house.boot()
        try:
            self.run(failing.tick(pid))
            kernel = fresh
        except StoreError:
            kernel = failing if lives_on else fresh
        self.turn(kernel, pid, crashed=True)
        self.turn(kernel, pid)  # what came after a kill is dropped by now, whichever turn it was that had the kill

    async def doubted(self, pid: str) -> str:
        """The number of the call that is in doubt."""
        return str([row for row in await self.house.rows(pid) if row.kind == "intent"][-1].body["arguments"]["number"])

    def turn(self, kernel: Kernel, pid: str, crashed: bool = False) -> None:
        """A turn, for the kernel and for the model, which learns from it only the names of those who were born and,
        after a crash, whether it left a doubt."""
        status = self.run(kernel.tick(pid))
        doubtful = self.run(self.doubted(pid)) if crashed and status.why == "doubt" else ""
        statuses = self.run(self.house.store.statuses())
        births = sorted(status.pid for status in statuses if status.pid not in self.model.processes)
        self.model.turn(pid, iter(births), doubtful)
        assert sorted(self.model.processes) == sorted(status.pid for status in statuses)
        assert self.run(kernel.check(pid)) == []

    @invariant()
    def agrees(self) -> None:
        statuses = self.run(self.house.store.statuses())
        for status in statuses:
            self.same(status, self.model.processes[status.pid])
        due = {pid for pid, me in self.model.processes.items() if self.model.due(me)}
        assert set(self.run(self.workers[0].due()).pids) == due

    def same(self, status: Status, me: Model) -> None:
        assert (status.phase, "" if me.paused else status.why) == me.stands
        assert (status.calls, status.tokens, status.parent) == (me.calls, me.tokens, me.parent)
        assert [number for number in dict.fromkeys(self.acted) if number in me.done] == me.done
        assert self.run(self.workers[0].replay(status.pid)) == me.calls

    @invariant()
    def is_sound(self) -> None:
        done = [number for me in self.model.processes.values() for number in me.done]
        doubted = {me.number for me in self.model.processes.values() if me.why == "doubt"}
        assert {*done} <= {*self.acted} <= {*done} | doubted
        assert len(self.once) == len({*self.once})
        assert self.run(self.house.faults()) == []


TestModel = Machine.TestCase
TestModel.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
