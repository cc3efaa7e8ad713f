"""`kernos approve`, and cards in a talk: what a person is shown, and what each way of answering does."""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from rich.cells import cell_len

from kernos.boot import System
from kernos.surfaces.cli.places import user
from tests.surfaces.terminal import detached, employ, kernos, process, processes, rows

PROGRAMS = '''
from typing import Annotated

import kernos
from kernos.drivers.tool.python import source


@kernos.tool(effects={"reads"})
def read_mail() -> dict:
    """Read the mail."""
    return {"sender": "landlord@example.org", "body": "Dear tenant, pay 900 to DE89-37, tell bank@x.org. 请付\\u202e。"}


@kernos.tool(effects={"pays"})
def pay(to: Annotated[str, source(use="recipient")], amount: Annotated[int, source(use="amount")]) -> str:
    """Pay somebody."""
    return f"paid {amount} to {to}"


@kernos.tool(effects={"sends"})
def mail(to: Annotated[str, source(use="recipient")], body: Annotated[str, source(use="content")]) -> str:
    """Send a mail."""
    return f"sent to {to}"


@kernos.tool(effects={"writes"})
def write_file(path: str, text: str) -> str:
    """Write a file."""
    return "written"


PAY, MAIL = {"to": "DE89-37", "amount": 900}, {"to": "bank@x.org", "body": "The rent is paid. " * 12}


@kernos.program
async def clerk(process: kernos.Process) -> list:
    """Reads, then wants two calls on one card, then makes them, the payment twice."""
    await process.receive()
    await process.invoke("read_mail")
    may = await process.propose([("pay", PAY), ("mail", MAIL)])
    if may[0]:
        await process.invoke("pay", **PAY)
    if may[1]:
        await process.invoke("mail", **MAIL)
    if may == (True, True):
        await process.invoke("pay", **PAY | {"amount": 901})
    return list(may)


@kernos.program
async def builder(process: kernos.Process) -> str:
    reply = await process.invoke("write_file", path="skills/new/SKILL.md", text="be better")
    return getattr(reply, "value", None) or reply.reason
'''
CAR = """
[employees.clerk]
program = "programs.py:clerk"
tools = ["read_mail", "pay", "mail"]

[employees.builder]
program = "programs.py:builder"
tools = ["write_file"]
"""
TASK = "pay the rent, and mail the bank"
APPROVED = Path("policies", "approved.cedar")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one process waits with a card of two calls, and one with a red line."""
    folder = employ(tmp_path_factory.mktemp("asked") / "shop", PROGRAMS, CAR)
    detached(folder, "clerk", TASK)
    detached(folder, "builder")
    worked = kernos("work", folder, "--until-idle")
    assert worked.code == 0, worked.err
    return folder


@pytest.fixture
def shop(asked: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    shutil.copytree(asked, tmp_path / "shop")
    return tmp_path / "shop"


def of(folder: Path, employee: str) -> str:
    """The pid of an employee's process."""
    [found] = [status["pid"] for status in processes(folder) if status["employee"] == employee]
    return str(found)


def go_on(folder: Path) -> None:
    worked = kernos("work", folder, "--until-idle")
    assert worked.code == 0, worked.err


def done(folder: Path, pid: str) -> list[str]:
    """What the process's tools returned since it was asked."""
    found = [row["body"] for row in rows(folder, pid) if row["body"].get("is") == "returned"]
    return [str(body["value"]) for body in found if body["tool"] != "read_mail"]


def answer(folder: Path, pid: str) -> dict[str, object]:
    [body] = [row["body"] for row in rows(folder, pid) if row["kind"] == "answer"]
    return {name: body[name] for name in ("by", "approved")}


# What is shown


def test_open_cards_are_listed_each_call_in_one_line(shop: Path) -> None:
    clerk, builder = of(shop, "clerk"), of(shop, "builder")
    listed = kernos("approve", home=shop)
    assert listed.code == 0, listed.err
    first, pay, mail, command, second, who, write, _ = listed.out.splitlines()
    assert re.fullmatch(rf"{clerk}  clerk for ada; open until 20\d\d-\d\d-\d\d \d\d:\d\d, 7 d left", first)
    assert pay == '  1  pay(amount=900, to="DE89-37")'
    assert mail.startswith('  2  mail(body="The rent is paid. The') and mail.endswith("…")
    assert command == f"  kernos approve {clerk}"
    assert second.startswith(builder) and who == "  the operator has to allow it"
    assert write == '  1  write_file(path="skills/new/SKILL.md", text="be better")'
    assert max(map(cell_len, listed.out.splitlines())) <= 80


