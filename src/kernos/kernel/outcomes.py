"""The outcome row of a call: the reply, where it comes from and who may have written in it (I4), and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kernos.kernel import limits
from kernos.kernel.abi import (
    AskPerson,
    Embed,
    Extract,
    Generate,
    Invoke,
    Invoked,
    Recall,
    Receive,
    Request,
    Wait,
    call_of,
)
from kernos.kernel.effects import engine_of
from kernos.kernel.forms import of_reply
from kernos.kernel.journal import Entry
from kernos.kernel.process import Due, Process
from kernos.kernel.reading import attested
from kernos.kernel.types import Generation, Json, Label, Source


def outcome(process: Process, request: Request, due: Due) -> Entry:
    """The row. A source without a place in its label is this very row."""
    form = of_reply(due.reply)
    body: dict[str, Json] = {"call": call_of(request).name, **form.body, **due.told}
    if isinstance(request, Invoke):
        body["tool"] = request.tool
        body["cost"] = {"seconds": round(due.seconds, 6)}
    if source := _source(process, request, due.told):
        anyone = {Source("anyone", source.name)} if _strange(process, request, due) else set()
        body["label"] = Label(frozenset({source, *anyone}), frozenset({process.state.owner})).to_json()
    if isinstance(due.reply, Generation | Invoked) and (near := _near(process, body.get("cost", {}))):
        body["near"] = near
    return Entry("outcome", body, form.contents)


def _source(process: Process, request: Request, told: Mapping[str, Json]) -> Source | None:
    """Where the reply to a call comes from, if it brings anything into the process."""
    owner = process.state.owner
    match request:
        case Generate() | Extract() | Embed():
            return Source("model", engine_of(process, request))
        case Invoke():
            return Source("tool", request.tool)
        case AskPerson():
            return Source("owner", owner)
        case Receive() if told.get("from") == owner:
            return Source("owner", owner)
        case Receive():
            return Source("process", str(told.get("from", "")))
        case Wait():
            return Source("process", request.pid)
        case Recall():
            return Source("model", "memory")
    return None


def _strange(process: Process, request: Request, due: Due) -> bool:
    """Whether anyone may have written something in a reply (I4)."""
    if isinstance(request, Invoke) and isinstance(due.reply, Invoked):
        tool = process.station.tools.get(request.tool)
        return tool is None or not attested(tool.spec, due.reply.error or due.reply.value, bool(due.reply.error))
    return bool(due.told.get("anyone")) or (isinstance(request, Generate | Embed) and bool(process.strange))


def _near(process: Process, cost: Mapping[str, Json]) -> dict[str, float]:
    """The limits that this call brings close; its intent has been counted already."""
    usage = process.state.usage
    before = replace(usage, calls=usage.calls - 1)
    tokens = cost.get("prompt", 0) + cost.get("completion", 0)
    after = usage.plus(tokens, seconds=cost.get("seconds", 0.0), money=cost.get("money", 0.0))
    return limits.near(before, after, process.state.limits)
