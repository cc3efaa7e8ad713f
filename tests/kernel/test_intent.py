"""Which kinds of effect the owner asked for: by the words for it, and by nothing that he only mentions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.kernel.intent import asked
from kernos.kernel.lexicon import CHINESE, ENGLISH
from kernos.kernel.types import EffectKind, ToolSpec
from kernos.kernel.words import Words


def wants(text: str, *effects: EffectKind, verbs: tuple[str, ...] = ()) -> bool:
    """Whether who said this asked for a tool with these effects."""
    words = Words()
    words.add(text)
    return asked(words, ToolSpec("tool", "Do.", {}, effects=frozenset(effects), verbs=verbs))


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        ("Send Bob a summary", "sends"),
        ("please reply to it", "sends"),
        ("Paying the rent is due", "pays"),
        ("delete the plan", "destroys"),
        ("invite Bob", "grants"),
        ("make a file", "writes"),
        ("给小明发邮件", "sends"),
        ("把房租付了", "pays"),
        ("删掉那个文件", "destroys"),
        ("请给我开发票，然后发给小明", "sends"),
    ],
)
def test_a_word_for_an_effect_asks_for_it(text: str, effect: EffectKind) -> None:
    assert wants(text, effect)


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        ("read my unread mails", "sends"),
        ("what is in the posts?", "sends"),
        ("what is the email address of Bob?", "sends"),
        ("do not send anything", "sends"),
        ("read it, but never delete it", "destroys"),
        ("read it without paying anything", "pays"),
        ("summarise the file", "destroys"),
        ("what did I pay?", "sends"),
        ("发票在哪里", "sends"),
        ("你发现了什么", "sends"),
        ("有什么建议", "writes"),
        ("我的订单在哪里", "pays"),
        ("不要删除文件", "destroys"),
    ],
)
def test_what_is_only_mentioned_or_forbidden_is_not_asked_for(text: str, effect: EffectKind) -> None:
    assert not wants(text, effect)


def test_every_kind_of_a_tools_effects_has_to_be_asked_for() -> None:
    assert wants("send it and pay for it", "sends", "pays")
    assert not wants("send it", "sends", "destroys")


def test_what_only_reads_need_not_be_asked_for() -> None:
    assert wants("hello", "reads")
    assert wants("send it", "reads", "sends")


def test_a_tool_that_names_its_verbs_is_asked_for_by_these_alone() -> None:
    verbs = ("password", "give back", "改密码")
    assert wants("set another password", "grants", verbs=verbs)
    assert wants("please give back the money", "grants", verbs=verbs)
    assert wants("帮我改密码", "grants", verbs=verbs)
    assert not wants("invite Bob and give him something", "grants", verbs=verbs)


def test_what_is_said_later_counts_too() -> None:
    words = Words()
    words.add("read my mail")
    tool = ToolSpec("tool", "Do.", {}, effects=frozenset({"destroys"}))
    assert not asked(words, tool)
    words.add("now delete it")
    assert asked(words, tool)


@given(st.sampled_from([(kind, word) for kind, words in ENGLISH.items() for word in words.split()]))
def test_each_english_word_of_the_table_asks_for_its_kind(entry: tuple[EffectKind, str]) -> None:
    kind, word = entry
    assert wants(f"please {word} the thing", kind)
    assert not wants(f"please do not {word} the thing", kind)


@given(st.sampled_from([(kind, word) for kind, words in CHINESE.items() for word in words.split()]))
def test_each_chinese_word_of_the_table_asks_for_its_kind(entry: tuple[EffectKind, str]) -> None:
    kind, word = entry
    assert wants(f"请{word}它", kind)
