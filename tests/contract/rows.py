"""Rows for the tests of stores: whole chains, statuses, notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kernos.kernel.journal import GENESIS, Entry, seal
from kernos.kernel.ports import Commit
from kernos.kernel.types import Json, Note, Phase, Status

KEY = b"the key of these tests"


def process(
    pid: str, phase: Phase = "ready", wake: float | None = 0.0, root: str = "", born: float = 0.0, at: float = 0.0,
    calls: int = 0, tokens: int = 0, money: float = 0.0, seconds: float = 0.0,
) -> Status:  # fmt: skip
    """A process that has no row yet."""
    parent = root if root not in ("", pid) else ""
    return Status(
        pid, "ada", "advisor", "chat", phase, "", calls, tokens, money, seconds, 0, wake, parent, root or pid, "",
        -1, GENESIS, born, at,
    )  # fmt: skip


def born(*statuses: Status) -> Commit:
    return Commit([], {}, statuses)


def chain(pid: str, length: int, body: Json = None) -> list[Commit]:
    """Commits of one row each, that make a whole chain. The first makes the process; nobody claims it."""
    commits: list[Commit] = []
    status, epochs = process(pid), dict[str, int]()
    for seq in range(length):
        entry = Entry("message", {"n": seq, "body": body}, {"text": f"{pid} says {seq}", "same": "the same in all"})
        record, contents = seal(pid, seq, status.hash, float(seq), entry, KEY)
        status = replace(status, seq=seq, hash=record.hash, at=record.at)
        commits.append(Commit([record], contents, [status], epochs))
        epochs = {pid: 0}
    return commits


def note(pid: str, text: str, at: float = 0.0, body: Mapping[str, Json] | None = None) -> Note:
    """A message to a process; its id is its text."""
    return Note(text, pid, "message", body or {"text": text}, at)
