"""Nothing lost, nothing done twice, each doubt real: a mixed workload under `kill -9` at random instants.

    python -m benchmarks.crash [--kills 2000] [--seed 1]

A worker runs programs that use every kind of tool, children, sleeps, questions, messages, memories and checkpoints (see
`workload`). It is killed 0 to 80 ms after its processes went on, one in five while it still recovers them, and the next
one goes on from the same database; after the last kill one works until all have exited. Half of the kills are on
SQLite, half on PostgreSQL, in worlds of 50 kills with a database each. Then the journals are compared with the world's
own book, to which every effect and every acknowledgement was appended:
- lost: what was acknowledged is missing, a process did not end as it should, a journal has a fault (audit, replay);
- doubled: a message or a process is there twice, or an effect that counts happened twice or without a record;
- doubts: calls of which the kernel said that it cannot know. The person who settles them looks into the book;
- false doubts: those of a call that had not begun, had its outcome, may be repeated, or that no kill had hit.

Beside them, to see that the kills hit: effects done again, as their tools allow, and effects found by looking them up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any

from sqlalchemy import text

from benchmarks.peers.postgres import cluster
from benchmarks.table import show
from benchmarks.workload import KEY, ONCE, Book, expected, stations
from kernos.drivers.clock.system import SystemClock
from kernos.drivers.policy.cedar import CedarPolicy
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import KernosError
from kernos.kernel.journal import Journal
from kernos.kernel.ledger import Ledger
from kernos.kernel.types import Json, Record, Status

KILLS, WORLD = 2_000, 50
LONGEST = {False: 0.080, True: 0.250}
"""Seconds after which a worker is killed at the latest: from the first call that it served, or from its birth."""
EARLY = 0.2
"""The share of those that are killed in the time from their birth on, most of which they recover processes."""

ONE_AT_A_TIME = Lock()
"""Held while tables are made: the library that makes them keeps what it works on in globals."""


@dataclass
class Figures:
    """What came out. Of what should not be there, a line each that says what and where."""

    kills: int = 0
    processes: int = 0
    calls: int = 0
    effects: int = 0
    repeated: int = 0
    looked_up: int = 0
    doubts: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    false_doubts: list[str] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        """Take another world's figures in."""
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))


def prepare(url: str) -> None:
    """Make the tables: ours, and the one of the tool that joins."""
    with ONE_AT_A_TIME:
        store = SqlStore.open(url)
    store.script("joined", "create table joined (what text);")
    asyncio.run(store.close())


def run(kills: int, url: str, seed: int, folder: Path) -> Figures:
    """Kill a workload so many times, let it end, and judge it. The database at the URL, and the folder, are empty.

    Raises RuntimeError when a worker ended in another way than by being killed: its last words are in the message.
    """
    dice = Random(seed)
    prepare(url)
    command = [sys.executable, "-m", "benchmarks.workload", url, str(folder), str(seed)]
    hit: list[tuple[float, float]] = []
    words = folder / "stderr"
    with (
        words.open("w") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as zygote,
    ):
        while len(hit) < kills:
            early = dice.random() < EARLY
            life = _live(zygote, dice.uniform(0, LONGEST[early]), early)
            hit.append((life["before"], life["after"]))
            if life["end"] != "killed":
                raise RuntimeError(f"a worker has ended: {words.read_text()[-4000:]}")
        last = _live(zygote, None, False)
    figures = asyncio.run(judge(url, folder, hit))
    if last["end"] != "done" and not figures.lost:
        figures.lost.append(f"the last worker did not end ({last['end']}): {words.read_text()[-4000:]}")
    return figures


def _live(zygote: subprocess.Popen[str], delay: float | None, early: bool) -> Json:
    assert zygote.stdin is not None and zygote.stdout is not None
    zygote.stdin.write(json.dumps([delay, early]) + "\n")
    zygote.stdin.flush()
    return json.loads(zygote.stdout.readline())


