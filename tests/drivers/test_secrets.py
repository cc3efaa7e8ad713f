"""Secrets live in drivers: no journal, log, prompt, draft or message holds one, though a server or a tool says it."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.boot import System
from kernos.drivers.engine.scripted import ScriptedEngine, say
from kernos.drivers.secrets.veil import HIDDEN, Veil
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.errors import BadInput, EngineError, KernosError, ToolError
from kernos.kernel.ports import Engine, Prompt, SlotEngine, ToolResult
from kernos.kernel.types import Action, Generation, Json, Message
from tests.drivers.chat_server import VLLM, Plain, Stream, calls, ends, says, serving
from tests.slots import PaperSlots
from tests.surfaces.terminal import kernos

KEY = "sk-office-0123456789/abc+def"
PASSWORD = 'crm "p4ss" wörd'
TOOLS = """
import os
import kernos

@kernos.tool
def environment() -> dict[str, str]:
    '''Show the environment.'''
    return dict(os.environ)

@kernos.tool
def login() -> str:
    '''Log in.'''
    raise RuntimeError(f"wrong password {os.environ['CRM_PASSWORD']} at https://crm/?key={os.environ['OFFICE_KEY']}")
"""


def company(home: Path, url: str) -> Path:
    """An employee on a server that needs a key, with tools that know a password."""
    (home / "agents" / "ada").mkdir(parents=True)
    (home / "agents" / "ada" / "AGENTS.md").write_text("You help.")
    (home / "tools.py").write_text(TOOLS)
    engine = (
        f'[engines.office]\ndriver = "openai"\nurl = "{url}"\nmodel = "m"\ncalls = "native"\nkey_env = "OFFICE_KEY"\n'
    )
    tools = (
        '[tools.environment]\ndriver = "python"\nfunction = "tools.py:environment"\n'
        '[tools.login]\ndriver = "python"\nfunction = "tools.py:login"\nsecrets = ["CRM_PASSWORD"]\n'
    )
    (home / "kernos.toml").write_text(f'{engine}{tools}[employees.ada]\ntools = ["environment", "login"]\n')
    return home


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFICE_KEY", KEY)
    monkeypatch.setenv("CRM_PASSWORD", PASSWORD)


def told(where: str) -> list[str]:
    """The secrets that stand in a text, in any form in which texts have them."""
    forms = {form for secret in (KEY, PASSWORD) for form in (secret, json.dumps(secret)[1:-1])}
    return [form for form in forms if form in where]


def kept(place: Path) -> list[str]:
    """The secrets that stand anywhere in the files of a place, the journal's among them."""
    found = [path.read_bytes().decode("utf-8", "replace") for path in place.rglob("*") if path.is_file()]
    return [form for text in found for form in told(text)]


ECHO = f"You sent Authorization: Bearer {KEY}"
HALVES = [f"You sent {KEY[:9]}", KEY[9:20], f"{KEY[20:]}, thanks. ", KEY[:5], "!"]
ANSWERS: Mapping[str, Stream | Plain] = {
    "an error": Plain(json.dumps({"error": {"message": ECHO}}), status=401),
    "an error page": Plain(f"<p>{ECHO}</p>", status=502, kind="text/html"),
    "an answer": Stream([says(ECHO), ends()]),
    "an answer in pieces": Stream([*map(says, HALVES), ends()]),
    "a call": Stream([calls(json.dumps({"key": KEY, KEY: [KEY]}), "environment"), ends("tool_calls")]),
    "a call of no tool": Stream([calls("{}", f"x{KEY}"), ends("tool_calls")]),
    "a malformed call": Stream([calls(f'{{"key": "{KEY}', "environment"), ends("tool_calls")]),
    "a nonsense event": Stream([ECHO, ends()]),
    "an error in a stream": Stream([{"error": {"message": ECHO}}]),
}


