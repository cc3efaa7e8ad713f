"""A mixed workload for `crash`, and workers who go on with it on a journal that others before them have left.

    python -m benchmarks.workload URL FOLDER

`Book` is the world outside of the database: a file to which effects and acknowledgements are appended. `tools` makes
one of every kind; `boss`, `clerk` and `doomed` are the programs; `Person` starts them, answers, sends words, pauses and
kills; `Life` is one worker's. The command is the zygote: it has imported everything and forks a worker for each
line of its standard input, `[delay, early]`; see `live`.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import kernos
from kernos.drivers.clock.system import SystemClock
from kernos.drivers.dispatch.local import LocalDispatcher
from kernos.drivers.engine.scripted import ScriptedEngine, say
from kernos.drivers.policy.cedar import CedarPolicy
from kernos.drivers.store.sql import SqlStore
from kernos.drivers.tool.joined import JoinedTool
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import BadInput
from kernos.kernel.grants import Grant, Station
from kernos.kernel.journal import Journal
from kernos.kernel.ledger import Ledger
from kernos.kernel.office import Answer, Question
from kernos.kernel.ports import Prompt, Tool
from kernos.kernel.types import Action, Field, Json, Message, Status, ToolSpec

KEY = b"the key of the chains of this workload"
OWNER = "ada"
ROOTS = 4
"""So many processes that the person started are alive at once, until the end is near."""
CLERKS, WORDS = 2, 2
"""Of each boss: its children, and the messages that it and each of these get."""
LONG = 0.003
"""An effect takes up to so many seconds before it happens, and then again until it is told."""
LOOK = 0.005
"""Seconds between two looks of the person at the processes."""
ONCE = ("verified", "plain", "asked", "joined")
"""The tools whose every call must have had its effect once; of `keyed` each call must have had one key."""
PATIENCE = 60.0
"""Seconds that a worker may take to go on, and the last one to come to the end."""
JOINED = ToolSpec(
    "joined", "Keep a row.", {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
    effects=frozenset({"writes"}), joins=True,
)  # fmt: skip
"""The tool that joins the journal's transaction: its row is there exactly if its outcome is."""
KINDS = ("looks", "sets", "keyed", "verified", "plain", "joined")
"""The tools that are called without asking: one that reads, one that is idempotent, and so on."""


class Book:
    """Lines of words, appended one by one; each is on the disk when `write` returns."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_APPEND | os.O_CREAT | os.O_RDWR)
        self._path = file

    def write(self, *words: Json) -> None:
        os.write(self._file, json.dumps(words).encode() + b"\n")
        os.fsync(self._file)

    def lines(self) -> list[tuple[Any, ...]]:
        return [tuple(json.loads(line)) for line in self._path.read_text("utf-8").splitlines()]


def tools(effects: Book, dice: Random) -> dict[str, Tool]:
    """One tool of each kind; what they do is a line in the book: the tool, what for, and the call's key."""

    def does(kind: str, what: str, key: str = "") -> str:
        time.sleep(dice.uniform(0, LONG))
        effects.write(kind, what, key)
        time.sleep(dice.uniform(0, LONG))
        return what

    def looks(what: str) -> str:
        """Look."""
        return does("looks", what)

    def sets(what: str) -> str:
        """Set something; setting it twice changes nothing."""
        return does("sets", what)

    def keyed(what: str, key: str) -> str:
        """Do what is counted once for each key. Returns the key."""
        does("keyed", what, key)
        return key

    def happened(what: str) -> kernos.Happened | None:
        """Look up whether `verified` was done."""
        return kernos.Happened(what) if ("verified", what, "") in effects.lines() else None

    def verified(what: str) -> str:
        """Do what can be looked up."""
        return does("verified", what)

    async def plain(what: str) -> str:
        """Do what must not be done twice."""
        return await asyncio.to_thread(does, "plain", what)

    def asked(what: str) -> str:
        """Do what must not be done twice, and not without leave."""
        return does("asked", what)

    made: list[Tool] = [
        PythonTool(looks, ["reads"], returns={"*": Field(attested=True)}), PythonTool(sets, ["writes"],
        idempotent=True), PythonTool(keyed, ["writes"]),
        PythonTool(verified, ["sends"], verify=happened), PythonTool(plain, ["pays"]), PythonTool(asked, ["pays"]),
        JoinedTool(JOINED, "insert into joined (what) values (:what)"),
    ]  # fmt: skip
    return {tool.spec.name: tool for tool in made}


