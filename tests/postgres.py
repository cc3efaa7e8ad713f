"""A real PostgreSQL server for tests, on this machine, with a database of its own for each test.

A test asks for `url` (an empty database; the server runs when the test begins) and, to stop or kill it, for `server`.
Without PostgreSQL such a test is skipped.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

DEBIAN = Path("/usr/lib/postgresql")
OPERATOR = "postgres"
"""As whom the server runs where the tests run as root: it refuses to be root."""
NAMES = (f"test{n}" for n in count())


class Server:
    """One cluster in a folder. The password in its URLs is never asked for; it is there to be found in no message."""

    def __init__(self, programs: Path, folder: Path, operator: str | None) -> None:
        self._programs, self._folder, self._operator = programs, folder, operator
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run("initdb", "-A", "trust", "-U", "kernos", "-E", "UTF8", "--locale=C", "--no-sync")

    def url(self, database: str) -> str:
        return f"postgresql://kernos:secret@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Wait until it answers. Does nothing if it runs."""
        if not self.running:
            options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self._folder}"
            self._run("pg_ctl", "start", "-w", "-l", str(self._folder / "log"), "-o", options)

    def stop(self) -> None:
        """Shut it down in good order, though not without breaking off who is connected."""
        if self.running:
            self._run("pg_ctl", "stop", "-w", "-m", "fast")

    def kill(self) -> None:
        """End it as a crash does: at once, nothing tidied up; `start` recovers from its log."""
        if self.running:
            self._run("pg_ctl", "stop", "-w", "-m", "immediate")

    @property
    def running(self) -> bool:
        return (self._folder / "data" / "postmaster.pid").exists()

    def execute(self, sql: str, database: str = "postgres") -> None:
        """Run one statement outside any transaction."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(sql.encode())

    def _run(self, program: str, *words: str) -> None:
        command = [str(self._programs / program), "-D", str(self._folder / "data"), *words]
        group = pwd.getpwnam(self._operator).pw_gid if self._operator else None
        done = subprocess.run(
            command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
            user=self._operator, group=group, extra_groups=[] if self._operator else None,
        )  # fmt: skip
        log = self._folder / "log"
        assert not done.returncode, f"{program} failed: {log.read_text() if log.exists() else 'no log'}"


def _programs() -> Path | None:
    """The folder of the server's programs; Debian keeps them out of the path."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(DEBIAN.glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Server]:
    pytest.importorskip("psycopg", reason="the driver psycopg is needed: pip install 'kernos[postgres]'")
    programs = _programs()
    if not programs:
        pytest.skip("PostgreSQL is needed (initdb, pg_ctl), in the path or in /usr/lib/postgresql")
    operator = OPERATOR if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="kernos-postgres-"))
    try:
        if operator:
            shutil.chown(folder, operator)
        server = Server(programs, folder, operator)
        yield server
        server.kill()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def server(_cluster: Server) -> Server:
    """The server, running. Whoever stops it need not start it again."""
    _cluster.start()
    return _cluster


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """An empty database, dropped after the test."""
    name = next(NAMES)
    server.execute(f"CREATE DATABASE {name}")
    yield server.url(name)
    server.start()
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")
