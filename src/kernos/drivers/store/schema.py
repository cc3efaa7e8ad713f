"""The tables of a store, the same in every SQL database.

Entry points: the tables, and `HEAD`, the revision of them that this code reads and writes. Whoever changes a table adds
a revision to `migrations` that changes it where it is already, and raises `HEAD`.

`journal` and `contents` are the truth; `processes` is an index of it, with the epoch of the newest claim. `notes` are
what waits for a process, in the order of `n`. `memories` say where the latest value of a key stands, `spent` what an
owner used on a day. `keys` are those of the API, with the revoked ones. Hashes are kept as 32 bytes, half of their
hexadecimal form. Tables keep SQLite's rowid: measured on 20,000 rows and contents, `WITHOUT ROWID` took 14 to 37 % more
space, for its trees hold long values badly.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text, text

HEAD = "0002"

metadata = MetaData()

# By its bytes, as SQLite and Python compare; PostgreSQL would go by the customs of a country.
Name = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite counts up by itself in an INTEGER only.
Counter = BigInteger().with_variant(Integer, "sqlite")
Number = Float(53)

journal = Table(
    "journal",
    metadata,
    Column("pid", Name, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("at", Number, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

contents = Table(
    "contents",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

processes = Table(
    "processes",
    metadata,
    Column("pid", Name, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("employee", Text, nullable=False),
    Column("program", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("money", Number, nullable=False),
    Column("seconds", Number, nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("wake", Number),
    Column("parent", Text, nullable=False),
    Column("root", Name, nullable=False),
    Column("origin", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("born", Number, nullable=False),
    Column("at", Number, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Index("processes_wake", "wake"),
    Index("processes_root", "root"),
)

notes = Table(
    "notes",
    metadata,
    Column("n", Counter, primary_key=True),
    Column("id", Name, nullable=False),
    Column("pid", Name, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("at", Number, nullable=False),
    Index("notes_id", "id", unique=True),
    Index("notes_pid", "pid"),
)

memories = Table(
    "memories",
    metadata,
    Column("space", Name, primary_key=True),
    Column("key", Name, primary_key=True),
    Column("pid", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
)

spent = Table(
    "spent",
    metadata,
    Column("owner", Name, primary_key=True),
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("calls", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("money", Number, nullable=False),
    Column("seconds", Number, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("name", Name, nullable=False),
    Column("owner", Text, nullable=False),
    Column("roles", Text, nullable=False),
    Column("employee", Text, nullable=False),
    Column("pid", Text, nullable=False),
    Column("speaks", Boolean, nullable=False),
    Column("made", Number, nullable=False),
    Column("revoked", Number),
)
_HOLDS = text("revoked IS NULL")
Index("keys_name", keys.c.name, unique=True, sqlite_where=_HOLDS, postgresql_where=_HOLDS)