async def boss(process: kernos.Process) -> Json:
    """Everything that a process can do, and children. Returns what it got, to be compared with its journal."""
    if process.state is None:
        name = await process.receive()
        dice = [await process.random(), await process.now()]
        reply = await process.invoke("keyed", what=f"{name}/self")
        assert isinstance(reply, kernos.Invoked), reply
        pid = reply.value.split(":")[0]  # a key begins with the pid; no call tells a program its own
        clerks = [await process.spawn("clerk", f"{name}.{number} {pid}") for number in range(CLERKS)]
        for number, clerk in enumerate(clerks):
            for word in range(WORDS):
                await process.send(f"{name}.{number}<{word}", to=clerk)
        await use(process, name, "before")
        await process.remember(name, dice)
        await process.checkpoint({"name": name, "dice": dice, "clerks": clerks}, [Message("user", name)])
    name, clerks = process.state["name"], process.state["clerks"]
    answer = await process.ask(f"May {name} go on?")
    await use(process, name, "after")
    words = await distinct(process, WORDS + CLERKS)
    await process.sleep(0.005)
    ended = [await process.wait(clerk) for clerk in clerks]
    return {
        "name": name, "answer": answer, "words": words, "dice": process.state["dice"],
        "recalled": await process.recall(name), "ended": [end.how for end in ended],
        "results": [end.result for end in ended],
    }  # fmt: skip


async def clerk(process: kernos.Process) -> Json:
    """A child: works, gets its parent's messages, and sends one."""
    name, parent = (await process.receive()).split()
    await use(process, name, "only")
    generated = await process.generate([Message("user", name)])
    words = await distinct(process, WORDS)
    await process.send(f"{name}>", to=parent)
    return {"name": name, "said": generated.action.text, "words": words}


async def distinct(process: kernos.Process, count: int) -> list[str]:
    """So many messages that are not the same: a person who was not told that it arrived says it again."""
    words: set[str] = set()
    while len(words) < count:
        words.add(await process.receive())
    return sorted(words)


def expected(name: str, dice: Json) -> Json:
    """What a boss of this name must return, if `dice` is what chance and the clock gave it."""
    names = [f"{name}.{number}" for number in range(CLERKS)]
    results = [
        {"name": one, "said": f"You said {one}.", "words": [f"{one}<{word}" for word in range(WORDS)]} for one in names
    ]  # fmt: skip
    words = sorted([*(f"{name}<{word}" for word in range(WORDS)), *(f"{one}>" for one in names)])
    return {
        "name": name, "answer": f"Yes: May {name} go on?", "words": words, "dice": dice, "recalled": dice,
        "ended": ["done"] * CLERKS, "results": results,
    }  # fmt: skip


async def use(process: kernos.Process, name: str, part: str) -> None:
    """Call every tool once."""
    for kind in KINDS:
        await process.invoke(kind, what=f"{name}/{part}")
    await process.invoke("asked", what=f"{name}/{part}")
    await process.send(f"{name} has done {part}")


async def doomed(process: kernos.Process) -> Json:
    """Sleeps until it is killed, and so does its child."""
    if await process.receive() != "child":
        await process.spawn("doomed", "child")
    await process.sleep(3_600.0)
    raise AssertionError("nobody killed it")


