"""What may be done with an intent that has no outcome (I3).

`after_crash` is asked once for the open call of a recovered process, before anything else happens in it.
"""

from __future__ import annotations

from typing import Literal

from kernos.kernel.abi import Call
from kernos.kernel.types import ToolSpec

Remedy = Literal["again", "doubt"]


def after_crash(call: Call, tool: ToolSpec | None, approved: bool) -> Remedy:
    """`again` if repeating is harmless or the effect cannot have begun; `doubt` if it may have happened.

    Args:
        call: the open call's row of the table.
        tool: the tool's declaration, if the call was `invoke`; None if the tool is gone.
        approved: False while the call still waits for a person, so that nothing has begun.
    """
    if call.effect != "declared" or not approved:
        return "again"
    return "again" if tool is not None and tool.repeatable else "doubt"
