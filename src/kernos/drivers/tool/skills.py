"""The tools by which an employee reads its skills when it needs them (Agent Skills' progressive disclosure)."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Mapping
from pathlib import Path

from kernos.drivers.tool.schema import Checked
from kernos.kernel.errors import ToolError
from kernos.kernel.ports import ToolResult
from kernos.kernel.types import Json, ToolSpec

RESOURCE_BYTES = 100_000
NAME_CHARS = 80
"""A path is quoted up to this length."""


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
        return ToolResult(await asyncio.to_thread(self._read, arguments["skill"], arguments["path"]))

    def _read(self, skill: str, path: str) -> str:
        named = repr(path[:NAME_CHARS])  # a model may have written what no text can hold, and at any length
        file = _inside(self._folders[skill], path)
        if file is None:
            raise ToolError(f"{named}: no such file in the skill {skill}")
        try:
            with file.open("rb") as opened:
                content = opened.read(RESOURCE_BYTES)
                whole = not opened.read(1)
            return codecs.getincrementaldecoder("utf-8")().decode(content, whole)  # a cut may go through a letter
        except (OSError, UnicodeDecodeError) as error:
            raise ToolError(f"{named}: cannot be read as text: {error}") from None


def _inside(folder: Path, path: str) -> Path | None:
    """The file of that path, if it is one and lies in the folder, wherever links lead."""
    try:
        home = folder.resolve()
        file = (home / path).resolve()
        return file if file.is_relative_to(home) and file.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long; what no path can hold; links in a circle
        return None
