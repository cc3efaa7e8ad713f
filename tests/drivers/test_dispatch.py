"""Both dispatchers: what is due gets its turn, never twice at once, and nothing that fails spins or stops others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from kernos.drivers.clock.fixed import FixedClock
from kernos.drivers.dispatch import local, turns
from kernos.drivers.dispatch.local import LocalDispatcher
from kernos.drivers.dispatch.turns import FIRST, MOST, Backoff, Turns
from kernos.drivers.engine.scripted import ScriptedEngine, say
from kernos.drivers.store.memory import MemoryStore
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import EngineError, Fenced, JournalBroken, StoreError
from kernos.kernel.ports import Commit, Dispatcher, Due, Prompt, Store
from kernos.kernel.types import Generation, Json, Message, Record, RecordKind
from kernos.userland.lib import Process
from tests.support import CLERK, House, Wrapped, runs

SOON = 20.0
"""No test takes that long unless it fails."""


@asynccontextmanager
async def serving(dispatcher: Dispatcher, kernel: Kernel, root: str = "") -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(dispatcher.serve(kernel, root))
    try:
        async with asyncio.timeout(SOON):
            yield task
        assert not task.done(), "it ends by itself"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def watching(kernel: Kernel, pid: str) -> AsyncIterator[Callable[[RecordKind], Awaitable[Record]]]:
    """Wait for rows of a process, in their order."""
    async with kernel.events(pid) as events:

        async def row(kind: RecordKind) -> Record:
            while True:
                event = await events.get()
                if event.record is not None and event.record.kind == kind:
                    return event.record

        yield row


async def echo(process: Process) -> None:
    """Say what the owner says; end with an empty message."""
    while text := await process.receive():
        await process.send(text)


async def think(process: Process) -> str:
    return (await process.generate([Message("user", "hello")])).action.text


async def nap(process: Process) -> str:
    await process.sleep(60)
    return "awake"


async def work(process: Process) -> Json:
    """One call of the tool `effect`, with the name that the owner gives."""
    result = await process.invoke("effect", name=await process.receive())
    return getattr(result, "value", None)


class Effect:
    """A tool whose calls last until they are let go; it counts them."""

    def __init__(self, idempotent: bool = True) -> None:
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.go = asyncio.Event()
        self.at_once = self.most = 0
        self.ended: list[str] = []
        self.broken_off = 0

        async def effect(name: str) -> str:
            """Have an effect."""
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            self.begun.put_nowait(name)
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.broken_off += 1
                raise
            finally:
                self.at_once -= 1
            self.ended.append(name)
            return name

        self.tool = PythonTool(effect, ["writes"], idempotent)

    def house(self, store: Wrapped | None = None) -> House:
        return House(runs(work, [self.tool]), [self.tool], store=store)


class Moody(ScriptedEngine):
    """An engine that fails until it is mended."""

    def __init__(self) -> None:
        super().__init__(lambda _: say("at last"))
        self.error, self.broken, self.asked = EngineError("out of order"), True, 0

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        self.asked += 1
        if self.broken:
            raise self.error
        return await super().generate(prompt, draft)


class Endless(ScriptedEngine):
    """An engine that never answers."""

    def __init__(self) -> None:
        super().__init__([])
        self.asked = asyncio.Event()

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


class Away(Wrapped):
    """A store that can go away and come back."""

    away = False

    def _look(self) -> None:
        if self.away:
            raise StoreError("gone")

    async def commit(self, commit: Commit) -> None:
        self._look()
        await super().commit(commit)

    async def claim(self, pid: str) -> int:
        self._look()
        return await super().claim(pid)

    async def due(self, now: float, root: str = "", most: int = 1_000) -> Due:
        self._look()
        return await super().due(now, root, most)


class Asked(Wrapped):
    """A store that tells when it was asked what is due, and who was claimed."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.looks: asyncio.Queue[str] = asyncio.Queue()
        self.claims: asyncio.Queue[str] = asyncio.Queue()

    async def due(self, now: float, root: str = "", most: int = 1_000) -> Due:
        self.looks.put_nowait(root)
        return await super().due(now, root, most)

    async def claim(self, pid: str) -> int:
        self.claims.put_nowait(pid)
        return await super().claim(pid)


