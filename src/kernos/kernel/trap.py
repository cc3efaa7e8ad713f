"""The one path of a system call. Nothing reaches an engine, a tool or a person but through `Trap.call`. I1 to I5.

    1 limits     is there budget left?                                    -> LimitExceeded
    2 monitor    grants, schema, sources, claims, approval                -> allow | ask a person | deny
    3 journal    the intent row, durable
    4 driver     the effect (a model call queues in the scheduler here)
    5 labels     the result is labelled by its source
    6 journal    the outcome row, durable; then the program sees the reply

A call whose effect is the row itself (a denial, `send`, `now`, a `receive` with mail) makes 3 and 6 in one transaction.
On replay 1 to 5 are skipped and 6 is read from the process's past. A call that has to wait for a message or a person
stays open: its intent stands, `WAITING` is returned, and the same call is made again when there is news.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kernos.kernel import effects, limits
from kernos.kernel.abi import AskPerson, Generate, Invoke, Invoked, Now, Random, Receive, Reply, Request, Send, call_of
from kernos.kernel.errors import BadInput, EngineDied, EngineError, InDoubt, ReplayDiverged, ToolError
from kernos.kernel.forms import of_reply, of_request, to_reply
from kernos.kernel.journal import Entry
from kernos.kernel.mailbox import oldest
from kernos.kernel.monitor import Monitor
from kernos.kernel.ports import Clock, Prompt, Tool
from kernos.kernel.process import Due, PastCall, Process
from kernos.kernel.scheduler import Scheduler
from kernos.kernel.types import (
    Deny,
    Event,
    Generation,
    Json,
    Label,
    Record,
    Source,
    SourceKind,
    canonical,
    verdict_to_json,
)


class Waiting:
    """The reply has not come yet."""


WAITING = Waiting()


@dataclass(frozen=True)
class Trap:
    """The path, and what stands along it."""

    monitor: Monitor
    scheduler: Scheduler
    tools: Mapping[str, Tool]
    clock: Clock

    async def call(self, process: Process, request: Request) -> Reply | Waiting:
        """Take one system call of a process as far as it goes now. Raises what the table says of it."""
        if process.open is None and process.past:
            past = self._again(process, request)
            if past.outcome is not None:
                return to_reply(past.outcome.body)
            process.open = past
        if process.open is None:
            limits.check(process.state.usage, process.state.limits)
            verdict = self.monitor.judge(process.station, process.sources, request)
            form = of_request(request, process.known)
            body = {**form.body, "verdict": verdict_to_json(verdict)}
            intent = Entry("intent", body, form.contents, form.chained)
            settled = verdict if isinstance(verdict, Deny) else self._at_once(process, request)
            if not isinstance(settled, Waiting):
                rows = await process.write(intent, self._outcome(process, request, settled))
                return to_reply(rows[-1].body)
            process.open = PastCall((await process.write(intent))[0])
        return await self._finish(process, request, process.open)

    def _again(self, process: Process, request: Request) -> PastCall:
        """The recorded call that this request makes again (I6), unless its effect is in doubt (I3)."""
        past = process.past[0]
        form = of_request(request, process.known)
        made = {**form.body, **form.contents}
        recorded = {name: value for name, value in past.intent.body.items() if name != "verdict"}
        if canonical(made) != canonical(recorded):
            raise ReplayDiverged(process.pid, past.intent.seq, _brief(recorded), _brief(made))
        if past.outcome is None and process.due is None:
            self._doubt(process, request, past)
        return process.past.popleft()

    def _doubt(self, process: Process, request: Request, call: PastCall) -> None:
        """Raise InDoubt if the effect of a call without outcome may have happened and must not be repeated (I3)."""
        tools = process.station.tools(self.tools)
        tool = tools.get(request.tool) if isinstance(request, Invoke) else None
        asked = call.intent.body["verdict"]["is"] == "ask"
        begun = not asked or (call.answer is not None and call.answer.body["approved"])
        if effects.after_crash(call_of(request), tool.spec if tool else None, begun) == "doubt":
            raise InDoubt(
                f"process {process.pid}: call {call.intent.seq}, {_brief(call.intent.body)}, was begun and has no "
                "outcome; it may have happened, so it is not repeated"
            )

    def _at_once(self, process: Process, request: Request) -> Reply | Waiting:
        """The reply to a call that needs no driver and no person."""
        match request:
            case Send():
                return None
            case Now():
                return self.clock.now()
            case Random():
                return self.clock.random()
            case Receive() if mail := oldest(process):
                return mail[1]
            case _:
                return WAITING

    async def _finish(self, process: Process, request: Request, call: PastCall) -> Reply | Waiting:
        """From a durable intent to a durable outcome."""
        if process.due is None:
            started = self.clock.monotonic()
            reply = await self._effect(process, request, call)
            if isinstance(reply, Waiting):
                return WAITING
            seconds = self.clock.monotonic() - started if isinstance(request, Invoke) else 0.0
            process.due = Due(call.intent.seq, reply, seconds)
        rows = await process.write(self._outcome(process, request, process.due.reply, process.due.seconds))
        process.open, process.due = None, None
        return to_reply(rows[-1].body)

    async def _effect(self, process: Process, request: Request, call: PastCall) -> Reply | Waiting:
        if call.intent.body["verdict"]["is"] == "ask":
            if call.answer is None:
                return WAITING
            if not call.answer.body["approved"]:
                return Deny("approval", f"{call.answer.body['by']} declined: do not call it again")
        match request:
            case Generate():
                return await self._generate(process, request)
            case Invoke():
                tool = process.station.tools(self.tools)[request.tool]
                return await self._invoke(tool, request, f"{process.pid}:{call.intent.seq}")
            case AskPerson():
                return WAITING if call.answer is None else str(call.answer.body["text"])
            case _:
                return self._at_once(process, request)

    async def _generate(self, process: Process, request: Generate) -> Generation:
        """Ask the engine, again on a fresh one if it dies under the call."""
        names = [name for name in request.tools if name not in request.withheld]
        tools = process.station.tools(self.tools)
        specs = tuple(tools[name].spec for name in request.tools)
        offers = self.monitor.offers(process.station, process.sources, names)
        speak = request.speak or not offers  # there must be something to choose
        prompt = Prompt(request.messages, specs, offers, speak, request.max_tokens, request.temperature)

        def draft(text: str) -> None:
            if not process.station.claims:  # a draft with claims to check is not shown before it is judged
                process.tell(Event(process.pid, "draft", text=text))

        for attempt in range(1, limits.ENGINE_ATTEMPTS + 1):
            try:
                async with self.scheduler.slot(process.station.engine) as (engine, queued):
                    generation = await engine.generate(prompt, draft)
                    canonical(dict(generation.action.arguments))
                    return replace(generation, queued=queued, attempts=attempt)
            except BadInput as error:
                raise EngineError(f"the engine's answer cannot be recorded: {error.found}") from None
            except EngineDied:
                process.tell(Event(process.pid, "redraft"))
                if attempt == limits.ENGINE_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    async def _invoke(self, tool: Tool, request: Invoke, key: str) -> Invoked:
        try:
            result = await tool.call(request.arguments, key)
            canonical([result.value, dict(result.say)])
        except (ToolError, BadInput) as error:
            return Invoked(error=str(error))
        return Invoked(result.value, "", result.say)

    def _outcome(self, process: Process, request: Request, reply: Reply, seconds: float = 0.0) -> Entry:
        """The outcome row: the reply, its label (a source without a place is this very row), and what it cost."""
        form = of_reply(reply)
        body: dict[str, Json] = {"call": call_of(request).name, **form.body}
        source: tuple[SourceKind, str] | None = None
        match request:
            case Generate():
                source = ("model", process.station.engine)
            case Invoke():
                body["tool"] = request.tool
                source = ("tool", request.tool)
                body["cost"] = {"seconds": round(seconds, 6)}
            case Receive() | AskPerson():
                source = ("owner", process.state.owner)
        if source:
            body["label"] = Label(frozenset({Source(*source)}), frozenset({process.state.owner})).to_json()
        mail = oldest(process) if isinstance(request, Receive) else None
        return Entry("outcome", body | ({"message": mail[0]} if mail else {}), form.contents)


def _brief(body: Mapping[str, Json]) -> str:
    """A call in one line, for an error."""
    details = {name: value for name, value in body.items() if name in ("tool", "arguments", "text", "context")}
    return f"{body['call']} {canonical(details).decode()[:160]}" if details else str(body["call"])


def open_question(call: PastCall | None) -> str | None:
    """What a person is asked by a call that waits for one."""
    if call is None or call.answer is not None:
        return None
    record: Record = call.intent
    if record.body["call"] == "ask":
        return str(record.body["text"])
    if record.body["verdict"]["is"] == "ask":
        return f"{record.body['verdict']['reason']} with {canonical(record.body['arguments']).decode()}. Allow?"
    return None
