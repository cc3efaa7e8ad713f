"""`kernos up` and `kernos top`: a folder served from a process of its own, and what a kill leaves of it."""

from __future__ import annotations

import json
import re
import signal
import socket
import stat
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from kernos.boot import System
from kernos.surfaces.cli.up import listening
from tests.surfaces.terminal import Running, employ, kernos, process
from tests.surfaces.test_processes import PROGRAMS, SIDE_CAR


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return employ(tmp_path / "shop", PROGRAMS, SIDE_CAR)


def served(running: Running) -> str:
    """The address at which it serves, once it does."""
    running.until("/api/openapi.json")
    found = re.search(r"(http://\S+)/api/openapi\.json", running.seen)
    assert found
    return found[1]


def printed(running: Running) -> str:
    """The key that it shows."""
    running.until("is shown once")
    found = re.search(r"OPENAI_API_KEY=(kn_\S+)", running.seen)
    assert found
    return found[1]


def ask(base: str, key: str, path: str, body: Any = None) -> Any:
    """What the API answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{base}{path}", data, {"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=30) as got:
        return json.load(got)


def test_it_shows_a_key_once_and_loses_nothing_when_it_is_killed(shop: Path) -> None:
    beacon = shop / ".kernos" / "up.json"
    with Running("up", "--port", "0", home=shop) as first:
        base, key = served(first), printed(first)
        assert {worker["slug"] for worker in ask(base, key, "/api/employees")} >= {"greeter", "agent"}
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(base, "kn_guessed", "/api/employees")
        pid = ask(base, key, "/api/processes", {"employee": "greeter"})["pid"]
        first.until(f"? {pid} greeter for")
        assert stat.S_IMODE(beacon.stat().st_mode) == 0o600
        seen = kernos("top", "--once", home=shop)
        assert seen.code == 0 and "local" in seen.out and pid in seen.out
        busy = kernos("up", "--port", "0", home=shop)
        assert busy.code == 2 and "another kernos is at work" in busy.err
        assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    assert "nobody who serves it" in kernos("top", home=shop).complaint
    with Running("up", "--port", "0", home=shop) as second:
        base = served(second)
        assert ask(base, key, f"/api/processes/{pid}")["question"]["text"] == "What is your name?"
        ask(base, key, f"/api/approvals/{pid}", {"text": "Bo"})
        second.until(f"✓ {pid} greeter for")
        second.until("Keys that hold: 1")
        assert second.stop(signal.SIGTERM) == 0
        assert "kn_" not in second.seen
    assert not beacon.exists()
    assert process(shop, pid)["why"] == "done"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0", "--port", "0"], "--host: found 0.0.0.0, which others reach, and no key"),
        (["--host", "203.0.113.7"], "--host, --port: found 203.0.113.7:8383"),
    ],
)
def test_it_does_not_listen_where_it_should_not_or_cannot(shop: Path, options: list[str], said: str) -> None:
    refused = kernos("up", *options, home=shop)
    assert refused.code == 2
    assert said in refused.err


def test_it_serves_a_journal_that_other_workers_share(tmp_path: Path, url: str) -> None:
    journal = f'[journal]\nurl = "{url}"\ndispatcher = "procrastinate"\n'
    shop = employ(tmp_path / "shop", PROGRAMS, SIDE_CAR + journal)
    with Running("work", home=shop), Running("up", "--port", "0", home=shop) as running:
        base, key = served(running), printed(running)
        pid = ask(base, key, "/api/processes", {"employee": "keeper"})["pid"]
        assert kernos("wait", pid, "--timeout", "60", home=shop).out == f"process {pid}: done\n"
        assert ask(base, key, f"/api/processes/{pid}")["process"]["phase"] == "exited"
        assert running.stop(signal.SIGINT) == 0


def test_in_sovereign_mode_the_event_loop_is_one_whose_connections_the_gate_sees(shop: Path) -> None:
    assert System().loop(shop) is None
    with (shop / "kernos.toml").open("a") as car:
        car.write("[networks]\nsovereign = false\n")
    fast = System().loop(shop)
    assert fast is not None and fast.__module__.startswith("uvloop")


def test_no_answer_waits_to_be_sent_together_with_the_next() -> None:
    with listening("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()[:2]):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
