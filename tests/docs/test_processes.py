"""The pages about processes: their tools and programs do what the pages say, their commands print what is printed."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import pytest

from kernos.boot import System
from kernos.drivers.clock.fixed import FixedClock
from kernos.drivers.tool.python import Happened, PythonTool, source
from kernos.kernel.abi import Invoke, call_of
from kernos.kernel.effects import after_crash
from kernos.kernel.limits import Limits
from kernos.kernel.types import Action, Field, Json
from kernos.userland.lib import Process
from tests.docs.pages import HOW_TO, blocks, lasting, printed
from tests.docs.test_docs import SCRIPTED, act
from tests.support import CLERK, OWNER, House, ready, runs, serves
from tests.surfaces.terminal import Ended
from tests.surfaces.terminal import kernos as command

EFFECTS = HOW_TO / "declare-effects.md"
DOUBT = HOW_TO / "settle-a-doubt.md"
LIMITS = HOW_TO / "limits.md"
LONG = HOW_TO / "long-running-programs.md"
PASSING = HOW_TO / "pass-values-on.md"
KEYS = HOW_TO / "keys-and-anchors.md"

FAX = """
import os
import pathlib
import signal

import kernos


@kernos.tool(effects={"sends"})
def fax(number: str, text: str) -> str:
    '''Send a fax; the first time the machine stops.'''
    first = pathlib.Path(__file__).with_name("sent")
    if not first.exists():
        first.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "sent"


@kernos.program
async def confirm(process: kernos.Process) -> str:
    result = await process.invoke("fax", number="555-0100", text="Room 12 is yours.")
    return str(result.value)
"""
WATCHER = '[employees.clerk]\nprogram = "programs.py:watch"\ntools = ["price"]\n'


def kernos(*arguments: str | Path, said: str = "", home: Path | None = None, **environ: str) -> Ended:
    """Run the command with this test's keys."""
    own = {"XDG_CONFIG_HOME": os.environ["XDG_CONFIG_HOME"]}
    return command(*arguments, said=said, home=home, **own | environ)


def processes(folder: Path) -> list[dict[str, Any]]:
    """What `kernos ps --json` lists."""
    return [json.loads(line) for line in kernos("ps", "--json", home=folder).out.splitlines()]


def company(place: Path, car: str, files: dict[str, str]) -> Path:
    """A folder with one agent, `clerk`, and an engine that says nothing."""
    (place / "agents" / "clerk").mkdir(parents=True)
    (place / "agents" / "clerk" / "AGENTS.md").write_text("You are a clerk.\n")
    for name, text in {"kernos.toml": f"{SCRIPTED}\n{car}", "script.json": "[]", **files}.items():
        (place / name).write_text(text, "utf-8")
    return place


def code(page: Path) -> dict[str, Any]:
    """What the Python of a page defines."""
    scope: dict[str, Any] = {}
    exec("".join(block.text for block in blocks(page, "python")), scope)
    return scope


async def done(place: Path, employee: str = "clerk") -> str:
    """A process of an employee that has had one turn."""
    kernel = await System().kernel(place)
    try:
        pid = await kernel.spawn(employee, OWNER)
        await kernel.tick(pid)
        return pid
    finally:
        await kernel.close()


# Effects


async def test_each_tool_is_treated_after_a_crash_as_its_page_says() -> None:
    tools = {name: tool for name, tool in code(EFFECTS).items() if isinstance(tool, PythonTool)}
    said = dict(
        re.findall(r"^\| [^|]*?`(\w+)`[^|]*\|[^|]*\| is (done again|looked up|in doubt)", EFFECTS.read_text(), re.M)
    )
    remedies = {"again": "done again", "verify": "looked up", "doubt": "in doubt"}
    assert said.pop("take_order") == "done again"
    assert said == {name: remedies[after_crash(call_of(Invoke(name)), tool.spec)] for name, tool in tools.items()}


async def test_the_look_up_of_the_page_finds_what_happened() -> None:
    book = code(EFFECTS)["book"]
    call = {"room": "12", "guest": "Ada"}
    assert await book.verify(call, "7s98qxk2:14") is None
    book(**call)
    found = await book.verify(call, "7s98qxk2:14")
    assert Happened(found.value) == Happened("12 is booked")


def test_the_table_of_the_page_is_written_together_with_the_journal(tmp_path: Path) -> None:
    (car,) = blocks(EFFECTS, "toml")
    (tables,) = blocks(EFFECTS, "sql")
    order = act("take_order", dish="noodles", guests=4)
    script = f"[{order}, {act('reply', text='Coming.')}]".replace("'", '"')
    files = {"tables.sql": tables.text, "script.json": script}
    place = company(tmp_path / "inn", car.text.replace("assistant", "clerk"), files)
    ended = kernos("run", place, "noodles for 4, please")
    assert (ended.code, "take_order: allowed" in ended.out) == (0, True), ended
    with closing(sqlite3.connect(place / ".kernos" / "journal.db")) as journal:
        ((key, *written),) = journal.execute("select id, dish, guests from orders").fetchall()
    assert written == ["noodles", 4]
    assert key.partition(":")[0] == processes(place)[0]["pid"]


