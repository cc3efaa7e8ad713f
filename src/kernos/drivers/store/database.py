"""What a store asks of the kind of database that it is in: the protocol `Database`, one file a kind."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

Durability = Literal["power", "crash"]
"""What an acknowledged commit survives: a power cut, or only the death of the process (much faster)."""


class Database(Protocol):
    """One database: its connections, and what only its kind knows.

    `label` names it in messages and holds no password. `insert` makes an insert that knows `on_conflict_do_...`.
    """

    label: str
    engine: Engine
    insert: Any

    def alone(self, connection: Connection) -> None:
        """Let no other process change the tables until this transaction ends."""

    def hold(self, connection: Connection) -> bool:
        """Be, as long as this connection lives, the only one who gives turns by himself; False if another is."""

    def script(self, connection: Connection, text: str) -> None:
        """Run several statements, each ended by a semicolon."""

    def stranger(self, tables: Collection[str]) -> str | None:
        """Why these tables, in a database that is not ours yet, keep us out of it."""

    def sentence(self, error: SQLAlchemyError) -> str:
        """What went wrong, in words for an operator."""

    def blames(self, error: SQLAlchemyError) -> bool:
        """Whether a statement was at fault, or the values that it was given; not the database, and not us."""

    def hopeless(self, error: Exception) -> bool:
        """Whether the next transaction would meet the same, after as long a wait."""