@pytest.mark.parametrize("what", ANSWERS)
async def test_a_key_that_a_server_echoes_goes_nowhere(
    what: str, tmp_path: Path, secrets: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    with serving(*[ANSWERS[what]] * 4, *[Stream([says("Bye."), ends()])] * 4) as there:
        place = company(tmp_path, there.url)
        kernel = await System().kernel(place)
        try:
            pid = await kernel.spawn("ada", "bob", "hello")
            async with kernel.events(pid) as events:
                try:
                    await kernel.tick(pid)
                except EngineError as error:
                    shown.append(str(error))
                while not events.empty():
                    event = events.get_nowait()
                    shown.append(f"{event.text} {event.record}")
        finally:
            await kernel.close()
        assert there.bodies
    assert told("\n".join(shown)) == []
    assert told(json.dumps(there.bodies, ensure_ascii=False)) == []
    assert told(caplog.text) == []
    assert kept(place) == []


@pytest.mark.parametrize("tool", ["environment", "login"])
async def test_what_a_tool_knows_goes_nowhere(tool: str, tmp_path: Path, secrets: None) -> None:
    call = Stream([calls("{}", tool), ends("tool_calls")])
    with serving(call, Stream([says("Done."), ends()])) as there:
        place = company(tmp_path, there.url)
        kernel = await System().kernel(place)
        try:
            await kernel.tick(await kernel.spawn("ada", "bob", f"{tool}, please"))
        finally:
            await kernel.close()
    assert HIDDEN in json.dumps(there.bodies[-1])
    assert told(json.dumps(there.bodies, ensure_ascii=False)) == []
    assert kept(place) == []


def test_what_the_command_line_says_holds_no_secret(tmp_path: Path) -> None:
    with serving(*[ANSWERS["an error"]] * 3, models=VLLM) as there:
        place = company(tmp_path, there.url)
        ended = kernos("chat", place, said="hello\n", OFFICE_KEY=KEY, CRM_PASSWORD=PASSWORD)
    assert f"refused: 401 You sent Authorization: Bearer {HIDDEN}" in ended.out + ended.err
    assert told(ended.out + ended.err) == []
    assert kept(place) == []


def test_a_secret_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFICE_KEY", KEY)
    monkeypatch.delenv("CRM_PASSWORD", raising=False)
    faults = System().faults(company(tmp_path, "http://127.0.0.1:1/v1"))
    assert [str(fault) for fault in faults] == [
        "kernos.toml: tools.login.secrets: found no variable CRM_PASSWORD; expected one that holds the secret"
    ]


@pytest.mark.parametrize(
    "written",
    ["postgresql://ada:$DB_PASSWORD@127.0.0.1:1/db", "postgresql://ada:$DB_PASSWORD@127.0.0.1:one/db",
     "postgresql:ada:$DB_PASSWORD@127.0.0.1", "postgresql://ada:$DB_PASSWORD@192.0.2.1/db",
     "postgresql://ada:$DB_PASSWORD@127.0.0.1:1/db?bogus=1", "mysql://ada:$DB_PASSWORD@127.0.0.1/db"],
)  # fmt: skip
@pytest.mark.parametrize("password", ["s3cret-s3cret", "s3cret#s3cret?x", "s3cret s3cret"])
@pytest.mark.parametrize("sovereign", ["true", "false"])
async def test_the_password_of_the_database_goes_nowhere(
    written: str, password: str, sovereign: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", password)
    place = company(tmp_path, "http://127.0.0.1:1/v1")
    networks = f"[networks]\nsovereign = {sovereign}\n"
    journal = f'[journal]\nurl = "{written}"\ndispatcher = "procrastinate"\n'
    (place / "kernos.toml").write_text(f'{networks}{journal}[engines.local]\ndriver = "scripted"\nscript = "s.json"\n')
    (place / "s.json").write_text("[]")
    for attempt in (System().kernel, System().ledger, System().desk):
        with pytest.raises(Exception) as raised:
            await attempt(place)
        assert "s3cret" not in str(raised.value) + repr(raised.value)
    try:
        dispatcher = System().dispatcher(place)
    except BadInput as error:
        assert "s3cret" not in str(error)
    else:
        await dispatcher.close()


async def test_the_keys_of_the_journal_are_in_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("OFFICE_KEY", KEY)
    monkeypatch.setenv("CRM_PASSWORD", PASSWORD)
    with serving(Stream([says("Hello."), ends()])) as there:
        place = company(tmp_path / "place", there.url)
        kernel = await System().kernel(place)
        try:
            await kernel.tick(await kernel.spawn("ada", "bob", "hello"))
            await kernel.anchor()
        finally:
            await kernel.close()
    keys = [path.read_bytes() for path in (tmp_path / "config").rglob("*.key")]
    assert keys
    stored = b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())
    for key in keys:
        for form in (key.strip(), key.hex().encode(), base64.b64encode(key)):
            assert form not in stored


# The veil


SECRET = "hunter2-hunter2"


@pytest.fixture
def veil() -> Veil:
    found = Veil()
    assert found.hide(SECRET) == SECRET
    return found


def test_a_secret_is_hidden_wherever_it_stands_in_a_value(veil: Veil) -> None:
    value = {SECRET: [1, None, (f"a{SECRET}b{SECRET}",)], "x": {"y": SECRET[:-1]}}
    assert veil.value(value) == {HIDDEN: [1, None, [f"a{HIDDEN}b{HIDDEN}"]], "x": {"y": SECRET[:-1]}}


def test_also_as_it_is_written_in_a_url_and_in_json(veil: Veil) -> None:
    written = json.dumps(veil.hide('a/b "c" ö'))
    assert veil.text(f"{written} ?k=a%2Fb%20%22c%22%20%C3%B6") == f'"{HIDDEN}" ?k={HIDDEN}'


def test_a_short_secret_is_not_hidden_as_it_would_be_found_in_other_words(veil: Veil) -> None:
    veil.hide("tea")
    assert veil.text("a nice cup of tea") == "a nice cup of tea"


def test_of_two_secrets_the_longer_is_hidden_whole(veil: Veil) -> None:
    veil.hide(SECRET + "-more")
    assert veil.text(SECRET + "-more") == HIDDEN


class Broken(ScriptedEngine):
    """Says a text piece by piece, or raises it."""

    def __init__(self, pieces: list[str], error: Exception | None = None) -> None:
        super().__init__([])
        self.pieces, self.error = pieces, error

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        for piece in self.pieces:
            draft(piece)
        if self.error:
            raise self.error
        return Generation(say("".join(self.pieces)))


async def generated(engine: Engine) -> tuple[str, Action]:
    drafted: list[str] = []
    generation = await engine.generate(Prompt((Message("user", "x"),)), drafted.append)
    return "".join(drafted), generation.action


@given(st.lists(st.sampled_from([SECRET, SECRET[:7], SECRET[7:], "h", "unter", " ", "hello", "2-"])), st.data())
async def test_a_draft_shows_no_part_of_a_secret_and_all_of_the_rest(words: list[str], data: st.DataObject) -> None:
    veil = Veil()
    veil.hide(SECRET)
    text = "".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    drafted, action = await generated(veil.engine(Broken(pieces)))
    assert SECRET not in drafted
    assert drafted == action.text == veil.text(text)


@pytest.mark.parametrize(
    "error", [EngineError(f"no {SECRET}"), BadInput("x", SECRET, f"not {SECRET}"), OSError(2, SECRET), KeyError(SECRET)]
)  # fmt: skip
async def test_an_error_is_raised_without_the_secret(veil: Veil, error: Exception) -> None:
    with pytest.raises(type(error) if isinstance(error, KernosError) else RuntimeError) as raised:
        await generated(veil.engine(Broken([], error)))
    assert SECRET not in f"{raised.value} {raised.value!r} {vars(raised.value)}"
    assert raised.value.__suppress_context__


async def test_a_tool_behind_a_veil_is_the_same_tool(veil: Veil) -> None:
    async def find(what: str) -> Json:
        """Find."""
        if what == "fail":
            raise RuntimeError(SECRET)
        return [what, SECRET]

    bare = PythonTool(find, ["reads"])
    tool = veil.tool(bare)
    assert tool.spec == bare.spec
    assert tool.problem({}) == bare.problem({})
    assert await tool.call({"what": "x"}, "k") == ToolResult(["x", HIDDEN])
    with pytest.raises(ToolError, match=r"RuntimeError: \*\*\*"):
        await tool.call({"what": "fail"}, "k")


async def test_an_engine_whose_contexts_the_kernel_manages_stays_one_behind_a_veil() -> None:
    veil, paper = Veil(), PaperSlots()
    veil.hide("secret-word")
    engine = veil.engine(paper)
    assert isinstance(engine, SlotEngine)
    prompt = Prompt((Message("user", "x"),))
    assert engine.answer(prompt, "the secret-word", True) == say("the ***")
    assert [engine.said(prompt, text) for text in ("the secret-w", "the secret-word it")] == ["the ", "the *** it"]
    assert await engine.start() == "paper"
    assert (engine.life, engine.resident, engine.slots) == (1, 2, 1)