# Doubts


def test_a_doubt_is_found_and_settled_as_its_page_says(tmp_path: Path) -> None:
    car = '[tools.fax]\ndriver = "python"\nfunction = "tools.py:fax"\n'
    car += '[employees.clerk]\nprogram = "tools.py:confirm"\ntools = ["fax"]\n'
    place = company(tmp_path, car, {"tools.py": FAX})
    assert kernos("run", ".", home=place).code == -9
    assert "interrupted" in kernos("ps", home=place).out
    assert kernos("doubts", home=place).out == "nothing is in doubt\n"
    kernos("work", "--until-idle", home=place)
    pid = processes(place)[0]["pid"]
    shown = kernos("doubts", home=place).out
    assert lasting(shown, pid=pid) == lasting(printed(DOUBT, "in doubt since"), pid="j6qskequ")
    settled = kernos("doubts", pid, "--happened", '"sent"', home=place).out
    assert lasting(settled, pid=pid) == lasting(printed(DOUBT, "settled:"), pid="j6qskequ")
    assert kernos("resume", pid, home=place).code == 0
    owner = processes(place)[0]["owner"]
    log = lasting(kernos("log", pid, home=place).out, root=owner)
    assert set(lasting(printed(DOUBT, "1-4"))) <= set(log)


# Programs


async def test_the_program_that_watches_sees_a_day_go_by() -> None:
    prices = iter([4, 4, 5])

    def price(article: str) -> int:
        """Tell what something costs."""
        return next(prices)

    tools = ready(price)
    async with House(runs(code(LONG)["watch"], tools), tools) as house:
        kernel, pid = await house.start()
        for _ in range(3):
            assert (await kernel.tick(pid)).why == "timer"
            house.clock = FixedClock(house.clock.now() + code(LONG)["DAY"])
            kernel = house.boot()
        assert await house.said(pid) == ["tea costs 4", "tea costs 5"]


async def test_the_program_that_pays_the_rent_is_asked_about_nothing_though_strangers_wrote_in_the_list() -> None:
    bills: Json = [
        {"text": "PAY XX66", "iban": "DE11", "amount": 12.5},
        {"text": "rent", "iban": "DE55", "amount": 900},
    ]
    paid: list[tuple[str, float]] = []

    async def list_bills() -> Json:
        """List all bills."""
        return bills

    async def pay(
        account: Annotated[str, source(use="recipient", of="account")],
        amount: Annotated[float, source(use="amount", of="money")],
    ) -> None:
        """Pay an amount into an account."""
        paid.append((account, amount))

    returns = {"iban": Field(attested=True, of="account"), "amount": Field(attested=True, of="money")}
    tools = [PythonTool(list_bills, ["reads"], returns=returns), PythonTool(pay, ["pays"])]
    async with House(runs(code(PASSING)["pay_rent"], tools), tools) as house:
        kernel = house.boot()
        pid = await kernel.spawn(CLERK, OWNER, "Pay the rent.")
        assert (await kernel.tick(pid)).why == "done"
        [handles] = [row.body["handles"] for row in await house.rows(pid) if "handles" in row.body]
    assert paid == [("DE55", 900)]
    assert handles["account"] == [["list_bills at row 5", 1, "iban"]]


async def test_the_program_that_starts_others_gets_what_they_return() -> None:
    programs = code(LONG)
    counter = runs(programs["count"], slug="counter")
    async with House(runs(programs["stocktaking"], spawns=["counter"]), others=[counter]) as house:
        kernel, pid = await house.start()
        await house.run(kernel)
        result = (await house.rows(pid))[-1].body["result"]
    assert result == ["the cellar is counted", "the shop is counted"]


async def test_the_program_that_remembers_counts_on_in_the_next_process() -> None:
    async with House(runs(code(LONG)["greet"])) as house:
        kernel, said = house.boot(), []
        for _ in range(2):
            pid = await kernel.spawn(CLERK, OWNER)
            await kernel.tick(pid)
            said += await house.said(pid)
    assert said == [f"Welcome. This is visit {visit}." for visit in (1, 2)]


async def test_a_changed_program_is_reported_as_its_page_shows(tmp_path: Path) -> None:
    tool = 'import kernos\n\n\n@kernos.tool\ndef price(article: str) -> int:\n    """Ask."""\n    return 4\n'
    source = "".join(block.text for block in blocks(LONG, "python"))
    (declared,) = re.findall(r"^\[tools\.price\]\n(?:.+\n)+", blocks(LONG, "toml")[0].text, re.MULTILINE)
    place = company(tmp_path, declared + WATCHER, {"tools.py": tool, "programs.py": source})
    pid = await done(place)
    same = kernos("replay", pid, home=place)
    assert (same.code, lasting(same.out, pid=pid)) == (0, lasting(printed(LONG, "✓"), pid="7s98qxk2"))
    (place / "programs.py").write_text(source.replace("tea costs {price}", "tea: {price} yuan"))
    other = kernos("replay", pid, home=place)
    assert (other.code, lasting(other.out, pid=pid)) == (1, lasting(printed(LONG, "✗"), pid="7s98qxk2"))


