"""The tools by which an employee reads its skills: the instructions, and the files beside them, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernos.drivers.tool.skills import RESOURCE_BYTES, LoadSkill, ReadSkillResource
from kernos.kernel.errors import ToolError

SECRET = "a secret beside the skill"


@pytest.fixture
def reader(tmp_path: Path) -> ReadSkillResource:
    skill = tmp_path / "skills" / "digest"
    (skill / "references").mkdir(parents=True)
    (tmp_path / "skills" / "digest-2").mkdir()
    (tmp_path / "skills" / "digest-2" / "secret.txt").write_text(SECRET, "utf-8")
    (tmp_path / "secret.txt").write_text(SECRET, "utf-8")
    (skill / "SKILL.md").write_text("Digest.", "utf-8")
    (skill / "references" / "样式.md").write_text("Short. 短。", "utf-8")
    (skill / "link.txt").symlink_to(tmp_path / "secret.txt")
    (skill / "loop").symlink_to(skill / "loop")
    return ReadSkillResource({"digest": skill})


async def test_a_skill_is_loaded_by_its_name() -> None:
    tool = LoadSkill({"digest": "Digest it.", "article": "Write it."})
    assert (await tool.call({"skill": "digest"}, "k")).value == "Digest it."


def test_a_skill_that_the_employee_has_not_cannot_be_asked_for(reader: ReadSkillResource) -> None:
    assert "'article' is not one of ['digest']" in str(LoadSkill({"digest": ""}).problem({"skill": "article"}))
    assert "'article' is not one of ['digest']" in str(reader.problem({"skill": "article", "path": "SKILL.md"}))
    assert reader.problem({"skill": "digest", "path": "SKILL.md"}) is None


def test_both_tools_only_read(reader: ReadSkillResource) -> None:
    assert LoadSkill({}).spec.repeatable
    assert reader.spec.repeatable


@pytest.mark.parametrize("path", ["references/样式.md", "./references/样式.md", "references/../references/样式.md"])
async def test_a_file_in_the_folder_of_a_skill_is_read(reader: ReadSkillResource, path: str) -> None:
    assert (await reader.call({"skill": "digest", "path": path}, "k")).value == "Short. 短。"


@pytest.mark.parametrize(
    "path",
    [
        "../../secret.txt",
        "references/../../../secret.txt",
        "../digest-2/secret.txt",
        "link.txt",
        "/etc/passwd",
        "",
        ".",
        "references",
        "none.md",
        "loop",
        "a\0b",
        "a" * 5000,
        "SKILL.md/x",
        "\ud83d",
    ],
)
async def test_any_other_path_is_no_such_file(reader: ReadSkillResource, path: str) -> None:
    with pytest.raises(ToolError, match="no such file in the skill digest$"):
        await reader.call({"skill": "digest", "path": path}, "k")


async def test_a_file_that_is_no_text_is_a_failure(reader: ReadSkillResource, tmp_path: Path) -> None:
    (tmp_path / "skills" / "digest" / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    with pytest.raises(ToolError, match="cannot be read as text"):
        await reader.call({"skill": "digest", "path": "logo.png"}, "k")


@pytest.mark.parametrize("shift", range(3))
async def test_a_long_text_is_cut_between_two_letters(reader: ReadSkillResource, tmp_path: Path, shift: int) -> None:
    text = "a" * shift + "字" * RESOURCE_BYTES
    (tmp_path / "skills" / "digest" / "long.txt").write_text(text, "utf-8")
    read = (await reader.call({"skill": "digest", "path": "long.txt"}, "k")).value
    assert text.startswith(read)
    assert RESOURCE_BYTES - 3 < len(read.encode()) <= RESOURCE_BYTES
