"""The keys of whoever runs Kernos here: the one of the journals' chains, and the pair that signs anchors (I7).

Entry points: `journal_key`, `signing_key` (its public half goes into a file beside it), `verifying_key` for those who
only check.

A key is 32 bytes, kept as a line of 64 hex digits. A secret one lies outside of the company's folder, in a file that
only its owner may read, and is made when it is first needed; of two that make it at once both get the same. Whoever
keeps the database should not be able to read these files: then he can neither write a chain anew nor sign for it.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from kernos.kernel.errors import BadInput, NotFound

VARIABLE = "KERNOS_JOURNAL_KEY"
SIZE = 32
_PRIVATE, _PUBLIC = 0o600, 0o644
_DIGITS = f"{2 * SIZE} hex digits"


def journal_key(environment: Mapping[str, str], path: Path | None = None, make: bool = True) -> bytes:
    """The key of the chains: of the variable `KERNOS_JOURNAL_KEY`, else of the file.

    Args:
        environment: the variables; they also say the place: `kernos` in $XDG_CONFIG_HOME, else in ~/.config.
        path: the file, where it is not `journal.key` in that place. Its folder has to be there: what is not mounted
            must not pass for empty.
        make: whether a new key is right where there is none. It is not where there are chains already.

    Raises BadInput for a variable or a file that holds something else, and for a file that others may read; NotFound
    when there is no key and none is made.
    """
    if (given := environment.get(VARIABLE)) is not None:
        return _decoded(VARIABLE, given)
    path = path or _own(environment) / "journal.key"
    return _lasting(path, secrets.token_bytes(SIZE), _PRIVATE) if make else _kept(path, _PRIVATE)


def signing_key(environment: Mapping[str, str], path: Path | None = None) -> bytes:
    """The Ed25519 key that signs anchors: of the file (`anchor.key`, as above), with its public half beside it.

    Raises BadInput like `journal_key`, and where the file beside it holds the half of another key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # slow, and seldom needed

    path = path or _own(environment) / "anchor.key"
    key = _lasting(path, secrets.token_bytes(SIZE), _PRIVATE)
    public = Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
    beside = path.with_suffix(".pub")
    if _lasting(beside, public, _PUBLIC) != public:
        raise BadInput(str(beside), "the public half of another key", f"that of {path}: remove it, it is made again")
    return key


def verifying_key(environment: Mapping[str, str], path: Path | None = None) -> bytes:
    """The public half that `signing_key` put beside `path`: all that a verifier needs. Raises NotFound without it."""
    return _kept((path or _own(environment) / "anchor.key").with_suffix(".pub"), _PUBLIC)


def _own(environment: Mapping[str, str]) -> Path:
    """The folder of this user's keys, made if it is not there."""
    place = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or Path.home()) / ".config"
    folder = Path(place) / "kernos"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(str(folder), _said(error), "a folder that can be made") from None
    return folder


def _lasting(path: Path, fresh: bytes, mode: int) -> bytes:
    """The key in a file, which gets the fresh one if there is none."""
    with suppress(NotFound):
        return _kept(path, mode)
    _make(path, fresh, mode)
    return _kept(path, mode)


def _kept(path: Path, mode: int) -> bytes:
    """The key in a file that others may read or change no more than the mode says."""
    try:
        with path.open("rb") as file:
            found = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read().decode("ascii", "replace")
    except FileNotFoundError:
        raise NotFound(str(path), "no such file", f"a key of {_DIGITS}") from None
    except OSError as error:
        raise BadInput(str(path), _said(error), f"a key of {_DIGITS}") from None
    if found & ~mode & 0o077:
        raise BadInput(str(path), f"mode {found:04o}", f"no more than {mode:04o}: chmod {mode:o} {path}")
    return _decoded(str(path), text)


def _make(path: Path, key: bytes, mode: int) -> None:
    """Give the file its name only when all of it is durable, unless another was first: a link never replaces."""
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w") as file:
                os.fchmod(file.fileno(), mode)
                file.write(f"{key.hex()}\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            Path(draft).unlink()
        _sync(path.parent)
    except OSError as error:
        raise BadInput(str(path), _said(error), "a key, or a folder in which one can be made") from None


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _decoded(where: str, text: str) -> bytes:
    """The key that a text holds. What it found is told by length only: it may be nearly the key."""
    digits = text.strip()
    if re.fullmatch(f"[0-9a-fA-F]{{{2 * SIZE}}}", digits):
        return bytes.fromhex(digits)
    found = "a character that is no hex digit" if len(digits) == 2 * SIZE else f"{len(digits)} characters"
    raise BadInput(where, found, _DIGITS)


def _said(error: OSError) -> str:
    return str(error.strerror).lower()
