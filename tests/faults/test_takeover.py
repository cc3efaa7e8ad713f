"""Two workers in processes of their own, on one PostgreSQL: killed, frozen, cut off from the database, and together.

Who has the process is said by the claims in the journal; the engine only carries turns. See `worker_child`.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernos.drivers.store.sql import SqlStore
from kernos.kernel.dispatch import Kernel
from kernos.kernel.journal import Journal
from kernos.kernel.ledger import Ledger
from kernos.kernel.office import Answer, Question
from kernos.kernel.types import RecordKind
from tests.forking import Child
from tests.postgres import Server
from tests.support import CLERK, OWNER

TAKEOVER = 10.0
"""Within how many seconds another worker has to go on."""
LEASE = 5.0
PATIENCE = 60.0
PROCESSES, STEPS = 40, 5


class Worker:
    """A child process, what it says, and what may be said to it."""

    def __init__(self, child: Child) -> None:
        self._child = child

    async def says(self, *words: str) -> str:
        """The next line that begins with one of these words."""
        async with asyncio.timeout(PATIENCE):
            while not (line := await asyncio.to_thread(self._child.stdout.readline)).startswith(words):
                assert line, "it ended"
        return line.strip()

    def let_go(self, name: str) -> None:
        self._child.stdin.write(f"{name}\n")
        self._child.stdin.flush()

    def freeze(self) -> None:
        self._child.signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._child.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it, and whatever it still said is void."""
        self._child.kill()


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what another process does."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if await look():
                return
            await asyncio.sleep(0.01)


class Place:
    """A database, a folder, and the workers that share them; a kernel that has no turns, for the test itself."""

    def __init__(self, url: str, folder: Path) -> None:
        from tests.faults.worker_child import Effects, kernel

        self._url, self._folder = url, folder
        self.complaints = folder / "complaints"
        self.store = SqlStore.open(url)
        self.kernel: Kernel = kernel(self.store, Effects(folder, "test"))

    @contextmanager
    def worker(self, name: str, at_once: int = 32) -> Iterator[Worker]:
        words = self._url, self._folder, name, at_once
        with (
            self.complaints.open("a") as complaints,
            Child("tests.faults.worker_child", *words, stderr=complaints) as child,
        ):
            yield Worker(child)

    async def spawn(self, name: str, tool: str, steps: int = 1) -> str:
        """A process that is to have so many effects."""
        return await self.kernel.spawn(CLERK, OWNER, json.dumps({"name": name, "tool": tool, "steps": steps}))

    async def kinds(self, pid: str) -> list[str]:
        return [row.kind for row in await self.store.records(pid)]

    async def comes_to(self, pid: str, kind: RecordKind) -> None:
        """Wait until the process's journal has such a row."""

        async def there() -> bool:
            return kind in await self.kinds(pid)

        await until(there)

    async def doubt(self, pid: str) -> Question:
        await self.comes_to(pid, "doubt")
        question = await self.kernel.question(pid)
        assert question is not None and question.kind == "doubt"
        return question

    async def faults(self) -> list[str]:
        return list(await Ledger(Journal(self.store)).verify())

    async def all_exited(self) -> bool:
        return {status.phase for status in await self.store.statuses()} == {"exited"}

    async def sees(self, *lines: str) -> None:
        """Wait until all of this was done, by whomever."""

        async def there() -> bool:
            return set(lines) <= {line.split(maxsplit=1)[1] for line in self.effects()}

        await until(there)

    def effects(self) -> list[str]:
        """What was done, in order: who, what, for which process, which step."""
        file = self._folder / "effects"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
async def place(url: str, tmp_path: Path) -> AsyncIterator[Place]:
    pytest.importorskip("procrastinate", reason="the engine is needed: pip install 'kernos[postgres]'")
    place = Place(url, tmp_path)
    yield place
    await place.kernel.close()
    assert place.complaints.read_text() == ""


