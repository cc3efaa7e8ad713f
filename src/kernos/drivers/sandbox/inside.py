"""What runs first in the sandbox: it runs the command within its bounds and hands out the files that are left.

    python inside.py '{"command": [...], "seconds": ..., "memory": ..., "processes": ..., "disk": ..., ...}'

It is read by the interpreter inside of the sandbox and knows nothing but the standard library, of which it imports
little: every run waits for it. It is the first process there: the others cannot kill it, and end with it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import sys
from typing import Any, NoReturn

MOST_FILES = 1_000
OPEN_FILES = 256
STOPPED, NOT_FOUND = 124, 127
"""The exit codes of a command that took too long, and of one that is not there, as `timeout` and shells have them."""


def _become(order: dict[str, Any]) -> NoReturn:
    """Be the command, within its bounds. `processes` is for all that it starts together, the rest for each."""
    bounds = {
        resource.RLIMIT_AS: order["memory"],
        resource.RLIMIT_NPROC: order["processes"],
        resource.RLIMIT_FSIZE: order["disk"],
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    for bound, most in bounds.items():
        resource.setrlimit(bound, (most, most))
    os.close(order["pipe"])
    if order["uid"]:
        os.setgroups([])
        os.setgid(order["uid"])
        os.setuid(order["uid"])
    try:
        os.execvp(order["command"][0], order["command"])
    except OSError as error:
        sys.stderr.write(f"{order['command'][0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(NOT_FOUND)


def _late(*_: object) -> NoReturn:
    raise TimeoutError


def _ended(child: int, seconds: float) -> int:
    """The exit code of the command."""
    signal.signal(signal.SIGALRM, _late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return code if code >= 0 else 128 - code
    except TimeoutError:
        sys.stderr.write(f"stopped after {seconds:g} s\n")
        return STOPPED
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _files() -> list[str]:
    """The regular files below the working folder."""
    found = [f"{folder}/{name}" for folder, _, names in os.walk(".") for name in names]
    return sorted(path for path in found if stat.S_ISREG(os.lstat(path).st_mode))[:MOST_FILES]


def _hand_out(paths: list[str], pipe: int) -> None:
    import tarfile

    with os.fdopen(pipe, "wb") as opened, tarfile.open(fileobj=opened, mode="w|") as archive:
        for path in paths:
            try:
                archive.add(path, recursive=False)
            except OSError:  # the command took away its own leave to read it
                continue


def main() -> None:
    """Run the command and exit as it does."""
    order = json.loads(sys.argv[1])
    child = os.fork()
    if not child:
        _become(order)
    code = _ended(child, order["seconds"])
    if paths := _files():
        _hand_out(paths, order["pipe"])
    sys.exit(code)


if __name__ == "__main__":
    main()
