"""I3: after any crash each effect has happened exactly once, or stands in doubt; only what may be repeated is."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest

from kernos.drivers.engine.scripted import say
from kernos.drivers.store.sql import SqlStore
from kernos.drivers.tool.python import Happened, PythonTool
from kernos.drivers.tool.schema import Checked
from kernos.kernel.abi import Invoked
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import BadInput, StoreError
from kernos.kernel.office import Answer
from kernos.kernel.ports import Store, Tool, ToolResult, Write
from kernos.kernel.types import Action, Json, Settlement, Status, ToolSpec, canonical
from kernos.userland.lib import Process
from tests.support import CLERK, OURS, OWNER, Failing, House, World, following, runs, serves, story

Crash = tuple[int, bool]
"""The write at which a machine stops, counted from 1, and whether that one is durable."""

# A conversation with tools of several kinds

WORDS = ("hello", "find tea", "pay 30 yuan to anna", "thanks")
SCRIPT = following(
    {
        "hello": say("hello"),
        "find tea": Action("find", {"what": "tea"}),
        "find": Action("note", {"text": "tea"}),
        "note": say("noted"),
        "pay 30 yuan to anna": Action("pay", {"to": "anna", "amount": 30}),
        "pay": say("paid"),
        "thanks": say("good bye"),
    }
)
WRITES = 46
"""How many writes the whole conversation makes, the mail included."""


def clerk(world: World, store: Store | None = None) -> House:
    return House(serves(world.tools), world.tools, SCRIPT, store=store)


async def born(house: House, kernel: Kernel) -> str:
    """The one process of a house: it is started if it is not there."""
    known = await house.store.statuses()
    return known[0].pid if known else await kernel.spawn(CLERK, OWNER)


async def converse(house: House, kernel: Kernel) -> Status:
    """What a surface does, from wherever the journal stands: the words not yet delivered, a turn for each."""
    pid = await born(house, kernel)
    status = await kernel.tick(pid)
    delivered = sum(row.kind == "message" for row in await house.store.records(pid))
    for text in WORDS[delivered:]:
        await kernel.deliver(pid, text)
        status = await kernel.tick(pid)
    return status


Whole = tuple[list[tuple[str, Json]], list[bytes]]
"""The story of the conversation when nothing fails, and what the model was asked."""


@pytest.fixture(scope="module")
def whole() -> Whole:
    return asyncio.run(undisturbed())


async def undisturbed() -> Whole:
    async with clerk(World()) as house:
        store = Failing(house.store, 0, durable=False)
        status = await converse(house, house.boot(store))
        assert store.writes == WRITES
        return story(await house.rows(status.pid)), asked(house)


def asked(house: House) -> list[bytes]:
    return [canonical([message.to_json() for message in prompt.messages]) for prompt in house.model.prompts]


async def answered(house: House) -> int:
    """How many model calls had an outcome in the journal."""
    known = await house.store.statuses()
    rows = await house.rows(known[0].pid) if known else []
    return sum(row.kind == "outcome" and row.body["call"] == "generate" for row in rows)


@pytest.mark.parametrize("durable", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("write", range(2, WRITES + 1))
async def test_i3_after_a_crash_at_any_write_each_effect_happened_once_or_is_in_doubt(
    write: int, durable: bool, whole: Whole
) -> None:
    expected, questions = whole
    world = World()
    async with clerk(world) as house:
        with pytest.raises(StoreError):
            await converse(house, house.boot(Failing(house.store, write, durable)))
        before, outcomes = asked(house), await answered(house)
        status = await converse(house, house.boot())
        if status.why == "doubt":
            assert world.done.count("pay") <= 1
            await doubted(house, world)
            return
        assert without_mail(story(await house.rows(status.pid))) == without_mail(expected)
        assert asked(house) == before + questions[outcomes:]
        assert len(before) - outcomes <= 1
    counts = Counter(world.done)
    assert counts["pay"] == 1
    assert 1 <= counts["find"] <= 2 and 1 <= counts["note"] <= 2
    assert counts.total() <= 4


def without_mail(told: list[tuple[str, Json]]) -> list[tuple[str, Json]]:
    """A story without the rows by which mail comes in: a restart may journal it before a call or after it."""
    return [
        (kind, {name: part for name, part in body.items() if name != "message"})
        for kind, body in told
        if kind != "message"
    ]


async def doubted(house: House, world: World) -> None:
    """A call in doubt stays so, however often the machine is started, and is never run."""
    done = list(world.done)
    (status,) = await house.store.statuses()
    rows = await house.store.records(status.pid)
    for _ in range(3):
        kernel = house.boot()
        assert (await kernel.due()).pids == []
        for _ in range(2):
            assert await kernel.tick(status.pid) == status
        question = await kernel.question(status.pid)
        assert question is not None
        assert question.kind == "doubt"
    assert await house.store.records(status.pid) == rows
    assert (world.done, await house.faults()) == (done, [])


async def outcome_of_crash(write: int, durable: bool) -> str:
    world = World()
    async with clerk(world) as house:
        with pytest.raises(StoreError):
            await converse(house, house.boot(Failing(house.store, write, durable)))
        if (await converse(house, house.boot())).why == "doubt":
            return "doubt, paid" if "pay" in world.done else "doubt, not paid"
        return "whole"


async def test_i3_only_a_crash_between_a_payments_intent_and_its_outcome_leaves_doubt() -> None:
    crashes = product(range(2, WRITES + 1), (False, True))
    found = Counter([await outcome_of_crash(*crash) for crash in crashes])
    assert found == {"whole": 2 * WRITES - 4, "doubt, not paid": 1, "doubt, paid": 1}


@pytest.mark.parametrize("durable", [False, True], ids=["before the write", "after the write"])
async def test_i3_it_is_the_same_on_a_database_that_is_opened_again(
    tmp_path: Path, durable: bool, whole: Whole
) -> None:
    expected, _ = whole
    for write in range(2, WRITES + 1, 3):
        world, file = World(), tmp_path / f"{write}.db"
        async with clerk(world, SqlStore.open(file, "crash")) as house:
            with pytest.raises(StoreError):
                await converse(house, house.boot(Failing(house.store, write, durable)))
        async with clerk(world, SqlStore.open(file, "crash")) as house:
            status = await converse(house, house.boot())
            if status.why == "doubt":
                await doubted(house, world)
                assert world.done.count("pay") <= 1
            else:
                assert without_mail(story(await house.rows(status.pid))) == without_mail(expected)
                assert world.done.count("pay") == 1


@pytest.mark.parametrize("durable", [False, True], ids=["before the write", "after the write"])
async def test_i3_a_birth_that_could_not_be_written_leaves_nothing_open(durable: bool) -> None:
    async with clerk(World()) as house:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            with pytest.raises(StoreError):
                await house.boot(Failing(house.store, 1, durable)).spawn("clerk", "ada")
            gc.collect()
        assert [str(warning.message) for warning in warned] == []
        await converse(house, house.boot())
        assert len(await house.store.statuses()) == 1


# One call of each kind of tool


class Till:
    """The world of one payment: the keys under which it was asked for, and what a look-up says of it."""

    def __init__(self, blind: bool = False) -> None:
        self.keys: list[str] = []
        self.blind = blind

    @property
    def paid(self) -> bool:
        return bool(self.keys)

    def pay(self, key: str = "") -> str:
        self.keys.append(key)
        return "paid"

    def look(self) -> Happened | None:
        if self.blind:
            raise ConnectionError("the bank is closed")
        return Happened("paid") if self.paid else None


def plain(till: Till) -> PythonTool:
    async def act() -> str:
        """Act; nothing is known of it."""
        return till.pay()

    return PythonTool(act, ["pays"])


def reading(till: Till) -> PythonTool:
    return PythonTool(plain(till).function, ["reads"], returns=OURS)


def idempotent(till: Till) -> PythonTool:
    return PythonTool(plain(till).function, ["pays"], idempotent=True)


def keyed(till: Till) -> PythonTool:
    async def act(key: str) -> str:
        """Act once for each key."""
        return till.pay(key)

    return PythonTool(act, ["pays"])


def verified(till: Till) -> PythonTool:
    async def look() -> Happened | None:
        return till.look()

    return PythonTool(plain(till).function, ["pays"], verify=look)


KINDS: Mapping[str, Callable[[Till], PythonTool]] = {
    "reads": reading, "idempotent": idempotent, "keyed": keyed, "verified": verified, "none of these": plain,
}  # fmt: skip


async def act_once(process: Process) -> Json:
    reply = await process.invoke("act")
    await process.send("that was it")
    return reply.value if isinstance(reply, Invoked) else reply.reason


def acting(tool: Tool, ask: bool = False, store: Store | None = None) -> House:
    return House(runs(act_once, [tool], ["act"] if ask else []), [tool], store=store)


async def carry_on(house: House, kernel: Kernel, happened: Callable[[], bool]) -> Counter[str]:
    """What people do until the one process ends: they give it turns, agree, and settle doubts as it is in truth.

    Returns how often what was asked.
    """
    questions = Counter[str]()
    pid = await born(house, kernel)
    while (await kernel.tick(pid)).phase != "exited":
        question = await kernel.question(pid)
        assert question is not None
        questions[question.kind] += 1
        settled: Settlement = "happened" if happened() else "not"
        doubt = question.kind == "doubt"
        await kernel.answer(pid, Answer("ada", settled=settled, value="paid") if doubt else Answer("ada"))
    return questions


async def crashing(house: House, crashes: Iterable[Crash], happened: Callable[[], bool]) -> Counter[str]:
    """A machine that stops at each of these writes, is started again each time, and then no more."""
    questions = Counter[str]()
    for crash in crashes:
        try:
            questions += await carry_on(house, house.boot(Failing(house.store, *crash)), happened)
        except StoreError:
            questions["crash"] += 1
    return questions + await carry_on(house, house.boot(), happened)


async def ended(house: House) -> Json:
    (status,) = await house.store.statuses()
    assert (status.why, await house.faults()) == ("done", [])
    return (await house.rows(status.pid))[-1].body["result"]


def every_crash(ask: bool) -> list[Crash]:
    """A stop at any write of one call: birth, intent, outcome, farewell, exit; an approval is three more."""
    return list(product(range(1, 9 if ask else 6), (False, True)))


@pytest.mark.parametrize("ask", [False, True], ids=["allowed", "approved"])
@pytest.mark.parametrize("kind", KINDS)
async def test_i3_any_two_crashes_leave_each_effect_done_once_under_one_key(kind: str, ask: bool) -> None:
    """The second crash comes anywhere on the way back from the first, the settling of a doubt included."""
    for crashes in product(every_crash(ask), repeat=2):
        till = Till()
        async with acting(KINDS[kind](till), ask) as house:
            await crashing(house, crashes, lambda till=till: till.paid)  # type: ignore[misc]
            assert await ended(house) == "paid"
        assert len(set(till.keys)) == 1
        assert len(till.keys) == 1 or KINDS[kind](till).spec.repeatable, crashes


@pytest.mark.parametrize("ask", [False, True], ids=["allowed", "approved"])
@pytest.mark.parametrize("kind", KINDS)
async def test_i3_only_a_tool_of_which_nothing_is_known_is_ever_in_doubt(kind: str, ask: bool) -> None:
    doubts = 0
    for crash in every_crash(ask):
        till = Till()
        async with acting(KINDS[kind](till), ask) as house:
            doubts += (await crashing(house, [crash], lambda till=till: till.paid))["doubt"]  # type: ignore[misc]
    assert doubts == (2 if kind == "none of these" else 0)  # before the effect and after it


async def test_i3_every_try_under_a_key_has_the_same_key() -> None:
    till = Till()
    async with acting(keyed(till)) as house:
        await crashing(house, [(3, False), (1, False)], lambda: till.paid)
        assert till.keys == [f"{(await house.store.pids())[0]}:1"] * 3


async def at_a_doubt(house: House) -> tuple[Kernel, str]:
    """A kernel and the process that stands in doubt: the machine stopped before the outcome was written."""
    with pytest.raises(StoreError):
        await carry_on(house, house.boot(Failing(house.store, 3, durable=False)), lambda: False)
    kernel = house.boot()
    pid = await born(house, kernel)
    assert (await kernel.tick(pid)).why == "doubt"
    return kernel, pid


SETTLED: Mapping[Settlement, tuple[str, int]] = {"happened": ("done", 1), "not": ("done", 2), "stop": ("killed", 1)}


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
@pytest.mark.parametrize("settled", SETTLED)
async def test_i3_a_doubt_is_settled_by_a_person(settled: Settlement, restart: bool) -> None:
    till = Till()
    async with acting(plain(till)) as house:
        kernel, pid = await at_a_doubt(house)
        await kernel.answer(pid, Answer("bob", settled=settled, value="receipt 7"))
        status = await (house.boot() if restart else kernel).tick(pid)
        assert (status.why, len(till.keys)) == SETTLED[settled]
        rows = await house.rows(pid)
        [answer] = [row.body for row in rows if row.kind == "answer"]
        assert (answer["by"], answer["settled"], answer["value"]) == ("bob", settled, "receipt 7")
        match settled:
            case "happened":
                [outcome] = [row.body for row in rows if row.body.get("is") == "returned"]
                assert (outcome["value"], outcome["by"]) == ("receipt 7", "bob")
                assert rows[-1].body["result"] == "receipt 7"
            case "not":
                assert [row.kind for row in rows][1:7] == ["intent", "doubt", "answer", "begin", "outcome", "intent"]
                assert rows[-1].body["result"] == "paid"
            case "stop":
                assert rows[-1].body["error"] == "stopped by bob: a call was in doubt"


async def test_i3_what_a_doubt_asks_says_which_call_and_why() -> None:
    async with acting(plain(Till())) as house:
        kernel, pid = await at_a_doubt(house)
        question = await kernel.question(pid)
        assert question is not None
        assert (question.kind, question.evidence) == ("doubt", ())
        assert question.text == (
            'in doubt: invoke {"arguments":{},"tool":"act"}: it was begun and has no outcome. Did it happen?'
        )


@pytest.mark.parametrize("answer", [Answer("ada"), Answer("ada", approved=False), Answer("ada", text="yes")])
async def test_i3_an_answer_that_does_not_say_what_happened_settles_nothing(answer: Answer) -> None:
    async with acting(plain(Till())) as house:
        kernel, pid = await at_a_doubt(house)
        with pytest.raises(BadInput, match="expected what became of it: happened, not, or stop"):
            await kernel.answer(pid, answer)
        assert (await kernel.tick(pid)).why == "doubt"


@pytest.mark.parametrize("settled", ["happened", "not"])
async def test_i3_a_call_that_was_settled_may_be_in_doubt_again(settled: Settlement) -> None:
    """Only where it was begun again: what a person said once is not asked a second time."""
    till = Till()
    async with acting(plain(till)) as house:
        kernel, pid = await at_a_doubt(house)
        await kernel.answer(pid, Answer("ada", settled=settled, value="paid"))
        writes = 3 if settled == "not" else 2  # the answer, the new beginning, the outcome
        with pytest.raises(StoreError):
            await house.boot(Failing(house.store, writes, durable=False)).tick(pid)
        status = await house.boot().tick(pid)
        assert status.why == ("doubt" if settled == "not" else "done")
        assert len(till.keys) == (2 if settled == "not" else 1)


@pytest.mark.parametrize("happened", [False, True])
async def test_i3_a_tool_that_can_be_looked_up_is_looked_up_and_nobody_is_asked(happened: bool) -> None:
    till = Till()
    async with acting(verified(till)) as house:
        crash = (3, False) if happened else (2, True)
        assert await crashing(house, [crash], lambda: till.paid) == {"crash": 1}
        assert await ended(house) == "paid"
        assert len(till.keys) == 1
        (status,) = await house.store.statuses()
        [outcome] = [row for row in await house.rows(status.pid) if row.body.get("is") == "returned"]
        assert outcome.body.get("by") == ("look-up" if happened else None)


async def test_i3_a_look_up_that_fails_leaves_a_doubt_that_says_so() -> None:
    till = Till(blind=True)
    async with acting(verified(till)) as house:
        kernel, pid = await at_a_doubt(house)
        question = await kernel.question(pid)
        assert question is not None
        assert "the look-up failed: ToolError: ConnectionError: the bank is closed" in question.text
        till.blind = False
        assert (await kernel.tick(pid)).why == "doubt"  # it stays the person's
        await kernel.answer(pid, Answer("ada", settled="happened", value="paid"))
        assert (await kernel.tick(pid)).why == "done"
        assert len(till.keys) == 1


@pytest.mark.parametrize("repeatable", [False, True])
async def test_i3_a_call_whose_time_is_over_is_in_doubt_unless_it_may_be_repeated(repeatable: bool) -> None:
    async def act() -> None:
        """Never come back."""
        await asyncio.Event().wait()

    async def program(process: Process) -> Json:
        reply = await process.invoke("act")
        return reply.error if isinstance(reply, Invoked) else None

    tool = PythonTool(act, ["pays"], idempotent=repeatable, timeout=0.01)
    async with House(runs(program, [tool]), [tool]) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        if repeatable:
            assert (await house.rows(pid))[-1].body["result"] == "no answer within 0.01 s"
            return
        assert status.why == "doubt"
        question = await kernel.question(pid)
        assert question is not None
        assert "no answer within 0.01 s" in question.text
        await kernel.answer(pid, Answer("ada", settled="happened", value=1))
        assert (await house.boot().tick(pid)).why == "done"


@pytest.mark.parametrize("settled", SETTLED)
async def test_i3_a_tool_that_is_gone_after_a_crash_is_in_doubt_and_can_be_settled(settled: Settlement) -> None:
    till = Till()
    async with acting(keyed(till)) as house:
        with pytest.raises(StoreError):
            await carry_on(house, house.boot(Failing(house.store, 3, durable=False)), lambda: False)
        del house.tools["act"]
        kernel = house.boot()
        pid = await born(house, kernel)
        assert (await kernel.tick(pid)).why == "doubt"
        await kernel.answer(pid, Answer("ada", settled=settled, value="paid"))
        assert (await kernel.tick(pid)).why == SETTLED[settled][0]
        assert len(till.keys) == 1
        if settled == "not":
            [failed] = [row.body for row in await house.rows(pid) if row.body.get("is") == "failed"]
            assert failed["error"] == "clerk is not granted the tool act"


# A tool that joins the journal's transaction


class Joining(Checked):
    """Pays by a row in the journal's own database."""

    def __init__(self, sql: str = "INSERT INTO paid (key) VALUES (:key)") -> None:
        super().__init__(
            ToolSpec("act", "Act.", {"type": "object", "properties": {}}, effects=frozenset({"pays"}), joins=True)
        )
        self.sql = sql

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        return ToolResult("paid", writes=(Write(self.sql, {"key": key}),))


