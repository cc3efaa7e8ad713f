"""The command line as its users have it: a process of its own, with a folder, an input and an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPTED = """
[engines.local]
driver = "scripted"
script = "script.json"
"""


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
    command = [sys.executable, "-m", "kernos", *map(str, arguments)]
    surroundings = os.environ | {"COLUMNS": "120"} | environ
    done = subprocess.run(
        command, input=said, cwd=home, env=surroundings, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def action(name: str, **arguments: Any) -> dict[str, Any]:
    """One line of an engine's script."""
    return {"name": name, "arguments": arguments}


def scripted(folder: Path, actions: Sequence[dict[str, Any]], car: str = "") -> Path:
    """A company whose engine plays these actions."""
    ended = kernos("init", folder)
    assert ended.code == 0, ended.err
    own = (folder / "kernos.toml").read_text("utf-8")
    own = own.replace('driver = "embedded"', 'driver = "scripted"\nscript = "script.json"')
    own = "\n".join(line for line in own.splitlines() if not line.startswith("model ="))
    (folder / "kernos.toml").write_text(f"{own}\n{car}", "utf-8")
    (folder / "script.json").write_text(json.dumps(actions), "utf-8")
    return folder


def processes(folder: Path) -> list[dict[str, Any]]:
    """What `kernos ps --json` lists."""
    return [json.loads(line) for line in kernos("ps", "--json", home=folder).out.splitlines()]


def rows(folder: Path, pid: str) -> list[dict[str, Any]]:
    """What `kernos log --json` shows of a process."""
    return [json.loads(line) for line in kernos("log", pid, "--json", home=folder).out.splitlines()]