async def judge(url: str, folder: Path, hit: Sequence[tuple[float, float]]) -> Figures:
    """Compare the journals in a database with the book in the folder."""
    store = SqlStore.open(url)
    ledger = Ledger(Journal(store, KEY))
    kernel = Kernel(store, SystemClock(), stations(), {}, {}, key=KEY, policy=CedarPolicy())
    statuses = await ledger.statuses()
    rows = {status.pid: await ledger.records(status.pid) for status in statuses}
    figures = Figures(len(hit), len(statuses), sum(status.calls for status in statuses))
    figures.lost += await ledger.verify()
    for status in statuses:
        figures.lost += [f"{status.pid}: {fault}" for fault in _ended(status, rows[status.pid])]
        try:
            await kernel.replay(status.pid)
        except KernosError as error:
            figures.lost.append(str(error))
    with store.engine.connect() as connection:
        joined = [("joined", str(what), "") for (what,) in connection.execute(text("select what from joined"))]
    _judge_effects(figures, [*joined, *Book(folder / "effects").lines()], rows)
    _judge_words(figures, Counter(Book(folder / "said").lines()), statuses, rows)
    _judge_doubts(figures, rows, hit)
    await kernel.close()
    return figures


def _ended(status: Status, rows: Sequence[Record]) -> Iterator[str]:
    """What is wrong with how a process ended and what it returned."""
    last = rows[-1]
    how = "killed" if status.employee == "doomed" else "done"
    if last.kind != "exit" or last.body["how"] != how:
        yield f"{status.employee} should be {how} and is {status.phase} ({status.why}): {last.body}"
    elif status.employee == "boss":
        chances = (row.body["value"] for row in rows if row.kind == "outcome" and row.body["call"] in ("random", "now"))
        message = next(row for row in rows if row.kind == "message")
        right = expected(message.body["text"], list(chances))
        if last.body["result"] != right:
            yield f"returned {last.body['result']} instead of {right}"


def _judge_effects(figures: Figures, effects: Sequence[tuple[Any, ...]], rows: dict[str, Sequence[Record]]) -> None:
    """Each call's outcome against what happened: the tool, what for, and the key if it was given one."""
    happened: dict[tuple[str, str], list[str]] = defaultdict(list)
    for tool, what, key in effects:
        happened[tool, what].append(key)
    figures.effects = sum(map(len, happened.values()))
    for call in (call for pid in rows for call in calls(rows[pid]) if call[0].body["call"] == "invoke"):
        where = call[0].body["tool"], call[0].body["arguments"]["what"]
        outcome = next((row.body for row in call if row.kind == "outcome"), {"is": "missing"})
        keys = happened.pop(where, [])
        figures.looked_up += outcome.get("by") == "look-up"
        figures.repeated += max(0, len(keys) - 1)
        if outcome["is"] == "denied" and call[0].body["verdict"]["is"] == "ask":
            figures.doubled += [f"{where}: done though it was refused"] if keys else []
        elif outcome["is"] != "returned" or not keys:
            figures.lost.append(f"{where}: done {len(keys)} times, its outcome is {outcome}")
        elif len(keys) > 1 and (where[0] in ONCE or len(set(keys)) > 1):
            figures.doubled.append(f"{where}: done {len(keys)} times")
    figures.doubled += [f"{where}: done without a record" for where in happened]


