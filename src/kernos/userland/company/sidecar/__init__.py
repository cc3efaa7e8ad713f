"""`kernos.toml`, the side-car: everything of ours about a company, so that its own files stay as published.

The models are the reference of the format (`docs/reference/kernos-toml.md` is written from them): `whole` has the file,
`engines`, `tools` and `employees` have its larger tables, `reading` makes them of TOML. Unknown keys are errors, with
the nearest right one.
"""

from kernos.userland.company.sidecar.employees import (
    PLACES,
    Condition,
    Employee,
    Grant,
    Limits,
    Sums,
    fits,
)
from kernos.userland.company.sidecar.engines import EmbeddedEngine, Engine, OpenAIEngine
from kernos.userland.company.sidecar.reading import parse
from kernos.userland.company.sidecar.sections import FILE, Section
from kernos.userland.company.sidecar.tools import (
    JournalTool,
    McpServer,
    McpTool,
    Origin,
    Parameter,
    SqlTool,
    Tool,
)
from kernos.userland.company.sidecar.whole import Networks, Sidecar

__all__ = [
    "FILE", "PLACES", "Condition", "EmbeddedEngine", "Employee", "Engine", "Grant", "JournalTool", "Limits",
    "McpServer", "McpTool", "Networks", "OpenAIEngine", "Origin", "Parameter", "Section", "Sidecar", "SqlTool", "Sums",
    "Tool", "fits", "parse",
]  # fmt: skip