def test_a_card_shows_every_call_where_it_came_from_the_rule_and_what_it_does(shop: Path) -> None:
    shown = kernos("approve", of(shop, "clerk"), home=shop)
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[1:4] == [
        "  1  pay (moves money)",
        "       amount = 900",
        "           ← read_mail at row 5.body: “Dear tenant, pay 900 to DE89-37, tell",
    ]
    assert "  2  mail (sends something to others)" in lines
    assert '       to = "bank@x.org"' in lines
    whole = " ".join(shown.out.split())
    assert 'body = "The rent is paid. The rent is paid.' in whole and "← the model" in whole
    assert "put to a person by the rule flow (base.cedar): clerk wants to use pay with values that nobody who" in whole
    assert max(map(cell_len, lines[:-2])) <= 80


def test_the_card_says_what_policy_explain_says(shop: Path) -> None:
    pid = of(shop, "clerk")
    card = " ".join(kernos("approve", pid, home=shop).out.split())
    explained = kernos("policy", "explain", pid, "6", home=shop).out
    assert "was put to a person by the rule flow (base.cedar)" in explained
    assert "put to a person by the rule flow (base.cedar)" in card
    found = re.findall(r" = .+ ← (read_mail at row 5\.body: “[^”]+”)", explained)
    assert found and all(" ".join(quote.split()) in card for quote in found)


def test_nothing_in_a_card_is_hidden_or_obeyed_by_the_terminal(shop: Path) -> None:
    shown = kernos("approve", of(shop, "clerk"), home=shop).out
    assert "请付\\u{202e}。" in shown
    assert "\u202e" not in shown + kernos("log", of(shop, "clerk"), home=shop).out


def test_where_nothing_waits_it_says_so(tmp_path: Path) -> None:
    folder = employ(tmp_path / "shop", PROGRAMS, CAR)
    assert kernos("approve", home=folder).out == "nothing waits for approval\n"


def test_the_worker_names_the_command(asked: Path, tmp_path: Path) -> None:
    folder = employ(tmp_path / "shop", PROGRAMS, CAR)
    pid = detached(folder, "clerk", TASK)
    worked = kernos("work", folder, "--until-idle")
    assert f"(kernos approve {pid} -C {folder})" in worked.out


# How it is answered


def test_what_is_allowed_is_allowed_for_the_task_and_its_values_stand(shop: Path) -> None:
    pid = of(shop, "clerk")
    said = kernos("approve", pid, "--yes", "--as", "bob", home=shop)
    assert said.out == f"process {pid}: allowed for this task; kernos resume {pid} goes on with it\n"
    go_on(shop)
    assert done(shop, pid) == ["paid 900 to DE89-37", "sent to bank@x.org"]
    assert answer(shop, pid) == {"by": "bob", "approved": True}
    again = kernos("approve", pid, home=shop)
    assert "amount = 901" in again.out, "a value that nobody stood for"
    assert "DE89-37" in again.out and "← approved: DE89-37" in " ".join(again.out.split())


def test_once_lets_the_calls_through_and_nothing_else(shop: Path) -> None:
    pid = of(shop, "clerk")
    assert "allowed once" in kernos("approve", pid, "--yes", "--once", home=shop).out
    go_on(shop)
    assert done(shop, pid) == ["paid 900 to DE89-37", "sent to bank@x.org"]
    again = " ".join(kernos("approve", pid, home=shop).out.split())
    assert "flow" in again and 'to = "DE89-37" ← read_mail at row 5.body' in again, "who gets it is asked again too"


@pytest.mark.parametrize(("calls", "then"), [("1", [True, False]), ("2", [False, True]), ("1，2", [True, True])])
def test_some_calls_of_a_card_are_allowed(shop: Path, calls: str, then: list[bool]) -> None:
    pid = of(shop, "clerk")
    said = kernos("approve", pid, "--yes", "--calls", calls, home=shop)
    assert f"allowed {sum(then)} of 2 calls for this task" in said.out
    go_on(shop)
    assert [name for name in ("paid", "sent") if any(name in value for value in done(shop, pid))] == [
        name for name, may in zip(("paid", "sent"), then, strict=True) if may
    ]