def _judge_words(
    figures: Figures, said: Counter[tuple[Any, ...]], statuses: Sequence[Status], rows: dict[str, Sequence[Record]]
) -> None:
    """Messages and births, each once: of those that a person tried again at most as often as tried. `said` counts what
    was tried and what was acknowledged; see `workload.Person`."""
    arrived = Counter((pid, row.body["text"]) for pid in rows for row in rows[pid] if row.kind == "message")
    roots = {status.pid for status in statuses if not status.parent}
    for pid, name in [place for place in arrived if place[0] in roots and place[1].isalnum()]:
        arrived["", name] += arrived.pop((pid, name))
    tried = {line[1:]: count for line, count in said.items() if line[0] == "try"}
    for (kind, whom, what), count in tried.items():
        if kind in ("spawn", "word"):
            got = arrived.pop(("", whom) if kind == "spawn" else (whom, what), 0)
            if got > count:
                figures.doubled.append(f"{kind} {whom} {what}: {got} of {count}")
            if got < said["done", kind, whom, what]:
                figures.lost.append(f"{kind} {whom} {what}: acknowledged and not there")
    figures.doubled += [f"{place}: arrived {count} times" for place, count in arrived.items() if count > 1]
    for pid in rows:
        asked = sum(row.kind == "outcome" and row.body["call"] == "spawn" for row in rows[pid])
        children = sum(status.parent == pid for status in statuses)
        if asked != children:
            figures.doubled.append(f"{pid}: has started {asked} and has {children} children")


def _judge_doubts(figures: Figures, rows: dict[str, Sequence[Record]], hit: Sequence[tuple[float, float]]) -> None:
    """Whether each doubt is of an effect that had begun before a kill and of which nothing was recorded after it."""
    for pid, call in ((pid, call) for pid, journal in rows.items() for call in calls(journal)):
        for place, doubt in ((place, row) for place, row in enumerate(call) if row.kind == "doubt"):
            figures.doubts += 1
            past = call[:place]
            begun = [row for row in past if row.kind == "begin" or row.body.get("verdict", {}).get("is") == "allow"]
            struck = begun and any(begun[-1].at <= after and before <= doubt.at for before, after in hit)
            had = any(row.kind == "outcome" for row in past)
            if had or not struck or call[0].body["tool"] not in ("plain", "asked"):
                figures.false_doubts.append(f"{pid}: row {doubt.seq}: {call[0].body['tool']}: {doubt.body}")


def calls(rows: Sequence[Record]) -> list[list[Record]]:
    """The rows of each call, from its intent on; what came in between is among them."""
    found: list[list[Record]] = []
    for row in rows:
        if row.kind == "intent":
            found.append([])
        if found:
            found[-1].append(row)
    return found


def main() -> None:
    """Kill, judge, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, cluster() as database, ThreadPoolExecutor(2) as pool:
        sqlite = pool.submit(worlds, given.kills // 2, given.seed, Path(name), "SQLite")
        postgres = pool.submit(worlds, given.kills - given.kills // 2, given.seed, Path(name), "PostgreSQL", database)
    report({"SQLite": sqlite.result(), "PostgreSQL": postgres.result()})


def worlds(kills: int, seed: int, place: Path, kind: str, database: Callable[[str], str] | None = None) -> Figures:
    """So many kills, some to a world; `database` makes the one of a world, which otherwise is a file."""
    total = Figures()
    while total.kills < kills:
        folder = place / f"{kind}{total.kills}".lower()
        folder.mkdir()
        url = database(folder.name) if database else f"sqlite:///{folder}/journal.db"
        total.add(run(min(WORLD, kills - total.kills), url, seed + total.kills, folder))
        print(f"{kind}: {total.kills} kills, {len(total.lost)} lost", file=sys.stderr, flush=True)
    return total


def report(kinds: dict[str, Figures]) -> None:
    """The table, and each thing that should not be, by name."""
    both = Figures()
    for one in kinds.values():
        both.add(one)
    for fault in (*both.lost, *both.doubled, *both.false_doubts):
        print(fault)
    names = [part.name for part in fields(Figures)]
    columns = [_counts(one) for one in (*kinds.values(), both)]
    rows = [(name.replace("_", " "), *(column[name] for column in columns)) for name in names]
    show("Killed at random instants", ("", *kinds, "both"), rows, _counts(both))


def _counts(figures: Figures) -> dict[str, int]:
    values = {part.name: getattr(figures, part.name) for part in fields(figures)}
    return {name: len(value) if isinstance(value, list) else value for name, value in values.items()}


if __name__ == "__main__":
    main()
