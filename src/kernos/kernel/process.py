"""A live process: its folded state, its program's coroutine, and the past that it replays.

    process = Process(pid, station, journal, clock, tell)     a new one, or one that `recovery` makes from its journal
    await process.write(entry, ...)                           rows, durable before this returns (I2)
    process.step(reply)                                       run the program to its next system call

A program is a coroutine that can await nothing but system calls (I1): a call hands its request to the kernel, which
drives the coroutine by hand. So a waiting process is no task, thread or connection, only an object or a row.
`state` changes only in `write` and `restore`; `request` only in `step` and `begin_anew`, of a foreign agent in turns,
trap and recovery; `sources`, `unread` and `ended` only through `take_in` (but see `look`); `past`, `open` and `due`
only in trap and recovery; `warned`, `epoch`, `news` and `speaks` only in turns and dispatch; `drafted` only in effects
and trap.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, cast

from kernos.kernel import foreign
from kernos.kernel.abi import Ended, Reply, Request, call_of, check
from kernos.kernel.errors import BadInput, KernosError, ProgramError, ReplayDiverged
from kernos.kernel.grants import Station
from kernos.kernel.journal import GENESIS, Entry, Journal, expand, refers, seal
from kernos.kernel.labels import Sources, trusted
from kernos.kernel.news import News
from kernos.kernel.ports import Clock, Commit, Memory, Spent, Write
from kernos.kernel.receipts import Receipts
from kernos.kernel.state import State, apply, born, fold
from kernos.kernel.types import Event, Json, Label, Message, Note, Record, Snapshot, Source, Status, canonical
from kernos.kernel.watching import Watcher


@dataclass(frozen=True)
class PastCall:
    """A call that the journal holds: its intent and what followed it, the last of each kind; all expanded.

    `begun` says that the effect may have started since the last doubt was settled, and `at` when the row was made that
    allowed it; `late` are outcomes that came to a worker after it had lost the process.
    """

    intent: Record
    begun: bool = False
    at: float = 0.0
    doubt: Record | None = None
    answer: Record | None = None
    late: tuple[Record, ...] = ()
    outcome: Record | None = None


@dataclass(frozen=True)
class Birth:
    """The first rows of another process, made durable together with a row of this one."""

    records: Sequence[Record]
    contents: Mapping[str, bytes]
    status: Status


@dataclass(frozen=True)
class Aside:
    """What one transaction does beside writing a process's rows."""

    notes: Sequence[Note] = ()
    taken: Sequence[str] = ()
    memories: Sequence[Memory] = ()
    writes: Sequence[Write] = ()
    births: Sequence[Birth] = field(default_factory=tuple)


@dataclass(frozen=True)
class Due:
    """The reply to the call whose intent is row `seq`, its outcome row still to be written, and what goes with it:
    `told` for the row's body, `aside` for its transaction."""

    seq: int
    reply: Reply
    seconds: float = 0.0
    told: Mapping[str, Json] = field(default_factory=dict)
    aside: Aside = Aside()


class Mail(NamedTuple):
    """A message that was not received yet: its sender's name, its text, and whether anyone may have written it."""

    sender: str
    text: str
    strange: bool = False


