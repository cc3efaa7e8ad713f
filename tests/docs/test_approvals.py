"""The page on approvals prints what the commands print."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.docs.pages import HOW_TO, blocks, printed
from tests.docs.test_docs import SCRIPTED, act
from tests.docs.test_processes import kernos
from tests.surfaces.terminal import rows

PAGE = HOW_TO / "approve.md"
_OPEN = re.compile(r"open until \S+ \S+, 7 d left")


@pytest.fixture
def waiting(tmp_path: Path) -> tuple[Path, str]:
    """The folder of the page, and the process that waits there."""
    (tmp_path / "agents" / "clerk").mkdir(parents=True)
    (tmp_path / "agents" / "clerk" / "AGENTS.md").write_text("You pay the bills.\n")
    (tmp_path / "kernos.toml").write_text(SCRIPTED + "".join(block.text for block in blocks(PAGE, "toml")))
    for block in blocks(PAGE, "python"):
        (tmp_path / block.file).write_text(block.text)
    script = [act("read_mail"), act("pay", to="DE89-3704", amount=900), act("reply", text="Paid.")]
    (tmp_path / "script.json").write_text(json.dumps(script))
    started = kernos("run", ".", "Read the mail, and pay the rent.", "--detach", "--as", "ada", home=tmp_path)
    assert kernos("work", "--until-idle", home=tmp_path).code == 0
    return tmp_path, started.out.strip()


def lines(text: str, pid: str = "PID") -> list[str]:
    return [_OPEN.sub("OPEN", line.rstrip()).replace(pid, "PID") for line in text.splitlines()]


def test_the_card_looks_as_printed(waiting: tuple[Path, str]) -> None:
    folder, pid = waiting
    assert lines(kernos("approve", pid, home=folder).out, pid) == lines(printed(PAGE, "moves money"))


def test_always_shows_and_writes_the_policy_that_is_printed(waiting: tuple[Path, str]) -> None:
    folder, pid = waiting
    said = kernos("approve", pid, "--always", home=folder, said="y\n").out
    [diff] = [block.text for block in blocks(PAGE, "text") if block.text.startswith("---")]
    assert lines(said[said.index("---") : said.index(" [y/N]: ")]) == lines(diff[: diff.index(" [y/N]: ")])
    assert "allowed always" in said
    assert kernos("work", "--until-idle", home=folder).code == 0
    returned = [row["body"].get("value") for row in rows(folder, pid) if row["body"].get("is") == "returned"]
    assert "paid 900 to DE89-3704" in returned
    policy = (folder / "policies" / "approved.cedar").read_text("utf-8")
    assert all(line[1:] in policy for line in diff.splitlines() if line.startswith("+") and line[1:2] != "+")
