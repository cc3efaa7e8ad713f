"""Calls that the kernel serves itself, without a driver or a person: their rows are their effects.

`Services.serve` says what such a call comes to now: a reply, with what must become durable in the same transaction (a
message in another's mailbox, a child's first rows, a memory), or `WAITING` while there is none. A call that a driver or
a person serves is always waiting here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from kernos.kernel.abi import Now, Random, Recall, Recalled, Receive, Remember, Reply, Request, Send, Sleep, Spawn, Wait
from kernos.kernel.errors import JournalBroken
from kernos.kernel.grants import Station
from kernos.kernel.journal import GENESIS, Entry, Journal, expand, refers, row_hash, seal
from kernos.kernel.limits import Limits, Sums
from kernos.kernel.mailbox import message_entry, note, oldest
from kernos.kernel.ports import Clock, Memory, Spent
from kernos.kernel.process import Aside, Birth, Process
from kernos.kernel.state import fold
from kernos.kernel.types import Deny, Json, Record


class Waiting:
    """The reply has not come yet."""


WAITING = Waiting()


@dataclass(frozen=True)
class Served:
    """What a call comes to: the reply, what its intent and its outcome row say beside the usual, what becomes durable
    with them, and which processes should then have a turn."""

    reply: Reply | Waiting = WAITING
    asked: Mapping[str, Json] = field(default_factory=dict)
    told: Mapping[str, Json] = field(default_factory=dict)
    aside: Aside = Aside()
    wakes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Services:
    """What the kernel's own calls need."""

    journal: Journal
    clock: Clock
    stations: Mapping[str, Station]

    async def serve(self, process: Process, request: Request, intent: Record | None = None) -> Served:
        """What this call comes to now; `intent` is its row, if it has waited."""
        match request:
            case Now() | Random():
                return Served(self.clock.now() if isinstance(request, Now) else self.clock.random())
            case Receive() if mail := oldest(process):
                seq, (sender, text, strange) = mail
                return Served(text, told={"message": seq, "from": sender} | ({"anyone": True} if strange else {}))
            case Send():
                return await self._send(process, request)
            case Sleep():
                return self._sleep(request, intent)
            case Wait() if ended := process.ended.get(request.pid):
                return Served(ended, told={"anyone": True} if request.pid in process.led_astray else {})
            case Spawn():
                return self._spawn(process, request)
            case Remember():
                pid, seq = (intent.pid, intent.seq) if intent else (process.pid, process.state.seq + 1)
                memory = Memory(space(process), request.key, pid, seq)
                return Served(None, asked={"space": memory.space, **process.strange}, aside=Aside(memories=[memory]))
            case Recall():
                return await self._recall(process, request)
            case _:
                return Served()

    async def _send(self, process: Process, request: Send) -> Served:
        if not request.to:
            return Served(None)
        if (await self.journal.status(request.to)).phase == "exited":
            return Served(Deny("gone", f"process {request.to} has exited"))
        name = f"{process.pid}:{process.state.seq + 1}"
        body = {"from": process.pid, "text": request.text, **process.strange}
        made = note(self.journal.key, name, request.to, "message", body, self.clock.now())
        return Served(None, aside=Aside(notes=[made]), wakes=(request.to,))

    def _sleep(self, request: Sleep, intent: Record | None) -> Served:
        now = self.clock.now()
        until = now + max(0.0, request.seconds) if intent is None else intent.body["until"]
        return Served(None if now >= until else WAITING, asked={"until": until})

    def _spawn(self, process: Process, request: Spawn) -> Served:
        """A child: its first rows are written together with this call's. It serves the same owner."""
        state, station = process.state, self.stations.get(request.employee)
        if station is None:
            return Served(Deny("grant", f"there is no employee {request.employee}"))
        pid = self.clock.name()
        own = station.limits.depth
        depth = _least(state.limits.depth, None if own is None else state.generation + 1 + own)
        limits = replace(station.limits, tree=state.limits.tree, depth=depth)
        family = {
            "parent": process.pid, "root": state.root, "generation": state.generation + 1, "priority": state.priority,
        }  # fmt: skip
        entries = [spawn_entry(station, state.owner, limits, family)]
        if request.text:
            entries.append(message_entry(process.pid, state.owner, request.text, bool(process.strange)))
        birth = birth_of(pid, entries, self.clock.now(), self.journal.key)
        return Served(pid, told={"child": pid}, aside=Aside(births=[birth]), wakes=(pid,))

    async def _recall(self, process: Process, request: Recall) -> Served:
        """What the index names, if the journal row that it names is really that memory: the index has no hash."""
        memory = await self.journal.store.memory(space(process), request.key)
        if memory is None:
            return Served(Recalled())
        rows = await self.journal.store.records(memory.pid, memory.seq - 1, memory.seq)
        row = rows[0] if rows else None
        where = f"process {memory.pid}: row {memory.seq}"
        if row is None or row_hash(row, self.journal.key) != row.hash or not _kept(row, memory):
            raise JournalBroken(f"{where}: is not where {request.key!r} was remembered")
        contents = await self.journal.contents(rows)
        if refers(row)["value"] not in contents:
            return Served(Recalled())
        value = expand(row, contents).body["value"]
        return Served(Recalled(value, value is not None), told={"anyone": True} if row.body.get("anyone") else {})


def space(process: Process) -> str:
    """The name under which an employee's memories for one owner are kept."""
    return f"{process.state.employee}/{process.state.owner}"


def spawn_entry(station: Station, owner: str, limits: Limits, family: Mapping[str, Json] | None = None) -> Entry:
    """The first row of a process."""
    grants = [{"tool": grant.tool, "ask": grant.ask} for grant in station.grants.values()]
    body = {
        "owner": owner, "employee": station.slug, "program": station.program_name, "engine": station.engine,
        "limits": limits.to_json(), "grants": grants,
    }  # fmt: skip
    foreign = {"foreign": True} if station.foreign else {}
    return Entry("spawn", body | foreign | dict(family or {}))


def birth_of(pid: str, entries: Sequence[Entry], at: float, key: bytes, past: Sequence[Record] = ()) -> Birth:
    """The first rows of a process that is not live yet; `past` are those of another that it goes on from."""
    records, contents = list(past), dict[str, bytes]()
    for entry in entries:
        seq, previous = (records[-1].seq + 1, records[-1].hash) if records else (0, GENESIS)
        record, stored = seal(pid, seq, previous, at, entry, key)
        records.append(record)
        contents |= stored
    return Birth(records[len(past) :], contents, fold(records).status())


def sums(table: str, spent: Spent) -> Iterator[tuple[str, float]]:
    """What several processes used together, by the names of the limits."""
    return ((f"{table}.{part.name}", getattr(spent, part.name)) for part in fields(Sums))


def _kept(row: Record, memory: Memory) -> bool:
    body = row.body
    return (body.get("call"), body.get("space"), body.get("key")) == ("remember", memory.space, memory.key)


def _least(one: int | None, other: int | None) -> int | None:
    known = [bound for bound in (one, other) if bound is not None]
    return min(known, default=None)
