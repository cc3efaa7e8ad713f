"""An MCP server of 2025 over standard input and output, for tests: `python mcp_server.py FOLDER`.

It speaks the protocol itself, as it has to start fast, to die in the middle, and to change its mind. What its tools do
it writes to FOLDER/done.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
TEXT = {"type": "string"}
words = {"send": "Send words to somebody."}


def done(what: str) -> None:
    with (FOLDER / "done").open("a", encoding="utf-8") as file:
        file.write(f"{what}\n")


def write(**message: Any) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def send(to: str, text: str) -> Any:
    done(f"send {to} {text}")
    return f"sent {text} to {to}"


def look(what: str) -> Any:
    return {"structuredContent": {"what": what, "id": "r-1"}}


def listed_as_text() -> Any:
    return '[{"id": "r-1"}, {"id": "r-2"}]'


def picture() -> Any:
    return {"content": [{"type": "image", "data": "AAAA", "mimeType": "image/png"}]}


def die(after: str) -> Any:
    done(after)
    os._exit(3)


def fail() -> Any:
    return {"isError": True, "content": [{"type": "text", "text": "the printer is on fire"}]}


def wait() -> Any:
    done("wait")


def nonsense() -> Any:
    return {"content": "?"}


def confirm() -> Any:
    """Ask a person, through the client; it is answered before the next request comes."""
    form = {"type": "object", "properties": {"sure": {"type": "boolean"}}}
    write(id="asked", method="elicitation/create", params={"message": "Sure?", "requestedSchema": form})
    return json.dumps(json.loads(sys.stdin.readline())["result"])


def environment(variable: str) -> Any:
    print(f"asked for {variable}", file=sys.stderr, flush=True)
    return os.environ.get(variable, "nothing")


def doubted() -> Any:
    return {"structuredContent": {"id": "r-9"}, "_meta": {"ifc": {"integrity": "untrusted"}}}


def reword(to: str) -> Any:
    words["send"] = to
    write(method="notifications/tools/list_changed")
    return "reworded"


TOOLS: Mapping[str, Callable[..., Any]] = {
    tool.__name__: tool
    for tool in (send, look, listed_as_text, picture, die, fail, wait, nonsense, confirm, environment, doubted, reword)
}


def described(name: str, tool: Callable[..., Any]) -> Any:
    names = list(tool.__code__.co_varnames[: tool.__code__.co_argcount])
    schema = {"type": "object", "properties": {name: TEXT for name in names}, "required": names}
    return {"name": name, "description": words.get(name, ""), "inputSchema": schema}


def answered(method: str, params: Any) -> Any:
    """The result of a request; None: it gets no answer."""
    if method == "initialize":
        capabilities = {"tools": {"listChanged": True}}
        named = {"name": "tests", "version": "1"}
        return {"protocolVersion": "2025-06-18", "capabilities": capabilities, "serverInfo": named}
    if method == "tools/list":
        broken = {"name": "broken", "inputSchema": {"type": "object", "properties": {"a": {"type": "nothing"}}}}
        return {"tools": [*(described(name, tool) for name, tool in TOOLS.items()), broken]}
    found = TOOLS[params["name"]](**params["arguments"])
    content = [{"type": "text", "text": found}] if isinstance(found, str) else []
    return {"content": content} | (found if isinstance(found, dict) else {}) if found is not None else None


def main() -> None:
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        if "id" not in request:
            continue
        if request["method"] not in ("initialize", "tools/list", "tools/call"):
            write(id=request["id"], error={"code": -32601, "message": "no such method"})
        elif (result := answered(request["method"], request.get("params"))) is not None:
            write(id=request["id"], result=result)


if __name__ == "__main__":
    main()
