"""The command line as its users have it: a process of its own, with a folder, an input and an exit code."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from kernos.boot import System
from kernos.surfaces.cli.places import reading
from tests.forking import PATIENCE, Child

STARTER = Path(__file__).resolve().parents[2] / "examples" / "starter"
WAITERS = """

@kernos.program
async def greeter(process: kernos.Process) -> str:
    name = await process.ask("What is your name?")
    await process.send(f"Hello, {name}!")
    return name


@kernos.program
async def sleeper(process: kernos.Process) -> None:
    await process.sleep(10_800)
"""
"""Two programs of which one waits for a person, and one for the time; they go behind others."""
_SETTINGS = tempfile.TemporaryDirectory(prefix="kernos-settings-")
"""Where the user of these tests has their keys."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """What it said on standard error, which must be one line."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


def kernos(*arguments: str | Path, said: str = "", home: Path | None = None, **environ: str) -> Ended:
    """Run the command in a folder, with these words on its standard input."""
    with (
        tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err,
        Child("kernos", *arguments, cwd=home, env=_surroundings() | environ, stdout=out, stderr=err) as child,
    ):  # fmt: skip
        child.say(said)
        code = child.wait()
        out.seek(0)
        err.seek(0)
        return Ended(code, out.read(), err.read())


def _surroundings() -> dict[str, str]:
    return os.environ | {"COLUMNS": "120", "XDG_CONFIG_HOME": _SETTINGS.name}


class Running:
    """A command in another shell: what it prints, on both outputs, is read line by line. Killed at the end of a `with`.

    with Running("work", home=folder) as worker:
        worker.until("exited")
        assert worker.stop() == 130
    """

    def __init__(self, *arguments: str | Path, home: Path) -> None:
        self._child = Child("kernos", *arguments, cwd=home, env=_surroundings())
        self._child.stdin.close()
        self._bytes = b""
        self.seen = ""

    def until(self, text: str) -> None:
        """Read on until this has been printed, ever."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            self.more(deadline - time.monotonic())

    def more(self, patience: float = PATIENCE) -> None:
        """Read what is printed next."""
        assert self._read(patience), f"it ended: {self.seen}"

    def _read(self, patience: float) -> bytes:
        handle = self._child.stdout.fileno()
        ready, _, _ = select.select([handle], [], [], max(0.0, patience))
        assert ready, f"nothing more than: {self.seen}"
        piece = os.read(handle, 65_536)
        self._bytes += piece
        self.seen = self._bytes.decode(errors="ignore")
        return piece

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Send a signal, read what is still printed, and return the exit code."""
        self._child.signal(how)
        return self.end()

    def end(self) -> int:
        """Wait for its end; the exit code."""
        while self._read(PATIENCE):
            pass
        return self._child.wait()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._child.close()


def action(name: str, **arguments: Any) -> dict[str, Any]:
    """One line of an engine's script."""
    return {"name": name, "arguments": arguments}


def scripted(folder: Path, actions: Sequence[dict[str, Any]], car: str = "") -> Path:
    """A company whose engine plays these actions."""
    shutil.copytree(STARTER, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".kernos", "__pycache__"))
    own = (folder / "kernos.toml").read_text("utf-8")
    own = own.replace('driver = "embedded"', 'driver = "scripted"\nscript = "script.json"')
    own = "\n".join(line for line in own.splitlines() if not line.startswith("model ="))
    (folder / "kernos.toml").write_text(f"{own}\n{car}", "utf-8")
    (folder / "script.json").write_text(json.dumps(actions), "utf-8")
    return folder


def processes(folder: Path) -> list[dict[str, Any]]:
    """The process table, as `kernos ps --json` lists it."""
    return asyncio.run(_processes(folder))


async def _processes(folder: Path) -> list[dict[str, Any]]:
    async with reading(System(), folder) as ledger:
        return [asdict(status) for status in await ledger.statuses()]


def rows(folder: Path, pid: str) -> list[dict[str, Any]]:
    """A process's journal, as `kernos log --json` lists it."""
    return asyncio.run(_rows(folder, pid))


async def _rows(folder: Path, pid: str) -> list[dict[str, Any]]:
    async with reading(System(), folder) as ledger:
        return [asdict(record) for record in await ledger.records(pid)]


def employ(folder: Path, programs: str, side_car: str) -> Path:
    """A company whose employees are the programs of this text, each with what the side-car says; the tools in the text
    are tools of it."""
    names = re.findall(r"^@kernos\.tool.*\n(?:async )?def (\w+)", programs, re.MULTILINE)
    tools = (f'\n[tools.{name}]\ndriver = "python"\nfunction = "programs.py:{name}"\n' for name in names)
    scripted(folder, [], side_car + "".join(tools))
    for slug in re.findall(r"^\[employees\.(\w+)\]", side_car, re.MULTILINE):
        (folder / "agents" / slug).mkdir()
        (folder / "agents" / slug / "AGENTS.md").write_text(f"---\nname: {slug}\n---\nWorks.\n", "utf-8")
    (folder / "programs.py").write_text(programs, "utf-8")
    return folder


def detached(folder: Path, employee: str, text: str = "") -> str:
    """The pid of a new process that waits for a worker."""
    started = kernos("run", folder, text, "--employee", employee, "--detach", "--as", "ada")
    assert started.code == 0, started.err
    return started.out.strip()


def process(folder: Path, pid: str) -> dict[str, Any]:
    """How one process stands."""
    [found] = [status for status in processes(folder) if status["pid"] == pid]
    return found
