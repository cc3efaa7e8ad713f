"""The one error tree. Every error has a stable code and says who can mend it.

    KernosError
    ├── BadInput            K100  owner     a file, field or argument is wrong: where, what, what would be right
    │   ├── NotFound        K101  owner     a named thing (file, process, tool, model) does not exist
    │   └── TooLarge        K102  owner     a request has more bytes than are taken
    ├── LimitExceeded       K200  owner     the process has used up a limit (I5)
    ├── ReplayDiverged      K210  owner     the program no longer makes the calls that its journal holds (I6)
    ├── ProgramError        K230  owner     a program broke the rules of a program, or raised
    ├── EngineError         K300  operator  a model server failed
    │   ├── EngineDied      K301  nobody    it is not there, or went away; the call may be retried
    │   ├── ModelMissing    K302  operator  the model file is not on this machine
    │   ├── EngineBusy      K303  nobody    it takes no call now (429, 503); the call may be retried later
    │   └── AnswerLost      K304  model     its answer came to nothing; that was counted, and the program is told
    ├── ToolError           K400  model     a tool ran and failed; the model is told
    │   └── Uncertain           K401  operator  it cannot be told whether a tool's effect happened (I3)
    ├── Forbidden           K450  operator  who asks may not: no key, a revoked one, or not with this role
    ├── StoreError          K500  operator  the journal could not be read or written
    │   ├── JournalBroken   K501  nobody    the hash chain does not hold (I7)
    │   ├── FolderBusy      K502  operator  another kernos is at work on this folder
    │   └── Fenced          K503  nobody    another worker has taken the process over
    └── Unsupported         K600  operator  this backend or machine cannot do that

A refusal by the monitor is not an error: verdicts are values (see `types.Verdict`).
At the CLI every error is one red line and exit code 2.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Mender = Literal["model", "owner", "operator", "nobody"]


class KernosError(Exception):
    """Root of the tree. `code` never changes once published; `mender` says who can put it right."""

    code: ClassVar[str] = "K000"
    mender: ClassVar[Mender] = "nobody"


class BadInput(KernosError):
    """Something given to Kernos is wrong.

    Args:
        where: the file, and the field in it if there is one (`kernos.toml: employees.advisor.tools`).
        found: what stands there.
        right: what would be right, as a phrase that can follow "expected".
    """

    code = "K100"
    mender = "owner"

    def __init__(self, where: str, found: str, right: str) -> None:
        super().__init__(f"{where}: found {found}; expected {right}")
        self.where, self.found, self.right = where, found, right


class NotFound(BadInput):
    """A named thing does not exist."""

    code = "K101"


class TooLarge(BadInput):
    """More bytes than are taken."""

    code = "K102"


class LimitExceeded(KernosError):
    """A process has no budget left for the call that it makes (I5)."""

    code = "K200"
    mender = "owner"

    def __init__(self, limit: str, used: float, allowed: float) -> None:
        super().__init__(f"limit reached: {limit}: {used:g} of {allowed:g} used")
        self.limit, self.used, self.allowed = limit, used, allowed


class ReplayDiverged(KernosError):
    """A program made another call than the one in its journal (I6)."""

    code = "K210"
    mender = "owner"

    def __init__(self, pid: str, seq: int, recorded: str, made: str) -> None:
        super().__init__(f"process {pid}: call {seq} differs from the journal: recorded {recorded}, now {made}")
        self.pid, self.seq, self.recorded, self.made = pid, seq, recorded, made


class ProgramError(KernosError):
    """A program raised, or awaited something that is not a system call."""

    code = "K230"
    mender = "owner"


class EngineError(KernosError):
    """A model server failed or answered nonsense."""

    code = "K300"
    mender: ClassVar[Mender] = "operator"


class EngineDied(EngineError):
    """The model server is not there, or went away during a call. Nothing was said by it that counts."""

    code = "K301"
    mender: ClassVar[Mender] = "nobody"


class ModelMissing(EngineError):
    """The weights are not on this machine."""

    code = "K302"


class EngineBusy(EngineError):
    """The model server takes no call now. `after` is in how many seconds it wants to be asked again, if it said so."""

    code = "K303"
    mender: ClassVar[Mender] = "nobody"

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class AnswerLost(EngineError):
    """A model's answer came to nothing: it was cut off, is not of the form that was asked for, or nobody was there any
    more to hear it. Asking the same again would cost the same again."""

    code = "K304"
    mender: ClassVar[Mender] = "model"


class ToolError(KernosError):
    """A tool ran and failed; its message goes to the model."""

    code = "K400"
    mender: ClassVar[Mender] = "model"


class Uncertain(ToolError):
    """It cannot be told whether a tool's effect happened: a time-out, a connection that broke after the request. What a
    tool raises as this is not its failure, but a doubt."""

    code = "K401"
    mender: ClassVar[Mender] = "operator"


class Forbidden(KernosError):
    """Who asks may not do this. `known` says whether the key is one; it never says whether the thing exists."""

    code = "K450"
    mender: ClassVar[Mender] = "operator"

    def __init__(self, message: str, known: bool = True) -> None:
        super().__init__(message)
        self.known = known


class StoreError(KernosError):
    """The journal could not be read or written."""

    code = "K500"
    mender: ClassVar[Mender] = "operator"


class JournalBroken(StoreError):
    """A journal row is not what its hash says (I7)."""

    code = "K501"
    mender: ClassVar[Mender] = "nobody"


class FolderBusy(StoreError):
    """Another kernos holds this folder."""

    code = "K502"


class Fenced(StoreError):
    """Another worker has taken this process over; what this one still wanted to write is not written."""

    code = "K503"
    mender: ClassVar[Mender] = "nobody"


class Unsupported(KernosError):
    """This backend or machine cannot do what was asked; it never approximates."""

    code = "K600"
    mender = "operator"
