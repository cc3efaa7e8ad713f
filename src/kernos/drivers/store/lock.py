"""The lock of a folder: at most one kernos at work on it.

Entry points: `lock(folder)`, which returns a `FolderLock` or raises FolderBusy at once, and `held(folder)`. The
operating system drops the lock when its holder dies, however it dies. The file stays: to remove it would let two
holders lock two files.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from kernos.kernel.errors import FolderBusy, StoreError


class FolderLock:
    """A held lock. It ends with `release`, at the end of a `with`, or with the process."""

    def __init__(self, handle: int) -> None:
        self._handle: int | None = handle

    def release(self) -> None:
        """Let others in. Calling it again does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.ftruncate(handle, 0)
            # Closing alone would leave it locked as long as a forked child has the same handle.
            fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def lock(folder: Path) -> FolderLock:
    """Lock a folder. Raises FolderBusy, with the process that holds it, or StoreError if there can be no lock."""
    try:
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(f"{folder}: the folder cannot be locked: {error.strerror}") from None
    try:
        _take(handle, folder)
    except BaseException:
        os.close(handle)
        raise
    return FolderLock(handle)


def _take(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        # Empty for the moment between a holder's locking and its writing.
        holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
        raise FolderBusy(f"{folder}: another kernos is at work on this folder (process {holder})") from None
    except OSError as error:
        raise StoreError(f"{folder}: the folder cannot be locked: {error.strerror}") from None


def held(folder: Path) -> bool:
    """Whether somebody holds the lock of a folder."""
    try:
        handle = os.open(folder / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