class Told(asyncio.Queue[tuple[str, Exception]]):
    """Every trouble of which a dispatcher tells."""

    def __call__(self, pid: str, error: Exception) -> None:
        self.put_nowait((pid, error))


# What is due gets its turn.


async def test_a_hint_gives_a_turn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "POLL", 2 * SOON)
    async with House(runs(echo)) as house:
        kernel, pid = await house.start()
        dispatcher = LocalDispatcher()
        async with serving(dispatcher, kernel), watching(kernel, pid) as row:
            for text in ("one", "two", ""):
                await kernel.deliver(pid, text)
                dispatcher.hint(pid)
                await row("message" if text else "exit")
        assert await house.said(pid) == ["one", "two"]


async def test_what_another_program_posts_is_found_without_a_hint() -> None:
    async with House(runs(echo)) as house:
        kernel, pid = await house.start()
        async with serving(LocalDispatcher(), kernel), watching(kernel, pid) as row:
            for text in ("one", ""):
                await house.boot().deliver(pid, text)
                await row("message")
            await row("exit")
        assert await house.said(pid) == ["one"]


async def test_a_timer_wakes() -> None:
    async with House(runs(nap)) as house:
        house.clock = FixedClock(tick=5.0)
        kernel, pid = await house.start()
        async with serving(LocalDispatcher(), kernel), watching(kernel, pid) as row:
            await row("exit")


async def test_what_a_crash_left_is_taken_up_again() -> None:
    effect = Effect()
    async with effect.house() as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "it")
        async with serving(LocalDispatcher(), kernel):
            await effect.begun.get()
        assert effect.broken_off == 1 and not effect.ended, "serve waits for the turns that it breaks off"
        assert await house.faults() == []
        effect.go.set()
        again = house.boot()
        async with serving(LocalDispatcher(), again), watching(again, pid) as row:
            assert (await row("exit")).body["how"] == "done"
        assert effect.ended == ["it"]
        assert await house.faults() == []


async def test_with_a_root_only_its_tree_has_turns() -> None:
    async with House(runs(echo)) as house:
        kernel, one = await house.start()
        _, other = await house.start(kernel)
        for pid in (one, other):
            await kernel.deliver(pid, "")
        before = await house.rows(other)
        async with serving(LocalDispatcher(), kernel, root=one), watching(kernel, one) as row:
            await row("exit")
        assert await house.rows(other) == before


# Never twice at once.


async def test_a_process_never_has_two_turns_at_once_and_no_more_than_so_many_processes_have_one() -> None:
    effect, store = Effect(), Asked(MemoryStore())
    async with effect.house(store) as house:
        kernel = house.boot()
        pids = [await kernel.spawn(CLERK, "ada", str(n)) for n in range(5)]
        dispatcher = LocalDispatcher(at_once=2)
        async with serving(dispatcher, kernel), watching(kernel, pids[-1]) as row:
            for _ in range(2):
                await effect.begun.get()
            for pid in pids:
                dispatcher.hint(pid)
            store.looks = asyncio.Queue()
            for _ in range(3):
                await store.looks.get()
            assert effect.most == 2
            effect.go.set()
            await row("exit")
        assert effect.most == 2
        assert Counter(effect.ended) == Counter(map(str, range(5)))


