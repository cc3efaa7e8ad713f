"""I3 when a process is taken over, in the kernel itself: two kernels on one store, stopped at every step.

A kernel here takes no step by itself: before each thing that it does to the store or the world it stands at its gate.
So a test can leave it asleep there for any time, wake it late, kill it, and give its process to the other one.
`Scene.play` follows a plan. There are all plans with up to two interruptions, random ones, and some by name.

The person is patient: what became of a call in doubt is said only when no kernel stands before that effect, and a
look-up waits in the same way. Why it has to be so, and what happens otherwise, is in `test_i3_takeover`; `Scene.early`
lifts it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernos.drivers.clock.fixed import FixedClock
from kernos.drivers.engine.scripted import ScriptedEngine
from kernos.drivers.store.memory import MemoryStore
from kernos.kernel.abi import Invoked
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import Fenced, JournalBroken, StoreError
from kernos.kernel.journal import Journal, expand
from kernos.kernel.ledger import Ledger
from kernos.kernel.office import Answer
from kernos.kernel.ports import Commit, Store, ToolResult
from kernos.kernel.types import EffectKind, Json, Note, Record, RecordKind, ToolSpec
from kernos.userland.lib import Process
from tests.support import CLERK, ENGINE, OURS, OWNER, SHIPPED, Wrapped, by_name, runs

KEY = b"k" * 32
CALLS = ("tea", "cake")
Kind = Literal["once", "verified", "keyed", "idempotent"]
KINDS: Sequence[Kind] = ("once", "verified", "keyed", "idempotent")


async def clerk(process: Process) -> Json:
    """Buy two things; what was paid for each is the result."""
    paid = []
    for what in CALLS:
        reply = await process.invoke("buy", what=what)
        paid.append(reply.value if isinstance(reply, Invoked) else None)
    return paid


class Gate:
    """Where one kernel waits for leave to take its next step; `at` is what that will be."""

    def __init__(self) -> None:
        self.at = ""
        self.stopped = asyncio.Event()
        self._leave: asyncio.Future[None] | None = None

    async def step(self, what: str) -> None:
        self.at = what
        self._leave = asyncio.get_running_loop().create_future()
        self.stopped.set()
        await self._leave

    def open(self) -> None:
        assert self._leave is not None
        self.at = ""
        self.stopped.clear()
        self._leave.set_result(None)


class World:
    """What happened, in order, each with its key; who claimed the process last; and what should not have been.

    `defects` do no harm to an effect.
    """

    def __init__(self, kind: Kind, fenced: bool) -> None:
        self.kind, self.fenced = kind, fenced
        self.done: list[tuple[str, str]] = []
        self.holder, self.epoch = "", 0
        self.intended: set[str] = set()
        self.wrong: list[str] = []
        self.defects: list[str] = []
        self.late: list[Note] = []

    def happen(self, what: str, key: str) -> None:
        if what not in self.intended:
            self.wrong.append(f"{what} was bought before that was written down")
        if self.kind != "keyed" or (what, key) not in self.done:
            self.done.append((what, key))


class Buy:
    """The tool as one kernel has it: what it does happens between two gates, or all at once for who is killed there."""

    def __init__(self, world: World, gate: Gate) -> None:
        self._world, self._gate = world, gate
        kind, effects = world.kind, frozenset[EffectKind]({"pays"})
        self.spec = ToolSpec(
            "buy", "Buy something.", {"type": "object"}, effects=effects, returns=OURS,
            verified=kind == "verified", keyed=kind == "keyed", idempotent=kind == "idempotent",
        )  # fmt: skip

    def problem(self, arguments: Mapping[str, Json]) -> str | None:
        return None

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        await self._gate.step("effect")
        self._world.happen(arguments["what"], key)
        await self._gate.step("return")
        return ToolResult(f"paid {arguments['what']}")

    async def verify(self, arguments: Mapping[str, Json], key: str) -> ToolResult | None:
        await self._gate.step("look")
        return ToolResult(f"paid {arguments['what']}") if arguments["what"] in dict(self._world.done) else None


class Gated(Wrapped):
    """The store as one kernel sees it."""

    def __init__(self, inner: Store, world: World, name: str, gate: Gate) -> None:
        super().__init__(inner)
        self.world, self.name, self.gate = world, name, gate

    async def claim(self, pid: str) -> int:
        await self.gate.step("claim")
        self.world.holder, self.world.epoch = self.name, await self.inner.claim(pid)
        return self.world.epoch

    async def commit(self, commit: Commit) -> None:
        await self.gate.step(f"commit {'+'.join(record.kind for record in commit.records)}")
        if not self.world.fenced:
            commit = replace(commit, epochs=dict.fromkeys(commit.epochs, self.world.epoch))
        await self.inner.commit(commit)
        if self.world.holder != self.name:
            old = f"{self.name}, which had lost the process, "
            found, what = (self.world.wrong, "wrote") if commit.records else (self.world.defects, "took notes away")
            found.append(old + what)
        rows = [expand(record, commit.contents) for record in commit.records if record.kind == "intent"]
        self.world.intended |= {row.body["arguments"]["what"] for row in rows}

    async def post(self, notes: Sequence[Note]) -> None:
        await self.gate.step("post")
        self.world.late += notes
        await self.inner.post(notes)

    async def notes(self, pid: str) -> Sequence[Note]:
        await self.gate.step("notes")
        return await self.inner.notes(pid)

    async def records(
        self, pid: str, after: int = -1, last: int | None = None, kind: RecordKind | None = None
    ) -> Sequence[Record]:
        await self.gate.step("records")
        return await self.inner.records(pid, after, last, kind)


class Worker:
    """A kernel, and the turn that it is having."""

    def __init__(self, scene: Scene, name: str) -> None:
        self._scene, self.name = scene, name
        self.turn: asyncio.Task[object] | None = None
        self.boot()

    def boot(self) -> None:
        """A kernel that knows nothing."""
        scene, self.gate = self._scene, Gate()
        store, tools = Gated(scene.store, scene.world, self.name, self.gate), [Buy(scene.world, self.gate)]
        station = runs(clerk, tools)
        self.kernel = Kernel(
            store, scene.clock, {CLERK: station}, {ENGINE: ScriptedEngine(())}, by_name(tools), key=KEY,
            policy=SHIPPED,
        )  # fmt: skip

    @property
    def at(self) -> str:
        """What it stands before: a claim if it would begin a turn."""
        return "begin" if self.turn is None else self.gate.at

    async def step(self) -> None:
        """One step further, or into a turn, up to the next gate."""
        if self.turn is None:
            self.turn = asyncio.create_task(self.kernel.tick(self._scene.pid))
            self.turn.add_done_callback(lambda turn: self.gate.stopped.set())
        else:
            self.gate.open()
        await self.gate.stopped.wait()
        if self.turn.done():
            self.gate.stopped.clear()
            error, self.turn = self.turn.exception(), None
            if isinstance(error, JournalBroken):
                self._scene.world.wrong.append(f"a false alarm: {error}")
            elif error is not None and not isinstance(error, Fenced if self._scene.world.fenced else StoreError):
                raise error

    async def die(self) -> None:
        """With all that it has in memory."""
        if self.turn is not None:
            self.turn.cancel()
            await asyncio.wait([self.turn])
            self.turn = None
        self.boot()


Plan = Callable[[Sequence[str]], str]


class Scene:
    """One process, two kernels and a person. `early`: the person and look-ups do not wait for whoever sleeps."""

    def __init__(self, kind: Kind, early: bool = False, fenced: bool = True) -> None:
        self.world, self.early = World(kind, fenced), early
        self.store, self.clock, self.pid = MemoryStore(), FixedClock(), ""
        self.steps, self.crashes, self.trace = 0, 2, list[str]()

    async def play(self, plan: Plan, most: int = 2_000) -> Scene:
        """Do what the plan chooses of what is possible, until nothing is."""
        self.workers = {name: Worker(self, name) for name in "AB"}
        self.desk = Kernel(self.store, self.clock, self._stations(), {}, {}, key=KEY, policy=SHIPPED)
        self.pid = await self.desk.spawn(CLERK, OWNER)
        while options := await self._options():
            self.steps += 1
            assert self.steps < most, self.trace
            choice = plan(options)
            self.trace.append(choice)
            await self._do(*choice.split()[:2])
        return self

    def _stations(self) -> Any:
        return {CLERK: runs(clerk, [Buy(self.world, Gate())])}

    async def _options(self) -> list[str]:
        due = self.pid in (await self.store.due(self.clock.now())).pids
        options = [
            f"{name} steps {worker.at}"
            for name, worker in self.workers.items()
            if worker.turn is not None or due
            if worker.at != "look" or self.quiet(name)
        ]
        if self.crashes:
            options += [f"{name} dies" for name, worker in self.workers.items() if worker.turn is not None]
        question = await self.desk.question(self.pid)
        answered = any(note.kind == "answer" for note in await self.store.notes(self.pid))
        if question is not None and not answered and (self.quiet() or await self._happened()):
            options.append("person answers")
        return options

    def quiet(self, name: str = "") -> bool:
        """Whether no other kernel stands before an effect."""
        return self.early or all(worker.at != "effect" for other, worker in self.workers.items() if other != name)

    async def _do(self, who: str, what: str) -> None:
        if who == "person":
            settled: Literal["happened", "not"] = "happened" if await self._happened() else "not"
            await self.desk.answer(self.pid, Answer(OWNER, settled=settled, value=f"paid {await self._asked()}"))
        elif what == "dies":
            self.crashes -= 1
            await self.workers[who].die()
        else:
            await self.workers[who].step()

    async def _asked(self) -> str:
        rows = await Ledger(Journal(self.store, KEY)).records(self.pid)
        return next(str(row.body["arguments"]["what"]) for row in reversed(rows) if row.kind == "intent")

    async def _happened(self) -> bool:
        return await self._asked() in dict(self.world.done)

    async def faults(self) -> list[str]:
        """What is wrong when all is over."""
        rows = await Ledger(Journal(self.store, KEY)).records(self.pid)
        last = next(row for row in reversed(rows) if row.kind != "late")
        counts = Counter(what for what, _ in self.world.done)
        wrong = [*self.world.wrong, *await Ledger(Journal(self.store, KEY)).verify()]
        if last.kind != "exit" or last.body["how"] != "done":
            wrong.append("it has not come to its end")
        elif last.body["result"] != ["paid tea", "paid cake"]:
            wrong.append("it ended with something else")
        if set(counts) != set(CALLS) or (self.world.kind != "idempotent" and set(counts.values()) != {1}):
            wrong.append(f"not once: {counts}")
        if [row.kind for row in rows].count("outcome") != len(CALLS):
            wrong.append("not one outcome for each call")
        if self.world.kind != "once" and any(row.kind == "doubt" for row in rows):
            wrong.append("a doubt about what is known or may be repeated")
        return wrong


def stay(options: Sequence[str], name: str) -> str:
    """Who has the turn goes on; then the other; then a person. Nobody dies, nobody begins beside another's turn."""
    steps = [option for option in options if " steps " in option]
    mine = [option for option in steps if option.startswith(name)]
    awake = [option for option in steps if not option.endswith("begin")]
    return next(iter([*mine, *awake, *steps, *options]))


