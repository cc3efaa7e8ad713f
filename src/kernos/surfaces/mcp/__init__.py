"""The MCP server: the tools that an agent's process was granted, at `/mcp`.

surface(office)      what boot mounts (see `server`)
"""

from kernos.surfaces.mcp.server import surface as surface
