"""The first tables: journal, contents, processes, notes, memories, spent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
NUMBER = sa.Float(53)


def upgrade() -> None:
    op.create_table(
        "journal",
        sa.Column("pid", NAME, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at", NUMBER, nullable=False),
        sa.Column("previous", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "contents",
        sa.Column("hash", sa.LargeBinary, primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    _processes()
    _notes()
    op.create_table(
        "memories",
        sa.Column("space", NAME, primary_key=True),
        sa.Column("key", NAME, primary_key=True),
        sa.Column("pid", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "spent",
        sa.Column("owner", NAME, primary_key=True),
        sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("money", NUMBER, nullable=False),
        sa.Column("seconds", NUMBER, nullable=False),
    )


def _processes() -> None:
    op.create_table(
        "processes",
        sa.Column("pid", NAME, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("employee", sa.Text, nullable=False),
        sa.Column("program", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("money", NUMBER, nullable=False),
        sa.Column("seconds", NUMBER, nullable=False),
        sa.Column("priority", sa.BigInteger, nullable=False),
        sa.Column("wake", NUMBER),
        sa.Column("parent", sa.Text, nullable=False),
        sa.Column("root", NAME, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("born", NUMBER, nullable=False),
        sa.Column("at", NUMBER, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
    )
    op.create_index("processes_wake", "processes", ["wake"])
    op.create_index("processes_root", "processes", ["root"])


def _notes() -> None:
    op.create_table(
        "notes",
        sa.Column("n", COUNTER, primary_key=True),
        sa.Column("id", NAME, nullable=False),
        sa.Column("pid", NAME, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at", NUMBER, nullable=False),
    )
    op.create_index("notes_id", "notes", ["id"], unique=True)
    op.create_index("notes_pid", "notes", ["pid"])
