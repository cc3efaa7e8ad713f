"""The keys of the API."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NUMBER = sa.Float(53)


def upgrade() -> None:
    op.create_table(
        "keys",
        sa.Column("hash", sa.LargeBinary, primary_key=True),
        sa.Column("name", NAME, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("roles", sa.Text, nullable=False),
        sa.Column("employee", sa.Text, nullable=False),
        sa.Column("pid", sa.Text, nullable=False),
        sa.Column("speaks", sa.Boolean, nullable=False),
        sa.Column("made", NUMBER, nullable=False),
        sa.Column("revoked", NUMBER),
    )
    holds = sa.text("revoked IS NULL")
    op.create_index("keys_name", "keys", ["name"], unique=True, sqlite_where=holds, postgresql_where=holds)