def interrupted(by: Mapping[int, str]) -> Plan:
    """One kernel has its turns alone; at these steps it dies, or falls asleep while the other one takes over."""
    step, awake = -1, "A"

    def plan(options: Sequence[str]) -> str:
        nonlocal step, awake
        step += 1
        what = by.get(step)
        if what == "dies" and f"{awake} dies" in options:
            return f"{awake} dies"
        if what == "sleeps":
            awake = "B" if awake == "A" else "A"
        return stay(options, awake)

    return plan


def drawn(numbers: Sequence[int]) -> Plan:
    """Any order at all, as far as the numbers go."""
    left = list(numbers)

    def plan(options: Sequence[str]) -> str:
        return options[left.pop() % len(options)] if left else stay(options, "A")

    return plan


def named(*stops: str) -> Plan:
    """Who takes steps up to where ("A effect"), has or ends a turn ("A rests"), dies or answers; then B goes on."""
    left, steps = list(stops), 0

    def plan(options: Sequence[str]) -> str:
        nonlocal steps
        while left:
            who, what = left[0].split(" ", 1)
            if left[0] in options:
                return left.pop(0)
            mine = next((option for option in options if option.startswith(f"{who} steps")), "")
            rests = what == "rests" and steps and mine.endswith("begin")
            if mine and mine != f"{who} steps {what}" and not rests:
                steps += 1
                return mine
            steps = 0
            left.pop(0)
        return stay(options, "B")

    return plan


