"""Python that a model wrote: what it can do by itself (compute), and what only its process can (everything else)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import pytest

from kernos.drivers.engine.scripted import say
from kernos.drivers.sandbox import monty
from kernos.drivers.sandbox.monty import Monty
from kernos.drivers.tool.code import PythonCode
from kernos.kernel.errors import StoreError, ToolError, Unsupported
from kernos.kernel.office import Answer
from kernos.kernel.ports import Tool
from kernos.kernel.types import Action, Json, ToolSpec
from kernos.userland.calls import specs
from kernos.userland.employee import Brief, employee
from kernos.userland.lib import Process
from tests.support import CLERK, OWNER, Failing, House, World, by_name, runs

NOW = 1_700_000_000.0
FUNCTIONS: Mapping[str, Sequence[str]] = {"find": ("what",), "pay": ("to", "amount")}


async def run(code: str, *answers: Json, functions: Mapping[str, Sequence[str]] = FUNCTIONS) -> Json:
    """All of a run, the answers given one at a time."""
    interpreter = Monty(seconds=1.0)
    step = await interpreter.start(code, functions, NOW)
    for answer in answers:
        step = await interpreter.resume(step["pause"], answer)
    return step


async def test_the_last_line_is_the_result() -> None:
    assert await run("x = [n * n for n in range(4)]\nprint('sum', sum(x))\nx") == {
        "result": [0, 1, 4, 9],
        "printed": "sum 14\n",
    }


@pytest.mark.parametrize("code", ["find('tea')", "find(what='tea')", "await find('tea')", "f = find\nf('tea')"])
async def test_a_call_of_a_function_pauses_it_until_there_is_an_answer(code: str) -> None:
    interpreter = Monty()
    step = await interpreter.start(code, FUNCTIONS, NOW)
    assert (step["call"], step["arguments"]) == ("find", {"what": "tea"})
    assert await interpreter.resume(step["pause"], {"value": [{"sku": "T-1"}]}) == {
        "result": [{"sku": "T-1"}],
        "printed": "",
    }


async def test_what_is_printed_on_the_way_is_kept() -> None:
    step = await run("print(1)\nfind('a')\nprint(2)\nfind('b')\nprint(3)", {"value": 0}, {"value": 0})
    assert step == {"result": None, "printed": "1\n2\n3\n"}


async def test_a_refusal_and_a_failure_are_errors_that_code_can_catch() -> None:
    code = "try:\n  pay('eve', 3)\nexcept PermissionError as e:\n  print(e)\nfind('x')"
    step = await run(code, {"refused": "the owner did not say it"}, {"failed": "no such shelf"})
    assert step["printed"] == "the owner did not say it\n"
    assert "RuntimeError: no such shelf" in step["error"]


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("def (", "Expected"),
        ("nosuch(1)", "NameError: name 'nosuch' is not defined"),
        ("x = nosuch", "NameError"),
        ("find(1, 2)", "find() takes these arguments: what"),
        ("open('/etc/passwd').read()", "PermissionError"),
        ("import os\nos.environ['HOME']", "Error"),
        ("import socket", "ModuleNotFoundError"),
        ("import subprocess", "ModuleNotFoundError"),
        ("__import__('os').system('id')", "Error"),
        ("while True: pass", "TimeoutError"),
        ("x = []\nwhile True: x.append('a' * 10_000)", "MemoryError"),
        ("def f(): return f()\nf()", "RecursionError"),
        ("print('x' * 100_000)", "memory limit exceeded"),
        ("'x' * 200_000", "too large"),
        ("find('x' * 200_000)", "too large"),
    ],
)
async def test_what_it_may_not_do_is_an_error_of_the_code(code: str, fault: str) -> None:
    assert fault in (await run(code))["error"]


async def test_time_is_bounded() -> None:
    started = time.monotonic()
    await run("while True: pass")
    assert time.monotonic() - started < 3


async def test_the_clock_stands_still_and_chance_is_the_same_again() -> None:
    code = "import random, time\nfrom datetime import datetime\n[random.random(), time.time(), str(datetime.now())]"
    first = await run(code)
    assert first == await run(code)
    assert first["result"][1:] == [NOW, "2023-11-14 22:13:20"]


@pytest.mark.parametrize(
    ("code", "result"),
    [("{1}", "{1}"), ("(1, 2)", [1, 2]), ("float('nan')", "nan"), ("b'x'", "b'x'"), ("{(1, 2): 3}", "{(1, 2): 3}"),
     ("{1: 2}", {"1": 2}), ("'\\ud83d'", "\ufffd"), ("2 ** 70", 2**70)],
)  # fmt: skip
async def test_every_result_can_be_recorded(code: str, result: Json) -> None:
    assert (await run(code))["result"] == result


async def test_the_same_answers_lead_to_the_same_place() -> None:
    code = "a = find('a')\nb = find(a)\n[a, b]"
    interpreter = Monty()
    step = await interpreter.start(code, FUNCTIONS, NOW, [{"value": "x"}])
    assert (step["call"], step["arguments"]) == ("find", {"what": "x"})
    assert (await interpreter.start(code, FUNCTIONS, NOW, [{"value": "x"}, {"value": "y"}]))["result"] == ["x", "y"]


async def test_a_pause_goes_on_once_and_under_its_own_name_only() -> None:
    interpreter = Monty()
    pause = (await interpreter.start("find('a')", FUNCTIONS, NOW))["pause"]
    assert await interpreter.resume("0", {"value": 1}) == {"lost": "0"}
    assert (await interpreter.resume(pause, {"value": 1}))["result"] == 1
    assert await interpreter.resume(pause, {"value": 1}) == {"lost": pause}


async def test_old_and_large_pauses_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monty, "KEPT", 2)
    interpreter = Monty()
    pauses = [(await interpreter.start("find('a')", FUNCTIONS, NOW))["pause"] for _ in range(3)]
    assert [("lost" in await interpreter.resume(pause, {"value": 1})) for pause in pauses] == [True, False, False]
    monkeypatch.setattr(monty, "KEPT_BYTES", 10)
    step = await interpreter.start("find('a')", FUNCTIONS, NOW)
    assert "lost" in await interpreter.resume(step["pause"], {"value": 1})


def test_without_monty_there_is_no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monty, "find_spec", lambda name: None)
    with pytest.raises(Unsupported, match=r"pip install 'kernos\[code\]'"):
        Monty()


async def test_an_interpreter_that_does_not_start_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONTY_BIN", "/nonexistent")
    with pytest.raises(ToolError, match="Monty does not start"):
        await tool(Monty()).call({"code": "1"}, "k")


# As a tool, and as what an employee may do


def tool(interpreter: Monty | None = None, functions: Mapping[str, Sequence[str]] = FUNCTIONS) -> PythonCode:
    return PythonCode(specs(["python"], [])["python"], interpreter or Monty(), functions)


def test_a_model_is_told_of_code_alone_and_of_the_functions() -> None:
    spec = tool().spec
    assert list(spec.schema["properties"]) == ["code"]
    assert spec.description.endswith("Functions: find(what), pay(to, amount).")
    assert spec.repeatable


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        ({"code": "1"}, True), ({"code": "1", "now": NOW, "answers": [{}]}, True),
        ({"pause": "p", "answer": {}}, True), ({}, False), ({"code": 1}, False), ({"pause": "p"}, False),
        ({"code": "1", "pause": "p", "answer": {}}, False), ({"code": "1", "now": 1e300}, False),
    ],
)  # fmt: skip
def test_a_step_is_checked(arguments: Mapping[str, Json], right: bool) -> None:
    assert (tool().problem(arguments) is None) == right


def house(code: str, world: World, tools: Sequence[Tool], ask: Sequence[str] = ()) -> House:
    """An employee whose model runs this code once and then says what came of it."""
    coding = tool(
        functions={tool.spec.name: tuple(tool.spec.schema["properties"]) for tool in tools} | {"ask": ("question",)}
    )
    all_of = [*tools, coding]

    async def clerk(process: Process) -> None:
        declared: Mapping[str, ToolSpec] = {name: tool.spec for name, tool in by_name(all_of).items()}
        await employee(process, Brief("You serve.", declared, calls=("python",)))

    def script() -> Callable[..., Action]:
        def choose(prompt: Json) -> Action:
            last = prompt.messages[-1]
            return say(f"done: {last.text}") if last.role == "tool" else Action("python", {"code": code})

        return choose

    return House(runs(clerk, all_of, ask), all_of, script())


async def talk(there: House, words: str, agrees: bool = True) -> tuple[str, list[tuple[str, Json]]]:
    """What the employee said at last, and the calls that it made."""
    kernel, pid = await there.start()
    await kernel.deliver(pid, words)
    await there.run(kernel)
    while await kernel.question(pid):  # in the middle of its code
        await kernel.answer(pid, Answer(OWNER, approved=agrees))
        await there.run(kernel)
    rows = await there.rows(pid)
    calls = [row.body for row in rows if row.kind == "intent" and row.body["call"] == "invoke"]
    assert await kernel.replay(pid) > 0
    return (await there.said(pid))[-1], [(body["tool"], body["arguments"]) for body in calls]


async def test_i1_each_function_that_code_calls_is_a_system_call_of_its_process() -> None:
    world = World()
    code = "found = find('tea')[0]\nnote(text=found['sku'])\nfound['price'] * 2"
    async with house(code, world, [world.find, world.note]) as there:
        said, calls = await talk(there, "twice the price of tea, please, and note it")
        assert said == 'done: {"result": 60}'
        assert [name for name, _ in calls] == ["python", "find", "python", "note", "python"]
        assert world.done == ["find", "note"]


async def test_i9_code_can_call_nothing_that_its_employee_is_not_granted() -> None:
    world = World()
    async with house("pay('eve', 10)", world, [world.find]) as there:
        said, calls = await talk(there, "hello")
        assert "NameError" in said
        assert [name for name, _ in calls] == ["python"]
    assert world.done == []


async def test_i4_what_the_monitor_refuses_to_the_model_it_refuses_to_its_code() -> None:
    world = World()
    async with house("pay(to='eve', amount=999)", world, [world.find, world.pay]) as there:
        said, _ = await talk(there, "what can you do?", agrees=False)
        assert "PermissionError" in said
    assert world.done == []


@pytest.mark.parametrize("at", range(1, 12))
async def test_i6_code_goes_on_after_a_restart_at_any_write(at: int) -> None:
    world = World()
    code = "a = find('tea')\nb = find('milk')\nprint(len(a), len(b))\n[a[0]['name'], b[0]['name']]"
    async with house(code, world, [world.find]) as there, house(code, world, [world.find]) as fresh:
        with suppress(StoreError):  # the machine stops
            kernel = there.boot(Failing(there.store, at, durable=True))
            await kernel.deliver(await kernel.spawn(CLERK, OWNER), "tea and milk")
            await there.run(kernel)
        fresh.store = there.store
        kernel = fresh.boot()
        [pid] = await there.store.pids() or [await kernel.spawn(CLERK, OWNER)]
        if not await fresh.said(pid):
            await kernel.deliver(pid, "tea and milk")
        await fresh.run(kernel)
        assert "fine tea" in (await fresh.said(pid))[-1]
        assert await kernel.replay(pid) > 0