@pytest.mark.parametrize("hinted", [True, False])
async def test_a_kill_reaches_a_process_that_is_having_its_turn(hinted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if hinted:
        monkeypatch.setattr(turns, "NUDGE", 2 * SOON)
    engine = Endless()
    async with House(runs(think), engine=engine) as house:
        kernel, pid = await house.start()
        dispatcher = LocalDispatcher()
        async with serving(dispatcher, kernel), watching(kernel, pid) as row:
            await engine.asked.wait()
            await house.boot().signal(pid, "kill", "ada")
            if hinted:
                dispatcher.hint(pid)
            assert (await row("exit")).body["how"] == "killed"


# What fails.


async def test_a_process_whose_engine_fails_is_tried_again_less_and_less_and_others_do_not_wait_for_it() -> None:
    engine, told, loop = Moody(), Told(), asyncio.get_running_loop()
    async with House(runs(think), engine=engine, others=[runs(echo, slug="echo")]) as house:
        kernel, sick = await house.start()
        healthy = await kernel.spawn("echo", "ada")
        dispatcher = LocalDispatcher(told)
        start = loop.time()
        async with serving(dispatcher, kernel), watching(kernel, healthy) as row, watching(kernel, sick) as end:
            for _ in range(20):
                await kernel.deliver(healthy, "well")
                dispatcher.hint(healthy)
                await row("message")
            assert [await told.get() for _ in range(3)] == [(sick, engine.error)] * 3
            assert loop.time() - start >= FIRST + 2 * FIRST
            engine.broken = False
            dispatcher.hint(sick)
            assert (await end("exit")).body["how"] == "done"
        assert engine.asked == 4, "a hint does not wait"
        assert told.empty()


async def test_a_store_that_was_away_finds_the_outcome_that_it_missed() -> None:
    effect, told = Effect(idempotent=False), Told()
    store = Away(MemoryStore())
    async with effect.house(store) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "it")
        async with serving(LocalDispatcher(told), kernel), watching(kernel, pid) as row:
            await effect.begun.get()
            store.away = True
            effect.go.set()
            while (await told.get())[0] != pid:
                pass
            await told.get()
            store.away = False
            assert (await row("exit")).body["how"] == "done"
        assert effect.ended == ["it"]
        assert [row.kind for row in await house.rows(pid)].count("doubt") == 0


@pytest.mark.parametrize("still", [True, False], ids=["its own", "another's"])
async def test_a_turn_is_not_over_when_the_store_fails_but_when_the_process_is_anothers(still: bool) -> None:
    effect, told, store = Effect(idempotent=False), Told(), Away(MemoryStore())
    asked = 0

    async def has_it() -> bool:
        nonlocal asked
        asked += 1
        store.away = asked < 2
        return still

    async with effect.house(store) as house, asyncio.timeout(SOON):
        kernel, pid = await house.start()
        await kernel.deliver(pid, "it")
        turn = asyncio.create_task(Turns(told).give(kernel, pid, has_it))
        await effect.begun.get()
        store.away = True
        effect.go.set()
        await turn
        assert told.qsize() == asked == 1 + still
        assert ((await house.rows(pid))[-1].kind == "exit") == still


async def test_a_broken_journal_holds_no_place() -> None:
    class Broken(Wrapped):
        pid = ""

        async def records(
            self, pid: str, after: int = -1, last: int | None = None, kind: RecordKind | None = None
        ) -> Sequence[Record]:
            if pid == self.pid:
                raise JournalBroken("row 1: not what its hash says")
            return await super().records(pid, after, last, kind)

    store, told = Broken(MemoryStore()), Told()
    async with House(runs(echo), store=store) as house:
        _, store.pid = await house.start()
        _, well = await house.start()
        kernel = house.boot()
        await kernel.deliver(well, "")
        async with serving(LocalDispatcher(told, at_once=1), kernel), watching(kernel, well) as row:
            await row("exit")
        assert told.get_nowait()[0] == store.pid


async def test_a_process_that_stays_due_without_reason_does_not_spin() -> None:
    class Insistent(Asked):
        async def due(self, now: float, root: str = "", most: int = 1_000) -> Due:
            return Due([status.pid for status in await self.statuses()], None)

    store, loop = Insistent(MemoryStore()), asyncio.get_running_loop()
    async with House(runs(echo), store=store) as house:
        kernel, _ = await house.start()
        start = loop.time()
        async with serving(LocalDispatcher(), kernel):
            for _ in range(4):
                await store.claims.get()
        # The first turn got it to where it waits, the second was no use; then it has to wait.
        assert loop.time() - start >= FIRST + 2 * FIRST


