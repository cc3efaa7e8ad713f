"""The documentation cannot drift: its snippets run, its talks happen as they are printed, its reference is what the
code says, its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from kernos.boot import System
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.abi import TABLE
from kernos.kernel.office import Answer
from kernos.surfaces.cli.main import cli
from kernos.userland.company import sidecar
from tests.docs.pages import FENCE, HOW_TO, ROOT, blocks, printed
from tests.surfaces.terminal import kernos

OURS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ALL = sorted([*OURS, *(path for path in (ROOT / "examples").rglob("*.md") if ".kernos" not in path.parts)])
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"
SCRIPTED = '[engines.script]\ndriver = "scripted"\nscript = "script.json"\n'


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def act(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def play(place: Path, actions: Sequence[dict[str, Any]], lines: Sequence[str], owner: str = "visitor") -> str:
    """What `kernos chat` prints when a person says these lines and the model chooses these actions."""
    side_car = place / "kernos.toml"
    engine = re.compile(r"^\[engines\.\w+\]\n(?:.+\n)*", re.MULTILINE)
    side_car.write_text(engine.sub(SCRIPTED, side_car.read_text("utf-8"), count=1), "utf-8")
    (place / "script.json").write_text(json.dumps(actions), "utf-8")
    (place / "person.txt").write_text("\n".join(lines), "utf-8")
    words = "chat", place, "--play", place / "person.txt", "--as", owner
    done = kernos(*words, XDG_CONFIG_HOME=os.environ["XDG_CONFIG_HOME"])
    assert done.code == 0, done.err
    return done.out


def talk(page: Path, place: int) -> list[str]:
    """The lines of a printed talk, the n-th of a page."""
    talks = [block.text for block in blocks(page, "text") if block.text.startswith("› ")]
    return talks[place].splitlines()


def said_by_the_person(lines: Sequence[str]) -> list[str]:
    return [line.removeprefix("› ") for line in lines if line.startswith("› ")]


def report(output: str) -> str:
    """What `kernos chat` printed of the journal at its end, without spaces that move."""
    return " ".join(output[output.index("What process ") :].split())


def conversation(output: str) -> list[str]:
    """What `kernos chat` printed, from the person's first line up to the report."""
    lines = [line.rstrip() for line in output.splitlines()]
    return lines[1 : next(place for place, line in enumerate(lines) if line.startswith("What process ")) - 1]


# README


@pytest.fixture
def restaurant(tmp_path: Path) -> Path:
    """A folder of the README's snippets."""
    for slug in ("host", "waiter"):
        (tmp_path / "agents" / slug).mkdir(parents=True)
        (tmp_path / "agents" / slug / "AGENTS.md").write_text("You serve the guests of a restaurant.\n")
    (tmp_path / "tools.py").write_text("\n".join(block.text for block in blocks(README, "python")))
    (tmp_path / "kernos.toml").write_text(SCRIPTED + "".join(block.text for block in blocks(README, "toml")))
    return tmp_path


async def spoken(place: Path, pid: str) -> list[str]:
    """What a process said, from its journal."""
    ledger = await System().ledger(place)
    try:
        intents = [row.body for row in await ledger.records(pid) if row.kind == "intent"]
        return [body["text"] for body in intents if body["call"] == "send"]
    finally:
        await ledger.close()


async def test_the_tool_of_the_readme_takes_only_what_the_person_said(restaurant: Path) -> None:
    actions = [
        act("reserve", guests=6),
        act("reply", text="For how many?"),
        act("reserve", guests=4),
        act("reply", text="Done."),
    ]
    (restaurant / "script.json").write_text(json.dumps(actions))
    kernel = await System().kernel(restaurant)
    try:
        pid = await kernel.spawn("waiter", "ada")
        for words in ("A table, please", "For 4 people"):
            await kernel.deliver(pid, words)
            await kernel.tick(pid)
    finally:
        await kernel.close()
    assert await spoken(restaurant, pid) == ["For how many?", "Done."]
    ledger = await System().ledger(restaurant)
    rows = await ledger.records(pid)
    await ledger.close()
    verdicts = [row.body["verdict"]["is"] for row in rows if row.body.get("tool") == "reserve" and row.kind == "intent"]
    assert verdicts == ["deny", "allow"]
    assert [row.body["value"] for row in rows if row.body.get("is") == "returned"] == ["A table for 4 is reserved."]


