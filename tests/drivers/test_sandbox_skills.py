"""Scripts of skills: found where they should be, run in the sandbox, refused where there is none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from kernos.boot import System
from kernos.drivers.sandbox import bubblewrap
from kernos.drivers.sandbox.bubblewrap import Bubblewrap, Limits
from kernos.drivers.tool.skills import RunSkillScript
from kernos.kernel.errors import ToolError, Unsupported
from kernos.kernel.types import Json

CHART = """#!/usr/bin/env python3
import helper, sys
open("chart.txt", "w").write(helper.line(sys.argv[1:]))
print(open("/skill/references/title.txt").read())
"""


@pytest.fixture
def skill(tmp_path: Path) -> Path:
    folder = tmp_path / "skills" / "chart"
    (folder / "scripts" / "lib").mkdir(parents=True)
    (folder / "references").mkdir()
    for name, text in {
        "SKILL.md": "Chart.",
        "references/title.txt": "标题",
        "references/run.py": "print('not a script')",
        "scripts/chart": CHART,
        "scripts/helper.py": "def line(words): return '-'.join(words)",
        "scripts/lib/hello.sh": 'echo "hello $1"; echo oh >&2; exit 2',
        "scripts/plain.py": "print('plain')",
        "scripts/versioned": "#!/usr/bin/python3.11\nprint('versioned')",
        "scripts/bashed": "#!/bin/bash\na=(1 2); echo ${a[1]}",
        "scripts/tool.js": "console.log(1)",
        "scripts/other.py": "#!/usr/bin/env -S uv run --script\nprint(1)",
        "scripts/perl.sh": "#!/usr/bin/perl\nprint 1",
    }.items():
        (folder / name).write_text(text, "utf-8")
    (tmp_path / "secret.sh").write_text("echo secret", "utf-8")
    (folder / "scripts" / "link.sh").symlink_to(tmp_path / "secret.sh")
    return folder


@pytest.fixture
def tool(skill: Path, tmp_path: Path) -> RunSkillScript:
    return RunSkillScript({"chart": skill}, Bubblewrap(Limits(seconds=5.0)), tmp_path / "files")


async def run(tool: RunSkillScript, script: str, args: Sequence[str] = (), key: str = "p:1") -> Json:
    return (await tool.call({"skill": "chart", "script": script, "args": list(args)}, key)).value


async def test_a_script_runs_with_its_arguments_and_what_it_leaves_is_kept(
    tool: RunSkillScript, tmp_path: Path
) -> None:
    told = await run(tool, "scripts/chart", ["a b", "c"])
    folder = tmp_path / "files" / "p-1"
    assert told == {"exit": 0, "stdout": "标题\n", "stderr": "", "files": ["chart.txt"], "folder": str(folder)}
    assert (folder / "chart.txt").read_text() == "a b-c"
    assert await run(tool, "scripts/chart", ["again"]) == told


async def test_how_it_ended_and_what_it_complained_of_is_told(tool: RunSkillScript, tmp_path: Path) -> None:
    told = await run(tool, "lib/hello.sh", ["you"])
    assert told == {"exit": 2, "stdout": "hello you\n", "stderr": "oh\n", "files": []}
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize(
    ("script", "out"), [("plain.py", "plain\n"), ("versioned", "versioned\n"), ("bashed", "2\n")]
)  # fmt: skip
async def test_its_language_is_in_its_first_line_or_its_ending(tool: RunSkillScript, script: str, out: str) -> None:
    assert (await run(tool, f"scripts/{script}"))["stdout"] == out


@pytest.mark.parametrize("script", ["scripts/tool.js", "scripts/other.py", "scripts/perl.sh"])
async def test_any_other_language_is_refused(tool: RunSkillScript, script: str) -> None:
    with pytest.raises(ToolError, match="no script for python3 or sh"):
        await run(tool, script)


@pytest.mark.parametrize(
    "script",
    ["", ".", "scripts", "none.py", "SKILL.md", "../references/run.py", "scripts/../../../secret.sh", "link.sh",
     "/bin/sh", "a\0b", "\ud83d", "x" * 5000],
)  # fmt: skip
async def test_what_is_not_among_the_scripts_is_not_run(tool: RunSkillScript, script: str) -> None:
    with pytest.raises(ToolError, match="no such script in the skill chart$"):
        await run(tool, script)


async def test_an_argument_is_an_argument_and_nothing_else(tool: RunSkillScript) -> None:
    assert (await run(tool, "lib/hello.sh", ["$(id); `id` && id"]))["stdout"] == "hello $(id); `id` && id\n"
    with pytest.raises(ToolError, match="holds a NUL"):
        await run(tool, "lib/hello.sh", ["a\0b"])


def test_to_the_monitor_it_is_code_that_only_reads_and_says_what_anyone_may_have_written(tool: RunSkillScript) -> None:
    assert tool.spec.rule("script").use == "command"
    assert tool.spec.rule("args").use == "query"
    assert tool.spec.effects == {"reads"}
    assert not tool.spec.returns
    assert "'other' is not one of ['chart']" in str(tool.problem({"skill": "other", "script": "a", "args": []}))
    assert tool.problem({"skill": "chart", "script": "a", "args": "x"})


async def test_files_that_cannot_be_kept_are_a_failure(tool: RunSkillScript, tmp_path: Path) -> None:
    (tmp_path / "files").write_text("in the way")
    with pytest.raises(ToolError, match="cannot be kept"):
        await run(tool, "scripts/chart", ["x"])


async def test_without_a_sandbox_a_script_is_refused(tool: RunSkillScript, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "lacking", lambda: "bubblewrap is not installed (bwrap)")
    with pytest.raises(ToolError, match="this machine has no sandbox, and nothing is run without one"):
        await run(tool, "plain.py")


# A whole company


@pytest.fixture
def company(tmp_path: Path, skill: Path) -> Path:
    (skill / "SKILL.md").write_text("---\nname: chart\ndescription: Charts.\n---\nRun scripts/chart.", "utf-8")
    (tmp_path / "agents" / "ada").mkdir(parents=True)
    (tmp_path / "agents" / "ada" / "AGENTS.md").write_text("---\nname: Ada\nskills: [chart]\n---\nYou help.")
    actions = [
        {"name": "run_skill_script", "arguments": {"skill": "chart", "script": "scripts/chart", "args": ["x"]}},
        {"name": "python", "arguments": {"code": "recall(key='n')"}},
        {"name": "reply", "arguments": {"text": "There."}},
    ]
    (tmp_path / "script.json").write_text(json.dumps(actions))
    car = (
        '[engines.local]\ndriver = "scripted"\nscript = "script.json"\n[employees.ada]\ncalls = ["python", "recall"]\n'
    )
    (tmp_path / "kernos.toml").write_text(car)
    return tmp_path


async def test_an_employee_runs_a_script_of_its_skill_and_code_of_its_own(company: Path) -> None:
    assert System().faults(company) == []
    kernel = await System().kernel(company)
    try:
        pid = await kernel.spawn("ada", "bob", "Chart x with a script and compute.")
        await kernel.tick(pid)
        records = await (await System().ledger(company)).records(pid)
    finally:
        await kernel.close()
    told = [
        row.body["value"] for row in records if row.kind == "outcome" and row.body.get("tool") == "run_skill_script"
    ]
    assert told[0]["stdout"] == "标题\n"
    assert (company / ".kernos" / "files" / f"{pid}-{told[0]['folder'].rpartition('-')[2]}" / "chart.txt").exists()
    calls = [row.body.get("tool") or row.body["call"] for row in records if row.kind == "intent"]
    assert calls[-7:-1] == ["now", "python", "recall", "python", "generate", "send"]


async def test_a_company_whose_code_cannot_be_run_does_not_start(
    company: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernos.drivers.sandbox.monty.find_spec", lambda name: None)
    with pytest.raises(Unsupported, match="Monty"):
        await System().kernel(company)
