"""Processes as an operator handles them: in the background, from another shell, and after everything was killed."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.surfaces.terminal import WAITERS, Running, detached, employ, kernos, process, processes, rows

PROGRAMS = (
    '''
import asyncio
from pathlib import Path

import kernos

HERE = Path(__file__).parent


@kernos.tool(effects={"pays"})
async def pay(amount: int) -> str:
    """Pay. The first time it never comes back.

    Args:
        amount: how much
    """
    if not (HERE / "paid").exists():
        (HERE / "paid").touch()
        print("paying", flush=True)
        await asyncio.Event().wait()
    return f"paid {amount}"


@kernos.program
async def boss(process: kernos.Process) -> str:
    child = await process.spawn("greeter")
    ended = await process.wait(child)
    await process.send(f"{ended.result} was greeted")
    return ended.result


@kernos.program
async def keeper(process: kernos.Process) -> str:
    await process.remember("colour", "teal")
    await process.sleep(0.01)
    return await process.recall("colour")


@kernos.program
async def payer(process: kernos.Process) -> str:
    paid = await process.invoke("pay", amount=20)
    await process.send(str(paid.value))
    return paid.value


@kernos.program
async def broken(process: kernos.Process) -> None:
    await process.send("now")
    raise ValueError("no more paper")


@kernos.program
async def limited(process: kernos.Process) -> None:
    await process.send("one")
    await process.send("two")


@kernos.program
async def stepper(process: kernos.Process) -> None:
    if process.state is None:
        await process.checkpoint(state={"step": 2})
    await process.send(f"step {process.state['step']}")
'''
    + WAITERS
)
SIDE_CAR = """
[employees.greeter]
program = "programs.py:greeter"

[employees.boss]
program = "programs.py:boss"
spawns = ["greeter"]

[employees.keeper]
program = "programs.py:keeper"

[employees.sleeper]
program = "programs.py:sleeper"

[employees.payer]
program = "programs.py:payer"
tools = ["pay"]

[employees.broken]
program = "programs.py:broken"

[employees.limited]
program = "programs.py:limited"
limits = { calls = 1, soft = ["calls"] }