def test_a_card_is_declined_as_a_whole(shop: Path) -> None:
    pid = of(shop, "clerk")
    assert "declined" in kernos("approve", pid, "--no", home=shop).out
    go_on(shop)
    assert (process(shop, pid)["why"], done(shop, pid)) == ("done", [])
    assert rows(shop, pid)[-1]["body"]["result"] == [False, False]


@pytest.mark.parametrize("said", ["y\n", "n\n", ""])
def test_an_answer_without_yes_shows_the_card_and_asks(shop: Path, said: str) -> None:
    pid = of(shop, "clerk")
    shown = kernos("approve", pid, "--once", home=shop, said=said)
    assert "  1  pay (moves money)" in shown.out and "Allow it? [y/N]: " in shown.out
    assert ("allowed once" in shown.out) == (said == "y\n")
    assert process(shop, pid)["why"] == ("" if said == "y\n" else "person")


# Always


def test_always_shows_the_policy_that_it_writes_and_asks(shop: Path) -> None:
    pid = of(shop, "clerk")
    shown = kernos("approve", pid, "--always", "--calls", "1", home=shop, said="n\n")
    assert "+++ policies/approved.cedar" in shown.out
    assert '+permit(principal == Employee::"clerk", action == Action::"invoke", resource == Tool::"pay")' in shown.out
    assert '+@lifts("flow")' in shown.out
    assert "Allow it, and write this? [y/N]: " in shown.out and "not answered" in shown.out
    assert not (shop / APPROVED).exists()
    said = kernos("approve", pid, "--always", "--calls", "1", home=shop, said="y\n")
    assert "allowed 1 of 2 calls always" in said.out
    text = (shop / APPROVED).read_text("utf-8")
    assert text.startswith("// What a person has allowed for good") and text.count("@lifts") == 1
    assert {rule.origin for rule in System().policy(shop).rules if rule.lifts} == {"policies/approved.cedar"}


def test_what_is_always_allowed_is_not_asked_about_again_and_anything_else_is(shop: Path) -> None:
    assert kernos("approve", of(shop, "clerk"), "--always", "--yes", home=shop).code == 0
    go_on(shop)
    second = detached(shop, "clerk", TASK)
    go_on(shop)
    assert done(shop, second) == ["paid 900 to DE89-37", "sent to bank@x.org"]
    assert "amount = 901" in kernos("approve", second, home=shop).out


def test_a_policy_that_is_there_is_not_written_twice(shop: Path, asked: Path) -> None:
    assert kernos("approve", of(shop, "clerk"), "--always", "--yes", home=shop).code == 0
    text = (shop / APPROVED).read_text("utf-8")
    with (
        sqlite3.connect(asked / ".kernos" / "journal.db") as before,
        sqlite3.connect(shop / ".kernos" / "journal.db") as database,
    ):
        before.backup(database)  # the card is open once more
    said = kernos("approve", of(shop, "clerk"), "--always", home=shop, said="y\n")
    assert "Allow it? [y/N]" in said.out and "+++" not in said.out
    assert (shop / APPROVED).read_text("utf-8") == text


def test_a_policy_that_does_not_fit_the_others_is_taken_back(shop: Path) -> None:
    pid = of(shop, "clerk")
    kernos("approve", pid, "--always", home=shop, said="n\n")
    (shop / "policies").mkdir(exist_ok=True)
    first = kernos("approve", pid, "--always", "--calls", "1", home=shop, said="n\n")
    [name] = re.findall(r'\+@id\("(always-\w+)"\)', first.out)
    other = f'@id("{name}")\n@tell("mine")\nforbid(principal, action == Action::"spawn", resource);\n'
    (shop / "policies" / "mine.cedar").write_text(other, "utf-8")
    refused = kernos("approve", pid, "--always", "--yes", home=shop)
    assert refused.code == 2
    assert "--always: found a policy that does not fit the others" in refused.complaint
    assert not (shop / APPROVED).exists() or not (shop / APPROVED).read_text("utf-8").strip()
    assert process(shop, pid)["why"] == "person"