def books(file: Path) -> SqlStore:
    """A journal whose database also holds a table of payments."""
    store = SqlStore.open(file, "crash")
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE paid (key TEXT PRIMARY KEY)")
    return store


def entries(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as database:
        return [key for (key,) in database.execute("SELECT key FROM paid")]


@pytest.mark.parametrize("ask", [False, True], ids=["allowed", "approved"])
async def test_i3_a_joined_write_is_there_exactly_when_its_outcome_is(tmp_path: Path, ask: bool) -> None:
    for n, crash in enumerate(every_crash(ask)):
        file = tmp_path / f"{n}.db"
        async with acting(Joining(), ask, books(file)) as house:
            with_outcome: list[bool] = []
            try:
                await carry_on(house, house.boot(Failing(house.store, *crash)), lambda: False)
            except StoreError:
                for pid in await house.store.pids():
                    rows = await house.rows(pid)
                    with_outcome += [row.body.get("is") == "returned" for row in rows if row.kind == "outcome"][:1]
                assert bool(entries(file)) == any(with_outcome)
            questions = await carry_on(house, house.boot(), lambda: False)
            assert questions["doubt"] == 0
            assert await ended(house) == "paid"
            assert entries(file) == [f"{(await house.store.pids())[0]}:1"]


@pytest.mark.parametrize(
    "sql",
    ["INSERT INTO nowhere (key) VALUES (:key)", "INSERT INTO paid (key) VALUES (NULL), (NULL), (:key), (:key)",
     "DELETE FROM paid WHERE key = :key"],
    ids=["no such table", "against a constraint", "changes nothing"],
)  # fmt: skip
async def test_i3_a_joined_write_that_the_database_refuses_has_failed_and_left_nothing(
    tmp_path: Path, sql: str
) -> None:
    file = tmp_path / "kernos.db"
    async with acting(Joining(sql), store=books(file)) as house:
        kernel, pid = await house.start()
        assert (await kernel.tick(pid)).why == "done"
        [failed] = [row.body for row in await house.rows(pid) if row.body.get("is") == "failed"]
        assert failed["error"]
        assert (entries(file), await house.faults()) == ([], [])
