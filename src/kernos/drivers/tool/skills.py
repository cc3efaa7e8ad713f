"""The tools by which an employee reads its skills when it needs them (Agent Skills' progressive disclosure)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from kernos.drivers.tool.schema import Checked
from kernos.kernel.errors import ToolError
from kernos.kernel.ports import ToolResult
from kernos.kernel.types import Json, ToolSpec

RESOURCE_BYTES = 100_000


def _spec(name: str, description: str, fields: Mapping[str, Json]) -> ToolSpec:
    schema = {"type": "object", "properties": dict(fields), "required": list(fields), "additionalProperties": False}
    return ToolSpec(name, description, schema)


class LoadSkill(Checked):
    """Returns a skill's instructions."""

    def __init__(self, bodies: Mapping[str, str]) -> None:
        self._bodies = bodies
        fields = {"skill": {"type": "string", "enum": sorted(bodies)}}
        super().__init__(_spec("load_skill", "Load the instructions of a skill.", fields))

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        return ToolResult(self._bodies[arguments["skill"]])


class ReadSkillResource(Checked):
    """Returns a file that lies in a skill's folder."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        fields = {"skill": {"type": "string", "enum": sorted(folders)}, "path": {"type": "string"}}
        super().__init__(_spec("read_skill_resource", "Read a file in the folder of a skill.", fields))

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        """Raises ToolError for a path that leads out of the skill's folder, or to no text."""
        folder = self._folders[arguments["skill"]].resolve()
        file = (folder / arguments["path"]).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            raise ToolError(f"{arguments['path']}: no such file in the skill {arguments['skill']}")
        try:
            content = (await asyncio.to_thread(file.read_bytes))[:RESOURCE_BYTES]
            return ToolResult(content.decode("utf-8", "strict"))
        except (OSError, UnicodeDecodeError) as error:
            raise ToolError(f"{arguments['path']}: cannot be read as text: {error}") from None
