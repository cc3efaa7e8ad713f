"""I2, I3: `kill -9` before and after every durable write and every effect, for every kind of tool and state.

A real process dies at one failpoint, the next one goes on from the database, and the world is as if nothing had been:
nothing lost, nothing done twice that must not be, and a doubt only where nobody can know. Then the same at random
instants, with many processes at once (`benchmarks.crash`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.crash import run
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.types import Json
from tests.faults.matrix_child import PROGRAMS
from tests.forking import Child

SCENARIOS = [name for name in PROGRAMS if name != "child"]
ONCE = ("verified", "plain", "asked")
KILLS = 100
"""At random instants, on each database."""


class Zygote:
    """A `matrix_child` on one database."""

    def __init__(self, url: str, folder: Path) -> None:
        store = SqlStore.open(url)
        store.script("joined", "create table if not exists joined (what text, mark text);")
        store.engine.dispose()
        self.child = Child("tests.faults.matrix_child", url, folder)

    def live(self, scenario: str, root: str, point: int) -> tuple[str, Json]:
        """One life: the root, and the report, or None if it died."""
        self.child.stdin.write(json.dumps([scenario, root, point]) + "\n")
        self.child.stdin.flush()
        root, report = json.loads(self.child.stdout.readline())
        assert report is None or "broken" not in report, report["broken"]
        return root, report


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty one."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    url: str = request.getfixturevalue("url")
    return url


@pytest.fixture
def zygote(database: str, tmp_path: Path) -> Iterator[Zygote]:
    made = Zygote(database, tmp_path)
    with made.child:
        yield made


def right(scenario: str, root: str) -> Json:
    """What a process of this scenario returns when nothing goes wrong."""
    special = {"joined": "done", "person": ["well", "hm", 2], "sleeper": [True, 1], "parent": ["done", "more"]}
    return special.get(scenario, f"{root}/a")


def wrong(scenario: str, root: str, report: Json) -> Iterator[str]:
    """What should not be after any kill."""
    if report["end"] != {"how": "done", "result": right(scenario, root)}:
        yield f"ended with {report['end']}"
    if report["left"] or report["heard"] != 1:
        yield f"notes left: {report['left']}; the owner's words arrived {report['heard']} times"
    done = [tuple(line) for line in report["effects"]]
    for tool, what, key in set(done):
        times = done.count((tool, what, key))
        if times > 1 and tool in ONCE:
            yield f"{tool} {what} was done {times} times"
    if len({(tool, what) for tool, what, _ in done}) != len(set(done)):
        yield f"one call had two keys: {done}"


def unsure(scenario: str) -> list[str]:
    """The points at which nobody can know whether an effect happened: from its beginning to its outcome."""
    tool = {"plain": "plain", "asked": "asked", "parent": "plain"}.get(scenario)
    if tool is None:
        return []
    begun = "after begin" if tool == "asked" else f"after intent {tool}"
    return [begun, f"before the effect {tool}", f"after the effect {tool}", f"before outcome {tool}"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_i3_killed_at_any_point_nothing_is_lost_or_done_twice_and_each_doubt_is_real(
    zygote: Zygote, scenario: str
) -> None:
    _, whole = zygote.live(scenario, "", 0)
    points: list[str] = whole["points"]
    assert len(points) > 10
    faults, doubtful = list[str](), list[str]()
    for point, where in enumerate(points, 1):
        root, survived = zygote.live(scenario, "", point)
        assert survived is None, f"{point}: {where}: was not reached"
        root, report = zygote.live(scenario, root, 0)
        faults += [f"{point}: {where}: {fault}" for fault in wrong(scenario, root, report)]
        doubtful += [where] * len(report["doubts"])
    assert faults == []
    assert doubtful == unsure(scenario)


def test_i3_killed_at_random_instants_nothing_is_lost_or_done_twice(database: str, tmp_path: Path) -> None:
    figures = run(KILLS, database, 7, tmp_path)
    assert figures.kills == KILLS
    assert (figures.lost, figures.doubled, figures.false_doubts) == ([], [], [])
