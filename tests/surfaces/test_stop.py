"""`kernos stop --all`: whatever runs in other programs is halted within a second, and only a person has it go on."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.forking import PATIENCE
from tests.surfaces.terminal import Running, detached, employ, kernos, process, processes, rows

PROGRAMS = '''
import asyncio
import time

import kernos
from kernos.kernel.types import Message


@kernos.tool(effects={"reads"})
async def dig() -> str:
    """Dig without end."""
    print("digging", flush=True)
    await asyncio.Event().wait()
    return "never"


@kernos.tool(effects={"reads"})
def step() -> str:
    """Go a step."""
    time.sleep(0.01)
    return "gone"


@kernos.program
async def digger(process: kernos.Process) -> None:
    await process.invoke("dig")


@kernos.program
async def runner(process: kernos.Process) -> None:
    while True:
        await process.invoke("step")


@kernos.program
async def thinker(process: kernos.Process) -> None:
    await process.generate([Message("user", "think")])


@kernos.program
async def mother(process: kernos.Process) -> None:
    for _ in range(4):
        await process.spawn("runner")
    await process.receive()
'''
SIDE_CAR = """
[employees.digger]
program = "programs.py:digger"
tools = ["dig"]

[employees.runner]
program = "programs.py:runner"
tools = ["step"]

[employees.thinker]
program = "programs.py:thinker"
engine = "far"

[employees.mother]
program = "programs.py:mother"
spawns = ["runner"]

[engines.far]
driver = "openai"
url = "http://127.0.0.1:{port}/v1"
model = "m"
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """A company with a model that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield employ(tmp_path / "shop", PROGRAMS, SIDE_CAR.replace("{port}", str(silent.getsockname()[1])))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline


def journals(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {status["pid"]: rows(folder, status["pid"]) for status in processes(folder)}


def test_all_that_runs_is_halted_within_a_second_and_makes_no_call_until_it_is_resumed(shop: Path) -> None:
    digger, thinker, mother = (detached(shop, name) for name in ("digger", "thinker", "mother"))
    with Running("work", home=shop) as worker:
        worker.until("digging")
        until(lambda: process(shop, thinker)["why"] == "engine" and len(processes(shop)) == 7)
        until(lambda: min(status["calls"] for status in processes(shop)) > 0)

        stopped = kernos("stop", "--all", home=shop)
        assert stopped.code == 0, stopped.err
        [(count, seconds)] = re.findall(r"^(\d+) processes halted in ([\d.]+) s", stopped.out)
        assert (count, float(seconds) < 1) == ("7", True), stopped.out

        before = journals(shop)
        ends = {pid: [row for row in rows if row["kind"] == "signal"] for pid, rows in before.items()}
        assert {status["phase"] for status in processes(shop)} == {"paused"}
        for pid, [signal] in ends.items():
            assert all(row["seq"] < signal["seq"] for row in before[pid] if row["kind"] == "intent")
        assert max(signal["at"] for [signal] in ends.values()) - min(signal["at"] for [signal] in ends.values()) < 1
        assert kernos("tell", mother, "go on!", home=shop).code == 0
        shown = kernos("log", digger, home=shop).out
        assert re.search(r"stop +by \w+", shown)
        until(lambda: rows(shop, mother)[-1]["kind"] == "message")
        del before[mother]
        assert {pid: rows for pid, rows in journals(shop).items() if pid != mother} == before

        assert re.match(r"7 processes resumed\n", kernos("resume", "--all", home=shop).out)
        until(lambda: process(shop, mother)["why"] == "done" and process(shop, thinker)["why"] == "engine")
        assert worker.seen.count("digging") < 2
        worker.until("digging\ndigging")
        assert kernos("stop", "--all", home=shop).code == 0
        assert worker.stop() == 130
    assert kernos("audit", "verify", home=shop).code == 0


def test_without_a_worker_all_rest_before_there_is_one(shop: Path) -> None:
    digger = detached(shop, "digger")
    assert kernos("stop", "--all", home=shop).out.startswith("1 process halted in ")
    assert process(shop, digger)["phase"] == "paused"
    assert kernos("work", shop, "--until-idle").out.count("\n") == 1, "nothing but the header"
    resumed = kernos("resume", "--all", home=shop)
    assert resumed.out == "1 process resumed; kernos work gives them turns\n"
    assert process(shop, digger)["phase"] == "ready"
    assert kernos("kill", digger, home=shop).code == 0
    assert kernos("stop", "--all", home=shop).out.startswith("0 processes halted in ")
    assert kernos("resume", "--all", home=shop).out == "0 processes resumed\n"


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (["stop"], "stop: found nothing said of which processes; expected --all, or kernos pause PID"),
        (["resume"], "resume: found nothing said of which process; expected PID, or --all"),
        (["resume", "7k2q", "--all"], "resume: found both PID and --all; expected PID, or --all"),
    ],
)
def test_nothing_is_stopped_or_resumed_by_accident(shop: Path, command: list[str], complaint: str) -> None:
    refused = kernos(*command, home=shop)
    assert (refused.code, complaint in refused.complaint) == (2, True), refused.complaint
