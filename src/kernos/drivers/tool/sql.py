"""Tools that are one query on a SQLite file, opened for reading only.

`SqliteData` is the source: it makes the file from its seed when it is not there. `SqlTool` is one query with named
parameters: `rehearse` finds what is wrong with it before it is called; in `call` its records are the result, and with
`say` the first of them is put into words for the person.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from string import Formatter
from typing import Any

from kernos.drivers.tool.schema import Checked
from kernos.kernel.errors import BadInput, NotFound, ToolError
from kernos.kernel.ports import ToolResult
from kernos.kernel.types import Json, ToolSpec, canonical

RECORDS = 50
"""At most so many records are read; a query that wants fewer says so with `limit`."""
_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_INNER = {
    (sqlite3.SQLITE_UPDATE, "sqlite_master"),
    (sqlite3.SQLITE_PRAGMA, "data_version"),
    (sqlite3.SQLITE_PRAGMA, "page_size"),
}
"""What SQLite asks leave for when it opens a virtual table (json_each, full text search). In a query's own words these
change nothing: the schema table is never open to an update, and the file is open for reading only."""


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
        """The records of a query, by column.

        Raises sqlite3.Error; OverflowError or UnicodeEncodeError for a value that SQLite cannot hold.
        """
        return self._read(sql, values)[1]

    def columns(self, sql: str, values: Mapping[str, Json]) -> Sequence[str]:
        """The columns that a query has; its records are not looked for. Raises sqlite3.Error."""
        return self._read(f"select * from (\n{sql.rstrip().removesuffix(';')}\n) limit 0", values)[0]

    def _read(self, sql: str, values: Mapping[str, Json]) -> tuple[Sequence[str], list[dict[str, Json]]]:
        with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.set_authorizer(_only_reading)  # mode=ro alone would let a query attach, and so make, another file
            database.row_factory = sqlite3.Row
            found = database.execute(sql, values)
            columns = [column[0] for column in found.description or ()]
            return columns, [dict(row) for row in found.fetchmany(RECORDS)]


def _only_reading(action: int, first: str | None, *rest: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _READING or (action, first) in _INNER else sqlite3.SQLITE_DENY


class SqlTool(Checked):
    """One query as a tool; see `ports.Tool`."""

    def __init__(
        self, spec: ToolSpec, data: SqliteData, query: str, say: Mapping[str, str], empty: Mapping[str, str]
    ) -> None:
        super().__init__(spec)
        self._data, self._query, self._say, self._empty = data, query, say, empty

    def rehearse(self, where: str) -> None:
        """Compile the query. Raises BadInput if the database does not take it, or if it lacks a column to say."""
        try:
            self._data.query(f"explain {self._query}", self._values({}))
            columns = self._data.columns(self._query, self._values({})) if self._say else ()
        except sqlite3.Error as error:
            raise BadInput(f"{where}.query", str(error), "a query that the database takes") from None
        for language, text in self._say.items():
            _check(f"{where}.say.{language}", text, columns)

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        """Run the query; the key is not needed, reading is repeatable."""
        try:
            records = await asyncio.to_thread(self._data.query, self._query, self._values(arguments))
            canonical(records)
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            raise ToolError(f"the database answered: {error}") from None
        except BadInput as error:  # a blob, an infinite number
            raise ToolError(f"the database answered with what a record cannot hold: {error.found}") from None
        if not records:
            return ToolResult([], self._empty)
        return ToolResult(records, {language: _filled(text, records[0]) for language, text in self._say.items()})

    def _values(self, arguments: Mapping[str, Json]) -> dict[str, Json]:
        return {name: arguments.get(name) for name in self._spec.schema["properties"]}


class _Sentence(Formatter):
    """Puts columns into a text: a column and not what is inside of it, and nothing for a NULL in any format."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        return kwargs[field_name], field_name

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return value if value is None else super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        return "" if value is None else str(super().format_field(value, format_spec))


def _check(where: str, text: str, columns: Sequence[str]) -> None:
    """Raise BadInput if no record with these columns can fill the text: not even one that is all NULLs."""
    try:
        _Sentence().vformat(text, (), dict.fromkeys(columns))
    except KeyError as error:
        name = str(error.args[0])
        near = difflib.get_close_matches(name, columns, n=1)
        raise BadInput(where, f"{{{name}}}", f"{{{near[0]}}}" if near else f"one of {', '.join(columns)}") from None
    except ValueError as error:
        raise BadInput(where, f"{text!r}: {error}", "a text with {column}s of the query") from None


def _filled(text: str, record: Mapping[str, Json]) -> str:
    try:
        return _Sentence().vformat(text, (), record)
    except (LookupError, ValueError, ArithmeticError) as error:
        raise ToolError(f"the text to say cannot be filled from the record: {error}") from None
