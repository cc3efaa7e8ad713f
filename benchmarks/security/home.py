"""The environment in which AgentDojo is installed beside Kernos: its pins are heavy, and nobody needs them but this.

    go_home()        returns in an environment that has it; the first time it is made, which takes a minute or two

It is kept in `~/.cache/kernos/benchmarks`, under a name that says what is in it.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

from benchmarks.peers import installed

ROOT = Path(__file__).resolve().parent.parent.parent


def go_home() -> None:
    """Start this program again with the Python of that environment, unless AgentDojo is here."""
    if find_spec("agentdojo") is None:
        python = str(environment())
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
        os.execve(python, [python, "-m", "benchmarks.security", *sys.argv[1:]], {**os.environ, "PYTHONPATH": paths})


def environment() -> Path:
    """The Python of the environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    packages = [*project["optional-dependencies"]["security"], *project["dependencies"]]
    name = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]
    return installed("benchmarks", packages, f"{packages[0]}-{name}")
