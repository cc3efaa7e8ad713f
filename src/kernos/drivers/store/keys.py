"""The keys of the API, in the database of the journal. Only SHA-256 of a secret of 256 random bits is kept.

    keys = SqlKeys(store, clock)
    secret = await keys.issue(Caller("laptop", "ada"))     shown once, and nowhere to be read again
    await keys.caller(secret)                              who calls
    await keys.revoke("laptop")

Who a key stands for is remembered for some seconds, so that a call costs no query. A key that is revoked here stops at
once; one that another process revoked, within `LIFE`. A revoked key stays as a row: its name is free again, it is not.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from kernos.drivers.store.schema import keys, processes
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.errors import BadInput, NotFound
from kernos.kernel.ports import Caller, Clock

PREFIX = "kn_"
"""Every key begins so: programs that look for secrets that leaked find it by this."""
BYTES = 32
LIFE = 5.0
"""For so many seconds it is remembered who a key stands for."""
MOST = 10_000
"""Of so many keys it is remembered at once."""
NAME = re.compile(r"[\w.-]{1,64}")
_HOLDS = keys.c.revoked.is_(None)


class SqlKeys:
    """See `ports.Keys`. The store is closed with it."""

    def __init__(self, store: SqlStore, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._known: dict[bytes, tuple[float, Caller]] = {}
        self._lent: dict[bytes, Caller] = {}
        self._revocations = 0

    async def caller(self, secret: str) -> Caller | None:
        key = _hash(secret)
        if lent := self._lent.get(key):
            return lent
        until, known = self._known.get(key, (0.0, None))
        if self._clock.monotonic() < until:
            return known
        self._known.pop(key, None)
        asked, revocations = self._clock.monotonic(), self._revocations
        query = select(keys).where(keys.c.hash == key, _HOLDS)
        found = await self._store.apart(lambda connection: connection.execute(query).first())
        if found is None:
            return None
        if len(self._known) >= MOST:
            self._known.clear()
        caller = _caller(found)
        if revocations == self._revocations:  # else it may be the one that was revoked while it was looked up
            self._known[key] = (asked + LIFE, caller)
        return caller

    async def issue(self, caller: Caller) -> str:
        _check(caller)
        secret = _secret()
        row = {
            "hash": _hash(secret), "name": caller.key, "owner": caller.owner, "roles": " ".join(sorted(caller.roles)),
            "employee": caller.employee, "pid": caller.pid, "speaks": caller.speaks, "made": self._clock.now(),
        }  # fmt: skip

        def write(connection: Connection) -> None:
            if connection.scalar(select(keys.c.name).where(keys.c.name == caller.key, _HOLDS)) is not None:
                raise BadInput("key", repr(caller.key), "a name that no other key has (kernos key list)")
            owner = connection.scalar(select(processes.c.owner).where(processes.c.pid == caller.pid))
            if caller.pid and owner != caller.owner:
                raise NotFound("key: process", repr(caller.pid), f"the pid of a process of {caller.owner}")
            connection.execute(insert(keys).values(row))

        await self._store.apart(write, alone=True)
        return secret

    def lend(self, caller: Caller) -> str:
        secret = _secret()
        self._lent[_hash(secret)] = caller
        return secret

    async def revoke(self, key: str) -> None:
        change = update(keys).where(keys.c.name == key, _HOLDS).values(revoked=self._clock.now())
        changed = await self._store.apart(lambda connection: connection.execute(change).rowcount, alone=True)
        self._revocations += 1
        self._known.clear()
        if not changed:
            raise NotFound("key", repr(key), "the name of a key that holds (kernos key list)")

    async def callers(self) -> Sequence[Caller]:
        query = select(keys).where(_HOLDS).order_by(keys.c.made, keys.c.name)
        return [_caller(row) for row in await self._store.apart(lambda connection: connection.execute(query).all())]

    async def close(self) -> None:
        await self._store.close()


def _check(caller: Caller) -> None:
    if not NAME.fullmatch(caller.key):
        raise BadInput("key", repr(caller.key), "a name of 1 to 64 letters, digits, dots, hyphens and underscores")
    if not caller.owner.strip():
        raise BadInput("key: owner", repr(caller.owner), "the name of a person")
    if (caller.pid or caller.employee) and caller.roles != {"member"}:
        raise BadInput("key: roles", ", ".join(sorted(caller.roles)), "member alone, for an agent's key")


def _secret() -> str:
    return PREFIX + secrets.token_urlsafe(BYTES)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _caller(row: Row[Any]) -> Caller:
    return Caller(row.name, row.owner, frozenset(row.roles.split()), row.employee, row.pid, row.speaks)
