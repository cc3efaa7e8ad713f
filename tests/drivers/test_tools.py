"""Python functions as tools: what their annotations and docstrings become, and what happens when they are called."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

import kernos
from kernos import source, tool
from kernos.drivers.tool.loader import load
from kernos.drivers.tool.python import Happened, PythonTool
from kernos.kernel.errors import BadInput, ToolError, Unsupported
from kernos.kernel.types import Json, Parameter, canonical

Channel = Literal["mail", "sms"]


@tool(effects={"sends"}, idempotent=True)
def notify(
    who: str,
    times: int,
    channel: Channel,
    tags: list[str],
    urgent: bool = False,
    note: str | None = None,
    city: Annotated[str, source("user", {"oslo": ["Oslo", "奥斯陆"]}, ["city"], {"en": "Where?"})] = "oslo",
    level: Annotated[int, Field(ge=1, le=5, description="how loud")] = 1,
) -> dict[str, Json]:
    """Notify a person.

    More than the model needs to know.

    Args:
        who: the person's name.
        times: how often.
    """
    return {"who": who, "times": times, "tags": tags, "note": note, "level": level}


FIELDS = notify.spec.schema["properties"]
NEEDED = {"who": "Ada", "times": 2, "channel": "sms", "tags": ["a"]}


# What the model is told


def test_a_tool_is_called_what_its_function_is_and_described_by_the_first_line_of_its_docstring() -> None:
    assert (notify.spec.name, notify.spec.description) == ("notify", "Notify a person.")


def test_a_tool_is_still_the_function_that_it_was() -> None:
    assert notify("Ada", 1, "sms", [])["who"] == "Ada"


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("who", {"type": "string", "description": "the person's name."}),
        ("times", {"type": "integer", "description": "how often."}),
        ("channel", {"enum": ["mail", "sms"], "type": "string"}),
        ("tags", {"type": "array", "items": {"type": "string"}}),
        ("urgent", {"type": "boolean", "default": False}),
        ("note", {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}),
        ("level", {"type": "integer", "minimum": 1, "maximum": 5, "description": "how loud", "default": 1}),
    ],
)
def test_a_parameter_has_the_schema_of_its_annotation(name: str, form: Json) -> None:
    assert {key: value for key, value in FIELDS[name].items() if key != "title"} == form


def test_a_parameter_without_a_default_is_needed_and_no_other_may_be_given() -> None:
    assert notify.spec.schema["required"] == list(NEEDED)
    assert notify.spec.schema["additionalProperties"] is False


def test_the_kernel_is_told_effects_and_sources() -> None:
    assert notify.spec.effects == {"sends"}
    assert notify.spec.idempotent
    assert notify.spec.parameters == {
        "city": Parameter("user", {"oslo": ("Oslo", "奥斯陆")}, ("city",), {"en": "Where?"})
    }


def test_a_bare_tool_only_reads() -> None:
    @tool
    def look() -> str:
        """Look around."""
        return "dark"

    assert isinstance(look, PythonTool)
    assert (look.spec.effects, look.spec.idempotent) == (frozenset({"reads"}), False)


# What is no tool


def undescribed(a: str) -> str:
    return a


def unannotated(a) -> str:  # type: ignore[no-untyped-def]
    """Say it."""
    return str(a)


@pytest.mark.parametrize(
    ("function", "message"),
    [(undescribed, "undescribed: found no docstring"), (unannotated, "unannotated: a: found no annotation")],
)
def test_a_function_that_says_too_little_is_bad_input(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        tool(function)


def variadic(*words: str) -> str:
    """Say them."""
    return " ".join(words)


def loose(**words: str) -> str:
    """Say them."""
    return " ".join(words)


def positional(word: str, /) -> str:
    """Say it."""
    return word


@pytest.mark.parametrize("function", [variadic, loose, positional])
def test_a_function_without_a_fixed_form_is_bad_input(function: Callable[..., Any]) -> None:
    with pytest.raises(BadInput, match=function.__name__):
        tool(function)


@pytest.mark.parametrize("name", ["schema", "json", "copy", "_hidden", "model_config", "self"])
async def test_any_name_of_a_parameter_is_as_good_as_another(name: str) -> None:
    space: dict[str, Any] = {}
    exec(f"def echo({name}: str) -> str:\n    'Say it.'\n    return {name}", space)
    echo = tool(space["echo"])
    assert list(echo.spec.schema["properties"]) == [name]
    assert (await echo.call({name: "Hello"}, "k")).value == "Hello"


# Checking arguments


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"times": "two"}, "times: 'two' is not of type 'integer'"),
        ({"channel": "fax"}, "channel: 'fax' is not one of ['mail', 'sms']"),
        ({"tags": [1]}, "tags.0: 1 is not of type 'string'"),
        ({"level": 6}, "level: 6 is greater than the maximum of 5"),
        ({"colour": "red"}, "('colour' was unexpected)"),
    ],
)
def test_a_problem_names_the_argument_and_what_is_wrong_with_it(wrong: dict[str, Json], message: str) -> None:
    assert message in str(notify.problem({**NEEDED, **wrong}))


def test_every_problem_is_named_at_once() -> None:
    problem = str(notify.problem({"who": 1, "times": "two"}))
    assert all(
        part in problem for part in ("who: 1", "times: 'two'", "'channel' is a required", "'tags' is a required")
    )


def test_arguments_of_the_right_form_are_no_problem() -> None:
    assert notify.problem({**NEEDED, "note": None, "level": 5}) is None


# Calling


async def test_a_call_returns_what_the_function_does_with_its_defaults_filled_in() -> None:
    result = await notify.call(NEEDED, "k")
    assert result.value == {"who": "Ada", "times": 2, "tags": ["a"], "note": None, "level": 1}
    assert result.say == {}


async def test_a_plain_function_runs_beside_the_event_loop_and_an_async_one_in_it() -> None:
    @tool
    def plain() -> bool:
        """Tell where it runs."""
        return threading.current_thread() is threading.main_thread()

    @tool
    async def running() -> bool:
        """Tell where it runs."""
        return asyncio.get_running_loop() is loop

    loop = asyncio.get_running_loop()
    assert (await plain.call({}, "k")).value is False
    assert (await running.call({}, "k")).value is True


async def test_a_function_with_a_parameter_key_gets_the_key_of_the_call_and_the_model_does_not_see_it() -> None:
    @tool
    def pay(amount: int, key: str) -> str:
        """Pay."""
        return f"{amount} {key}"

    assert list(pay.spec.schema["properties"]) == ["amount"]
    assert (await pay.call({"amount": 3}, "p1:7")).value == "3 p1:7"
    assert "key" in str(pay.problem({"amount": 3, "key": "mine"}))


async def test_what_a_function_raises_is_told_to_the_model() -> None:
    @tool
    def broken() -> str:
        """Break."""
        raise LookupError("no such person")

    with pytest.raises(ToolError, match="^LookupError: no such person$"):
        await broken.call({}, "k")


async def test_a_plain_function_that_runs_out_of_an_iterator_fails_and_does_not_hang() -> None:
    @tool
    def first() -> str:
        """Take the first of none."""
        return next(iter(list[str]()))

    async with asyncio.timeout(5):
        with pytest.raises(ToolError, match="StopIteration"):
            await first.call({}, "k")


async def test_a_function_that_wants_to_end_the_program_fails() -> None:
    @tool
    def leave() -> str:
        """Leave."""
        raise SystemExit(3)

    with pytest.raises(ToolError, match="SystemExit"):
        await leave.call({}, "k")


async def test_arguments_that_do_not_fit_are_told_to_the_model() -> None:
    with pytest.raises(ToolError, match="times"):
        await notify.call({**NEEDED, "times": "two"}, "k")


@pytest.mark.parametrize("value", [object(), float("nan"), float("inf"), "\ud83d", b"\xff", {1: {2}}])
async def test_a_result_can_be_journaled_or_the_call_has_failed(value: object) -> None:
    @tool
    def give() -> object:
        """Give it."""
        return value

    try:
        canonical((await give.call({}, "k")).value)
    except ToolError as error:
        assert str(error)


# What may be done when nobody knows whether a call happened


def act() -> str:
    """Act."""
    return "acted"


def act_once(key: str) -> str:
    """Act once for each key."""
    return key


@pytest.mark.parametrize(
    ("declared", "repeatable", "verified"),
    [
        (tool(act), True, False),
        (tool(effects={"pays"}, idempotent=True)(act), True, False),
        (tool(effects={"pays"})(act_once), True, False),
        (tool(effects={"pays"}, verify=lambda: None)(act), False, True),
        (tool(effects={"pays"})(act), False, False),
        (tool(effects={"reads", "writes"})(act), False, False),
    ],
    ids=["only reads", "idempotent", "takes a key", "can be looked up", "pays", "reads and writes"],
)
def test_what_a_tool_declares_says_whether_it_may_be_repeated_or_looked_up(
    declared: PythonTool, repeatable: bool, verified: bool
) -> None:
    assert (declared.spec.repeatable, declared.spec.verified) == (repeatable, verified)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_look_up_gets_the_arguments_and_the_key_of_the_call(asynchronous: bool) -> None:
    def plain(amount: int, key: str) -> Happened:
        return Happened([amount, key])

    async def beside(amount: int, key: str) -> Happened:
        return plain(amount, key)

    @tool(effects={"pays"}, verify=beside if asynchronous else plain)
    def pay(amount: int) -> None:
        """Pay."""

    found = await pay.verify({"amount": 3}, "p:1")
    assert found is not None
    assert found.value == [3, "p:1"]


async def test_a_look_up_that_finds_nothing_says_that_it_did_not_happen() -> None:
    assert await tool(effects={"pays"}, verify=lambda: None)(act).verify({}, "p:1") is None


@pytest.mark.parametrize("found", [True, "paid", Happened], ids=["a truth", "a text", "the class"])
async def test_a_look_up_that_returns_anything_else_tells_nothing(found: object) -> None:
    with pytest.raises(ToolError, match=r"not kernos.Happened or None"):
        await tool(effects={"pays"}, verify=lambda: found)(act).verify({}, "p:1")


async def test_a_look_up_that_raises_tells_nothing() -> None:
    def look() -> None:
        raise ConnectionError("the bank is closed")

    with pytest.raises(ToolError, match="ConnectionError: the bank is closed"):
        await tool(effects={"pays"}, verify=look)(act).verify({}, "p:1")


async def test_a_tool_without_a_look_up_cannot_be_looked_up() -> None:
    with pytest.raises(Unsupported):
        await tool(act).verify({}, "p:1")


def test_a_tool_has_the_time_that_it_declares() -> None:
    assert tool(act).spec.timeout is None
    assert tool(timeout=2.5)(act).spec.timeout == 2.5


# Finding a tool in a folder


def module(folder: Path, text: str) -> Path:
    (folder / "shop.py").write_text(inspect.cleandoc(text), "utf-8")
    return folder


def test_a_tool_is_loaded_from_a_file_of_the_folder(tmp_path: Path) -> None:
    home = module(
        tmp_path,
        '''
        from __future__ import annotations
        from typing import Annotated
        import kernos

        @kernos.tool
        def greet(name: Annotated[str, kernos.source("user")]) -> str:
            """Greet somebody."""
            return f"Hello, {name}!"
        ''',
    )
    found = load("kernos.toml: tools.greet.function", home, "shop.py:greet")
    assert found.spec.parameters == {"name": Parameter("user")}
    assert kernos.tool is tool


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shop.py:greet", "found 'shop.py:greet'; expected a name that shop.py defines"),
        ("shop.py", "found 'shop.py'; expected file.py:name"),
        ("other.py:greet", "found 'other.py:greet'; expected file.py:name"),
    ],
)
def test_a_name_that_is_not_there_is_bad_input(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(BadInput, match=f"^here: {message}"):
        load("here", module(tmp_path, "x = 1"), name)


@pytest.mark.parametrize("text", ["import nothing_of_that_name", "def f(:", "1 / 0", "raise SystemExit(3)"])
def test_a_file_that_fails_is_bad_input(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput, match=r"^here: found shop.py, which fails: \w+"):
        load("here", module(tmp_path, text), "shop.py:x")
