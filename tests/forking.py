"""Processes of their own for tests, that begin with all modules imported: forked, where an exec would import again.

    with Child("kernos", "work", cwd=folder) as child:
        child.stdout.readline()
        child.signal(signal.SIGINT)
        assert child.wait() == 130

Each is a real process: its session, signals, folder, environment, input, output and exit code are its own, as if
`python -m` had been called. The server that forks them, one for each of pytest's workers, is that of `multiprocessing`.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Mapping
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import TracebackType
from typing import IO, Any

PATIENCE = 60.0
"""Seconds after which a test gives up waiting for a child."""
_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload([
    "tests.forking", "tests.support", "alembic.command", "kernos.boot.wiring", "kernos.drivers.clock.system",
    "kernos.drivers.dispatch.local", "kernos.drivers.dispatch.procrastinate", "kernos.drivers.engine.client",
    "kernos.drivers.engine.embedded", "kernos.drivers.engine.models", "kernos.drivers.files.folder",
    "kernos.drivers.files.keys", "kernos.drivers.network.gate", "kernos.drivers.secrets.veil",
    "kernos.drivers.store.lock", "kernos.drivers.store.migrations", "kernos.drivers.store.postgres",
    "kernos.drivers.store.sql", "kernos.drivers.store.sqlite", "kernos.drivers.tool.joined",
    "kernos.drivers.tool.loader", "kernos.drivers.tool.skills", "kernos.drivers.tool.sql",
    "kernos.drivers.witness.file", "kernos.kernel.desk", "kernos.surfaces.cli.approve", "kernos.surfaces.cli.doubts",
    "kernos.surfaces.cli.folder", "kernos.surfaces.cli.look", "kernos.surfaces.cli.main", "kernos.surfaces.cli.policy",
    "kernos.surfaces.cli.records", "kernos.surfaces.cli.talk", "kernos.surfaces.cli.worker",
    "kernos.userland.company.folder", "kernos.userland.company.grants", "psycopg", "rich.progress", "rich.table",
])  # fmt: skip


class _Handed:
    """A file on its way into a child, where it is the number of an open one."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (DupFd(self._number),)


def _received(file: Any) -> Any:
    return file.detach()


def _run(words: list[str], cwd: str, env: dict[str, str], files: list[int]) -> None:
    """In the child: what happens between its birth and the first line of the module."""
    gc.freeze()  # what was imported is not looked through again
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout = open(0), open(1, "w")
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace")
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


class Child:
    """`python -m module words`, running; killed at the end of a `with`. Its input is a pipe, and so is its output if it
    is not given a file for it; its errors go where its output goes, if not elsewhere."""

    def __init__(
        self, module: str, *words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None,
        stdout: IO[Any] | None = None, stderr: IO[Any] | None = None,
    ) -> None:  # fmt: skip
        its_input, to_it = os.pipe()
        from_it, its_output = os.pipe()
        self.stdin, self.stdout = os.fdopen(to_it, "w"), os.fdopen(from_it)
        output = stdout.fileno() if stdout else its_output
        files = [its_input, output, stderr.fileno() if stderr else output]
        told = [module, *map(str, words)], str(cwd or Path.cwd()), dict(env or os.environ), [*map(_Handed, files)]
        self._process = _FORKING.Process(target=_run, args=told, daemon=True)
        self._process.start()
        os.close(its_input)
        os.close(its_output)

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        assert self._process.pid is not None
        return self._process.pid

    def say(self, words: str) -> None:
        """All that there is on its input."""
        with contextlib.suppress(BrokenPipeError), self.stdin:
            self.stdin.write(words)

    def signal(self, how: signal.Signals) -> None:
        """Send a signal to it, and to what it has started."""
        os.killpg(self.pid, how)

    def wait(self) -> int:
        """Its exit code, when it has ended; of one that a signal ended the signal, negative."""
        self._process.join(PATIENCE)
        assert self._process.exitcode is not None, f"process {self.pid} has not ended"
        return self._process.exitcode

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    def kill(self) -> None:
        """End it, and what it has started, at once."""
        if self.alive:
            self.signal(signal.SIGKILL)
        self.wait()

    def close(self) -> None:
        """Kill it if it is alive."""
        self.kill()
        for pipe in (self.stdin, self.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
