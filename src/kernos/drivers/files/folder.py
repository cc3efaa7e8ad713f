"""A company's folder on disk: the texts that Kernos reads, and the place where it keeps what it writes."""

from __future__ import annotations

from pathlib import Path

from kernos.kernel.errors import BadInput, NotFound

STATE = ".kernos"
"""The folder in a company's folder that holds the journal and the lock; git is told to leave it out."""
_READ = ("COMPANY.md", "*.toml", "mcp.json", "**/AGENTS.md", "**/SKILL.md", "**/TASK.md", "policies/*.cedar")
_KEPT = f"{STATE}/mcp/*.json"
"""What Kernos wrote itself and reads again."""


def texts(place: Path) -> dict[str, str]:
    """The texts of a folder by their path in it, or of a single file by its name."""
    if place.is_file():
        return {place.name: text(place, place.name)}
    if not place.is_dir():
        raise NotFound("folder", str(place), "a company's folder, or a sub-agent's .md file")
    written = (path for pattern in _READ for path in place.glob(pattern) if STATE not in path.parts)
    paths = sorted([*written, *place.glob(_KEPT)])
    names = {path: path.relative_to(place).as_posix() for path in paths}
    return {name: text(path, name) for path, name in names.items()}


def text(path: Path, name: str) -> str:
    """A file's text; `name` is what errors call it."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(name, f"bytes that are not UTF-8 (at {error.start})", "a UTF-8 text") from None
    except OSError as error:
        raise NotFound(name, str(error.strerror).lower(), "a file that can be read") from None


def state(home: Path) -> Path:
    """The folder for what Kernos writes, made if it is not there."""
    folder = home / STATE
    try:
        folder.mkdir(exist_ok=True)
        (folder / ".gitignore").write_text("*\n", "utf-8")
    except OSError as error:
        raise BadInput(str(folder), str(error.strerror), "a folder that can be written") from None
    return folder


def keep(home: Path, name: str, text: str) -> None:
    """Write a file of this path in a folder, whole or not at all."""
    state(home)
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(text, "utf-8")
    draft.replace(path)