async def interruptions(kind: Kind) -> AsyncIterator[Scene]:
    """Every play with one or two interruptions."""
    undisturbed = await Scene(kind).play(interrupted({}))
    for first in product(range(undisturbed.steps), ("sleeps", "dies")):
        scene = await Scene(kind).play(interrupted(dict([first])))
        yield scene
        for second in product(range(first[0] + 1, scene.steps), ("sleeps", "dies")):
            yield await Scene(kind).play(interrupted(dict([first, second])))


@pytest.mark.parametrize("kind", ["once", "verified"])
async def test_i3_with_any_two_interruptions_each_effect_happens_once(kind: Kind) -> None:
    plays, rows, late = 0, set[str](), 0
    async for scene in interruptions(kind):
        assert await scene.faults() == [], scene.trace
        plays += 1
        rows |= {row.kind for row in await scene.store.records(scene.pid)}
        late += len(scene.world.late)
    assert plays > 700
    assert late > 20
    assert {"late", "doubt", "answer", "begin"} & rows == (
        {"late", "doubt", "answer", "begin"} if kind == "once" else {"late", "begin"}
    )


@pytest.mark.parametrize("kind", KINDS)
@given(numbers=st.lists(st.integers(0, 11), max_size=120))
@settings(max_examples=150)
def test_i3_in_any_order_of_events_each_effect_happens_once(kind: Kind, numbers: list[int]) -> None:
    async def check() -> None:
        scene = await Scene(kind).play(drawn(numbers))
        assert await scene.faults() == [], scene.trace

    asyncio.run(check())


