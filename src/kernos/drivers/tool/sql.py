"""Tools that are one query on a SQLite file, opened for reading only.

`SqliteData` is the source: it makes the file from its seed when it is not there. `SqlTool` is one query with named
parameters; its records are the result, and with `say` the first of them is put into words for the person.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from kernos.drivers.tool.schema import Checked
from kernos.kernel.errors import BadInput, NotFound, ToolError
from kernos.kernel.ports import ToolResult
from kernos.kernel.types import Json, ToolSpec

RECORDS = 50
"""At most so many records are read; a query that wants fewer says so with `limit`."""


class SqliteData:
    """A database file.

    Args:
        where: the field of the side-car that names it, for errors.
        path: the file.
        seed: a script that makes it, or None.
    """

    def __init__(self, where: str, path: Path, seed: Path | None = None) -> None:
        self._where, self._path, self._seed = where, path, seed

    def prepare(self) -> None:
        """Make the file if it is not there. Raises NotFound or BadInput if that cannot be."""
        if self._path.is_file():
            return
        if self._seed is None:
            right = "a SQLite database, or a seed to make it from"
            raise NotFound(f"{self._where}.path", f"no file {self._path}", right)
        if not self._seed.is_file():
            raise NotFound(f"{self._where}.seed", f"no file {self._seed}", "an SQL script")
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        try:
            with closing(sqlite3.connect(draft)) as database:
                database.executescript(self._seed.read_text("utf-8"))
            draft.replace(self._path)
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{self._where}.seed", f"{self._seed}: {error}", "an SQL script that runs") from None
        finally:
            draft.unlink(missing_ok=True)

    def query(self, sql: str, values: Mapping[str, Json]) -> list[dict[str, Json]]:
        """The records of a query, by column. Raises sqlite3.Error."""
        with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(sql, values).fetchmany(RECORDS)]


class SqlTool(Checked):
    """One query as a tool; see `ports.Tool`."""

    def __init__(
        self, spec: ToolSpec, data: SqliteData, query: str, say: Mapping[str, str], empty: Mapping[str, str]
    ) -> None:
        super().__init__(spec)
        self._data, self._query, self._say, self._empty = data, query, say, empty

    def rehearse(self, where: str) -> None:
        """Compile the query. Raises BadInput if the database does not take it."""
        try:
            self._data.query(f"explain {self._query}", self._values({}))
        except sqlite3.Error as error:
            raise BadInput(f"{where}.query", str(error), "a query that the database takes") from None

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        """Run the query; the key is not needed, reading is repeatable."""
        try:
            records = await asyncio.to_thread(self._data.query, self._query, self._values(arguments))
        except sqlite3.Error as error:
            raise ToolError(f"the database answered: {error}") from None
        if not records:
            return ToolResult([], self._empty)
        return ToolResult(records, {language: _filled(text, records[0]) for language, text in self._say.items()})

    def _values(self, arguments: Mapping[str, Json]) -> dict[str, Json]:
        return {name: arguments.get(name) for name in self._spec.schema["properties"]}


def _filled(text: str, record: Mapping[str, Json]) -> str:
    try:
        return text.format_map(record)
    except (KeyError, ValueError, IndexError) as error:
        raise ToolError(f"the text to say names a column that the query does not return: {error}") from None
