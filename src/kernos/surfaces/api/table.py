"""Every operation of the API, once: the routes and the description are both made of this."""

from __future__ import annotations

from collections.abc import Sequence

from kernos.kernel.office import View
from kernos.kernel.ports import Caller
from kernos.kernel.types import Record, Status
from kernos.surfaces.api import answers, events, office, processes
from kernos.surfaces.api.operation import Operation

TABLE: Sequence[Operation] = (
    Operation("GET", "/api/health", office.health, office.Health, open=True),
    Operation("GET", "/api/processes", processes.listed, Sequence[Status]),
    Operation("POST", "/api/processes", processes.begun, Status, body=processes.Begin, status=201),
    Operation("GET", "/api/processes/{pid}", processes.shown, processes.Shown),
    Operation("DELETE", "/api/processes/{pid}", processes.killed, Status, status=202),
    Operation("POST", "/api/processes/{pid}/messages", processes.told, Status, body=processes.Words, status=202),
    Operation("POST", "/api/processes/{pid}/signals", processes.signalled, Status, body=processes.Steer, status=202),
    Operation("GET", "/api/processes/{pid}/journal", processes.journal, Sequence[Record], query=processes.After),
    Operation(
        "GET", "/api/processes/{pid}/events", events.watched, str, query=processes.After, media="text/event-stream"
    ),
    Operation("GET", "/api/approvals", answers.asked, Sequence[answers.Card]),
    Operation("POST", "/api/approvals/{pid}", answers.answered, Status, body=answers.Said, status=202),
    Operation("GET", "/api/engines", office.engines, View),
    Operation("GET", "/api/employees", office.employees, Sequence[office.Worker]),
    Operation("GET", "/api/keys", office.keys, Sequence[Caller], role="operator"),
    Operation("POST", "/api/keys", office.issued, office.Issued, body=office.NewKey, role="operator", status=201),
    Operation("DELETE", "/api/keys/{name}", office.revoked, None, role="operator"),
    Operation("POST", "/api/stop", office.stopped, office.Pids, role="operator"),
    Operation("POST", "/api/resume", office.resumed, office.Pids, role="operator"),
)
