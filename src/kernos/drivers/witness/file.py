"""A witness that keeps its statements in a file: one line of JSON each, signed, and chained to the line before (I7).

Entry point: `FileWitness(path, public, private)`.

    {"at": 1.0, "heads": [["pid", 7, "hash"], ...], "key": "id", "previous": "hash of the line before", "signature": ""}

What it is worth depends on where the file is: on another machine's mount, or append-only (`chattr +a`), so that whoever
can write the database can neither change nor cut it. No folder is made for it: a mount that is missing must be noticed.
Nothing in it is ever cut or written over. The rest of a write that a crash broke off stays as a line of its own, which
is passed over; it cannot hide a statement, for the next one names the hash of the last whole one. Only the newest lines
can be taken away unnoticed. Another key needs another file.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from kernos.kernel.errors import JournalBroken, KernosError, StoreError, Unsupported
from kernos.kernel.ports import Head
from kernos.kernel.types import Json, canonical, digest

GENESIS = "0" * 64
"""What the first line names as the line before it."""
_END = b'=="}'
"""How a whole line ends, and no part of one does: with the signature, as 88 digits of Base64."""
_CHUNK = 1 << 16


class FileWitness:
    """Statements in a file.

    Args:
        path: the file; made by the first statement.
        public: the 32 bytes of the Ed25519 key by which the statements are checked.
        private: those of its secret half; without them nothing can be signed.
    """

    def __init__(self, path: Path, public: bytes, private: bytes | None = None) -> None:
        self._path = path
        self._public = Ed25519PublicKey.from_public_bytes(public)
        self._private = Ed25519PrivateKey.from_private_bytes(private) if private is not None else None
        self._key = digest(public)[:16]

    async def sign(self, heads: Sequence[Head], at: float) -> None:
        """Append one statement; durable when this returns. Raises StoreError if it cannot be written."""
        if self._private is None:
            raise Unsupported(f"{self._path}: nothing can be signed here: the secret half of key {self._key} is needed")
        await asyncio.to_thread(self._append, self._private, heads, at)

    async def heads(self) -> Sequence[Head]:
        """Every head that was signed, in order: all of a process's must be in its journal, for rows could have been cut
        and others written since, and those signed like any.

        Raises JournalBroken, with the line, for a statement that is not whole, not signed, or not in its place.
        """
        return await asyncio.to_thread(self._heads)

    def _append(self, private: Ed25519PrivateKey, heads: Sequence[Head], at: float) -> None:
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                # Who reads the last line and who writes the next must be one; closing unlocks.
                fcntl.flock(handle, fcntl.LOCK_EX)
                before, torn = _last(handle)
                rest = {"at": float(at), "heads": [[head.pid, head.seq, head.hash] for head in heads],
                        "key": self._key, "previous": digest(before) if before else GENESIS}  # fmt: skip
                signature = base64.b64encode(private.sign(canonical(rest))).decode()
                line = canonical({**rest, "signature": signature})
                _write(handle, b"\n" * torn + line + b"\n")
                os.fsync(handle)
            finally:
                os.close(handle)
            _sync(self._path.parent)
        except OSError as error:
            raise StoreError(f"{self._path}: the statement cannot be written: {error.strerror}") from None

    def _heads(self) -> list[Head]:
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{self._path}: the statements cannot be read: {error.strerror}") from None
        heads: dict[Head, None] = {}
        previous = GENESIS
        for number, line in enumerate(lines, 1):
            if not line.endswith(_END):
                continue
            statement = self._statement(line, number)
            if statement["previous"] != previous:
                raise self._broken(number, "does not follow the line before it; lines were removed, added or moved")
            previous = digest(line)
            heads |= dict.fromkeys(Head(*head) for head in statement["heads"])
        return list(heads)

    def _statement(self, line: bytes, number: int) -> Json:
        """A line's statement, once its signature holds; the form of what this key signed needs no check."""
        try:
            statement = json.loads(line)
            if canonical(statement) != line:
                raise ValueError
            signature = base64.b64decode(statement.pop("signature"), validate=True)
            key = statement["key"]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, KernosError):
            raise self._broken(number, "is not a statement") from None
        if key != self._key:
            raise self._broken(number, f"is signed with key {key}; expected {self._key}")
        try:
            self._public.verify(signature, canonical(statement))
        except InvalidSignature:
            raise self._broken(number, "is not what was signed") from None
        return statement

    def _broken(self, number: int, what: str) -> JournalBroken:
        return JournalBroken(f"{self._path}: line {number} {what}")


def _last(handle: int) -> tuple[bytes, bool]:
    """The last whole line of a file (empty: there is none), and whether the file ends within a line."""
    start = os.fstat(handle).st_size
    tail = b""
    while start:
        size = min(start, max(_CHUNK, len(tail)))
        start -= size
        tail = os.pread(handle, size, start) + tail
        first, *lines = tail.split(b"\n")
        whole = [line for line in ([] if start else [first]) + lines if line.endswith(_END)]
        if whole:
            return whole[-1], not tail.endswith(b"\n")
    return b"", bool(tail) and not tail.endswith(b"\n")


def _write(handle: int, content: bytes) -> None:
    while content:
        content = content[os.write(handle, content) :]


def _sync(folder: Path) -> None:
    """Make the file's name durable, on file systems that can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
