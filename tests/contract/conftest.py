"""The stores that the contract of a store is run against. A new backend joins in `BACKENDS`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kernos.drivers.store.memory import MemoryStore
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.ports import Store

Opener = Callable[[pytest.FixtureRequest, Path], Store]

DATABASES: dict[str, Opener] = {
    "sqlite": lambda request, folder: SqlStore.open(folder / "kernos.db"),
    "postgres": lambda request, folder: SqlStore.open(request.getfixturevalue("url")),
}
BACKENDS: dict[str, Opener] = {"memory": lambda request, folder: MemoryStore()} | DATABASES


@pytest.fixture(params=BACKENDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = BACKENDS[request.param](request, tmp_path)
    yield opened
    await opened.close()


@pytest.fixture(params=DATABASES)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlStore]:
    """A store whose transactions a tool can join."""
    opened = DATABASES[request.param](request, tmp_path)
    assert isinstance(opened, SqlStore)
    yield opened
    await opened.close()