async def test_who_lost_a_process_says_nothing_and_does_not_take_it_back_at_once() -> None:
    class Lost(Wrapped):
        async def claim(self, pid: str) -> int:
            raise Fenced("another worker has taken it over")

    told = Told()
    async with House(runs(echo), store=Lost(MemoryStore())) as house:
        kernel, pid = await house.start()
        mine = Turns(told, now=lambda: 0.0)
        await mine.give(kernel, pid)
        assert told.empty()
        assert mine.ready(kernel, [pid]) == []


async def test_a_second_turn_is_not_given_while_the_first_goes_on() -> None:
    effect, mine = Effect(), Turns()
    async with effect.house() as house, asyncio.timeout(SOON):
        kernel, pid = await house.start()
        await kernel.deliver(pid, "it")
        turn = asyncio.create_task(mine.give(kernel, pid))
        await effect.begun.get()
        assert mine.ready(kernel, [pid]) == []
        await mine.give(kernel, pid)
        assert not turn.done()
        effect.go.set()
        await turn
        assert effect.most == 1


# The arithmetic of waiting.


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_failure_doubles_the_wait_to_a_minute() -> None:
    time = Time()
    backoff = Backoff(time)
    waits = []
    for _ in range(10):
        backoff.failed("p")
        start = time.now
        while not backoff.free("p"):
            time.now += 0.25
        waits.append(time.now - start)
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, MOST]
    assert backoff.free("another")


@pytest.mark.parametrize(
    "then", [lambda b: b.ended("p", 7), lambda b: b.keep(["another"])], ids=["a good turn", "no longer due"]
)
def test_what_went_on_starts_afresh(then: Callable[[Backoff], None]) -> None:
    time = Time()
    backoff = Backoff(time)
    for _ in range(5):
        backoff.failed("p")
    backoff.keep(["p"])
    assert not backoff.free("p")
    then(backoff)
    assert backoff.free("p")
    backoff.failed("p")
    time.now += FIRST
    assert backoff.free("p")


def test_a_hint_ends_a_wait_but_not_the_memory_of_it() -> None:
    time = Time()
    backoff = Backoff(time)
    backoff.failed("p")
    backoff.release("p")
    assert backoff.free("p")
    backoff.failed("p")
    time.now += FIRST
    assert not backoff.free("p")


def test_a_turn_that_changed_nothing_counts_as_failed() -> None:
    backoff = Backoff(Time())
    backoff.ended("p", 7)
    assert backoff.free("p")
    backoff.ended("p", 7)
    assert not backoff.free("p")
    backoff.keep([])
    backoff.ended("p", 7)
    assert backoff.free("p")


# Beyond one machine.

Make = Callable[..., Dispatcher]


@pytest.fixture
async def worker(url: str) -> AsyncIterator[Make]:
    """Makes workers, with one database between them; they are closed in the end."""
    pytest.importorskip("procrastinate", reason="the engine is needed: pip install 'kernos[postgres]'")
    from kernos.drivers.dispatch.procrastinate import ProcrastinateDispatcher

    made: list[Dispatcher] = []

    def make(house: House, told: Told | None = None, at_once: int = 4) -> Dispatcher:
        made.append(ProcrastinateDispatcher(url, house.clock, told or Told(), at_once))
        return made[-1]

    yield make
    for dispatcher in made:
        await dispatcher.close()


async def left(url: str) -> list[tuple[str, str]]:
    """What the engine has to do: for whom, and whether it is being done."""
    import psycopg

    def look() -> list[tuple[str, str]]:
        query = "SELECT lock, status::text FROM kernos_dispatch.procrastinate_jobs ORDER BY id"
        with suppress(psycopg.errors.UndefinedTable), psycopg.connect(url) as connection:
            return connection.execute(query).fetchall()
        return []

    return await asyncio.to_thread(look)


