"""A process's journal as lines of text, to move it into another journal with its hash chain intact.

    {"kernos": "journal", "version": 1, "pid": "7k2qhb4c", "origin": ""}
    {"row": [pid, seq, kind, body, at, previous, hash]}       each row, in order
    {"content": "text"} or {"bytes": "base64"}                each content that the rows lead to

A process that could go on in both places is not exported: it has to be paused or to have exited. A fork shares rows
with another process, which has to be there before it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence

from kernos.kernel.errors import BadInput, JournalBroken
from kernos.kernel.journal import Journal, broken
from kernos.kernel.ports import Commit, Memory
from kernos.kernel.retention import reached
from kernos.kernel.state import fold
from kernos.kernel.types import Json, Record, canonical, digest

_FORMAT, _VERSION = "journal", 1


async def export(journal: Journal, pid: str) -> list[str]:
    """A process's own rows and what they lead to. Raises BadInput if it neither exited nor is paused."""
    status = await journal.status(pid)
    if status.phase not in ("exited", "paused"):
        raise BadInput(
            f"process {pid}", f"one that is {status.phase}", "a paused one, which cannot go on in two places"
        )
    if await journal.store.notes(pid):
        raise BadInput(f"process {pid}", "notes that it has not taken", "an empty mailbox: give it a turn")
    rows = await journal.store.records(pid)
    contents = await journal.store.contents(sorted(await reached(rows, journal)))
    lines: list[Json] = [{"kernos": _FORMAT, "version": _VERSION, "pid": pid, "origin": status.origin}]
    lines += [{"row": [r.pid, r.seq, r.kind, r.body, r.at, r.previous, r.hash]} for r in rows]
    lines += [_content(content) for content in contents.values()]
    return [canonical(line).decode() for line in lines]


async def adopt(journal: Journal, lines: Sequence[str]) -> str:
    """Take in an exported process: its pid. Raises BadInput, or JournalBroken if its chain does not hold here."""
    head, rows, contents = _parsed(lines)
    pid = str(head["pid"])
    if await journal.store.status(pid) is not None:
        raise BadInput("export", f"process {pid}, which is here already", "a process that is not")
    past = await _past(journal, str(head["origin"]))
    status = fold([*past, *rows]).status()
    known = {**contents, **await journal.contents(past)}
    if faults := broken([*past, *rows], known, status, journal.key):
        raise JournalBroken(f"process {pid}: {faults[0]}")
    await journal.commit(Commit(rows, contents, [status], memories=_memories(rows)))
    return pid


async def _past(journal: Journal, origin: str) -> list[Record]:
    """The rows of another process that a fork goes on from."""
    pid, _, at = origin.rpartition(":")
    if not pid:
        return []
    past = [row for row in await journal.rows(pid) if row.seq <= int(at)]
    if not past:
        raise BadInput("export", f"a fork of process {pid}, which is not here", "that one first")
    return past


def _memories(rows: Iterable[Record]) -> list[Memory]:
    """What the process has remembered, for the index."""
    kept = [row for row in rows if row.kind == "intent" and row.body["call"] == "remember"]
    return [Memory(row.body["space"], row.body["key"], row.pid, row.seq) for row in kept]


def _content(content: bytes) -> Json:
    try:
        return {"content": content.decode()}
    except UnicodeDecodeError:
        return {"bytes": base64.b64encode(content).decode()}


def _parsed(lines: Sequence[str]) -> tuple[Mapping[str, Json], list[Record], dict[str, bytes]]:
    """The three parts of an export. Raises BadInput with the line that is none of them."""
    rows: list[Record] = []
    contents: dict[str, bytes] = {}
    head: Mapping[str, Json] = {}
    for number, line in enumerate(lines, 1):
        try:
            part = json.loads(line)
            if number == 1:
                head = part
                if (part["kernos"], part["version"]) != (_FORMAT, _VERSION):
                    raise ValueError
            elif "row" in part:
                rows.append(Record(*part["row"]))
            else:
                content = part["content"].encode() if "content" in part else base64.b64decode(part["bytes"])
                contents[digest(content)] = content
        except (ValueError, KeyError, TypeError, AttributeError):
            right = "a line that `kernos journal export` wrote"
            raise BadInput(f"export: line {number}", repr(line[:80]), right) from None
    if not rows:
        raise BadInput("export", "no rows", "what `kernos journal export` wrote")
    return head, rows, contents