class Process:
    """One running instance of a program.

    `due` is what came back to its open call, until the row is durable; `begun_at` is the monotonic time from which its
    effect had to start soon; `drafted` counts the pieces of the answer that a model gives it now; `news` is set when
    notes may have come for it.
    Of a foreign agent's `marks` are what its messages are known by, `answered` says that a model has answered it,
    `speaks` that who makes its call now may speak for the owner, and `kept` is the row of the last checkpoint.
    """

    def __init__(
        self, pid: str, station: Station, journal: Journal, clock: Clock, tell: Watcher, sources: Sources
    ) -> None:
        self.pid = pid
        self.station = station
        self.sources = sources
        self.receipts = Receipts()
        self.known: set[str] = set()
        self.past: deque[PastCall] = deque()
        self.request: Request | None = None
        self.result: Json = None
        self.open: PastCall | None = None
        self.due: Due | None = None
        self.warned = False
        self.news = News()
        self.epoch = 0
        self.begun_at = 0.0
        self.drafted = 0
        self.unread: dict[int, Mail] = {}
        self.ended: dict[str, Ended] = {}
        self.led_astray: set[str] = set()
        self.marks: set[str] = set()
        self.answered = False
        self.speaks = False
        self.kept = 0
        self.tell = tell
        self._fresh: list[Json] = []
        self._called: tuple[str, dict[str, str], Mapping[str, bytes]] = "", {}, {}
        self._did = ""
        self._journal = journal
        self._writing = asyncio.Lock()
        self._clock = clock
        self._state: State | None = None
        self._program: Coroutine[object, object, Json] | None = None

    @property
    def state(self) -> State:
        if self._state is None:
            raise ProgramError(f"process {self.pid} has no first row")
        return self._state

    @property
    def strange(self) -> dict[str, Json]:
        """What rows say of what comes out of this process once it has read what anyone may have written (I4)."""
        return {} if self.sources.origins.clean else {"anyone": True}

    @property
    def status(self) -> Status:
        return self.state.status()

    async def write(self, *entries: Entry, aside: Aside = Aside()) -> list[Record]:
        """Make rows durable in one transaction, then fold them and tell who watches. Returns them expanded."""
        async with self._writing:
            return await self._write(entries, aside)

    async def quiet(self) -> None:
        """Wait until no row is being written."""
        async with self._writing:
            pass

    async def _write(self, entries: Sequence[Entry], aside: Aside) -> list[Record]:
        before, state = self._state, self._state
        records, contents = list[Record](), dict[str, bytes]()
        for entry in entries:
            seq, previous, last = (state.seq + 1, state.hash, state.at) if state else (0, GENESIS, 0.0)
            at = max(self._clock.now(), last)  # a clock that was set back does not turn the rows around
            record, stored = seal(self.pid, seq, previous, at, entry, self._journal.key)
            state = apply(state, record) if state else born(record)
            records.append(record)
            contents |= stored
        assert state is not None
        await self._journal.commit(self._commit(records, contents, before, state, aside))
        self._state = state
        self.known.update(*(entry.chained.keys() for entry in entries))
        return [self.take_in(record, contents, told=True) for record in records]

    def _commit(
        self, records: list[Record], contents: dict[str, bytes], before: State | None, after: State, aside: Aside
    ) -> Commit:
        births = aside.births
        return Commit(
            [*records, *(record for birth in births for record in birth.records)],
            contents | {key: content for birth in births for key, content in birth.contents.items()},
            [after.status(), *(birth.status for birth in births)],
            {self.pid: self.epoch} if before and before.pid == self.pid else {},
            aside.notes, aside.taken, aside.memories, _spent(records, before, after), aside.writes,
        )  # fmt: skip

    def restore(self, records: Sequence[Record], contents: Mapping[str, bytes]) -> list[Record]:
        """Fold rows that are already durable, from the first or from a checkpoint on. Returns them expanded."""
        self._state = fold(records)
        self.known.update(record.body["context"] for record in records if "context" in record.body)
        return [self.take_in(record, contents) for record in records]

    def begin_anew(self, snapshot: Snapshot) -> None:
        """Start the program, at first or again from a checkpoint."""
        self.close()
        self._program = self.station.program(replace(snapshot, pid=self.pid, parent=self.state.parent))
        self.request = None

    def look(self, request: Request) -> dict[str, Json]:
        """What the row of a foreign agent's call says of it (I4). That no model chose it, counts for this very call."""
        clean = self.sources.origins.clean
        found = foreign.look(request, foreign.Known(self.marks, self.answered, self.speaks, clean))
        if found.get("unmade"):
            self.sources.met()
        return found

    def checkpoint(self) -> Entry:
        """What a checkpoint row keeps of the kernel's side: the folded state, where new sources stand, and what came in
        from others and may still be wanted."""
        body = {"fold": self.state.to_json(), "sources": self._fresh}
        unread = {str(seq): list(mail) for seq, mail in self.unread.items()}
        ended = {pid: {**vars(ended), "anyone": pid in self.led_astray} for pid, ended in self.ended.items()}
        self._fresh = []
        contents = {"unread": unread, "ended": ended}
        return Entry("checkpoint", body, {name: kept for name, kept in contents.items() if kept})

    def take_in(self, record: Record, contents: Mapping[str, bytes], told: bool = False) -> Record:
        """Remember what a row brings into the process. Returns it expanded, and tells it who watches if it is new."""
        shown = expand(record, contents)
        if self.state.foreign:
            self._note(shown, contents)
        match shown.kind, shown.body:
            case "message", {"from": sender, "text": text, "label": label}:
                self.unread[record.seq] = Mail(sender, text, not trusted(Label.from_json(label)))
            case "child", {"child": pid, "how": how}:
                self.ended[pid] = Ended(how, shown.body.get("result"), shown.body.get("error", ""))
                self.led_astray |= {pid} if shown.body.get("anyone") else set()
                self._remember("child", pid, record, contents)
            case "intent", {"call": "invoke", "tool": tool}:
                keys = {name: key for name, key in refers(record).items() if name in ("arguments", "handles")}
                self._called = tool, keys, {key: contents[key] for key in keys.values()}
            case "intent", {"call": "spawn" | "send" | "remember" as call, **about}:
                self._did = f"{call} {about.get('employee') or about.get('to') or about.get('key') or ''}"
            case "answer", {"approved": True, "stands": _}:
                self._remember("answer", shown.body["by"], record, contents)
            case "checkpoint", body:
                unread = {int(seq): Mail(*mail) for seq, mail in body.get("unread", {}).items()}
                self.unread = dict(sorted(unread.items()))  # as JSON the numbers were texts, and in their order
                ended = body.get("ended", {})
                self.ended = {pid: Ended(kept["how"], kept["result"], kept["error"]) for pid, kept in ended.items()}
                self.led_astray = {pid for pid, kept in ended.items() if kept.get("anyone")}
            case "outcome", body:
                self.unread.pop(body.get("message", -1), None)
                self._learn(record, contents)
        if told:
            self.tell(Event(self.pid, "record", shown))
        return shown

    def _learn(self, record: Record, contents: Mapping[str, bytes]) -> None:
        """Take an outcome in as a source of later values: the owner's words, and what tools returned."""
        label = Label.from_json(record.body.get("label", {"sources": [], "readers": None}))
        for source in label.sources:
            if source.kind == "owner" and record.body["is"] == "text":
                self._remember("owner", source.name, record, contents)
            elif source.kind == "tool" and record.body["is"] == "returned":
                self._remember("tool", source.name, record, contents)
        if not trusted(label) or (record.body["is"] == "lost" and not self.sources.origins.clean):
            self._heard_of(record, contents)
        if self._did.partition(" ")[2] and record.body["is"] != "denied":
            self._remember("did", self._did, record, contents)
        self._did = ""

    def _heard_of(self, record: Record, contents: Mapping[str, bytes]) -> None:
        """Remember that anyone may have written something in an outcome, and whether that is no tool's."""
        origins, steers = self.sources.origins, record.body["is"] not in ("returned", "failed")
        if origins.clean or (steers and not origins.steered):
            self._remember("anyone", "steered" if steers else "", record, contents)

    def _note(self, record: Record, contents: Mapping[str, bytes]) -> None:
        """What a row of a foreign agent's says of its messages, and hands to it (see `foreign`)."""
        body, seq = record.body, record.seq
        for key in body.get("heard", ()):
            self._keep(["heard", self.state.owner, seq, {"message": key}], contents)
        for key, call in body.get("strange", ()):
            self._keep(["strange", "", seq, {"message": key} | ({"call": call} if call else {})], contents)
        if body.get("unmade"):
            self._keep(["anyone", "", seq, {}], contents)
        if mark := foreign.handed(record):
            self._keep(["handed", mark, seq, {}], contents)
        if record.kind == "checkpoint":
            self.kept = seq

    def _remember(self, kind: str, name: str, record: Record, contents: Mapping[str, bytes]) -> None:
        tool, keys, called = self._called
        kept = refers(record) | (keys if kind == "tool" and tool == name else {})
        self._keep([kind, name, record.seq, {} if kind in ("anyone", "did") else kept], {**contents, **called})

    def _keep(self, reference: Json, contents: Mapping[str, bytes]) -> None:
        self._fresh.append(reference)
        self.relearn(reference, contents)

    def relearn(self, reference: Json, contents: Mapping[str, bytes]) -> None:
        """Take a source in by its reference: kind, name, row, and the hashes of its contents by their names."""
        kind, name, seq, keys = reference
        kept = {part: json.loads(contents[key]) for part, key in keys.items() if key in contents}
        place = f"row {seq}"
        match kind:
            case "owner" if "text" in kept:
                self.sources.heard(Source("owner", name, place), kept["text"])
            case "tool" if "value" in kept:
                tool = self.station.tools.get(name)
                spec = tool.spec if tool and not kept.get("untrusted") else None
                called = kept.get("arguments"), kept.get("handles")
                self.sources.learned(Source("tool", name, place), kept["value"], kept.get("say"), spec, *called)
                if tool:
                    self.receipts.happened(tool.spec, kept.get("arguments") or {}, seq)
            case "did":
                call, _, what = name.partition(" ")
                self.receipts.did(call, what, seq)
            case "child" if "receipts" in kept:
                self.receipts.passed_on(name, kept["receipts"], seq)
            case "answer" if "stands" in kept:
                self.sources.stands(kept["stands"])
            case "anyone":
                self.sources.met()
                self.sources.origins.steered |= bool(name)
            case "handed":
                self.marks.add(name)
                self.answered = self.answered or name.startswith(foreign.ACTION)
            case "heard" | "strange":
                self.marks.add(keys["message"])
                self._met(kind, Source("owner", name, place), kept)

    def _met(self, kind: str, source: Source, kept: Mapping[str, Json]) -> None:
        """Take in a message of a foreign agent's: the owner's words, or what anyone may have written."""
        message = Message.from_json(kept["message"]) if "message" in kept else Message("tool")
        if kind == "heard":
            self.sources.heard(source, message.text)
            return
        made_up = canonical(dict(message.action.arguments)).decode() if message.action else ""
        call = Message.from_json(kept["call"]).action if "call" in kept else None
        self.sources.met(message.text + made_up, f"{message.tool or 'a message'} at {source.place}", call)

    def step(self, reply: Reply | KernosError) -> bool:
        """Run the program to its next system call, now in `request`. False if it has ended; its result is then in
        `result`. What the program raises, comes out of here; a call that is not of its form it is told of."""
        if self._program is None:
            self.begin_anew(Snapshot())
        assert self._program is not None
        try:
            yielded = self._program.throw(reply) if isinstance(reply, KernosError) else self._program.send(reply)
        except StopIteration as end:
            if self.past:
                row = self.past[0].intent
                raise ReplayDiverged(self.pid, row.seq, str(row.body["call"]), "the end of the program") from None
            self.request, self.result = None, json.loads(canonical(end.value))
            return False
        try:
            call_of(yielded)
        except KernosError:
            raise ProgramError(
                f"a program may await system calls only, not {type(yielded).__name__}: tools do the rest"
            ) from None
        self.request = cast(Request, yielded)
        try:
            check(self.request)
        except BadInput as error:
            return self.step(error)
        return True

    def close(self) -> None:
        """End the program's coroutine."""
        if self._program is not None:
            self._program.close()


def _spent(records: Sequence[Record], before: State | None, after: State) -> list[Spent]:
    """What these rows add to the owner's day: the cost of calls that are over."""
    calls = sum(record.kind == "outcome" for record in records)
    if not calls or before is None:
        return []
    old, new = before.usage, after.usage
    return [
        Spent(
            after.owner, after.day, calls, new.tokens - old.tokens,
            round(new.money - old.money, 9), round(new.seconds - old.seconds, 6),
        )
    ]  # fmt: skip
