"""What the command line needs from boot, which hands it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from contextlib import AbstractAsyncContextManager
    from socket import socket

    from kernos.kernel.errors import KernosError
    from kernos.kernel.office import Desk, Kernel, Ledger, Office
    from kernos.kernel.ports import Dispatcher, Facts, Keys, Ruling
    from kernos.kernel.types import Json
    from kernos.userland.company.folder import Company


class Model(Protocol):
    """A model in the catalogue; `size` in bytes."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def licence(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str: ...


class ModelStatus(Protocol):
    """How a model stands on this machine; `partial` are the bytes of a pull that was broken off."""

    @property
    def model(self) -> Model: ...
    @property
    def path(self) -> Path | None: ...
    @property
    def partial(self) -> int: ...


class Progress(Protocol):
    """How far a pull is, in bytes, and what it is doing."""

    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def note(self) -> str: ...


class Shelf(Protocol):
    """The models on this machine."""

    def list(self) -> Sequence[ModelStatus]: ...
    def pull(self, name: str, progress: Callable[[Progress], None], local: Path | None = None) -> Path: ...
    def remove(self, name: str) -> None: ...


class Rule(Protocol):
    """A rule in force. `effect` is permit, forbid, ask or lift; `approver` is who may allow what it asks about, `lifts`
    the rule whose question it turns off, `line` the red line that it holds."""

    @property
    def id(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def effect(self) -> str: ...
    @property
    def tell(self) -> str: ...
    @property
    def approver(self) -> str: ...
    @property
    def lifts(self) -> str: ...
    @property
    def line(self) -> str: ...


class Rules(Protocol):
    """The rules of a place."""

    @property
    def rules(self) -> Sequence[Rule]: ...
    def decide(self, facts: Facts) -> Ruling: ...


class System(Protocol):
    """Everything that can be opened, by folder."""

    @property
    def shelf(self) -> Shelf: ...
    def company(self, place: Path) -> Company: ...
    def faults(self, place: Path) -> Sequence[KernosError]: ...
    def missing(self, place: Path) -> Sequence[str]: ...
    def policy(self, place: Path) -> Rules: ...
    async def listed(self, place: Path, server: str) -> Mapping[str, Json]:
        """The tools that an MCP server of a place lists now, by name. Raises NotFound if there is no such server,
        BadInput if it does not answer."""

    def accept(self, place: Path, server: str, tools: Mapping[str, Json]) -> None:
        """Keep this as the list of a server's tools."""

    async def kernel(self, place: Path, alone: bool = True) -> Kernel:
        """A kernel on a place. `alone` locks the place: FolderBusy while another kernos is at work there. Without it
        only `spawn`, `fork`, `replay`, `adopt` and `prune` may be called."""

    def dispatcher(self, place: Path) -> Dispatcher:
        """Who gives turns to the processes of a place. Open it before its kernel, which then gives it hints."""

    def busy(self, place: Path) -> bool:
        """Whether a kernos is at work on a place, as far as can be told from here."""

    async def desk(self, place: Path) -> Desk:
        """Where things are put to processes, whoever is at work on the place."""

    async def keys(self, place: Path) -> Keys:
        """The keys of the API of a place, which has a journal from then on."""

    def staff(self, place: Path) -> Sequence[str]:
        """Whom an agent's key may be for."""

    def office(self, place: Path, base: str) -> AbstractAsyncContextManager[Office]:
        """A place at work, for surfaces with a socket; `base` is where that is served. Raises what `kernel` raises."""

    async def serve(self, office: Office, listener: socket) -> None:
        """All surfaces on one socket, until the office is closing."""

    def loop(self, place: Path) -> Callable[[], AbstractEventLoop] | None:
        """What makes the fastest event loop that a place may have; None: the usual one."""

    def beacon(self, place: Path) -> Path:
        """Where it is written at which address a place is served."""

    async def ledger(self, place: Path, audit: bool = False) -> Ledger:
        """The journal of a place, to be shown; with `audit` also to be checked, and what was signed of it: it then has
        the key. Raises NotFound if nothing has ever run there."""

    def template(self, name: str) -> Path: ...