async def test_i3_what_comes_late_is_evidence_for_the_doubt() -> None:
    scene = await Scene("once").play(named("A effect", "B rests", "A rests"))
    assert await scene.faults() == []
    rows = await Ledger(Journal(scene.store, KEY)).records(scene.pid)
    assert [row.kind for row in rows][:6] == ["spawn", "intent", "doubt", "late", "answer", "outcome"]
    assert rows[3].body["reply"]["value"] == "paid tea"


async def test_i3_a_kernel_that_lost_the_process_does_not_take_an_answer_away() -> None:
    plan = named("A effect", "A dies", "B notes", "A rests", "person answers")
    scene = await Scene("once").play(plan)
    assert await scene.faults() == []
    assert (scene.trace.count("person answers"), scene.world.defects) == (1, [])


async def test_i3_a_kernel_that_reads_while_another_writes_raises_no_false_alarm() -> None:
    scene = await Scene("once").play(named("B records", "A rests"))
    assert await scene.faults() == []


async def test_i3_a_store_that_does_not_fence_is_found_out() -> None:
    scene = await Scene("once", fenced=False).play(named("A commit intent", "B claim", "B records", "A effect"))
    assert "A, which had lost the process, wrote" in await scene.faults()


@pytest.mark.parametrize("wakes", ["B commit intent", "B rests"], ids=["while it goes on", "after its end"])
async def test_i3_a_person_who_answers_too_early_is_told_of_it(wakes: str) -> None:
    plan = named("A effect", "B rests", "person answers", wakes, "A rests")
    scene = await Scene("once", early=True).play(plan)
    assert [what for what, _ in scene.world.done].count("tea") == 2
    assert "late" in {row.kind for row in await scene.store.records(scene.pid)}


async def test_i3_evidence_that_comes_before_the_effect_is_repeated_stops_it() -> None:
    plan = named("A effect", "B rests", "person answers", "A rests")
    scene = await Scene("once", early=True).play(plan)
    assert await scene.faults() == []
