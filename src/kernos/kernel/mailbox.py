"""Notes and the rows that they become: messages, answers, signals, children's ends, late outcomes.

Whoever has something for a process posts a note; it is durable then, and waits. The process's own turn makes rows of
its notes (`entry_of`), in the transaction that takes them out of the mailbox: so only one writes a chain, and each note
counts once. A message is received once too: the outcome of the `receive` that took it names its row.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from kernos.kernel.journal import Entry
from kernos.kernel.process import Mail, Process
from kernos.kernel.types import Json, Label, Note, NoteKind, Source, canonical


def note(key: bytes, name: str, pid: str, kind: NoteKind, body: Mapping[str, Json], at: float) -> Note:
    """A note, with a proof (HMAC) that whoever made it holds the journal's key: a person's answer must not be forged by
    who only has the database."""
    return Note(name, pid, kind, {**body, "proof": _proof(key, name, pid, kind, body)}, at)


def genuine(noted: Note, key: bytes) -> bool:
    """Whether a note was made by a holder of the key."""
    body = {name: value for name, value in noted.body.items() if name != "proof"}
    proof = str(noted.body.get("proof", ""))
    return hmac.compare_digest(proof, _proof(key, noted.id, noted.pid, noted.kind, body))


def _proof(key: bytes, name: str, pid: str, kind: NoteKind, body: Mapping[str, Json]) -> str:
    return hmac.digest(key, canonical([name, pid, kind, dict(body)]), "sha256").hex()


def message_entry(sender: str, owner: str, text: str, strange: bool = False) -> Entry:
    """The row of a message. Only the owner's own words are labelled as such (I4); `strange` is one by a process that
    has
    read what anyone may have written."""
    source = Source("owner", owner) if sender == owner else Source("process", sender)
    anyone = {Source("anyone", sender)} if strange else set()
    label = Label(frozenset({source, *anyone}), frozenset({owner}))
    return Entry("message", {"from": sender, "label": label.to_json()}, {"text": text})


def late_entry(body: Mapping[str, Json]) -> Entry:
    """The row of an outcome that came to a worker after it had lost the process."""
    return Entry("late", {"call": body["call"]}, {"reply": body["reply"]})


def entry_of(process: Process, note: Note) -> Entry | None:
    """The row that a note becomes; None if it came too late to mean anything. A late outcome always does."""
    state = process.state
    body = {name: value for name, value in note.body.items() if name != "proof"}
    if note.kind == "late":
        return late_entry(body)
    if state.phase == "exited":
        return None
    match note.kind:
        case "message":
            return message_entry(body["from"], state.owner, body["text"], body.get("anyone", False))
        case "answer":
            return _answer(process, body)
        case "signal":
            return None if body.get("halt") and state.paused else Entry("signal", body)
        case "child":
            kept = {name: value for name, value in body.items() if name in ("result", "error", "receipts")}
            anyone = {"anyone": True} if body.get("anyone") else {}
            return Entry("child", {"child": body["child"], "how": body["how"], **anyone}, kept)
    raise ValueError(f"note {note.id}: a {note.kind} note cannot stand here")


def _answer(process: Process, body: Mapping[str, Json]) -> Entry | None:
    state = process.state
    if state.asking is None or state.asking != body["to"]:
        return None
    small = {name: body[name] for name in ("by", "approved", "settled") if name in body}
    if state.lifting:
        given = process.station.limits.of(state.lifting)
        small["more"] = given if given is not None else state.limits.of(state.lifting)
    return Entry("answer", small, {name: body[name] for name in ("text", "value", "stands") if name in body})


def oldest(process: Process) -> tuple[int, Mail] | None:
    """The row of the next message, and the message, if there is one."""
    return next(iter(process.unread.items()), None)