async def test_the_program_of_the_readme_runs_without_a_model(restaurant: Path) -> None:
    (restaurant / "script.json").write_text("[]")
    kernel = await System().kernel(restaurant)
    try:
        pid = await kernel.spawn("host", "ada")
        await kernel.tick(pid)
        question = await kernel.question(pid)
        assert question is not None
        assert question.text == "For how many people?"
        await kernel.answer(pid, Answer("ada", text="4"))
        status = await kernel.tick(pid)
    finally:
        await kernel.close()
    assert (status.phase, status.why) == ("exited", "done")
    assert await spoken(restaurant, pid) == ["A table for 4 is reserved."]


def test_the_snippets_of_the_readme_have_at_most_ten_lines() -> None:
    for block in blocks(README, "python"):
        assert len([line for line in block.text.splitlines() if line.strip()]) <= 10


ADVICE = [
    (0, 25, "female", "combination_dry", "CL-001"),
    (1, 34, "male", "oily", "CL-005"),
]


@pytest.mark.parametrize(("place", "age", "gender", "skin", "sku"), ADVICE)
def test_the_talks_of_the_readme_happen_as_printed(
    tmp_path: Path, place: int, age: int, gender: str, skin: str, sku: str
) -> None:
    folder = tmp_path / "advisor"
    shutil.copytree(ROOT / "examples" / "beauty-advisor", folder, ignore=shutil.ignore_patterns(".kernos"))
    actions = [
        act("search_products", age=25, category="cleanser", gender="female", skin_type="normal"),
        act("search_products", age=age, category="cleanser", gender=gender, skin_type=skin),
        act("recommend_product", sku=sku),
    ]
    lines = talk(README, place)
    output = play(folder, actions, said_by_the_person(lines), "customer")
    assert conversation(output) == lines
    for evidence in re.findall(r"^ +(\w+ ← .+)$", README.read_text(), re.MULTILINE) if place == 0 else ():
        assert evidence in report(output)


# The tutorial and the other pages


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """The folder that a reader of the tutorial has made."""
    for language in ("sql", "markdown", "toml"):
        for block in blocks(TUTORIAL, language):
            path = tmp_path / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
    return tmp_path


def test_the_folder_of_the_tutorial_passes_its_check(books: Path) -> None:
    assert System().faults(books) == []
    assert (books / "data" / "books.db").is_file()


def test_the_talk_of_the_tutorial_happens_as_printed(books: Path) -> None:
    actions = [
        act("find_books", genre="fantasy"),
        act("find_books", genre="crime", max_pages=300),
        act("show_book", id="B-01"),
        act("reply", text="You're welcome! If you have any other questions, feel free to ask."),
    ]
    lines = talk(TUTORIAL, 0)
    output = play(books, actions, said_by_the_person(lines))
    assert conversation(output) == lines
    shown = report(output).replace("on script", "on local")
    for line in printed(TUTORIAL, "ROWS").splitlines()[1:]:
        line = re.sub(r" \d\d:\d\d:\d\d | (?:allow|deny \(source\))$", "   ", line)
        assert all(words in shown for words in re.split(r" {2,}", line.strip())), line


def test_the_script_that_verifies_a_journal_from_outside_works(books: Path, keys: Path) -> None:
    play(books, [act("find_books", genre="crime"), act("show_book", id="B-01")], ["A crime story"])
    scope: dict[str, Any] = {}
    for block in blocks(ROOT / "docs" / "reference" / "formats.md", "python"):
        exec(block.text, scope)
    key = bytes.fromhex((keys / "journal.key").read_text())
    assert scope["verify"](books / ".kernos" / "journal.db", key) > 8
    with pytest.raises(AssertionError):
        scope["verify"](books / ".kernos" / "journal.db", bytes(32))


