"""What `test_crash_matrix` kills: one scenario on one database, driven to its end or to the failpoint where it dies.

    python -m tests.faults.matrix_child URL FOLDER

For each line of its input, `[scenario, root, point]`, it forks a child that goes on with the tree of `root` (a new one
if that is empty) and kills itself at its `point`-th failpoint (never if that is 0). Failpoints are before and after
every durable write and every effect. The answer is a line: the root, and unless the child died its report.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg  # noqa: F401  (imported before the fork, as every child would need it)

import kernos
import kernos.drivers.store.postgres
import kernos.drivers.store.sqlite
from kernos.drivers.clock.system import SystemClock
from kernos.drivers.engine.scripted import ScriptedEngine, say
from kernos.drivers.policy.cedar import CedarPolicy
from kernos.drivers.store.sql import SqlStore
from kernos.drivers.tool.joined import JoinedTool
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.dispatch import Kernel
from kernos.kernel.grants import Grant, Station
from kernos.kernel.journal import Journal
from kernos.kernel.ledger import Ledger
from kernos.kernel.office import Answer
from kernos.kernel.ports import Commit, Store, Tool
from kernos.kernel.types import Json, Message, Note, ToolSpec
from tests.support import OURS, Wrapped

KEY = b"matrix"
OWNER = "ada"
JOINED = "insert into joined (what, mark) values (:what, :key)"


@dataclass
class Points:
    """Counts failpoints, and dies at one."""

    deadly: int
    passed: list[str] = field(default_factory=list)

    def at(self, where: str) -> None:
        self.passed.append(where)
        if len(self.passed) == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)


class Deadly(Wrapped):
    """A store with a failpoint before and after every durable write."""

    def __init__(self, inner: Store, points: Points) -> None:
        super().__init__(inner)
        self._points = points

    async def commit(self, commit: Commit) -> None:
        rows = [
            f"{row.kind} {row.body.get('tool', '') if row.kind != 'begin' else ''}".strip() for row in commit.records
        ]
        await self._write(" and ".join(rows) or "notes that are dropped", super().commit(commit))

    async def post(self, notes: Any) -> None:
        await self._write(f"note {' '.join(note.kind for note in notes)}", super().post(notes))

    async def claim(self, pid: str) -> int:
        epoch: int = await self._write("claim", super().claim(pid))
        return epoch

    async def _write(self, what: str, write: Coroutine[Any, Any, Any]) -> Any:
        self._points.at(f"before {what}")
        done = await write
        self._points.at(f"after {what}")
        return done


class Ahead(SystemClock):
    """A clock that can be put forward, so that nobody has to wait for a timer."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


def tools(book: Path, points: Points) -> dict[str, Tool]:
    """One of each kind; an effect is a line in the book: tool, what, key."""

    def does(kind: str, what: str, key: str = "") -> str:
        points.at(f"before the effect {kind}")
        with book.open("a") as lines:
            lines.write(json.dumps([kind, what, key]) + "\n")
        points.at(f"after the effect {kind}")
        return what

    async def reads(what: str) -> str:
        """Read."""
        return does("reads", what)

    async def idempotent(what: str) -> str:
        """Set."""
        return does("idempotent", what)

    async def keyed(what: str, key: str) -> str:
        """Count once for a key."""
        return does("keyed", what, key)

    async def happened(what: str) -> kernos.Happened | None:
        """Look up."""
        return kernos.Happened(what) if ["verified", what, ""] in lines(book) else None

    async def verified(what: str) -> str:
        """Do what can be looked up."""
        return does("verified", what)

    async def plain(what: str) -> str:
        """Do what must not be done twice."""
        return does("plain", what)

    async def asked(what: str) -> str:
        """Do what must not be done twice, nor without leave."""
        return does("asked", what)

    schema = {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]}
    made: list[Tool] = [
        PythonTool(reads, ["reads"], returns=OURS), PythonTool(idempotent, ["writes"], idempotent=True),
        PythonTool(keyed, ["pays"]),
        PythonTool(verified, ["pays"], verify=happened), PythonTool(plain, ["pays"]), PythonTool(asked, ["pays"]),
        JoinedTool(ToolSpec("joined", "Keep a row.", schema, effects=frozenset({"writes"}), joins=True), JOINED),
    ]  # fmt: skip
    return {tool.spec.name: tool for tool in made}


def lines(book: Path) -> list[list[str]]:
    """The book so far."""
    return [json.loads(line) for line in book.read_text().splitlines()] if book.exists() else []


Program = Callable[[kernos.Process], Coroutine[Any, Any, Json]]


def calling(tool: str) -> Program:
    """A program that calls one tool."""

    async def program(process: kernos.Process) -> Json:
        name = await process.receive()
        reply = await process.invoke(tool, what=f"{name}/a")
        return getattr(reply, "value", str(reply))

    return program


async def person(process: kernos.Process) -> Json:
    """Messages, a question, a model, time and chance."""
    name = await process.receive()
    answer = await process.ask("Well?")
    generated = await process.generate([Message("user", name)])
    await process.send(generated.action.text)
    drawn = [await process.now(), await process.random()]
    return [answer, generated.action.text, len(drawn)]


async def sleeper(process: kernos.Process) -> Json:
    """Timers, memories and a checkpoint."""
    if process.state is None:
        name = await process.receive()
        await process.sleep(60)
        await process.remember(name, 1)
        await process.checkpoint({"name": name}, [Message("user", name)])
    await process.sleep(60)
    return [process.messages[0].text == process.state["name"], await process.recall(process.state["name"])]


