"""The employee loop: what an employee says and does with what its model chooses and the kernel answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernos
from kernos.drivers.engine.scripted import ScriptedEngine, say
from kernos.drivers.tool.python import PythonTool
from kernos.drivers.tool.schema import Checked
from kernos.kernel.errors import AnswerLost
from kernos.kernel.ports import Prompt, Tool, ToolResult
from kernos.kernel.types import Action, Generation, Json, Message, ToolSpec
from kernos.userland.employee import ACTIONS_A_TURN, GIVING_UP, REPLIES_A_TURN, RESULT_CHARS
from kernos.userland.language import choose, language_of
from tests.support import OURS, House, World, serves

AGE = {"en": "How old is it for?", "zh": "请问多大年纪？"}
SKIN = {"en": "Which skin type?", "zh": "哪种肤质？"}
KINDS = {"dry": ["干皮"], "oily": ["油皮"]}


async def search(
    age: Annotated[int, kernos.source("user", units=["years", "岁"], question=AGE)],
    skin: Annotated[str, kernos.source("user", KINDS, question=SKIN)],
) -> list[str]:
    """Search."""
    return [f"cream for {skin} at {age}"]


async def ship(to: Annotated[str, kernos.source("user")]) -> str:
    """Ship; nobody declared how to ask for the address."""
    return f"on its way to {to}"


async def send_parcel(
    to: Annotated[str, kernos.source("user", question={"en": "Where to?"})],
    by: Annotated[str, kernos.source("user", question={"en": "How?"})],
) -> None:
    """Send a parcel."""


class Speaks(Checked):
    """A tool whose result is what the owner should hear, as `tool/sql.py` makes them."""

    def __init__(self, name: str, **say_: str) -> None:
        super().__init__(ToolSpec(name, "Recommend.", {"type": "object", "properties": {}}))
        self.say = say_

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        return ToolResult([{"name": "silk"}], self.say)


SEARCH = PythonTool(search, ["reads"], False, returns=OURS)
SHIP, SEND = PythonTool(ship, ["writes"], False), PythonTool(send_parcel, ["sends"], False)
FIND = Action("search", {"age": 25, "skin": "dry"})


async def talk(tools: Sequence[Tool], script: Sequence[Action], words: Sequence[str]) -> tuple[list[str], list[Prompt]]:
    """What the owner heard, and what the model was asked."""
    async with House(serves(tools), tools, script) as house:
        kernel, pid = await house.start()
        for text in words:
            await kernel.deliver(pid, text)
            await kernel.tick(pid)
        return await house.said(pid), house.model.prompts


async def test_a_reply_is_said_and_ends_the_turn() -> None:
    said, prompts = await talk([], [say("good morning"), say("good bye")], ["hello", "bye"])
    assert said == ["good morning", "good bye"]
    assert [len(prompt.messages) for prompt in prompts] == [2, 4]


async def test_the_context_begins_with_the_instructions_and_only_grows() -> None:
    _, prompts = await talk([SEARCH], [FIND, say("ok"), FIND, say("good")], ["25 years, dry", "and?"])
    first = prompts[0].messages
    assert first == (Message("system", "You serve."), Message("user", "25 years, dry"))
    for before, after in zip(prompts, prompts[1:], strict=False):
        assert after.messages[: len(before.messages)] == before.messages
        assert after.tools == before.tools


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("something nice please", ["How old is it for? Which skin type?"]),
        ("推荐一个吧", ["请问多大年纪？哪种肤质？"]),
        ("for dry skin please", ["How old is it for?"]),
        ("我是干皮", ["请问多大年纪？"]),
        ("25岁", ["哪种肤质？"]),
    ],
)
async def test_what_only_the_owner_knows_is_asked_for_in_the_owners_language(words: str, asked: list[str]) -> None:
    said, prompts = await talk([SEARCH], [FIND], [words])
    assert said == asked
    assert len(prompts) == 1


async def test_what_is_missing_is_asked_for_in_the_order_in_which_the_tool_declares_it() -> None:
    said, _ = await talk([SEND], [Action("send_parcel", {"to": "Paris", "by": "air"})], ["send it there"])
    assert said == ["Where to? How?"]


async def test_a_call_that_lacked_facts_is_tried_again_with_the_owners_next_words() -> None:
    said, prompts = await talk([SEARCH], [FIND, say("take this cream")], ["something for dry skin", "25"])
    assert said == ["How old is it for?", "take this cream"]
    assert prompts[1].messages[-1] == Message("tool", '["cream for dry at 25"]', tool="search")


async def test_when_the_owner_gave_some_of_the_facts_the_model_has_to_act_on_them() -> None:
    script = [FIND, Action("search", {"age": 30, "skin": "dry"}), say("take this cream"), say("welcome")]
    said, prompts = await talk([SEARCH], script, ["something nice", "30 years", "干皮", "thanks"])
    assert said == ["How old is it for? Which skin type?", "Which skin type?", "take this cream", "welcome"]
    assert [prompt.speak for prompt in prompts] == [True, False, True, True]


async def test_when_the_owner_gave_none_of_the_facts_the_model_may_speak() -> None:
    said, prompts = await talk([SEARCH], [FIND, say("never mind")], ["something nice", "who are you?"])
    assert said == ["How old is it for? Which skin type?", "never mind"]
    assert prompts[1].speak


async def test_a_call_that_does_something_is_never_tried_again_by_itself() -> None:
    script = [Action("send_parcel", {"to": "Paris", "by": "air"}), say("shall I?")]
    async with House(serves([SEND]), [SEND], script) as house:
        kernel, pid = await house.start()
        for text in ("send it", "to Paris by air"):
            await kernel.deliver(pid, text)
            await kernel.tick(pid)
        assert await house.said(pid) == ["Where to? How?", "shall I?"]
        assert sum(row.kind == "intent" and row.body["call"] == "invoke" for row in await house.rows(pid)) == 1


async def test_an_answer_without_words_keeps_the_language_of_the_conversation() -> None:
    said, _ = await talk([SEARCH], [FIND, FIND], ["推荐一个吧", "25"])
    assert said == ["请问多大年纪？哪种肤质？", "哪种肤质？"]


async def test_a_question_that_nobody_declared_is_worded_by_the_model_without_that_tool() -> None:
    said, prompts = await talk([SHIP], [Action("ship", {"to": "Paris"}), say("Where to?")], ["send it"])
    assert said == ["Where to?"]
    assert prompts[1].messages[-1] == Message("tool", "refused: ask the customer for: to", tool="ship")
    assert "ship" in prompts[0].offers
    assert "ship" not in prompts[1].offers


async def test_a_result_that_speaks_is_said_as_rendered_and_ends_the_turn() -> None:
    tool = Speaks("recommend", en="I recommend silk.", zh="推荐丝绸。")
    script = [Action("recommend", {}), Action("recommend", {})]
    said, prompts = await talk([tool], script, ["recommend me something", "换一个"])
    assert said == ["I recommend silk.", "推荐丝绸。"]
    assert len(prompts) == 2
    assert prompts[1].messages[3] == Message("assistant", action=say("I recommend silk."))


async def test_a_result_that_does_not_speak_goes_to_the_model() -> None:
    _, prompts = await talk([SEARCH], [FIND, say("ok")], ["25 years, dry"])
    assert prompts[1].messages[-2:] == (
        Message("assistant", action=FIND), Message("tool", '["cream for dry at 25"]', tool="search"),
    )  # fmt: skip


async def test_a_long_result_is_cut_in_the_context_and_whole_in_the_journal() -> None:
    async def read() -> str:
        """Read a book."""
        return "word " * RESULT_CHARS

    tools = [PythonTool(read, ["reads"], False, returns=OURS)]
    async with House(serves(tools), tools, [Action("read", {}), say("long")]) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "read")
        await kernel.tick(pid)
        shown = house.model.prompts[1].messages[-1].text
        (row,) = [row for row in await house.rows(pid) if row.body.get("tool") == "read" and "value" in row.body]
        assert len(shown) < RESULT_CHARS + 20
        assert shown.endswith("(cut)")
        assert row.body["value"] == "word " * RESULT_CHARS


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (Action("breaks", {}), "RuntimeError: it broke"),
        (Action("pay", {"to": "eve", "amount": 5}), "refused: ask the customer for: to, amount"),
        (Action("unknown", {}), "refused: clerk is not granted the tool unknown"),
    ],
)
async def test_a_tool_that_failed_or_was_refused_is_explained_and_withheld_for_the_turn(
    action: Action, told: str
) -> None:
    said, prompts = await talk(World().tools, [action, say("sorry"), say("again")], ["go", "go on"])
    assert said == ["sorry", "again"]
    assert told in prompts[1].messages[-1].text
    assert action.name not in prompts[1].offers
    assert (action.name in prompts[2].offers) is (action.name in prompts[0].offers)


async def test_a_call_of_the_wrong_form_is_explained_and_may_be_tried_again() -> None:
    script = [Action("find", {"where": "here"}), Action("find", {"what": "tea"}), say("found")]
    world = World()
    said, prompts = await talk(world.tools, script, ["find tea"])
    assert prompts[1].messages[-1].text.startswith("refused: arguments: ")
    assert "find" in prompts[1].offers
    assert (said, world.done) == (["found"], ["find"])


async def test_a_call_that_is_repeated_is_not_offered_a_third_time() -> None:
    find = Action("find", {"what": "tea"})
    _, prompts = await talk(World().tools, [find, find, say("found")], ["find tea"])
    assert ["find" in prompt.offers for prompt in prompts] == [True, True, False]


class CutOff(ScriptedEngine):
    """An engine whose first answers are of no use."""

    def __init__(self, times: int) -> None:
        super().__init__(lambda _: say("here I am"))
        self.times = times

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        generation = await super().generate(prompt, draft)
        if len(self.prompts) <= self.times:
            raise AnswerLost("cut off")
        return generation


@pytest.mark.parametrize("times", [1, REPLIES_A_TURN - 1, REPLIES_A_TURN])
async def test_an_answer_of_no_use_is_not_asked_for_again_with_the_same_words_and_not_for_ever(times: int) -> None:
    engine = CutOff(times)
    async with House(serves(), engine=engine) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "hello")
        assert (await kernel.tick(pid)).why == "message"
        assert await house.said(pid) == ["here I am" if times < REPLIES_A_TURN else GIVING_UP["en"]]
        assert len({prompt.messages for prompt in engine.prompts}) == len(engine.prompts)


@pytest.mark.parametrize(("words", "language"), [("hello there", "en"), ("你好", "zh"), ("こんにちは", "en")])
async def test_it_gives_up_after_so_many_actions_in_the_owners_language(words: str, language: str) -> None:
    script = [Action("find", {"what": f"tea {n}"}) for n in range(ACTIONS_A_TURN)] + [say("back again")]
    world = World()
    said, prompts = await talk(world.tools, script, [words, "ok"])
    assert said == [GIVING_UP[language], "back again"]
    assert world.done == ["find"] * ACTIONS_A_TURN
    assert len(prompts) == ACTIONS_A_TURN + 1


async def test_a_claim_without_a_source_is_refused_and_the_model_tries_again() -> None:
    script = [say("it is 5 yuan"), Action("find", {"what": "tea"}), say("it is 30 yuan")]
    world = World()
    station = serves(world.tools, claims={"a price": r"\d+ yuan"})
    async with House(station, world.tools, script) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "how much, is it 30 yuan?")
        await kernel.tick(pid)
        assert await house.said(pid) == ["it is 30 yuan"]
        last = house.model.prompts[1].messages[-1]
        assert last == Message(
            "tool", "refused: “5 yuan” is a price that no tool returned: do not mention it", tool="reply"
        )


@pytest.mark.parametrize("window", [60, 100, 200])
async def test_when_the_window_fills_the_older_half_is_left_out(window: int) -> None:
    async with House(serves(window=window), script=lambda _: say("four words each time")) as house:
        kernel, pid = await house.start()
        for turn in range(60):
            await kernel.deliver(pid, f"this is message number {turn:03}")
            await kernel.tick(pid)
        sizes = [sum(len(message.text.split()) for message in prompt.messages) for prompt in house.model.prompts]
        slides = sum(after < before for before, after in zip(sizes, sizes[1:], strict=False))
        assert max(sizes) <= window * 0.7 + 5
        assert 1 <= slides <= 60 * 5 // (window * 0.7 / 2 - 7)
        for turn, prompt in enumerate(house.model.prompts):
            assert prompt.messages[0].role == "system"
            assert prompt.messages[1].role == "user"
            assert prompt.messages[-1].text == f"this is message number {turn:03}"


@pytest.mark.parametrize(
    ("text", "before", "language"),
    [("hello there", "zh", "en"), ("你好", "en", "zh"), ("ok", "zh", "zh"), ("25", "zh", "zh"),
     ("洗面奶ですか", "en", "ja"),
     ("안녕", "en", "ko"), ("привет", "en", "ru"), ("مرحبا", "en", "ar"), ("", "zh", "zh"), ("SPF 50", "zh", "zh")],
)  # fmt: skip
def test_the_language_is_told_by_the_letters_or_stays(text: str, before: str, language: str) -> None:
    assert language_of(text, before) == language


@given(st.dictionaries(st.sampled_from(["en", "zh", "ja"]), st.text(min_size=1)), st.sampled_from(["en", "zh", "ko"]))
def test_a_text_is_chosen_in_the_language_else_in_english_else_any(texts: dict[str, str], language: str) -> None:
    chosen = choose(texts, language)
    if language in texts or "en" in texts:
        assert chosen == texts[language if language in texts else "en"]
    else:
        assert chosen in texts.values() or (chosen == "" and not texts)