def stations() -> dict[str, Station]:
    """The three employees."""

    def station(slug: str, program: Any, *spawns: str) -> Station:
        grants = {name: Grant(name, ask=name == "asked") for name in (*KINDS, "asked")}
        return Station(
            slug, slug, lambda snapshot: program(kernos.Process(snapshot)), "echo", grants, spawns=frozenset(spawns)
        )  # fmt: skip

    made = [station("boss", boss, "clerk"), station("clerk", clerk), station("doomed", doomed, "doomed")]
    return {one.slug: one for one in made}


def echo(prompt: Prompt) -> Action:
    """What the engine says."""
    return say(f"You said {prompt.messages[-1].text}.")


class Person:
    """Everybody outside. `said` is what was put to processes: a line before, and a line when it was acknowledged.
    `begun` is called when the processes have begun to go on."""

    def __init__(
        self, kernel: Kernel, ledger: Ledger, said: Book, effects: Book, dice: Random, begun: Callable[[], object]
    ) -> None:
        self._kernel, self._ledger, self._said, self._effects, self._dice = kernel, ledger, said, effects, dice
        self._begun: Callable[[], object] | None = begun
        self._calls: int | None = None
        lines = said.lines()
        self._acknowledged = {line[1:] for line in lines if line[0] == "done"}
        self._born = len({line for line in lines if line[:2] == ("try", "spawn")})
        self._names: dict[str, str] = {}

    async def live(self, last: bool) -> None:
        """Look again and again; when these are the last processes, until all have exited."""
        while True:
            if not await self.look(last):
                return
            await asyncio.sleep(LOOK)

    async def look(self, last: bool) -> bool:
        """See to every process once; keep enough alive, unless these are the last. Whether any is alive."""
        statuses = await self._ledger.statuses()
        self._watch(sum(status.calls for status in statuses))
        alive = [status for status in statuses if status.phase != "exited"]
        for status in alive:
            with suppress(BadInput):  # it has moved on meanwhile
                await self._attend(status, last)
        if not last and sum(not status.parent for status in alive) < ROOTS:
            self._born += 1
            employee, name = "doomed" if self._born % 8 == 0 else "boss", f"n{self._born}"
            await self._put("spawn", name, "", lambda: self._kernel.spawn(employee, OWNER, name))
        return bool(alive) or not last

    def _watch(self, calls: int) -> None:
        """Tell once when a process has made its first call under this kernel."""
        if self._begun is not None and self._calls is not None and calls > self._calls:
            self._begun()
            self._begun = None
        self._calls = calls

    async def _attend(self, status: Status, last: bool) -> None:
        pid, roll = status.pid, self._dice.random()
        if status.phase == "paused":
            if roll < 0.3:
                await self._kernel.signal(pid, "resume", OWNER)
        elif status.why in ("person", "doubt"):
            await self._answer(status)
        elif status.employee == "doomed" and status.why == "timer" and not status.parent:
            await self._put("kill", pid, "", lambda: self._kernel.signal(pid, "kill", OWNER))
        elif status.employee == "boss" and roll < 0.3:
            await self._give_words(pid)
        elif roll > 0.98 and not last:
            await self._kernel.signal(pid, "pause", OWNER)

    async def _give_words(self, pid: str) -> None:
        """The next of the words that a boss gets from its owner."""
        if pid not in self._names:
            first = next(row for row in await self._ledger.records(pid) if row.kind == "message")
            self._names[pid] = first.body["text"]
        texts = (f"{self._names[pid]}<{word}" for word in range(WORDS))
        text = next((text for text in texts if ("word", pid, text) not in self._acknowledged), None)
        if text is not None:
            await self._put("word", pid, text, lambda: self._kernel.deliver(pid, text))

    async def _answer(self, status: Status) -> None:
        question = await self._kernel.question(status.pid)
        if question is not None:
            answer = await self._settled(question) if question.kind == "doubt" else self._reply(question)
            await self._put("answer", question.pid, question.seq, lambda: self._kernel.answer(question.pid, answer))

    def _reply(self, question: Question) -> Answer:
        if question.kind == "ask":
            return Answer(OWNER, text=f"Yes: {question.text}")
        return Answer(OWNER, approved=self._dice.random() < 0.8)

    async def _settled(self, question: Question) -> Answer:
        """What the book says of an effect in doubt."""
        rows = await self._ledger.records(question.pid)
        doubt = next(row for row in rows if row.seq == question.seq)
        intent = next(row for row in rows if row.seq == doubt.body["call"])
        what = intent.body["arguments"]["what"]
        if (intent.body["tool"], what, "") in self._effects.lines():
            return Answer(OWNER, settled="happened", value=what)
        return Answer(OWNER, settled="not")

    async def _put(self, kind: str, whom: str, what: Json, act: Callable[[], Awaitable[object]]) -> None:
        """Do it unless that was acknowledged, with a line in the book before and after."""
        if (kind, whom, what) not in self._acknowledged:
            self._said.write("try", kind, whom, what)
            await act()
            self._said.write("done", kind, whom, what)
            self._acknowledged.add((kind, whom, what))


