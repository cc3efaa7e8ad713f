"""What tools and their results look like to an MCP client.

tool_of(spec)             a tool in a list
result_of(done)           what a call has come to; `failed` and `waits` are the other two ends
"""

from __future__ import annotations

from typing import Any

import mcp_types as types

from kernos.kernel import abi
from kernos.kernel.abi import Invoked
from kernos.kernel.office import Pending
from kernos.kernel.types import Deny, Label, ToolSpec
from kernos.surfaces.mcp.calls import Done


def tool_of(spec: ToolSpec) -> types.Tool:
    """A tool as clients see it. What the annotations say is a hint for them; the kernel judges each call by itself."""
    return types.Tool(
        name=spec.name,
        description=spec.description,
        input_schema=dict(spec.schema),
        annotations=types.ToolAnnotations(
            read_only_hint=spec.effects <= {"reads"},
            destructive_hint="destroys" in spec.effects,
            idempotent_hint=spec.idempotent,
        ),
    )


def result_of(done: Done) -> types.CallToolResult:
    """What a call has come to. A refusal is an error with its reason, which the agent's model can act on."""
    reply = done.reply
    if isinstance(reply, Deny):
        return failed(abi.refused(reply.reason))
    assert isinstance(reply, Invoked)
    if reply.error:
        return failed(reply.error)
    value = reply.value
    return types.CallToolResult(
        content=[types.TextContent(text=abi.shown(value))],
        structured_content=value if isinstance(value, dict) else None,
        _meta={"ifc": _flow(done.label)} if done.label else None,
    )


def failed(message: str) -> types.CallToolResult:
    """A call that has failed, or may not be made."""
    return types.CallToolResult(content=[types.TextContent(text=message)], is_error=True)


def waits(pending: Pending) -> types.CallToolResult:
    """A call that still waits: for whom, and how to hear of it later."""
    question = pending.question
    if question:
        text = abi.waits(pending.pid, pending.seq, question.approver)
    else:
        text = f"not over yet: process {pending.pid} row {pending.seq}. Ask again with the same arguments."
    kept = {"pid": pending.pid, "row": pending.seq, "question": question.text if question else ""}
    return types.CallToolResult(content=[types.TextContent(text=text)], _meta={"kernos/pending": kept})


def _flow(label: Label) -> dict[str, Any]:
    """A label in the words of Microsoft's Agent Framework and GitHub's MCP server."""
    trusted = all(source.kind != "anyone" for source in label.sources)
    return {
        "integrity": "trusted" if trusted else "untrusted",
        "confidentiality": "public" if label.readers is None else "private",
    }