def test_the_tool_of_the_how_to_is_a_tool() -> None:
    scope: dict[str, Any] = {}
    (block,) = blocks(HOW_TO / "grant-a-tool.md", "python")
    exec(block.text, scope)
    tool = scope["pay"]
    assert isinstance(tool, PythonTool)
    assert set(tool.spec.schema["properties"]) == {"to", "amount"}
    assert tool.spec.effects == {"pays"}
    assert tool.spec.keyed


def test_a_person_who_is_asked_first_may_decline(books: Path) -> None:
    side_car = books / "kernos.toml"
    (asks,) = re.findall(r"^ask = .*$", (HOW_TO / "ask-a-person-first.md").read_text(), re.MULTILINE)
    side_car.write_text(side_car.read_text() + f"\n{asks}\n")
    lines = talk(HOW_TO / "ask-a-person-first.md", 0)
    actions = [act("find_books", genre="crime"), act("reply", text="As you like.")]
    said = [re.sub(r"open until \S+ \S+,", "open until 2026-11-29 09:00,", line)
            for line in conversation(play(books, actions, said_by_the_person(lines)))]  # fmt: skip
    assert said[: len(lines)] == lines


def command_lines(page: Path) -> Iterator[list[str]]:
    """Every `kernos` command that a page shows, as words."""
    for line in "".join(block.text for block in blocks(page, "sh")).splitlines():
        words = [""] + shlex.split(line, comments=True)
        for start in (place for place, word in enumerate(words) if word == "kernos"):
            if words[start - 1] in ("", "&&", "|"):
                end = next((n for n, word in enumerate(words[start:], start) if word in ("&&", "|")), None)
                yield words[start + 1 : end]


@pytest.mark.parametrize("page", OURS, ids=relative)
def test_every_command_in_the_docs_is_one(page: Path) -> None:
    for words in command_lines(page):
        command: click.Command = cli
        while isinstance(command, click.Group):
            name, *words = words
            found = command.get_command(click.Context(command), name)
            assert found is not None, name
            command = found
        command.make_context(name, words)


@pytest.mark.parametrize("page", OURS, ids=relative)
def test_every_side_car_in_the_docs_is_right(page: Path) -> None:
    for block in blocks(page, "toml"):
        _, problems = sidecar.parse({sidecar.FILE: block.text})
        assert not problems, [str(problem) for problem in problems]


# The reference


def test_the_reference_is_what_the_code_says() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "reference"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from commands(f"{name} {child}", found)


def test_every_command_and_option_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    chapters = dict(re.findall(r"^## (.+)\n(?s:(.*?))(?=^## |\Z)", text, re.MULTILINE))
    for name, command in commands("kernos", cli):
        for parameter in command.params:
            for option in parameter.opts if isinstance(parameter, click.Option) else ():
                assert option in chapters[name], f"{name} {option}"


def test_every_key_of_the_side_car_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "kernos-toml.md").read_text("utf-8")
    schema = sidecar.Sidecar.model_json_schema()
    for table in (schema, *schema["$defs"].values()):
        for key in table.get("properties", ()):
            assert f"| `{key}` |" in text, key


def test_every_system_call_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "abi.md").read_text("utf-8")
    for call in TABLE:
        assert f"\n## {call.name}\n" in text


# All pages


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as hosts of Markdown make them."""
    text = FENCE.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ALL, ids=relative)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", ALL, ids=relative)
def test_no_page_names_a_machine(page: Path) -> None:
    found = re.findall(
        r"(?<![\w.])/(?:work|root|tmp|home|Users)/\S*|\S*(?:pypi|pythonhosted)\S*", page.read_text("utf-8")
    )
    assert not found


@pytest.mark.parametrize("page", OURS, ids=relative)
def test_no_page_has_a_dash_longer_than_a_hyphen(page: Path) -> None:
    assert not re.findall("[–—]", page.read_text("utf-8"))


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    pages = (path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))
    assert [page for page in pages if page != "README.md" and f"({page})" not in index] == []