def troubled(pid: str, error: Exception) -> None:
    """A turn has failed; it is tried again, so this is only for who looks for the reason why one was lost."""
    print(f"{pid}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Life:
    """What one worker needs. The store is open, without a connection: that takes most of the time of a short life."""

    folder: Path
    store: SqlStore
    policy: CedarPolicy
    tools: Mapping[str, Tool]
    dice: Random
    last: bool

    async def work(self, begun: Callable[[], object]) -> None:
        """Work on a journal until killed, or in the last life until all processes have exited."""
        store, dispatcher = self.store, LocalDispatcher(troubled)
        engines = {"echo": ScriptedEngine(echo)}
        kernel = Kernel(
            store, SystemClock(), stations(), engines, self.tools, key=KEY, hint=dispatcher.hint, policy=self.policy
        )
        said, effects = Book(self.folder / "said"), Book(self.folder / "effects")
        person = Person(kernel, Ledger(Journal(store, KEY)), said, effects, self.dice, begun)
        serving, living = asyncio.create_task(dispatcher.serve(kernel)), asyncio.create_task(person.live(self.last))
        for task in (await asyncio.wait([serving, living], return_when=asyncio.FIRST_COMPLETED))[0]:
            task.result()
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        await kernel.close()


def live(life: Life, delay: float | None, early: bool) -> Json:
    """Fork a worker and kill it `delay` seconds after its processes went on, or after its birth if `early`; without a
    delay let it work to the end, if that comes soon. How it ended, and between which times it was killed."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            asyncio.run(life.work(lambda: os.write(write, b".")))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write)
    if not early and not life.last:
        select.select([read], [], [], PATIENCE)
    _ended(read, PATIENCE if delay is None else delay)
    before = time.time()
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    os.close(read)
    end = "killed" if os.WIFSIGNALED(status) else "done" if os.WEXITSTATUS(status) == 0 else "broken"
    return {"end": end, "before": before, "after": time.time()}


def _ended(pipe: int, seconds: float) -> None:
    """Wait so long, or until who holds the other end of the pipe has ended."""
    until = time.monotonic() + seconds
    while select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
        if not os.read(pipe, 1):
            return


def main(url: str, folder: Path, seed: int) -> None:
    """The zygote."""
    import_module(f"kernos.drivers.store.{'postgres' if url.startswith('postgresql') else 'sqlite'}")
    if url.startswith("postgresql"):
        import_module("psycopg")
    store, policy, dice = SqlStore.open(url, "power"), CedarPolicy(), Random(seed)
    store.engine.dispose()
    made = tools(Book(folder / "effects"), dice)
    for number, line in enumerate(sys.stdin):
        delay, early = json.loads(line)
        dice.seed(f"{seed} {number}")
        print(json.dumps(live(Life(folder, store, policy, made, dice, delay is None), delay, early)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
