"""Where a place's journal is, and what vouches for it: the store, the key of the chains, the witness."""

from __future__ import annotations

import os
import tomllib
from collections import ChainMap
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernos.kernel.errors import BadInput, NotFound
from kernos.kernel.journal import Journal

if TYPE_CHECKING:
    from kernos.drivers.store.sql import SqlStore
    from kernos.kernel.ports import Store, Witness
    from kernos.userland.company.sidecar import Networks


def home_of(place: Path) -> Path:
    """The folder of a place: a folder, or a single sub-agent file in one."""
    return place.parent if place.is_file() else place


class Archive:
    """The journal of a place.

    It is read from kernos.toml as it stands, without the whole company: commands that only look have to be quick, and
    what is wrong in it is `kernos check`'s to say.
    """

    def __init__(self, place: Path) -> None:
        self._place, self._home = place, home_of(place)
        self._car = _raw(place / "kernos.toml")
        self._given = _table(self._car, "journal")
        self.shared = self._given.get("dispatcher") == "procrastinate"

    @cached_property
    def url(self) -> str:
        """The database's address, with variables put in, and pinned in sovereign mode. Raises BadInput if it may not be
        reached, or a variable is not set."""
        where = "kernos.toml: journal.url"
        url = os.path.expandvars(str(self._given.get("url", "")))
        if url and "$" in url:
            raise BadInput(where, "a variable that is not set", "one that is, or none")
        if not url:
            return ""
        from kernos.drivers.network.gate import Gate, server

        networks = self._networks()
        return server(where, url, Gate(networks.allow) if networks.sovereign else None)

    def _networks(self) -> Networks:
        from kernos.userland.company.sidecar import Networks

        included = self._car.get("include", [])
        cars = [self._car, *(_raw(self._home / str(name)) for name in (included if isinstance(included, list) else []))]
        try:
            return Networks(**ChainMap(*(_table(car, "networks") for car in cars)))
        except ValueError:
            return Networks()

    @property
    def file(self) -> Path:
        return self._home / str(self._given.get("path") or ".kernos/journal.db")

    def open(self) -> SqlStore:
        """The store, made if it is not there."""
        from kernos.drivers.files.folder import text
        from kernos.drivers.store.sql import SqlStore

        store = SqlStore.open(self.url or self.file, self._given.get("durability", "power"))
        if tables := self._given.get("tables"):
            where = "kernos.toml: journal.tables"
            store.script(where, text(self._home / tables, f"{where}: {tables}"))
        return store

    def journal(self, keyed: bool = True) -> Journal:
        """The journal as it is; not `keyed` where nothing is checked. Raises NotFound if nothing has ever run there."""
        if not self.url and not self.file.is_file():
            raise NotFound(str(self._place), "no journal", "a folder in which an employee has worked (kernos chat)")
        return Journal(self.open(), self._key(make=False) if keyed else b"")

    async def new_key(self, store: Store) -> bytes:
        """The key of the chains, made where there are none yet: another would not fit those that there are."""
        try:
            return self._key(make=False)
        except NotFound:
            if await store.statuses():
                raise
            return self._key(make=True)

    def _key(self, make: bool) -> bytes:
        from kernos.drivers.files.keys import journal_key

        return journal_key(os.environ, self._path("key"), make)

    def witness(self, signing: bool) -> Witness | None:
        """Who keeps the anchors, if the place has any; to sign, or only to read."""
        path = self._path("anchors", ".kernos/anchors.jsonl")
        if path is None:
            return None
        from kernos.drivers.files.keys import signing_key, verifying_key
        from kernos.drivers.witness.file import FileWitness

        where = (os.environ, self._path("anchor_key"))
        private = signing_key(*where) if signing else None
        return FileWitness(path, verifying_key(*where), private)

    def _path(self, name: str, default: str = "") -> Path | None:
        given = os.path.expandvars(str(self._given.get(name, default)))
        return self._home / Path(given).expanduser() if given else None


def _raw(file: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError):
        return {}


def _table(car: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = car.get(name)
    return found if isinstance(found, dict) else {}