async def parent(process: kernos.Process) -> Json:
    """A child, a message to it, and its end."""
    name = await process.receive()
    child = await process.spawn("child", name)
    await process.send("more", to=child)
    ended = await process.wait(child)
    return [ended.how, ended.result]


async def child(process: kernos.Process) -> Json:
    """Two messages, and an effect that must not be done twice."""
    name, more = await process.receive(), await process.receive()
    await process.invoke("plain", what=f"{name}/c")
    return more


PROGRAMS: Mapping[str, Program] = {
    **{kind: calling(kind) for kind in ("reads", "idempotent", "keyed", "verified", "plain", "asked", "joined")},
    "person": person, "sleeper": sleeper, "parent": parent, "child": child,
}  # fmt: skip


def stations() -> dict[str, Station]:
    """One employee a program."""

    def station(name: str, program: Program) -> Station:
        grants = {tool: Grant(tool, ask=tool == "asked") for tool in PROGRAMS}
        return Station(
            name, name, lambda snapshot: program(kernos.Process(snapshot)), "echo", grants, spawns=frozenset({"child"})
        )  # fmt: skip

    return {name: station(name, program) for name, program in PROGRAMS.items()}


class Driver:
    """The person and the dispatcher of one tree, in one. Made once, before the forks: making it takes most of the time
    of a short life."""

    def __init__(self, url: str, book: Path) -> None:
        self.book, self.clock, self.points = book, Ahead(), Points(0)
        self.store = SqlStore.open(url, "crash")
        self.store.engine.dispose()
        self.kernel = Kernel(
            Deadly(self.store, self.points), self.clock, stations(),
            {"echo": ScriptedEngine(lambda prompt: say("hm"))}, tools(book, self.points), key=KEY, policy=CedarPolicy(),
        )  # fmt: skip
        self.ledger = Ledger(Journal(self.store, KEY))

    async def drive(self, root: str) -> None:
        """Until the tree has nothing more to do."""
        while True:
            due = await self.kernel.due(root)
            for pid in due.pids:
                await self.kernel.tick(pid)
            if due.pids or await self._answered(root):
                continue
            if due.next is None:
                return
            self.clock.ahead += max(0.0, due.next - self.clock.now())

    async def _answered(self, root: str) -> bool:
        """Say what one of the tree asks; of an effect in doubt what the book says."""
        for pid in await self._tree(root):
            question = await self.kernel.question(pid)
            if question is None:
                continue
            answer = Answer(OWNER, text="well")
            if question.kind == "doubt":
                rows = await self.ledger.records(pid)
                doubt = next(row for row in rows if row.seq == question.seq)
                intent = next(row.body for row in rows if row.seq == doubt.body["call"])
                what = intent["arguments"]["what"]
                done = [intent["tool"], what, ""] in lines(self.book)
                answer = Answer(OWNER, settled="happened" if done else "not", value=what if done else None)
            await self.kernel.answer(pid, answer)
            return True
        return False

    async def _tree(self, root: str) -> list[str]:
        """A process and its children, without a look at all the others that the database has by then."""
        rows = await self.store.records(root)
        return [root, *(row.body["child"] for row in rows if row.kind == "outcome" and row.body["call"] == "spawn")]

    async def report(self, root: str) -> Json:
        """What came of the tree."""
        last = (await self.ledger.records(root))[-1]
        tree = await self._tree(root)
        rows = [row for pid in tree for row in await self.ledger.records(pid)]
        for pid in tree:
            await self.kernel.replay(pid)
        return {
            "end": last.body,
            "doubts": [row.body for row in rows if row.kind == "doubt"],
            "left": [note.kind for pid in tree for note in await self.store.notes(pid)],
            "effects": [line for line in lines(self.book) if line[1].startswith(f"{root}/")],
            "heard": sum(row.kind == "message" and row.body["from"] == OWNER for row in rows),
        }


async def live(driver: Driver, scenario: str, root: str, told: Callable[[str], None]) -> Json:
    """Go on with a tree, or start one; the words that it waits for are its own pid, said once."""
    if not root:
        root = await driver.kernel.spawn(scenario, OWNER)
    told(root)
    rows = [row.kind for row in await driver.ledger.records(root)]
    waiting: list[Note] = list(await driver.store.notes(root))
    if "message" not in rows and not waiting:
        await driver.kernel.deliver(root, root)
    await driver.drive(root)
    report = await driver.report(root)
    return report | {"points": driver.points.passed}


def forked(driver: Driver, scenario: str, root: str, point: int) -> Json:
    """One child's life: its root, and its report if it did not die."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:

            def told(root: str) -> None:
                os.write(write, root.encode() + b"\n")

            driver.points.deadly = point
            report = asyncio.run(live(driver, scenario, root, told))
            os.write(write, json.dumps(report).encode())
        except BaseException:
            os.write(write, json.dumps({"broken": traceback.format_exc()}).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        name, _, report = pipe.read().partition(b"\n")
    os.waitpid(pid, 0)
    return [name.decode(), json.loads(report) if report else None]


def main(url: str, folder: Path) -> None:
    """Serve lines."""
    driver = Driver(url, folder / "book")
    for line in sys.stdin:
        scenario, root, point = json.loads(line)
        print(json.dumps(forked(driver, scenario, root, point)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