async def test_due_processes_and_timers_are_found_without_a_hint(worker: Make) -> None:
    async with House(runs(echo), others=[runs(nap, slug="nap")]) as house:
        kernel, pid = await house.start()
        sleeper = await kernel.spawn("nap", "ada")
        house.clock = FixedClock(house.clock.now(), tick=10.0)
        later = house.boot()
        async with serving(worker(house), later), watching(later, sleeper) as woke, watching(later, pid) as row:
            await kernel.deliver(pid, "one")
            await row("message")
            await kernel.deliver(pid, "")
            await row("exit")
            await woke("exit")
        assert await house.said(pid) == ["one"]


@pytest.mark.parametrize("by", ["who serves", "another program"])
async def test_a_hint_is_carried_to_who_serves(
    by: str, worker: Make, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kernos.drivers.dispatch import procrastinate

    monkeypatch.setattr(procrastinate, "SWEEP", 2 * SOON)
    async with House(runs(echo)) as house:
        kernel, pid = await house.start()
        inside, outside = worker(house), worker(house)
        async with serving(inside, kernel), watching(kernel, pid) as row:
            await row("intent")  # it waits for words; the next sweep is far away
            for text in ("one", "two", ""):
                for _ in range(20):  # until the sweep that follows each turn is over
                    await left(url)
                await house.boot().deliver(pid, text)
                (inside if by == "who serves" else outside).hint(pid)
                await row("message" if text else "exit")


async def test_workers_that_start_together_share_the_turns_and_leave_nothing_behind(worker: Make, url: str) -> None:
    effect = Effect(idempotent=False)
    effect.go.set()
    async with effect.house() as house:
        here, there = house.boot(), house.boot()
        for n in range(30):
            await here.spawn(CLERK, "ada", str(n))
        async with serving(worker(house), here), serving(worker(house), there):
            while await left(url) or {status.phase for status in await house.store.statuses()} != {"exited"}:
                pass
        assert Counter(effect.ended) == Counter(map(str, range(30))), "each once, by whomever"
        assert await house.faults() == []


async def test_with_a_root_a_worker_has_turns_of_its_tree_only_though_there_is_no_other_worker(
    worker: Make, url: str
) -> None:
    async with House(runs(echo)) as house:
        kernel, one = await house.start()
        _, other = await house.start(kernel)
        for pid in (one, other):
            await kernel.deliver(pid, "")
        outside = worker(house)
        for jobs, pid in enumerate((other, one)):
            outside.hint(pid)
            while len(await left(url)) <= jobs:
                pass
        before = await house.rows(other)
        async with serving(worker(house), kernel, root=one), watching(kernel, one) as row:
            await row("exit")
        assert await house.rows(other) == before
        assert await left(url) == [(other, "todo")]


async def test_a_job_that_was_fetched_by_a_query_whose_answer_got_lost_is_given_again(worker: Make, url: str) -> None:
    import psycopg

    effect = Effect()
    async with effect.house() as house:
        kernel = house.boot()
        busy = await kernel.spawn(CLERK, "ada", "busy")
        dispatcher = worker(house)
        async with serving(dispatcher, kernel):
            await effect.begun.get()
            pid = await kernel.spawn(CLERK, "ada", "lost")
            query = (
                "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, queueing_lock, status, worker_id) "
                "SELECT queue_name, task_name, %s, %s, 'doing', worker_id FROM procrastinate_jobs WHERE lock = %s"
            )
            with psycopg.connect(url, autocommit=True, options="-c search_path=kernos_dispatch") as connection:
                connection.execute(query, [pid, pid, busy])
            assert await effect.begun.get() == "lost"


async def test_a_database_that_lets_no_tables_be_made_is_an_error(worker: Make, url: str) -> None:
    import psycopg

    from kernos.drivers.dispatch.procrastinate import ProcrastinateDispatcher

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN")
    try:
        async with House(runs(echo)) as house:
            dispatcher = ProcrastinateDispatcher(url.replace("kernos:secret@", "guest@"), house.clock)
            with pytest.raises(StoreError, match="permission denied"):
                await dispatcher.serve(house.boot())
            await dispatcher.close()
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP ROLE guest")
