"""A PostgreSQL server for a benchmark's time: the one of the tests.

with cluster() as database:
    url = database("sleepers")        of a new database
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgres import OPERATOR, Server, _programs


@contextmanager
def cluster() -> Iterator[Callable[[str], str]]:
    """Start a server, and stop it in the end. What is given out makes a database and returns its URL."""
    programs = _programs()
    if programs is None:
        raise SystemExit("PostgreSQL is needed: initdb and pg_ctl, in the path or in /usr/lib/postgresql")
    operator = OPERATOR if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="kernos-postgres-"))
    if operator:
        shutil.chown(folder, operator)
    server = Server(programs, folder, operator)
    server.start()

    def database(name: str) -> str:
        server.execute(f"CREATE DATABASE {name}")
        return server.url(name)

    try:
        yield database
    finally:
        server.kill()
        shutil.rmtree(folder)
