"""The command line, as a person without a terminal and a script meet it."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import click
import pytest

from kernos.surfaces.cli.main import COMMANDS, cli
from tests.surfaces.terminal import action, kernos, processes, rows, scripted

HELLO = action("reply", text="Hello, what can I do?")
GUESS = action("travel_time", kilometres=100, speed=50)
DONE = action("reply", text="It takes two hours.")
GREETER = """
[employees.greeter]
program = "programs.py:greet"
"""
PROGRAM = """
import kernos

@kernos.program
async def greet(process: kernos.Process) -> str:
    name = await process.ask("What is your name?")
    await process.send(f"Hello, {name}!")
    return name
"""


def greeters(folder: Path) -> Path:
    """A company with an employee that is a program."""
    scripted(folder, [], GREETER)
    (folder / "agents" / "greeter").mkdir()
    (folder / "agents" / "greeter" / "AGENTS.md").write_text("---\nname: Greeter\n---\nGreets people.\n", "utf-8")
    (folder / "programs.py").write_text(PROGRAM, "utf-8")
    return folder


def test_help_lists_every_command() -> None:
    shown = kernos("--help")
    assert shown.code == 0
    assert [name for name in COMMANDS if f"\n  {name} " not in shown.out] == []
    assert "Examples:" in shown.out
    assert kernos("ps", "--help").out == kernos("ps", "-h").out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_of_itself(name: str) -> None:
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None
    _, _, examples = (command.help or "").partition("Examples:\n")
    assert f"  kernos {name}" in examples


def test_a_new_folder_passes_its_own_check(tmp_path: Path) -> None:
    assert kernos("init", tmp_path / "shop").code == 0
    checked = kernos("check", tmp_path / "shop")
    assert checked.code == 0
    assert "1 employee, 0 skills, 0 tasks" in checked.out


def test_init_leaves_alone_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    refused = kernos("init", tmp_path)
    assert refused.code == 2
    assert "expected a new or empty folder" in refused.complaint
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_talk_shows_what_the_kernel_decided_and_ends_with_the_journal(tmp_path: Path) -> None:
    folder = scripted(tmp_path / "shop", [HELLO, action("travel_time", kilometres=70, speed=35), GUESS, DONE])
    talk = kernos("chat", folder, "--as", "ada", said="hi\nhow long does it take?\n100 km at 50 km/h\n")
    assert talk.code == 0, talk.err
    assert "Hello, what can I do?" in talk.out
    assert "How many kilometres is it? How fast do you go, in km/h?" in talk.out
    assert "travel_time: ask the customer for: kilometres, speed" in talk.out
    assert "It takes two hours." in talk.out
    assert "kilometres: not 70: the customer said “100”, which is 100" in talk.out
    assert "4 model calls, 3 tool calls, 2 refused" in talk.out
    assert "kilometres ← ada at row 21: “100”" in talk.out
    assert "its hash chain holds" in talk.out


def test_run_gives_one_task_and_says_only_the_answer(tmp_path: Path) -> None:
    folder = scripted(tmp_path / "shop", [DONE])
    done = kernos("run", folder, "How long for 100 km at 50?")
    assert (done.code, done.out.strip()) == (0, "It takes two hours.")


def test_run_without_a_task_says_what_it_needs(tmp_path: Path) -> None:
    folder = scripted(tmp_path / "shop", [DONE])
    assert "expected the task, in words" in kernos("run", folder).complaint


def test_a_program_asks_its_owner_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    folder = greeters(tmp_path / "shop")
    asked = kernos("run", folder, "--employee", "greeter")
    assert (asked.code, asked.out.strip()) == (0, "? What is your name?")
    assert "is waiting (person): kernos resume" in asked.complaint
    [process] = processes(folder)
    assert (process["phase"], process["why"]) == ("waiting", "person")
    answered = kernos("resume", process["pid"], home=folder, said="艾达\n")
    assert "Hello, 艾达!" in answered.out
    [process] = processes(folder)
    assert (process["phase"], process["why"]) == ("exited", "done")
    assert kernos("resume", process["pid"], home=folder).code == 2


def test_a_grant_that_asks_waits_for_the_person(tmp_path: Path) -> None:
    folder = scripted(tmp_path / "shop", [GUESS, DONE])
    car = (folder / "kernos.toml").read_text("utf-8")
    (folder / "kernos.toml").write_text(car.replace("tools = [", 'ask = ["travel_time"]\ntools = ['), "utf-8")
    talk = kernos("chat", folder, said="100 km at 50 km/h\nyes\n")
    assert "? may it make this call? (open until " in talk.out
    assert "  travel_time (reads)\n    kilometres = 100\n" in talk.out
    assert re.search(r"        ← \w+ at row 3: “100”", talk.out)
    assert "by the rule approval (base.cedar): assistant may use" in " ".join(talk.out.split())
    assert "It takes two hours." in talk.out
    assert "approved" in talk.out


def test_ps_of_a_folder_where_nothing_ran_says_so(tmp_path: Path) -> None:
    assert kernos("ps", home=tmp_path).out == "no processes yet (kernos chat starts one)\n"
    assert not (tmp_path / ".kernos").exists()


def test_log_takes_the_beginning_of_a_pid(tmp_path: Path) -> None:
    folder = scripted(tmp_path / "shop", [HELLO])
    kernos("run", folder, "hi")
    [process] = processes(folder)
    shown = kernos("log", process["pid"][:4], home=folder)
    assert shown.code == 0
    assert "Hello, what can I do?" in shown.out
    assert "the beginning of one pid" in kernos("log", "zzzz", home=folder).complaint


def test_scripts_get_what_ps_and_log_show_as_json(tmp_path: Path) -> None:
    folder = scripted(tmp_path / "shop", [HELLO])
    kernos("run", folder, "hi")
    listed = [json.loads(line) for line in kernos("ps", "--json", home=folder).out.splitlines()]
    assert listed == processes(folder)
    shown = [json.loads(line) for line in kernos("log", listed[0]["pid"], "--json", home=folder).out.splitlines()]
    assert shown == rows(folder, listed[0]["pid"])


def test_i7_audit_verify_finds_a_changed_row_and_exits_with_1(tmp_path: Path) -> None:
    folder = scripted(tmp_path / "shop", [HELLO])
    kernos("run", folder, "hi")
    whole = kernos("audit", "verify", home=folder)
    assert (whole.code, "every chain holds" in whole.out) == (0, True)
    with sqlite3.connect(folder / ".kernos" / "journal.db") as database:
        database.execute("update journal set at = at + 1 where seq = 3")
    found = kernos("audit", "verify", home=folder)
    assert found.code == 1
    assert "row 3: changed after it was written" in found.out


def test_a_second_kernos_on_a_folder_says_so_and_stops(tmp_path: Path) -> None:
    from kernos.drivers.store.lock import lock

    folder = scripted(tmp_path / "shop", [HELLO])
    (folder / ".kernos").mkdir()
    with lock(folder / ".kernos"):
        refused = kernos("run", folder, "hi")
    assert refused.code == 2
    assert "[K502]" in refused.complaint


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("chta",), "no command 'chta': did you mean chat?"),
        (("chat", "nowhere"), "folder: found nowhere; expected a company's folder, or a sub-agent's .md file [K101]"),
        (("chat", "shop", "--employee", "bob"), "--employee: found 'bob'; expected one of assistant [K101]"),
        (("chat", "shop", "--play", "none.txt"), "--play: found none.txt"),
        (("model", "pull", "qwen2.5-coder"), "model: found qwen2.5-coder; expected qwen2.5-coder-1.5b"),
        (("init", "new", "--example", "x"), "--example: found 'x'; expected beauty-advisor or starter [K101]"),
        (("log",), "Missing argument 'PID'."),
        (("audit", "verify"), "found no journal; expected a folder in which an employee has worked"),
        (("ps", "-C", "nowhere"), "--company: found nowhere; expected a company's folder [K101]"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    scripted(tmp_path / "shop", [])
    refused = kernos(*arguments, home=tmp_path)
    assert refused.code == 2
    assert complaint in refused.complaint


def test_a_model_that_is_not_pulled_is_named_with_the_command_that_gets_it(tmp_path: Path) -> None:
    kernos("init", tmp_path / "shop")
    nowhere = str(tmp_path / "none")
    refused = kernos("chat", tmp_path / "shop", KERNOS_MODELS=nowhere)
    assert refused.code == 2
    assert "kernos model pull default" in refused.complaint
    checked = kernos("check", tmp_path / "shop", KERNOS_MODELS=nowhere)
    assert checked.code == 0, "a folder is right although this machine lacks its model"
    assert "kernos model pull default" in checked.out


def test_check_names_an_unknown_model_in_its_place(tmp_path: Path) -> None:
    kernos("init", tmp_path / "shop")
    car = (tmp_path / "shop" / "kernos.toml").read_text("utf-8")
    (tmp_path / "shop" / "kernos.toml").write_text(car.replace('model = "default"', 'model = "defualt"'), "utf-8")
    checked = kernos("check", tmp_path / "shop")
    assert checked.code == 2
    assert "kernos.toml: engines.local.model: found 'defualt'; expected default" in checked.out


def test_a_sub_agent_file_runs(tmp_path: Path) -> None:
    file = tmp_path / "reviewer.md"
    file.write_text("---\nname: reviewer\ndescription: Reviews code\ntools: Read, Grep\n---\nYou review.\n", "utf-8")
    checked = kernos("check", file)
    assert checked.code == 0
    assert "asks for the tool Read: not granted" in checked.out


def test_an_engine_that_fails_loses_nothing(tmp_path: Path) -> None:
    folder = scripted(tmp_path / "shop", [HELLO])
    failed = kernos("chat", folder, said="hi\nand again\n")
    assert failed.code == 2
    assert "the script has ended [K300]" in failed.err
    [process] = processes(folder)
    assert (process["phase"], process["why"]) == ("waiting", "engine"), "the call stays open until its cause is mended"
    (folder / "script.json").write_text(f"[{DONE}]".replace("'", '"'), "utf-8")
    resumed = kernos("resume", process["pid"], home=folder)
    assert resumed.code == 0, resumed.err
    said = [
        row["body"]["text"]
        for row in rows(folder, process["pid"])
        if row["body"].get("call") == "send" and row["kind"] == "intent"
    ]
    assert said == ["Hello, what can I do?", "It takes two hours."]
