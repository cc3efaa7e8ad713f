"""`kernos policy`: what is in force, whether it says what its cases expect, and which rule decided a call."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.surfaces.terminal import Running, detached, employ, kernos, processes, rows

PROGRAMS = '''
import kernos


@kernos.tool(effects={"pays"})
def pay(to: str, amount: int) -> str:
    """Pay somebody.

    Args:
        to: who
        amount: how much
    """
    return f"paid {amount} to {to}"


@kernos.program
async def clerk(process: kernos.Process) -> None:
    await process.invoke("pay", to="landlord", amount=900)
    await process.invoke("pay", to="landlord", amount=2_000)
    await process.invoke("send", to="landlord")
'''
SIDE_CAR = """
[employees.clerk]
program = "programs.py:clerk"
tools = ["pay"]

[employees.cook]

[[employees.cook.grants]]
tool = "pay"
when.amount.max = 20
"""
CAP = """
@id("cap")
@tell("{employee} pays at most 1,000.")
forbid(principal, action == Action::"invoke", resource == Tool::"pay")
when { context.arguments.amount > 1000 };
"""
CASE = """
[[cases]]
name = "{name}"
employee = "clerk"
tool = "pay"
effects = ["pays"]
{more}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = employ(tmp_path / "shop", PROGRAMS, SIDE_CAR)
    (folder / "policies").mkdir()
    (folder / "policies" / "money.cedar").write_text(CAP)
    return folder


def cases(folder: Path, *lines: str) -> Path:
    text = "".join(CASE.format(name=f"case {number}", more=line) for number, line in enumerate(lines))
    (folder / "policies" / "cases.toml").write_text(text)
    return folder


def test_show_lists_every_rule_with_its_origin_and_who_may_lift_it(shop: Path) -> None:
    shown = kernos("policy", "show", shop)
    assert shown.code == 0, shown.err
    lines = {line.split()[0]: " ".join(line.split()) for line in shown.out.splitlines() if line[0] != " "}
    assert lines["redline.weapons"].startswith("redline.weapons redlines.cedar forbid nobody What {tool}")
    assert lines["redline.replication"].startswith("redline.replication redlines.cedar ask operator")
    assert lines["flow"].startswith("flow base.cedar ask owner {employee}")
    assert lines["granted"].startswith("granted base.cedar permit {employee}")
    assert lines["grants.cook.pay"].startswith("grants.cook.pay kernos.toml: employees.cook.grants forbid nobody")
    assert lines["cap"] == "cap policies/money.cedar forbid nobody {employee} pays at most 1,000."


def test_cases_that_are_decided_as_they_expect_pass(shop: Path) -> None:
    cases(
        shop,
        'arguments = { to = "landlord", amount = 900 }\nexpect = "allow"\nrule = "granted"',
        'arguments = { to = "landlord", amount = 2000 }\nexpect = "deny"\nrule = "cap"',
        'arguments = { to = "thief", amount = 5 }\nunfounded = ["to"]\nexpect = "ask"\nrule = "flow"',
        'arguments = { to = "thief", amount = 5 }\ngranted = false\nexpect = "deny"\nrule = "grant"',
    )
    done = kernos("policy", "test", shop)
    assert done.code == 0, done.out + done.err
    assert "4 cases, 0 wrong" in done.out
    assert done.out.count("✓") == 4
    assert kernos("policy", "test", home=shop).code == 0