[employees.stepper]
program = "programs.py:stepper"
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return employ(tmp_path / "shop", PROGRAMS, SIDE_CAR)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose worker was killed while a process paid, and whose next worker has seen that."""
    shop = employ(tmp_path_factory.mktemp("killed") / "shop", PROGRAMS, SIDE_CAR)
    pid = detached(shop, "payer")
    with Running("work", home=shop) as worker:
        worker.until("paying")
        worker.stop(signal.SIGKILL)
    [status] = re.findall(rf"^{pid} .*$", kernos("ps", home=shop).out, re.MULTILINE)
    assert status.split()[3:5] == ["ready", "interrupted"]
    worked = kernos("work", shop, "--until-idle")
    assert worked.code == 0, worked.err
    assert f'? {pid} payer for ada: in doubt: invoke {{"arguments":{{"amount":20}},"tool":"pay"}}' in worked.out
    assert f"(kernos doubts {pid} -C {shop})" in worked.out
    return shop


@pytest.fixture
def doubtful(killed: Path, tmp_path: Path) -> tuple[Path, str]:
    """A copy of that folder, and the process that is in doubt there."""
    shutil.copytree(killed, tmp_path / "shop")
    [status] = processes(tmp_path / "shop")
    return tmp_path / "shop", status["pid"]


# A worker in the background


def test_a_worker_says_what_ended_and_what_is_asked_and_ends_when_idle(shop: Path) -> None:
    keeper, broken, greeter = detached(shop, "keeper"), detached(shop, "broken"), detached(shop, "greeter")
    worked = kernos("work", shop, "--until-idle")
    assert worked.code == 0, worked.err
    header, *said = worked.out.splitlines()
    assert header == f"kernos work: turns for the processes of {shop}, until nothing is left to do"
    assert {line.split(maxsplit=1)[1] for line in said} == {
        f"✓ {keeper} keeper for ada: done",
        f"✗ {broken} broken for ada: failed: ValueError: no more paper",
        f"? {greeter} greeter for ada: What is your name? (kernos tell {greeter} -C {shop})",
    }
    assert process(shop, greeter)["why"] == "person"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_is_told_to_end_exits_with_130(shop: Path, how: signal.Signals) -> None:
    sleeper = detached(shop, "sleeper")
    with Running("work", home=shop) as worker:
        worker.until("until Ctrl-C")
        with Running("log", sleeper, "--follow", home=shop) as log:
            log.until("sleep ")
        assert worker.stop(how) == 130
    assert "Traceback" not in worker.seen


def test_what_another_shell_does_reaches_the_worker(shop: Path) -> None:
    sleeper, greeter = detached(shop, "sleeper"), detached(shop, "greeter")
    with Running("work", home=shop) as worker, Running("log", greeter, "--follow", home=shop) as log:
        worker.until("What is your name?")
        noted = "noted for the kernos at work on the folder"
        assert noted in kernos("nice", greeter, "-5", home=shop).out
        log.until("-5, by")
        assert noted in kernos("pause", greeter, home=shop).out
        log.until("pause ")
        assert process(shop, greeter)["phase"] == "paused"
        assert noted in kernos("resume", greeter, home=shop).out
        log.until("resume ")
        assert kernos("tell", greeter, home=shop).out == "What is your name?\n"
        assert kernos("tell", greeter, "艾达", home=shop).code == 0
        log.until("Hello, 艾达!")
        worker.until(f"✓ {greeter} greeter for ada: done")
        assert log.end() == 0, "it ends with the process"
        with Running("wait", sleeper, home=shop) as waiting:
            assert noted in kernos("kill", sleeper, home=shop).out
            assert waiting.end() == 1
            assert f"process {sleeper}: killed" in waiting.seen
        assert worker.stop() == 130
    assert process(shop, greeter)["priority"] == -5


def test_a_second_kernos_says_so_and_stops(shop: Path) -> None:
    sleeper = detached(shop, "sleeper")
    with Running("work", home=shop) as worker, Running("log", sleeper, "--follow", home=shop) as log:
        log.until("sleep ")
        for command in (["work"], ["run", ".", "--employee", "greeter"], ["resume", sleeper]):
            refused = kernos(*command, home=shop)
            assert refused.code == 2
            assert refused.complaint.endswith("[K502]")
        assert kernos("run", "--employee", "keeper", "--detach", ".", home=shop).code == 0
        worker.until("keeper for")
        assert [line for line in worker.seen.splitlines() if "✓" in line]


def test_a_worker_ends_with_an_error_when_something_cannot_go_on(shop: Path) -> None:
    pid = detached(shop, "assistant", "hello")
    worked = kernos("work", shop, "--until-idle")
    assert worked.code == 2
    assert f"✗ {pid}: the script has ended [K300]; it is tried again" in worked.out
    assert worked.complaint == f"kernos: 1 process cannot go on: {pid} [K000]"


# Control without a worker


def test_kill_takes_the_children_along(shop: Path) -> None:
    pid = detached(shop, "boss")
    kernos("work", shop, "--until-idle")
    [_, child] = processes(shop)
    assert (child["parent"], child["why"]) == (pid, "person")
    assert kernos("kill", pid, home=shop).out == f"process {pid}: killed\n"
    assert [(status["phase"], status["why"]) for status in processes(shop)] == [("exited", "killed")] * 2
    assert "an exited process (killed)" in kernos("kill", pid, home=shop).complaint


def test_a_paused_process_rests_until_it_is_resumed(shop: Path) -> None:
    pid = detached(shop, "keeper")
    assert kernos("pause", pid, home=shop).out == f"process {pid}: paused\n"
    assert kernos("work", shop, "--until-idle").out.count("\n") == 1, "nothing but the header"
    assert process(shop, pid)["phase"] == "paused"
    resumed = kernos("resume", pid, home=shop)
    assert resumed.code == 0, resumed.err
    assert process(shop, pid)["why"] == "done"


def test_nice_shows_in_ps_only_where_it_is_used(shop: Path) -> None:
    pid = detached(shop, "sleeper")
    assert "NICE" not in kernos("ps", home=shop).out
    assert kernos("nice", pid, "--", "-20", home=shop).out == f"process {pid}: has priority -20\n"
    header, line = kernos("ps", home=shop).out.splitlines()
    assert line[header.index("NICE") - 1 :].split()[0] == "-20"
    assert "MONEY" not in header


def test_ps_shows_a_tree_and_when_a_sleeper_wakes(shop: Path) -> None:
    boss, sleeper = detached(shop, "boss"), detached(shop, "sleeper")
    kernos("pause", sleeper, home=shop)
    kernos("work", shop, "--until-idle")
    kernos("tell", sleeper, "a word", home=shop)
    _, first, second, third = kernos("ps", home=shop).out.splitlines()
    assert first.startswith(f"{boss} ")
    assert second.startswith("└ ") and "greeter" in second
    assert third.split()[:5] == [sleeper, "sleeper", "ada", "paused", "0"]
    assert len(kernos("ps", boss[:6], home=shop).out.splitlines()) == 3
    with Running("resume", sleeper, home=shop) as resumed:
        resumed.until("sleeps 3 h, until ")
        assert "timer, in 3 h" in kernos("ps", sleeper, home=shop).out
        assert resumed.stop() == 130


def test_wait_gives_up_in_time_and_says_where_the_process_stands(shop: Path) -> None:
    pid = detached(shop, "keeper")
    late = kernos("wait", pid, "--timeout", "0", home=shop)
    assert (late.code, late.out) == (1, f"process {pid}: still ready\n")
    assert "no kernos is at work" in late.complaint
    kernos("work", shop, "--until-idle")
    assert kernos("wait", pid, home=shop) == kernos("wait", pid[:5], home=shop)
    assert kernos("wait", pid, home=shop).code == 0


# A person and a tree


def test_who_talks_is_asked_what_a_child_asks(shop: Path) -> None:
    talk = kernos("chat", shop, "--employee", "boss", said="艾达\n")
    assert talk.code == 0, talk.err
    child = processes(shop)[1]["pid"]
    assert f"? {child}: What is your name?" in talk.out
    assert f"{child}: Hello, 艾达!" in talk.out
    assert "艾达 was greeted" in talk.out


def test_resume_finds_what_a_child_asked_before(shop: Path) -> None:
    pid = detached(shop, "boss")
    kernos("work", shop, "--until-idle")
    assert "Bo was greeted" in kernos("resume", pid, home=shop, said="Bo\n").out


@pytest.mark.parametrize(("said", "how"), [("maybe\n好\n", "done"), ("不\n", "limit"), ("y\n", "done")])
def test_more_is_given_at_a_soft_limit_or_not(shop: Path, said: str, how: str) -> None:
    talk = kernos("chat", shop, "--employee", "limited", said=said)
    assert "? limit reached: calls: 1 of 1 used. As much again?" in talk.out
    assert ("answer: yes or no" in talk.out) == said.startswith("maybe")
    assert processes(shop)[0]["why"] == how
    assert ("[K000]" in talk.err) == (how == "limit")


def test_a_program_that_fails_says_why(shop: Path) -> None:
    ran = kernos("run", shop, "--employee", "broken")
    assert (ran.code, ran.out) == (2, "now\n")
    assert "ended: failed: ValueError: no more paper" in ran.complaint


# In doubt


def test_i3_a_doubt_is_listed_and_settled_it_happened(doubtful: tuple[Path, str]) -> None:
    shop, pid = doubtful
    listed = kernos("doubts", home=shop)
    assert listed.out.startswith(f"{pid}  pay(amount=20)\n  begun in row 1, ")
    assert "it was begun and has no outcome" in listed.out
    assert "a text stands in quotes" in kernos("doubts", pid, "--happened", "paid", home=shop).complaint
    settled = kernos("doubts", pid, "--happened", '"已付 20"', home=shop)
    assert settled.out == f"process {pid}: settled: it happened; kernos resume {pid} goes on with it\n"
    assert kernos("doubts", home=shop).out == "nothing is in doubt\n"
    assert kernos("doubts", pid, "--stop", home=shop).code == 2
    assert kernos("work", shop, "--until-idle").code == 0
    assert (process(shop, pid)["why"], rows(shop, pid)[-1]["body"]["result"]) == ("done", "已付 20")
    shown = kernos("log", pid, home=shop).out
    assert re.search(r"doubt +it was begun and has no outcome +it happened", shown)


def test_i3_a_doubt_is_settled_it_did_not_happen_and_the_call_is_made_again(doubtful: tuple[Path, str]) -> None:
    shop, pid = doubtful
    assert kernos("doubts", pid, "--did-not", home=shop).code == 0
    assert kernos("work", shop, "--until-idle").code == 0
    assert rows(shop, pid)[-1]["body"]["result"] == "paid 20"


def test_i3_a_doubt_is_settled_by_a_stop(doubtful: tuple[Path, str]) -> None:
    shop, pid = doubtful
    assert kernos("doubts", pid, "--stop", home=shop).code == 0
    kernos("work", shop, "--until-idle")
    assert process(shop, pid)["why"] == "killed"


@pytest.mark.parametrize("said", ['happened "paid 20"\n', 'what?\n发生了 "paid 20"\n'])
def test_i3_a_doubt_is_asked_of_who_resumes_the_process(doubtful: tuple[Path, str], said: str) -> None:
    shop, pid = doubtful
    resumed = kernos("resume", pid, home=shop, said=said)
    assert resumed.code == 0, resumed.err
    assert "(happened, with its result as JSON if it had one; not; or stop)" in resumed.out
    assert ("answer: happened, " in resumed.out) == said.startswith("what")
    assert rows(shop, pid)[-1]["body"]["result"] == "paid 20"


# Journals


def test_a_fork_goes_its_own_way(shop: Path) -> None:
    pid = detached(shop, "greeter")
    assert kernos("resume", pid, home=shop, said="Bo\n").code == 0
    forked = kernos("fork", pid, "--at", "1", home=shop)
    assert forked.code == 0, forked.err
    other = forked.out.strip()
    assert f"process {other} shares rows 0-1 of {pid}: kernos resume {other}" in forked.complaint
    assert "Hello, Al!" in kernos("resume", other, home=shop, said="Al\n").out
    assert [process(shop, name)["why"] for name in (pid, other)] == ["done", "done"]
    assert f"of {pid} after its row 1" in kernos("log", other, home=shop).out
    assert kernos("audit", "verify", home=shop).code == 0
    assert "the number of one of its rows" in kernos("fork", pid, "--at", "99", home=shop).complaint


def test_i6_replay_says_that_the_calls_are_the_same_or_which_is_not(shop: Path) -> None:
    pid = detached(shop, "keeper")
    kernos("work", shop, "--until-idle")
    same = kernos("replay", pid, home=shop)
    assert (same.code, same.out) == (0, f"✓ process {pid}: the same 3 calls\n")
    (shop / "programs.py").write_text(PROGRAMS.replace("sleep(0.01)", "sleep(0.02)"), "utf-8")
    changed = kernos("replay", pid, home=shop)
    assert changed.code == 1
    title, recorded, made = changed.out.splitlines()
    assert title == f"✗ process {pid}: the call of row 3 differs"
    assert (recorded.split()[0], made.split()[0]) == ("recorded:", "now:")
    assert '"seconds":0.01' in recorded and '"seconds":0.02' in made


def test_a_journal_moves_to_another_folder(shop: Path, tmp_path: Path) -> None:
    pid = detached(shop, "greeter")
    assert "a paused one" in kernos("journal", "export", pid, home=shop).complaint
    assert kernos("pause", pid, home=shop).code == 0
    assert (
        kernos("journal", "export", pid, "-o", "moved.jsonl", home=shop).out == f"moved.jsonl: process {pid}, 2 rows\n"
    )
    there = employ(tmp_path / "there", PROGRAMS, SIDE_CAR)
    taken = kernos("journal", "import", shop / "moved.jsonl", home=there)
    assert taken.out == f"process {pid} is here: kernos log {pid}\n", taken.err
    assert "Hello, Bo!" in kernos("resume", pid, home=there, said="Bo\n").out
    assert kernos("audit", "verify", home=there).code == 0
    whole = kernos("journal", "export", pid, home=there).out
    assert "which is here already" in kernos("journal", "import", "-", home=there, said=whole).complaint
    forged = whole.replace('"Bo"', '"Al"').replace(pid, "aaaaaaaa")
    assert kernos("journal", "import", "-", home=there, said=forged).complaint.endswith("[K501]")


def test_what_is_old_is_pruned_and_still_verifies(shop: Path) -> None:
    kernos("chat", shop, "--employee", "greeter", said="Bartholomew\n")
    [pid] = [status["pid"] for status in processes(shop)]
    assert "Bartholomew" in str(rows(shop, pid))
    assert kernos("journal", "prune", "--older-than", "30d", home=shop).out == "0 processes pruned\n"
    assert kernos("journal", "prune", "--older-than", "0d", home=shop).out == "1 process pruned\n"
    assert "Bartholomew" not in str(rows(shop, pid))
    assert "its contents were dropped" in kernos("log", pid, home=shop).out
    assert kernos("audit", "verify", home=shop).code == 0


def test_log_shows_every_kind_of_call(shop: Path) -> None:
    keeper, boss, stepper = detached(shop, "keeper"), detached(shop, "boss"), detached(shop, "stepper")
    kernos("work", shop, "--until-idle")
    shown = kernos("log", keeper, home=shop).out
    for line in (r"remember +colour = teal", r"sleep +0.0 s, until ", r"recall +colour → teal", r"exit +done → teal"):
        assert re.search(line, shown), line
    child = processes(shop)[-1]["pid"]
    shown = kernos("log", boss, home=shop).out
    assert re.search(rf"spawn +greeter → {child}", shown)
    assert re.search(rf"wait +{child} → … +waiting", shown)
    assert "checkpoint" not in kernos("log", stepper, home=shop).out
    assert re.search(r'checkpoint +\{"step": 2\}', kernos("log", stepper, "--all", home=shop).out)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("kill", "zz"), "pid: found 'zz'; expected the beginning of one pid"),
        (("nice", "zz", "20"), "20 is not in the range -20<=x<=19"),
        (("fork", "zz"), "Missing option '--at'"),
        (("doubts", "--stop"), "doubts: found no PID; expected PID and one of"),
        (("doubts", "zz", "--stop", "--did-not"), "doubts: found two answers; expected PID and one of"),
        (("journal", "prune", "--older-than", "old"), "--older-than: found 'old'; expected a number and its unit"),
        (("journal", "import", "none.jsonl"), "FILE: found none.jsonl"),
        (("journal", "import", "programs.py"), "export: line 1"),
        (("work", "nowhere"), "folder: found nowhere; expected a company's folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(killed: Path, arguments: tuple[str, ...], complaint: str) -> None:
    refused = kernos(*arguments, home=killed)
    assert refused.code == 2
    assert complaint in refused.complaint
