"""What a process does, as it happens: server-sent events. No thread is held, and no row is lost.

A row of the journal comes as `event: record` with its number as `id`, a piece of a reply that is being written as
`draft`, and `redraft` says that the pieces so far are void. Who comes back with `Last-Event-ID` (browsers do) or
`?after=` gets first what was missed, from the journal; what other workers write comes from there too. After the last
row the answer ends; who asks again then gets status 204, upon which browsers stop.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict

from starlette.responses import Response, StreamingResponse

from kernos.kernel.errors import Forbidden
from kernos.kernel.types import Event, Record, Status
from kernos.surfaces.api.operation import Call
from kernos.surfaces.api.processes import After
from kernos.surfaces.api.rights import find
from kernos.surfaces.http import identified

POLL = 1.0
"""So often the journal is asked for rows that were not written here, and whether the key still holds."""
BEAT = 15.0
"""After so many seconds without an event a comment is sent, so that nobody between takes the connection for dead."""
MOST = 10_000
"""Who is so many events behind is cut off, and may come back for them."""
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def watched(call: Call) -> Response:
    """Follow a process: the rows of its journal and the drafts of its replies, as server-sent events."""
    assert isinstance(call.query, After)
    status = await find(call)
    last = call.request.headers.get("last-event-id", "")
    after = int(last) if last.isdecimal() and len(last) < 19 else call.query.after  # no larger than a row's number
    if status.phase == "exited" and status.seq <= after:
        return Response(status_code=204)
    stream = _Stream(call, status, after)
    return StreamingResponse(stream.events(), media_type="text/event-stream", headers=_HEADERS)


class _Stream:
    """One caller who follows one process; `_after` is the last row that was sent, `_stale` says that the journal may
    have more."""

    def __init__(self, call: Call, status: Status, after: int) -> None:
        self._office, self._scope = call.office, call.request.scope
        self._pid, self._after = status.pid, after
        self._over, self._stale, self._silent = status.phase == "exited", True, 0.0
        self._checked = call.office.clock.monotonic()

    async def events(self) -> AsyncIterator[str]:
        """The text of the stream."""
        async with self._office.kernel.events(self._pid) as queue:
            while True:
                for text in await self._missed() if self._stale else ():
                    yield text
                if self._over or self._office.closing.is_set() or queue.qsize() > MOST:
                    return
                for text in await self._news(queue):
                    yield text

    async def _missed(self) -> Sequence[str]:
        """The rows that the journal has beyond the last that was sent."""
        self._stale = False
        return [self._row(record) for record in await self._office.ledger.records(self._pid, self._after)]

    async def _news(self, queue: asyncio.Queue[Event]) -> Sequence[str]:
        """What happens next; after a while without anything, at the most a comment."""
        try:
            async with asyncio.timeout(POLL):
                events = [await queue.get()]
        except TimeoutError:
            return await self._quiet()
        while not queue.empty():
            events.append(queue.get_nowait())
        self._silent = 0.0
        if self._office.clock.monotonic() - self._checked >= POLL:  # a process that is never quiet
            await self._check()
        return [self._text(event) for event in events if not self._over]

    async def _check(self) -> None:
        """End with the key."""
        self._checked = self._office.clock.monotonic()
        try:
            await identified(self._scope, self._office.keys)
        except Forbidden:
            self._over = True

    async def _quiet(self) -> Sequence[str]:
        await self._check()
        self._stale = True
        self._silent += POLL
        if self._silent < BEAT:
            return ()
        self._silent = 0.0
        return (": nothing new\n\n",)

    def _text(self, event: Event) -> str:
        record = event.record
        if record is None:
            return f"event: {event.kind}\ndata: {json.dumps({'text': event.text}, ensure_ascii=False)}\n\n"
        if record.seq > self._after + 1:  # others wrote rows between
            self._stale = True
        return self._row(record) if record.seq == self._after + 1 else ""

    def _row(self, record: Record) -> str:
        self._after = record.seq
        self._over = self._over or record.kind == "exit"
        row = json.dumps({**asdict(record), "body": dict(record.body)}, ensure_ascii=False)
        return f"id: {record.seq}\nevent: record\ndata: {row}\n\n"