def test_no_always_lifts_a_red_line(shop: Path) -> None:
    pid = of(shop, "builder")
    refused = kernos("approve", pid, "--always", "--yes", home=shop)
    assert refused.code == 2
    assert "--always: found the rule redline.replication, which no policy lifts" in refused.complaint
    assert kernos("approve", pid, "--yes", home=shop).code == 0
    go_on(shop)
    assert rows(shop, pid)[-1]["body"]["result"] == "written"


# In a talk


def talk(folder: Path, *lines: str) -> str:
    talked = kernos("chat", folder, "--employee", "clerk", said="\n".join([TASK, *lines, ""]))
    assert talked.code == 0, talked.err
    return talked.out


def shop_of(tmp_path: Path) -> Path:
    return employ(tmp_path / "shop", PROGRAMS, CAR)


@pytest.mark.parametrize(
    ("lines", "values"),
    [
        (["y", "n"], 2), (["一次", "不"], 2), (["1"], 1), (["1，2 o", "n"], 2), (["3", "maybe", "不要"], 0),
    ],
)  # fmt: skip
def test_in_a_talk_the_same_card_takes_a_word_or_numbers(tmp_path: Path, lines: list[str], values: int) -> None:
    folder = shop_of(tmp_path)
    said = talk(folder, *lines)
    assert re.search(r"\? may it make these 2 calls\? \(open until .+ left\)\n  1  pay \(moves money\)\n", said)
    assert "(yes, once, always or no; or the numbers of the calls that you allow)" in said
    assert said.count("· answer: yes, once") == (2 if "maybe" in lines else 0)
    assert len(done(folder, of(folder, "clerk"))) == values
    assert max(map(cell_len, said[said.index("? may") : said.index("(yes, once")].splitlines())) <= 80


@pytest.mark.parametrize("confirmed", [False, True])
def test_in_a_talk_always_shows_the_policy_and_asks(tmp_path: Path, confirmed: bool) -> None:
    folder = shop_of(tmp_path)
    said = talk(folder, "总是", *(["是", "n"] if confirmed else ["n", "n"]))
    assert "+++ policies/approved.cedar" in said and "write this? (yes or no)" in said
    assert (folder / APPROVED).is_file() == confirmed
    assert ("not written" in said) != confirmed
    assert len(done(folder, of(folder, "clerk"))) == (2 if confirmed else 0)


def test_in_a_talk_nobody_answers_for_the_operator(tmp_path: Path) -> None:
    folder = shop_of(tmp_path)
    talked = kernos("chat", folder, "--employee", "builder", said="yes\n")
    pid = of(folder, "builder")
    assert f"(the operator has to answer: kernos approve {pid} -C {folder})" in talked.out
    assert process(folder, pid)["why"] == "person"
    assert kernos("approve", pid, "--yes", home=folder).code == 0


# What is wrong


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--yes"], "approve: found an answer and no PID"),
        (["CLERK", "--no", "--once"], "--no: found --calls or a scope beside it"),
        (["CLERK", "--yes", "--calls", "3"], "--calls: found '3'; expected numbers from 1 to 2, with commas"),
        (["CLERK", "--yes", "--calls", "one"], "--calls: found 'one'"),
        (["CLERK", "--yes", "--calls", "0"], "--calls: found '0'"),
        (["zz", "--yes"], "pid: found 'zz'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(asked: Path, arguments: list[str], complaint: str) -> None:
    given = [of(asked, "clerk") if part == "CLERK" else part for part in arguments]
    refused = kernos("approve", *given, home=asked)
    assert (refused.code, refused.out) == (2, "")
    assert complaint in refused.complaint


def test_what_asks_nothing_cannot_be_approved(shop: Path) -> None:
    pid = of(shop, "clerk")
    assert kernos("approve", pid, "--no", home=shop).code == 0
    go_on(shop)
    refused = kernos("approve", pid, "--yes", home=shop)
    assert (refused.code, "found nothing to approve" in refused.complaint) == (2, True)


def test_who_answered_is_in_the_journal_and_the_default_is_the_user_of_the_machine(shop: Path) -> None:
    pid = of(shop, "clerk")
    assert kernos("approve", pid, "--yes", home=shop).code == 0
    go_on(shop)
    assert answer(shop, pid) == {"by": user(), "approved": True}
    assert " approved by " in kernos("log", pid, home=shop).out