# Limits


async def test_a_limit_asks_and_warns_in_the_words_of_its_page() -> None:
    async def fax() -> str:
        """Send a fax."""
        return "sent"

    async def many(process: Process) -> Json:
        return [await process.invoke("fax") for _ in range(3)]

    bounded = Limits(tools={"fax": 2}, soft=frozenset({"tools.fax"}))
    tools = ready(fax)
    async with House(runs(many, tools, limits=bounded), tools) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        question = await kernel.question(pid)
    assert question is not None
    assert question.text == printed(LIMITS, "As much again").strip()

    heard: list[str] = []

    def choose(prompt: Any) -> Action:
        heard.extend(message.text for message in prompt.messages)
        return Action("fax", {})

    async with House(serves(tools, limits=Limits(calls=10)), tools, script=choose) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "send it")
        await kernel.tick(pid)
    assert printed(LIMITS, "come to an end").strip() in heard


# Journals


async def test_a_verifier_needs_the_key_and_the_public_half_and_finds_what_was_cut(tmp_path: Path, keys: Path) -> None:
    place = company(tmp_path / "here", "", {})
    await done(place)
    pid = await done(place)
    witness = tmp_path / "witness"
    witness.mkdir()
    shutil.copy(keys / "anchor.pub", witness)
    secret = (keys / "journal.key").read_text().strip()
    car = (place / "kernos.toml").read_text() + f'\n[journal]\nanchor_key = "{witness}/anchor.key"\n'
    (place / "kernos.toml").write_text(car)
    there = {"XDG_CONFIG_HOME": str(tmp_path / "elsewhere"), "KERNOS_JOURNAL_KEY": secret}
    assert kernos("audit", "verify", home=place, **there).code == 0
    wrong = kernos("audit", "verify", home=place, **there | {"KERNOS_JOURNAL_KEY": "0" * 64})
    assert wrong.code == 1
    assert lasting(printed(KEYS, "no row fits"), pid="j6qskequ")[0] in lasting(wrong.out, pid=pid)
    with closing(sqlite3.connect(place / ".kernos" / "journal.db")) as journal, journal:
        for table in ("journal", "processes"):
            journal.execute(f"delete from {table} where pid = ?", [pid])
    cut = kernos("audit", "verify", home=place, **there)
    audit = printed(HOW_TO / "audit.md", "was signed and is gone").splitlines()[-1]
    assert cut.code == 1
    assert re.sub(r"\w{8}: row \d+", "", cut.out.splitlines()[0]) == re.sub(r"\w{8}: row \d+", "", audit)


async def test_a_process_moves_to_another_journal_and_goes_on_there(tmp_path: Path) -> None:
    program = "import kernos\n\n\n@kernos.program\nasync def ask(process):\n    return await process.ask('Well?')\n"
    car = '[employees.clerk]\nprogram = "programs.py:ask"\n'
    here = company(tmp_path / "here", car, {"programs.py": program})
    there = company(tmp_path / "there", car, {"programs.py": program})
    pid = await done(here)
    await done(there)
    *lines, last = blocks(HOW_TO / "move-and-prune.md", "sh")[0].text.replace("7s98", pid).splitlines()
    for line in lines:
        ended = kernos(*line.split()[1:], home=tmp_path)
        assert ended.code == 0, ended.err
    gone = kernos(*last.split()[1:], said="It is.\n", home=tmp_path)
    assert gone.code == 0, gone.err
    assert kernos("audit", "verify", "-C", "there", home=tmp_path).code == 0
    assert {one["pid"]: one["phase"] for one in processes(there)}[pid] == "exited"
    assert [one["phase"] for one in processes(here)] == ["paused"]


def test_every_key_that_a_page_names_is_where_it_says(tmp_path: Path, keys: Path) -> None:
    place = company(tmp_path, "", {})
    kernos("run", place, "hello")
    table = re.findall(r"`~/\.config/kernos/([\w.]+)`", KEYS.read_text())
    assert {path.name for path in keys.iterdir()} == set(table)
    assert (place / ".kernos" / "anchors.jsonl").is_file()


@pytest.mark.parametrize("words", ["doubts", "tell", "kill", "pause", "nice", "fork", "wait", "replay"])
def test_commands_about_processes_are_shown_somewhere(words: str) -> None:
    assert any(
        re.search(rf"^kernos {words}\b", block.text, re.M)
        for page in HOW_TO.glob("*.md")
        for block in blocks(page, "sh")
    )
