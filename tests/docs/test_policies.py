"""The page on policies does what it says."""

from __future__ import annotations

from pathlib import Path

from kernos.boot import System
from kernos.kernel.ports import Facts
from tests.docs.pages import HOW_TO, blocks, printed
from tests.surfaces.terminal import kernos

PAGE = HOW_TO / "write-a-policy.md"


def folder(place: Path) -> Path:
    """A folder of the page's snippets."""
    (place / "agents" / "clerk").mkdir(parents=True)
    (place / "agents" / "clerk" / "AGENTS.md").write_text("You pay the bills.\n")
    (place / "kernos.toml").write_text("".join(block.text for block in blocks(PAGE, "toml")))
    (place / "policies").mkdir()
    (place / "policies" / "own.cedar").write_text(printed(PAGE, "office-hours"))
    (place / "policies" / "cases.toml").write_text(printed(PAGE, "[[cases]]"))
    return place


def test_the_cases_of_the_page_pass(tmp_path: Path) -> None:
    done = kernos("policy", "test", folder(tmp_path))
    assert (done.code, "2 cases, 0 wrong" in done.out) == (0, True), done.out + done.err


def test_the_grants_and_the_rule_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    rules = System().policy(folder(tmp_path))

    def said(to: str, amount: float) -> str:
        facts = Facts("clerk", "ada", "invoke", "pay", frozenset({"pays"}), arguments={"to": to, "amount": amount})
        return rules.decide(facts).verdict

    assert [said("landlord", 100), said("landlord", 101), said("a shop", 90), said("a shop", 1001)] == [
        "allow", "ask", "ask", "deny",
    ]  # fmt: skip
    mail = Facts("clerk", "ada", "invoke", "mail", frozenset({"sends"}), clean=False)
    assert (rules.decide(mail).rules, rules.decide(mail).approver) == (("office-hours",), "manager")
