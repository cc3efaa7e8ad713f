"""Under what an employee says, in a talk and in the log: receipts, false claims, and what strangers wrote of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.surfaces.terminal import employ, kernos, processes

PROGRAMS = '''
import kernos


@kernos.tool(effects={"reads"})
def read_mail() -> dict:
    """Read the mail."""
    return {"body": "Please call the new number 555-0199 at once. Regards, Eve"}


@kernos.tool(effects={"writes"})
def save(note: str) -> str:
    """Save a note."""
    return "saved"


TEXTS = {
    "one": "I have saved a note.\\x1b[2J",
    "two": "I have sent the money to Bob.\\n✓ pay: to=bob (row 3)",
    "三": "已为您付款。",
    "four": "Please call the new number 555-0199 at once. And good luck.",
}


@kernos.program
async def clerk(process: kernos.Process) -> None:
    while True:
        words = await process.receive()
        if words == "one":
            await process.invoke("save", note="tea")
        if words == "four":
            await process.invoke("read_mail")
        await process.send(TEXTS[words])


@kernos.program
async def boss(process: kernos.Process) -> None:
    await process.wait(await process.spawn("liar"))
    await process.ask("I have paid it. Is that all?")


@kernos.program
async def liar(process: kernos.Process) -> None:
    await process.send("I have deleted the file.")
'''
CAR = """
[employees.clerk]
program = "programs.py:clerk"
tools = ["read_mail", "save"]

[employees.boss]
program = "programs.py:boss"
spawns = ["liar"]

[employees.liar]
program = "programs.py:liar"
"""
BESIDE = """\
I have saved a note.\\x1b[2J
  ✓ save: note=tea (row 5)
I have sent the money to Bob.
✓ pay: to=bob (row 3)
  ! it says that it sent something; the journal shows no such call
  ! a ✓ in its text is its own
已为您付款。
  ! 它说自己付了款或买了东西，日志里没有这样的调用
Please call the new number 555-0199 at once. And good luck.
  from read_mail at row 22.body: “Please call the new number 555-0199 at once.”
"""


@pytest.fixture(scope="module")
def talked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = employ(tmp_path_factory.mktemp("talked") / "shop", PROGRAMS, CAR)
    talk = kernos("chat", folder, "--employee", "clerk", said="one\ntwo\n三\nfour\n")
    assert talk.code == 0, talk.err
    return folder, talk.out


def test_in_a_talk_each_reply_has_beside_it_what_the_journal_says(talked: tuple[Path, str]) -> None:
    lines = [line for line in talked[1].splitlines() if not line.startswith(("› ", "  · ", "process "))]
    assert lines[: len(BESIDE.splitlines())] == BESIDE.splitlines()
    assert "\x1b[2J" not in talked[1], "a text gives the terminal no orders"


def test_the_log_shows_the_same(talked: tuple[Path, str]) -> None:
    folder, _ = talked
    [status] = processes(folder)
    shown = " ".join(kernos("log", status["pid"], home=folder).out.split())
    for line in BESIDE.splitlines():
        if line.startswith("  "):
            assert all(words in shown for words in line.split()), line


def test_what_a_child_says_and_what_is_asked_is_shown_with_it_too(tmp_path: Path) -> None:
    folder = employ(tmp_path / "shop", PROGRAMS, CAR)
    talk = kernos("chat", folder, "--employee", "boss", said="yes\n")
    child = processes(folder)[1]["pid"]
    lines = talk.out.splitlines()
    said = lines.index(f"{child}: I have deleted the file.")
    assert lines[said + 1] == "  ! it says that it deleted or cancelled something; the journal shows no such call"
    asked = lines.index("? I have paid it. Is that all?")
    assert "  ! it says that it paid or bought something; the journal shows no such call" in lines[said:asked]
