"""`kill -9` of the whole command at work, then `kernos resume`: with a real model in a real child process."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.surfaces.terminal import Running, kernos, processes, rows

CAR = """
[engines.local]
driver = "embedded"
model = "smollm2-135m"
context = 1024
"""
PLAY = "Tell me one thing about the sea.\nAnd one about the sky.\n"


def company(folder: Path) -> Path:
    """A company whose one employee only talks, with the small model."""
    kernos("init", folder)
    (folder / "kernos.toml").write_text(CAR, "utf-8")
    (folder / "agents" / "assistant" / "AGENTS.md").write_text("---\nname: A\n---\nYou are brief.\n", "utf-8")
    (folder / "play.txt").write_text(PLAY, "utf-8")
    return folder


@pytest.mark.model
def test_i3_killed_in_the_middle_of_an_answer_it_resumes_and_asks_nothing_twice(tmp_path: Path, smollm: Path) -> None:
    folder = company(tmp_path / "talk")
    with Running("chat", folder, "--play", folder / "play.txt", home=tmp_path) as talk:
        talk.until("about the sky")  # the first answer is recorded, the second is being written
        talk.more()
        talk.stop(signal.SIGKILL)
    [process] = processes(folder)
    before = [row for row in rows(folder, process["pid"]) if row["body"].get("call") == "generate"]
    assert kernos("audit", "verify", home=folder).code == 0

    resumed = kernos("resume", process["pid"], home=folder)
    assert resumed.code == 0, resumed.err

    after = rows(folder, process["pid"])
    generated = [row for row in after if row["body"].get("call") == "generate"]
    assert [row["kind"] for row in generated] == ["intent", "outcome"] * 2
    assert generated[: len(before)] == before, "what was recorded stays as it was"
    received = [row["body"]["text"] for row in after if row["kind"] == "outcome" and row["body"]["call"] == "receive"]
    assert received == PLAY.splitlines()
    assert kernos("audit", "verify", home=folder).code == 0


@pytest.mark.model
def test_ctrl_c_in_the_middle_of_an_answer_exits_with_130_and_leaves_the_journal_whole(
    tmp_path: Path, smollm: Path
) -> None:
    folder = company(tmp_path / "talk")
    with Running("chat", folder, "--play", folder / "play.txt", home=tmp_path) as talk:
        talk.until("about the sea")
        talk.more()
        assert talk.stop(signal.SIGINT) == 130, talk.seen
    assert "Traceback" not in talk.seen
    [process] = processes(folder)
    assert kernos("audit", "verify", home=folder).code == 0
    assert kernos("resume", process["pid"], home=folder).code == 0
