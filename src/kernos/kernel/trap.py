"""The one path of a system call. Nothing reaches an engine, a tool or a person but through `Trap.call`. I1 to I5.

    1 limits     is there budget left?                                    -> LimitExceeded, or a person is asked
    2 monitor    grants, schema, sources, claims, approval                -> allow | ask a person | deny
    3 journal    the intent row, durable
    4 driver     the effect (a model call queues in the scheduler here)
    5 labels     the result is labelled by its source
    6 journal    the outcome row, durable; then the program sees the reply

A call whose effect is the row itself (a denial, `send`, `now`, a `receive` with mail) makes 3 and 6 in one transaction.
An effect that waits for a person has a `begin` row of its own between the answer and 4. On replay 1 to 5 are skipped
and 6 is read from the process's past. A call that has to wait for a message, a person, a child or the time stays open:
its intent stands, `WAITING` is returned, and the same call is made again when there is news.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from kernos.kernel import limits
from kernos.kernel.abi import (
    MODEL_CALLS,
    AskPerson,
    Checkpoint,
    Embed,
    Extract,
    Generate,
    Invoke,
    Invoked,
    ModelCall,
    Propose,
    Proposed,
    Reply,
    Request,
    Send,
    Spawn,
    call_of,
)
from kernos.kernel.effects import Effects, after_crash, kind_of
from kernos.kernel.errors import AnswerLost, BadInput, Fenced, LimitExceeded, ToolError, Uncertain
from kernos.kernel.foreign import contents_of
from kernos.kernel.forms import cost, of_reply, of_request, to_reply
from kernos.kernel.journal import Entry
from kernos.kernel.limits import Sums
from kernos.kernel.mailbox import note
from kernos.kernel.monitor import Family
from kernos.kernel.outcomes import outcome
from kernos.kernel.ports import Clock
from kernos.kernel.process import Aside, Due, PastCall, Process
from kernos.kernel.recovery import again, followed, settled
from kernos.kernel.services import WAITING, Served, Services, Waiting, sums
from kernos.kernel.types import (
    Allow,
    Ask,
    Deny,
    Json,
    Label,
    Record,
    Snapshot,
    Source,
    Verdict,
    tokens_about,
    verdict_to_json,
)


class Anew:
    """The program was started again from its checkpoint: it has no call to be answered."""


@dataclass(frozen=True)
class Stopped:
    """A person stopped the process; why."""

    why: str


ANEW = Anew()
Outcome = Reply | Waiting | Anew | Stopped


@dataclass(frozen=True)
class Trap:
    """The path, and what stands along it.

    `hint` is told of processes that should have a turn. `skew` is None where one kernel has the journal for itself, and
    where workers share it by how many seconds their clocks may differ.
    """

    effects: Effects
    services: Services
    clock: Clock
    hint: Callable[[str], None]
    skew: float | None = None

    async def call(self, process: Process, request: Request) -> Outcome:
        """Take one system call of a process as far as it goes now. Raises what the table says of it."""
        if process.open is None and process.past:
            past = again(process, request)
            if past.outcome is not None:
                return settled(past)
            process.open = past
            if past.begun and process.due is None and isinstance(request, Invoke):
                await self._doubtful(process, request, past)
        if process.open is None:
            if not await self._within(process, request):
                return WAITING
            if isinstance(request, Checkpoint):
                return await self._checkpoint(process, request)
            done = await self._begin(process, request)
            if done is not None:
                return to_reply(done)
        assert process.open is not None
        return await self._finish(process, request, process.open)

    async def _within(self, process: Process, request: Request) -> bool:
        """Whether there is budget for this call; False while a person is asked for more. Raises LimitExceeded."""
        state = process.state
        try:
            tool = request.tool if isinstance(request, Invoke) else ""
            limits.check(state.used(self.clock.now(), tool), state.limits)
            if isinstance(request, Spawn):
                used = {"children": float(len(state.children)), "depth": float(state.generation)}
                limits.check(iter(used.items()), state.limits)
            if isinstance(request, ModelCall | Invoke | Spawn):
                await self._together(process)
        except LimitExceeded as error:
            body = {"limit": error.limit, "used": error.used, "allowed": error.allowed}
            if error.limit not in state.limits.soft or error.limit in state.refused:
                waited = state.foreign and state.why != "agent"
                if waited or not process.warned:  # the program may survive it, and has to see it again on replay
                    await process.write(Entry("limit", {**body, "hard": True}, _asked(process, request)))
                raise
            if state.asking is None:
                await process.write(Entry("limit", body, _asked(process, request) if state.foreign else {}))
            return False
        return True

    async def _together(self, process: Process) -> None:
        """Check what the process's tree has used, and its owner today, where that is bounded."""
        state, store = process.state, self.services.journal.store
        if state.limits.tree != Sums():
            limits.check(sums("tree", await store.tree(state.root)), state.limits)
        if state.limits.day != Sums():
            day = int(self.clock.now() // limits.DAY)
            limits.check(sums("day", await store.spent(state.owner, day)), state.limits)

    async def _checkpoint(self, process: Process, request: Checkpoint) -> Anew:
        form = of_request(request, process.known)
        kept = process.checkpoint()
        entry = Entry("checkpoint", {**form.body, **kept.body}, {**form.contents, **kept.contents}, form.chained)
        [row] = await process.write(entry)
        process.begin_anew(Snapshot(row.body["state"], request.messages))
        return ANEW

    async def _begin(self, process: Process, request: Request) -> Record | None:
        """Judge the call and record its intent; with its outcome, which is returned, if nothing is to be waited for."""
        flags = await self.effects.flagged(process, request)
        form = of_request(request, process.known)
        looked = process.look(request) if process.state.foreign else {}
        verdict = self._judge(process, request, flags)
        body = {**form.body, **looked, "verdict": verdict_to_json(verdict)}
        if process.state.foreign and isinstance(request, Generate):
            body["kind"] = kind_of(process, request)
        contents = dict(form.contents)
        served = await self._served(process, request, verdict)
        if isinstance(request, Send) and not request.to:
            label, contents["marks"] = self._said(process, request.text)
            body["label"] = label.to_json()
            contents |= process.receipts.beside(request.text, process.state.said)
        if isinstance(request, AskPerson):
            contents |= process.receipts.beside(request.question, process.state.said)
        if isinstance(verdict, Ask):
            body["until"] = self.clock.now() + limits.APPROVAL_SECONDS
            contents["card"] = body["verdict"].pop("calls")
        if isinstance(verdict, Allow) and isinstance(request, Invoke) and process.state.foreign:
            tool = self.effects.tool(process, request.tool)
            body["until"] = self.clock.now() + limits.FOREIGN_SECONDS + ((tool.spec.timeout if tool else None) or 0.0)
        intent = Entry("intent", body | dict(served.asked), contents, {**form.chained, **contents_of(looked, request)})
        if isinstance(served.reply, Waiting):
            begun = isinstance(request, Invoke) and isinstance(verdict, Allow)
            process.begun_at, process.drafted = self.clock.monotonic(), 0
            [row] = await process.write(intent)
            process.open = PastCall(row, begun, row.at)
            return None
        done = outcome(process, request, Due(0, served.reply, told=served.told))
        rows = await process.write(intent, done, aside=served.aside)
        for pid in served.wakes:
            self.hint(pid)
        return rows[-1]

    async def _served(self, process: Process, request: Request, verdict: Verdict) -> Served:
        """What a call comes to at once: nothing yet, where a person has to allow it first."""
        if isinstance(verdict, Allow):
            return await self.services.serve(process, request)
        return Served(verdict if isinstance(verdict, Deny) else WAITING)

    async def lose(self, process: Process, why: str, answered: bool = False) -> None:
        """Record that a call comes to nothing: its answer is of no use, or nobody waits for it any more. Of a model's
        what was written is counted, and about what had to be read before."""
        call = process.open or (process.past[0] if process.past else None)
        about = {"call": call.intent.body["call"]} if call and call.outcome is None else {}
        model = process.open is not None and about.get("call") in MODEL_CALLS
        spent = {"seconds": round(self.clock.monotonic() - process.begun_at if model else 0.0, 6)}
        if model and (process.drafted or answered) and isinstance(process.request, Generate):
            read = tokens_about(message.text for message in process.request.messages)
            spent |= {"prompt": read, "completion": process.drafted}
        await process.write(Entry("outcome", {**about, "is": "lost", "error": why, "cost": spent}))
        process.past.clear()
        process.request = process.open = process.due = None

    async def keep(self, process: Process) -> None:
        """Write down what is known of a foreign agent, so that coming back stays short."""
        kept = process.checkpoint()
        await process.write(Entry("checkpoint", {"call": "checkpoint", **kept.body}, kept.contents))

    def _judge(self, process: Process, request: Request, flags: frozenset[str] = frozenset()) -> Verdict:
        family = Family(process.state.owner, process.state.parent, process.state.children)
        return self.effects.monitor.judge(process.station, process.sources, request, family, flags)

    def _said(self, process: Process, text: str) -> tuple[Label, Json]:
        """Whose words may be in a text for the owner (I4); and each sentence that a stranger wrote, with its place."""
        source, readers = Source("model", process.station.engine), frozenset({process.state.owner})
        marks = process.sources.origins.reading.repeated(text) if process.strange else []
        places = {Source("anyone", place) for _, place in marks}
        if process.strange and not marks:
            places = {Source("anyone", source.name)}
        return Label(frozenset({source, *places}), readers), [list(mark) for mark in marks]

    async def _doubtful(self, process: Process, request: Invoke, call: PastCall) -> None:
        """Decide about the effect of a call without outcome that may have happened (I3)."""
        tool = self.effects.tool(process, request.tool)
        remedy = after_crash(call_of(request), tool.spec if tool else None)
        if remedy == "verify":
            await self._let_pass(process, request, call)
            try:
                found = await self.effects.verify(process, request, _key(call))
            except Uncertain as uncertain:
                await self._doubt(process, call, str(uncertain))
                return
            if found is None:
                process.open = await self._begun(process, call)
            else:
                process.due = Due(call.intent.seq, found, told={"by": "look-up"})
        elif remedy == "doubt":
            await self._doubt(process, call, "it was begun and has no outcome")

    async def _let_pass(self, process: Process, request: Invoke, call: PastCall) -> None:
        """Wait until no other worker can still start this effect: only then "it did not happen" stays true."""
        if self.skew is None:
            return
        tool = self.effects.tool(process, request.tool)
        longest = (tool.spec.timeout if tool else None) or 0.0
        await asyncio.sleep(call.at + limits.START_WINDOW + longest + self.skew - self.clock.now())

    async def _begun(self, process: Process, call: PastCall) -> PastCall:
        """Record, under the newest claim, that the effect begins now."""
        process.begun_at = self.clock.monotonic()
        return followed(call, (await process.write(Entry("begin", {"call": call.intent.seq})))[0])

    async def _doubt(self, process: Process, call: PastCall, reason: str) -> None:
        rows = await process.write(Entry("doubt", {"call": call.intent.seq, "reason": reason}))
        process.open = followed(call, rows[0])

    async def _finish(self, process: Process, request: Request, call: PastCall) -> Outcome:
        """From a durable intent to a durable outcome."""
        if process.due is None:
            try:
                done = await self._effect(process, request, call)
            except BadInput as error:  # the program's own mistake, which only the engine could find
                found = {"where": error.where, "found": error.found, "right": error.right}
                [row] = await process.write(Entry("outcome", {"call": call_of(request).name, "is": "wrong", **found}))
                process.open = None
                return to_reply(row)
            except AnswerLost as error:
                await self.lose(process, str(error), answered=True)
                raise
            if isinstance(done, Waiting | Stopped):
                return done
            process.due = done
        try:
            rows = await self._record(process, request, process.due)
        except Fenced:
            await self.late(process.pid, process.epoch, process.due)
            process.due = None
            raise
        process.open, process.due = None, None
        return to_reply(rows[-1])

    async def _record(self, process: Process, request: Request, due: Due) -> list[Record]:
        """Write the outcome. A tool whose own rows the database refuses has failed; then nothing of it was written."""
        try:
            return await process.write(outcome(process, request, due), aside=due.aside)
        except ToolError as error:
            process.due = Due(due.seq, Invoked(error=str(error)), due.seconds)
            return await process.write(outcome(process, request, process.due))

    async def late(self, pid: str, epoch: int, due: Due) -> None:
        """Leave what a tool returned too late as evidence, for whoever has the process now (I3)."""
        if not isinstance(due.reply, Invoked):
            return
        form = of_reply(due.reply)
        body = {"call": due.seq, "reply": {**form.body, **form.contents}}
        journal = self.services.journal
        name = f"late:{pid}:{due.seq}:{epoch}"
        await journal.store.post([note(journal.key, name, pid, "late", body, self.clock.now())])

    async def _effect(self, process: Process, request: Request, call: PastCall) -> Due | Waiting | Stopped:
        """Step 4; what a person has to say first, is asked for here."""
        seq, verdict = call.intent.seq, call.intent.body["verdict"]
        if verdict["is"] == "deny":  # a fork may begin between a refusal and its outcome
            return Due(seq, Deny(verdict["rule"], verdict["reason"], tuple(verdict.get("missing", ()))))
        if call.doubt is not None or (verdict["is"] == "ask" and not call.begun):
            said = await self._person(process, request, call)
            if said is not None:
                return said
        match request:
            case Propose():
                return Due(seq, Proposed(self._may(process, request)))
            case Extract():
                reply, asked = await self.effects.extract(process, request)
                return Due(seq, reply, told={**process.strange, "cost": cost(asked)})
            case Generate() | Embed():
                return Due(seq, await self.effects.answer(process, request))
            case Invoke():
                return await self._invoke(process, request)
            case AskPerson():
                return WAITING if call.answer is None else Due(seq, str(call.answer.body["text"]))
        refused = self._judge(process, request)  # a fork is not of the family of which it was a part
        served = (
            Served(refused) if isinstance(refused, Deny) else await self.services.serve(process, request, call.intent)
        )
        if isinstance(served.reply, Waiting):
            return WAITING
        return Due(seq, served.reply, told=served.told, aside=served.aside)

    async def _person(self, process: Process, request: Request, call: PastCall) -> Due | Waiting | Stopped | None:
        """What a person has said of an approval or a doubt; None if the effect is to begin, which is then recorded."""
        if call.answer is None:
            until = call.intent.body.get("until")
            if call.doubt is not None or until is None or self.clock.now() < until:
                return WAITING
            return Due(call.intent.seq, Deny("approval", "nobody allowed it in time: do not call it again"))
        said = _said(call.answer.body, call.doubt is not None)
        if isinstance(said, Stopped):
            return said
        if said is not None:
            return Due(call.intent.seq, said, told={"by": call.answer.body["by"]})
        if isinstance(request, Invoke) and call.doubt is not None:
            if any(_tells_otherwise(late, call.doubt) for late in call.late):
                await self._doubt(process, call, "a worker has reported that it happened after all")
                return WAITING
            await self._let_pass(process, request, call)
        if not isinstance(request, Propose):
            process.open = await self._begun(process, call)
        return None

    def _may(self, process: Process, request: Propose) -> tuple[bool, ...]:
        """Of each announced call, whether it is allowed now."""
        return tuple(isinstance(self._judge(process, call), Allow) for call in request.calls)

    async def _invoke(self, process: Process, request: Invoke) -> Due | Waiting:
        tool = self.effects.tool(process, request.tool)
        assert process.open is not None
        late = self.clock.monotonic() - process.begun_at > limits.START_WINDOW
        if late and not (tool and tool.spec.repeatable):
            process.open = await self._begun(process, process.open)
        if process.state.paused:  # it was halted after this call had begun: nothing more starts
            return WAITING
        call = process.open
        started = self.clock.monotonic()
        try:
            reply, writes = await self.effects.invoke(process, request, _key(call))
        except Uncertain as uncertain:
            if found := await self._looked_up(process, request, call):
                return found
            await self._doubt(process, call, str(uncertain))
            return WAITING
        return Due(call.intent.seq, reply, self.clock.monotonic() - started, aside=Aside(writes=writes))

    async def _looked_up(self, process: Process, request: Invoke, call: PastCall) -> Due | None:
        """What a look-up finds of a call that its tool was not sure of. Nothing found proves nothing yet."""
        tool = self.effects.tool(process, request.tool)
        if tool is None or not tool.spec.verified:
            return None
        with suppress(Uncertain):
            if found := await self.effects.verify(process, request, _key(call)):
                return Due(call.intent.seq, found, told={"by": "look-up"})
        return None


def _asked(process: Process, request: Request) -> dict[str, Json]:
    """A request that is not made for want of budget, for its row."""
    form = of_request(request, process.known)
    return {"asked": {**form.body, **form.contents}}


def _key(call: PastCall) -> str:
    """The idempotency key of a call: the same for every try, and in a fork of its process."""
    return f"{call.intent.pid}:{call.intent.seq}"


def _tells_otherwise(late: Record, doubt: Record) -> bool:
    """Whether a late worker reported, after a doubt was raised, that the effect happened."""
    return late.seq > doubt.seq and late.body["reply"]["is"] == "returned"


def _said(answer: Mapping[str, Json], doubt: bool) -> Reply | Stopped:
    """What a person's answer makes of a call; None if the effect may begin (again)."""
    by = answer["by"]
    if not doubt:
        return None if answer["approved"] else Deny("approval", f"{by} declined: do not call it again")
    match answer.get("settled"):
        case "happened":
            return Invoked(answer.get("value"))
        case "stop":
            return Stopped(f"stopped by {by}: a call was in doubt")
    return None
