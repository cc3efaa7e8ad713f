"""A company's MCP servers, made into drivers.

servers = Servers(home, company, gate, secret)
await servers.meet()               # those whose tools nobody has listed yet; read the company again after it
servers.tools()
await servers.listed("mail")       # what one lists now, for a person to compare with what is kept
await servers.close()
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kernos.kernel.errors import BadInput, NotFound, ToolError

if TYPE_CHECKING:
    from kernos.drivers.network.gate import Gate
    from kernos.drivers.tool.mcp import Address, Launch, McpServer
    from kernos.kernel.ports import Tool
    from kernos.kernel.types import Json
    from kernos.userland.company import mcp
    from kernos.userland.company.folder import Company

Secret = Callable[[str, str], str]
_VARIABLE = re.compile(r"\$\{(\w+)\}")


class Servers:
    """The servers of one company. `secret` finds the variable of a place, and hides it from then on."""

    def __init__(self, home: Path, company: Company, gate: Gate | None, secret: Secret) -> None:
        self._home, self._company, self._gate, self._secret = home, company, gate, secret

    async def meet(self) -> bool:
        """Keep the lists of tools of servers that are new; whether there were any. Raises BadInput for one that does
        not answer."""
        from kernos.drivers.files.folder import keep
        from kernos.userland.company.mcp import list_of, listing

        new = [name for name, server in self._company.servers.items() if server.tools is None]
        for name in new:
            keep(self._home, list_of(name), listing(await self.listed(name)))
        return bool(new)

    async def listed(self, name: str) -> Mapping[str, Json]:
        """The tools that a server lists now. Raises NotFound if there is none, BadInput if it does not answer."""
        if name not in self._servers:
            raise NotFound("mcp.json: mcpServers", repr(name), " or ".join(self._servers) or "a server")
        try:
            return await self._servers[name].tools()
        except ToolError as error:
            raise BadInput(_place(name), str(error), f"a server that lists its tools ({self._log(name)})") from None

    def tools(self) -> dict[str, Tool]:
        """Their tools, by their names in the company."""
        if not self._company.servers:
            return {}
        from kernos.drivers.tool.mcp import McpTool
        from kernos.userland.company.sidecar import McpServer as Declared

        car = self._company.sidecar
        found: dict[str, Tool] = {}
        for name, driver in self._servers.items():
            server = self._company.servers[name]
            for tool, spec in server.specs(car.mcp.get(name, Declared()), car.vocabulary).items():
                found[spec.name] = McpTool(spec, driver, (server.tools or {})[tool])
        return found

    async def close(self) -> None:
        """End what runs."""
        for server in vars(self).get("_servers", {}).values():  # only if they were ever made
            await server.close()

    @cached_property
    def _servers(self) -> dict[str, McpServer]:
        from kernos.drivers.tool.mcp import McpServer

        return {
            name: McpServer(name, self._opened(_place(name), server.opened), self._log(name))
            for name, server in self._company.servers.items()
        }

    def _log(self, name: str) -> Path:
        from kernos.userland.company.mcp import list_of

        return (self._home / list_of(name)).with_suffix(".log")

    def _opened(self, where: str, given: mcp.Program | mcp.Address) -> Launch | Address:
        """What opens a server, if the gate lets it."""
        from kernos.drivers.tool.mcp import Address, Launch
        from kernos.userland.company.mcp import Program

        if not isinstance(given, Program):
            if self._gate:
                self._gate.check(where, given.url)
            headers = {name: self._filled(f"{where}.headers.{name}", text) for name, text in given.headers.items()}
            return Address(given.url, headers, given.type == "sse")
        if self._gate:
            try:
                self._gate.start(given.command, [given.command, *given.args])
            except PermissionError as error:
                raise BadInput(
                    f"{where}.command", str(error), "a program of networks.programs in kernos.toml"
                ) from None
        env = {name: self._filled(f"{where}.env.{name}", text) for name, text in given.env.items()}
        return Launch(given.command, tuple(given.args), env, self._home / given.cwd)

    def _filled(self, where: str, text: str) -> str:
        """A text with the variables that it names as ${NAME}."""
        return _VARIABLE.sub(lambda named: self._secret(where, named[1]), text)


def _place(server: str) -> str:
    return f"mcp.json: mcpServers.{server}"
