"""The whole file, and its tables that stand alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kernos.userland.company.sidecar.employees import Employee, Sums
from kernos.userland.company.sidecar.engines import Engine
from kernos.userland.company.sidecar.sections import Section
from kernos.userland.company.sidecar.tools import Data, McpServer, Tool


class JournalSection(Section):
    """Where the journal is kept, and what vouches for it. `power` survives a power cut, `crash` only the death of
    Kernos, and is faster. A key or anchors that the database's owner must not reach belong in a place of their own."""

    path: str = Field(".kernos/journal.db", description="the SQLite file, from the folder")
    url: str = Field("", description="a PostgreSQL database instead: postgresql://user@host/name; $NAME is a variable")
    durability: Literal["power", "crash"] = Field("power", description="what a written row survives")
    dispatcher: Literal["local", "procrastinate"] = Field(
        "local", description="who gives processes their turns: one kernos, or many workers on one PostgreSQL"
    )
    key: str = Field("", description="the file of the chain's key; empty: journal.key in ~/.config/kernos")
    anchors: str = Field(".kernos/anchors.jsonl", description="the file that signed heads are appended to; empty: none")
    anchor_key: str = Field("", description="the file of the key that signs; empty: anchor.key in ~/.config/kernos")
    tables: str = Field(
        "", description="an SQL script of tables of your own in the journal's database; run at each start"
    )


class Redlines(Section):
    """What no grant lifts. The rules are shipped; here is what helps to see."""

    guard: str = Field("", description="a table under [engines] that looks at all that is said and done; empty: none")


class Owner(Section):
    """A person whom employees serve, and what of the engines is his."""

    share: float = Field(1.0, gt=0, strict=False, description="his weight where several owners wait for an engine")
    calls_at_once: int | None = Field(None, ge=1, description="model calls of his processes in flight")
    tokens_at_once: int | None = Field(None, ge=1, description="tokens of these calls, prompt and most to be written")
    names: list[str] = Field([], description="the names, addresses and accounts that are this person's own")


class Networks(Section):
    """What may be reached. In sovereign mode nothing else ever is, by engines, databases and tools alike."""

    sovereign: bool = Field(True, description="refuse every connection outside `allow`")
    allow: list[str] = Field(["127.0.0.0/8", "::1/128"], description="networks in CIDR form")
    hosts: list[str] = Field([], description="names that tools may look up, beside those of engines")
    programs: list[str] = Field([], description="programs that tools may start; their connections are not seen")


class Sidecar(Section):
    """The whole file."""

    include: list[str] = Field([], description="other TOML files of the folder whose tables are added to these")
    journal: JournalSection = JournalSection()
    engines: dict[str, Engine] = {}
    data: dict[str, Data] = {}
    vocabulary: dict[str, dict[str, list[str]]] = Field({}, description="value = words for it, in any language")
    tools: dict[str, Tool] = {}
    mcp: dict[str, McpServer] = {}
    employees: dict[str, Employee] = {}
    owners: dict[str, Owner] = {}
    redlines: Redlines = Redlines()
    day: Sums = Field(Sums(), description="what all processes of one owner may use in a day (UTC)")
    networks: Networks = Networks()
