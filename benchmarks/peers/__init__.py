"""What Kernos is measured beside. Each peer is a script that runs in an environment of its own: its pins contradict
ours, and it should not be held up by anything of ours.

    times = steps("dbos", "sqlite:///file", 2_000)        milliseconds of each step

The environments are made when they are first needed, in `~/.cache/kernos/benchmarks`, and kept.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PACKAGES = {
    "dbos": ["dbos==3.4.0"],
    "langgraph": ["langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2"],
    "litellm": ["litellm[proxy]==1.106.*"],
}
HERE = Path(__file__).resolve().parent


def steps(peer: str, database: str, count: int) -> list[float]:
    """Run a peer's script: `count` steps that do nothing, one after the other, each made durable."""
    command = [str(environment(peer)), str(HERE / f"{peer}_steps.py"), database, str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    times: list[float] = json.loads(done.stdout.splitlines()[-1])
    return times


def environment(peer: str) -> Path:
    """The Python of a peer's environment, in which its packages are installed."""
    return installed("benchmarks", PACKAGES[peer])


def installed(room: str, packages: Sequence[str], name: str = "") -> Path:
    """The Python of an environment that has these packages; it is made if it is not there, and kept in a room of the
    cache, under a name that says what is in it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "kernos" / room / (name or "-".join(packages))
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"installing {packages[0]} in {folder}", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "--disable-pip-version-check"]
        install = [*pip, "install", "--no-compile", *packages]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (folder / "ready").touch()
    return python
