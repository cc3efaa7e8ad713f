"""Messages to a process. `deliver` journals one with its source; the process takes it with `receive`.

A message is durable before `deliver` returns, wakes a process that waits for one, and is received once: the outcome
of the `receive` that took it names its row.
"""

from __future__ import annotations

from kernos.kernel.journal import Entry
from kernos.kernel.process import Process
from kernos.kernel.types import Label, Source


async def deliver(process: Process, text: str) -> None:
    """Put the owner's words into a process's mailbox."""
    owner = process.state.owner
    label = Label(frozenset({Source("owner", owner)}), frozenset({owner}))
    await process.write(Entry("message", {"from": owner, "label": label.to_json()}, {"text": text}))


def oldest(process: Process) -> tuple[int, str] | None:
    """The row and the text of the next message, if there is one."""
    return next(iter(process.unread.items()), None)
