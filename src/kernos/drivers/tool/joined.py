"""Tools that are one statement on a table in the journal's own database, in the transaction that records it.

`JoinedTool.call` does nothing: it returns the statement, which the store runs together with the call's outcome row. So
the effect and its record are one, and after a crash there is nothing to doubt (I3).
"""

from __future__ import annotations

from collections.abc import Mapping

from kernos.drivers.tool.schema import Checked
from kernos.kernel.ports import ToolResult, Write
from kernos.kernel.types import Json, ToolSpec


class JoinedTool(Checked):
    """One insert, update or delete, with :name for each parameter and :key for the call's idempotency key."""

    def __init__(self, spec: ToolSpec, statement: str) -> None:
        super().__init__(spec)
        self._statement = statement

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        values = {name: arguments.get(name) for name in self.spec.schema["properties"]} | {"key": key}
        used = {name: value for name, value in values.items() if f":{name}" in self._statement}
        return ToolResult("done", writes=(Write(self._statement, used),))
