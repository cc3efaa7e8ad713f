"""The tools by which an employee uses its skills when it needs them (Agent Skills' progressive disclosure)."""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from kernos.drivers.tool.schema import Checked
from kernos.kernel.errors import ToolError, Unsupported
from kernos.kernel.ports import ToolResult
from kernos.kernel.types import Field, Json, Parameter, ToolSpec

RESOURCE_BYTES = 100_000
NAME_CHARS = 80
"""A path is quoted up to this length."""
SCRIPTS = "scripts"
SKILL = "/skill"
"""Where a script finds the folder of its skill."""
_NAMED = re.compile(rb"#!\s*/\S*?(?:/env\s+|/)(python|bash|sh)[\d.]*\s*$")
_LANGUAGES = {"python": "python3", "bash": "bash", "sh": "sh", ".py": "python3", ".sh": "sh"}


def _spec(name: str, description: str, fields: Mapping[str, Json]) -> ToolSpec:
    schema = {"type": "object", "properties": dict(fields), "required": list(fields), "additionalProperties": False}
    return ToolSpec(name, description, schema, returns={"*": Field(attested=True)})


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


class Ran(Protocol):
    """How a script ended, what it printed, and the files that it left."""

    @property
    def code(self) -> int: ...
    @property
    def out(self) -> str: ...
    @property
    def err(self) -> str: ...
    @property
    def files(self) -> Mapping[str, bytes]: ...


class Sandbox(Protocol):
    """Where scripts run. Raises Unsupported where there is none: they are never run bare."""

    async def run(self, command: Sequence[str], mounts: Mapping[str, Path]) -> Ran: ...


class RunSkillScript(Checked):
    """Runs a script of a skill in a sandbox.

    Args:
        folders: the skills' folders, by their names.
        sandbox: where the scripts run.
        kept: the folder under which the files that a script leaves are kept, in one of its own for each call.
    """

    def __init__(self, folders: Mapping[str, Path], sandbox: Sandbox, kept: Path) -> None:
        self._folders, self._sandbox, self._kept = folders, sandbox, kept
        fields = {
            "skill": {"type": "string", "enum": sorted(folders)},
            "script": {"type": "string", "description": "its path, such as scripts/convert.py"},
            "args": {"type": "array", "items": {"type": "string"}, "description": "its arguments"},
        }
        what = (
            "Run a script of a skill. It has no network. It works in an empty folder; what it leaves there is kept. "
            f"The folder of the skill is {SKILL}."
        )
        # It can change nothing but its own empty folder. What it prints may stand in a file that anyone wrote.
        rules = {"script": Parameter(use="command"), "args": Parameter(use="query")}
        super().__init__(replace(_spec("run_skill_script", what, fields), parameters=rules, returns={}))

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        """Raises ToolError for a script that is not there or of no known language, and where there is no sandbox."""
        folder = self._folders[arguments["skill"]]
        named = str(arguments["script"])
        script = await asyncio.to_thread(_inside, folder / SCRIPTS, named.removeprefix(f"{SCRIPTS}/"))
        if script is None:
            raise ToolError(f"{named[:NAME_CHARS]!r}: no such script in the skill {arguments['skill']}")
        place = f"{SKILL}/{script.relative_to(folder.resolve())}"
        try:
            ran = await self._sandbox.run([_language(script), place, *arguments["args"]], {SKILL: folder})
        except Unsupported as lack:
            raise ToolError(str(lack)) from None
        told: dict[str, Json] = {"exit": ran.code, "stdout": ran.out, "stderr": ran.err, "files": sorted(ran.files)}
        if ran.files:
            told["folder"] = str(await asyncio.to_thread(self._keep, key.replace(":", "-"), ran.files))
        return ToolResult(told)

    def _keep(self, name: str, files: Mapping[str, bytes]) -> Path:
        folder = self._kept / name
        try:
            for path, content in files.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
        except OSError as error:  # one of them has the name of another's folder; the disk is full
            raise ToolError(f"the files of the script cannot be kept: {error.strerror}") from None
        return folder


def _language(script: Path) -> str:
    """The interpreter that a script names in its first line, or by its ending. Raises ToolError for any other."""
    with script.open("rb") as opened:
        first = opened.readline(NAME_CHARS)
    named = _NAMED.match(first)
    known = named[1].decode() if named else "" if first.startswith(b"#!") else script.suffix
    if known not in _LANGUAGES:
        raise ToolError(f"{script.name}: no script for python3 or sh, by its first line or its ending (.py, .sh)")
    return _LANGUAGES[known]


def _inside(folder: Path, path: str) -> Path | None:
    """The file of that path, if it is one and lies in the folder, wherever links lead."""
    try:
        home = folder.resolve()
        file = (home / path).resolve()
        return file if file.is_relative_to(home) and file.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long; what no path can hold; links in a circle
        return None