def test_a_case_that_is_decided_otherwise_is_shown_with_the_reason(shop: Path) -> None:
    wrong = 'arguments = { to = "landlord", amount = 2000 }\nexpect = "allow"'
    other = 'arguments = { to = "landlord", amount = 2000 }\nexpect = "deny"\nrule = "flow"'
    done = kernos("policy", "test", cases(shop, wrong, other))
    assert done.code == 1
    assert "2 cases, 2 wrong" in done.out
    line = next(" ".join(line.split()) for line in done.out.splitlines() if "case 0" in line)
    assert line == "✗ case 0 allow deny cap clerk pays at most 1,000."


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('expect = "yes"', "cases[0].expect: found 'yes'; expected allow, ask or deny"),
        ("", "cases[0].expect: found 'nothing'; expected allow, ask or deny"),
        ('expect = "ask"\nfoundd = true', "cases[0].foundd: found an unknown key; expected one of name, expect"),
        ('expect = "ask"\nfounded = 7', "cases[0].founded: found 7; expected a valid boolean"),
        ('expect = "ask"\nreaches = "journal"', "cases[0].reaches: found 'journal'; expected a valid frozenset"),
        ("expect = ", "cases.toml: found TOML that does not parse"),
        ("expect = 'ask'\n[[case]]", "cases.toml: found 'case'; expected tables [[cases]]"),
    ],
)
def test_a_faulty_case_is_bad_input(shop: Path, line: str, said: str) -> None:
    done = kernos("policy", "test", cases(shop, line))
    assert done.code == 2
    assert said in done.complaint


def test_a_case_needs_an_employee(shop: Path) -> None:
    (shop / "policies" / "cases.toml").write_text('[[cases]]\nname = "x"\nexpect = "ask"\n')
    assert "cases[0].employee: found nothing; expected a value" in kernos("policy", "test", shop).complaint


def test_a_folder_without_cases_has_nothing_to_test(shop: Path) -> None:
    done = kernos("policy", "test", shop)
    assert done.code == 2
    assert "expected a table of cases" in done.complaint


@pytest.mark.parametrize("command", ["show", "test"])
def test_a_faulty_policy_is_named_with_its_line(shop: Path, command: str) -> None:
    (shop / "policies" / "more.cedar").write_text('@id("a") permit(principal, action, resource);\n\nforbid(nobody);')
    done = kernos("policy", command, shop)
    assert done.code == 2
    assert "policies/more.cedar: line 3: found a policy that Cedar does not take" in done.complaint


def test_explain_names_the_rule_that_decided_and_its_file(shop: Path) -> None:
    assert kernos("run", shop, "go", "--employee", "clerk", "--as", "ada").code == 0
    [pid] = [process["pid"] for process in processes(shop)]
    verdicts = {row["seq"]: row["body"]["verdict"] for row in rows(shop, pid) if row["kind"] == "intent"}
    first, second, third = verdicts
    told = {seq: kernos("policy", "explain", pid, str(seq), "-C", shop).out.strip() for seq in verdicts}
    assert told[first].startswith(
        'pay(amount=900, to="landlord") was allowed by the rule granted (base.cedar): clerk is'
    )
    assert told[second] == (
        'pay(amount=2000, to="landlord") was denied by the rule cap (policies/money.cedar): clerk pays at most 1,000.'
    )
    assert "was denied by the rule grant (what nothing permits is denied)" in told[third]
    assert kernos("policy", "explain", pid, str(second + 1), home=shop).out.strip() == told[second]


def test_explain_says_who_was_asked_and_what_they_answered(shop: Path) -> None:
    side_car = (shop / "kernos.toml").read_text().replace('tools = ["pay"]', 'tools = ["pay"]\nask = ["pay"]')
    (shop / "kernos.toml").write_text(side_car)
    pid = detached(shop, "clerk", "go")
    with Running("work", home=shop) as worker:
        worker.until(f"? {pid}")
        worker.stop()
    [seq] = [row["seq"] for row in rows(shop, pid) if row["kind"] == "intent"]
    first, second = kernos("policy", "explain", pid, str(seq), home=shop).out.splitlines()
    assert first.startswith(
        'pay(amount=900, to="landlord") was put to a person by the rule approval (base.cedar): clerk'
    )
    assert second == "  asked: owner; not answered yet"
    assert kernos("tell", pid, "yes", home=shop).code == 0
    assert "  asked: owner; allowed by " in kernos("policy", "explain", pid, str(seq), home=shop).out


def test_explain_wants_the_row_of_a_call(shop: Path) -> None:
    assert kernos("run", shop, "go", "--employee", "clerk", "--as", "ada").code == 0
    [pid] = [process["pid"] for process in processes(shop)]
    assert "found a row spawn" in kernos("policy", "explain", pid, "0", home=shop).complaint
    assert "found no such row" in kernos("policy", "explain", pid, "99", home=shop).complaint
