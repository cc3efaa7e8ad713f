"""Several shells at work on one PostgreSQL: nobody has the folder for himself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.surfaces.terminal import Running, detached, employ, kernos, processes
from tests.surfaces.test_processes import PROGRAMS, SIDE_CAR


@pytest.fixture
def shop(tmp_path: Path, url: str) -> Path:
    journal = f'[journal]\nurl = "{url}"\ndispatcher = "procrastinate"\n'
    return employ(tmp_path / "shop", PROGRAMS, SIDE_CAR + journal)


def test_who_talks_works_beside_a_worker(shop: Path) -> None:
    greeter, sleeper = detached(shop, "greeter"), detached(shop, "sleeper")
    with Running("work", home=shop) as worker:
        worker.until(f"? {greeter} greeter for ada: What is your name?")
        talk = kernos("chat", shop, "--employee", "boss", said="艾达\n")
        assert talk.code == 0, talk.err
        assert "艾达 was greeted" in talk.out
        kernos("tell", greeter, "Bo", home=shop)
        worker.until(f"✓ {greeter} greeter for ada: done")
        assert kernos("kill", sleeper, home=shop).code == 0
        worker.until(f"✗ {sleeper} sleeper for ada: killed")
        assert worker.stop() == 130
    assert {status["phase"] for status in processes(shop)} == {"exited"}
