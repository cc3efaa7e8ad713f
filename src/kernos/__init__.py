"""Kernos, a model operating system: what a company's own Python files import.

`tool` and `source` declare a tool, `program` and `Process` a program. Each is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernos.drivers.tool.python import Happened, source, tool
    from kernos.kernel.abi import Ended, Invoked
    from kernos.kernel.errors import Uncertain
    from kernos.kernel.types import Deny, Field, Message
    from kernos.userland.lib import Process, program

__all__ = [
    "Deny", "Ended", "Field", "Happened", "Invoked", "Message", "Process", "program", "Uncertain", "source", "tool",
]  # fmt: skip
__version__ = "0.1.0"

_HOMES = {
    "Deny": "kernos.kernel.types",
    "Ended": "kernos.kernel.abi",
    "Field": "kernos.kernel.types",
    "Happened": "kernos.drivers.tool.python",
    "Invoked": "kernos.kernel.abi",
    "Message": "kernos.kernel.types",
    "Process": "kernos.userland.lib",
    "program": "kernos.userland.lib",
    "source": "kernos.drivers.tool.python",
    "tool": "kernos.drivers.tool.python",
    "Uncertain": "kernos.kernel.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kernos' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