async def test_i3_the_processes_of_a_killed_worker_go_on_at_the_other_within_ten_seconds(place: Place) -> None:
    with place.worker("A") as a:
        await a.says("ready")
        again, once = await place.spawn("x", "again", steps=2), await place.spawn("y", "once")
        for _ in range(2):
            await a.says("begin")
        with place.worker("B") as b:
            await b.says("ready")
            a.kill()
            start = time.monotonic()
            assert await b.says("begin") == "begin x 0"
            assert (await place.doubt(once)).evidence == ()
            took = time.monotonic() - start
            print(f"\ntakeover: {took:.1f} s")
            assert took < TAKEOVER
            for name in "xy":
                b.let_go(name)
            await place.comes_to(again, "exit")
            await place.kernel.answer(once, Answer(OWNER, settled="not"))
            await place.comes_to(once, "exit")
    assert [line for line in place.effects() if " x " in line] == [
        "A begin x 0", "B begin x 0", "B end x 0", "B begin x 1", "B end x 1",
    ]  # fmt: skip
    assert [line for line in place.effects() if " y " in line] == ["A begin y 0", "B begin y 0", "B end y 0"]
    assert await place.faults() == []


async def test_i3_a_frozen_worker_that_wakes_up_cannot_write_and_what_it_did_is_evidence(place: Place) -> None:
    with place.worker("A") as a, place.worker("B") as b:
        for worker in (a, b):
            await worker.says("ready")
        b.freeze()  # so that A has the process
        pid = await place.spawn("y", "once", steps=2)
        await a.says("begin")
        b.wake()
        a.freeze()
        assert (await place.doubt(pid)).evidence == ()
        a.let_go("y")
        a.wake()
        await a.says("end")
        await place.comes_to(pid, "late")
        assert (await place.kinds(pid))[-2:] == ["doubt", "late"], "nothing else was written"
        [evidence] = (await place.doubt(pid)).evidence
        assert "y 0 by A" in evidence
        a.freeze()
        b.let_go("y")
        await place.kernel.answer(pid, Answer(OWNER, settled="happened", value="y 0 by A"))
        await place.comes_to(pid, "exit")
        a.wake()
        b.kill()
        await place.spawn("z", "once")
        await a.says("begin z")  # having slept twice, it works on
    assert [line for line in place.effects() if " y " in line] == [
        "A begin y 0", "A end y 0", "B begin y 1", "B end y 1",
    ]  # fmt: skip
    assert await place.faults() == []


async def test_i3_a_database_that_was_away_longer_than_a_lease_leaves_no_doubt(place: Place, server: Server) -> None:
    with place.worker("A") as a, place.worker("B") as b:
        for worker in (a, b):
            await worker.says("ready")
        b.freeze()  # so that A has both
        pids = [await place.spawn(name, "once", steps=2) for name in "xy"]
        await place.sees("begin x 0", "begin y 0")
        b.wake()
        server.kill()
        start = time.monotonic()
        while time.monotonic() - start < LEASE + 1:
            await a.says("trouble")
        a.let_go("x")  # it ends while nobody can write that down
        await place.sees("end x 0")
        a.freeze()  # so that B is back first, and hears nothing of A
        server.start()
        await place.spawn("z", "short", steps=20)  # which takes more than a second
        await place.sees("end z 19")
        a.wake()
        for worker in (a, b):
            worker.let_go("x")
            worker.let_go("y")
        for pid in pids:
            await place.comes_to(pid, "exit")
            assert "doubt" not in await place.kinds(pid)
    done = Counter(line.split(maxsplit=1)[1] for line in place.effects() if " z " not in line)
    assert done == Counter(f"{what} {name} {step}" for what in ("begin", "end") for name in "xy" for step in (0, 1))
    assert await place.faults() == []


async def test_no_process_runs_twice_at_once_and_another_worker_adds_throughput(place: Place) -> None:
    with place.worker("A", at_once=4) as a:
        await a.says("ready")
        alone = await measured(place, "alone")
        with place.worker("B", at_once=4) as b:
            await b.says("ready")
            both = await measured(place, "both")
    print(f"\neffects of 50 ms, four at once at each worker: one worker {alone:.0f}/s, two {both:.0f}/s")
    going: set[str] = set()
    for what, step in (line.split()[1:3] for line in place.effects()):
        assert (step in going) == (what == "end"), "an effect began while the one before was going on"
        going ^= {step}
    done = Counter(line.split(maxsplit=1)[1] for line in place.effects())
    assert len(done) == 2 * 2 * PROCESSES * STEPS and set(done.values()) == {1}
    assert {line.split()[0] for line in place.effects() if "both" in line} == {"A", "B"}
    assert await place.faults() == []


async def measured(place: Place, name: str) -> float:
    """How many effects a second there are, over a few hundred."""
    start = time.monotonic()
    for n in range(PROCESSES):
        await place.spawn(f"{name}{n}", "short", STEPS)
    await until(place.all_exited)
    return PROCESSES * STEPS / (time.monotonic() - start)
