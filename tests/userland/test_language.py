"""Which language a person writes in, and which of the declared texts they get."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.userland.language import choose, language_of

TEXTS = {"fr": "Bonjour", "en": "Hello", "zh": "你好"}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Can you recommend a face wash?", "en"),
        ("给我推荐一个好用的洗面奶吧", "zh"),
        ("推薦一款防曬", "zh"),
        ("洗顔料をおすすめしてください", "ja"),
        ("カタログ", "ja"),
        ("세안제를 추천해 주세요", "ko"),
        ("Посоветуйте крем", "ru"),
        ("أوصي بغسول للوجه", "ar"),
        ("我用 SPF50 sunscreen", "zh"),
    ],
)
def test_the_letters_tell_the_language(text: str, language: str) -> None:
    assert language_of(text, "xx") == language


@pytest.mark.parametrize("text", ["", "25", "ok", "OK!", "¥200", "😀", "SPF50+", "???"])
@pytest.mark.parametrize("before", ["zh", "en", "ja"])
def test_a_text_that_does_not_tell_leaves_the_language_of_the_conversation(text: str, before: str) -> None:
    assert language_of(text, before) == before


def test_a_conversation_begins_in_english() -> None:
    assert language_of("25") == "en"


def test_two_english_words_are_enough_to_change_the_language() -> None:
    assert language_of("thank you", "zh") == "en"


@given(st.text())
def test_every_text_has_a_language(text: str) -> None:
    assert language_of(text, "before") in {"before", "en", "zh", "ja", "ko", "ru", "ar"}


@pytest.mark.parametrize(
    ("texts", "language", "chosen"),
    [
        (TEXTS, "zh", "你好"),
        (TEXTS, "fr", "Bonjour"),
        (TEXTS, "ru", "Hello"),
        ({"fr": "Bonjour", "zh": "你好"}, "ru", "Bonjour"),
        ({"zh": "", "en": "Hello"}, "zh", "Hello"),
        ({}, "zh", ""),
    ],
)
def test_a_text_is_chosen_in_the_persons_language_else_in_english_else_the_first(
    texts: dict[str, str], language: str, chosen: str
) -> None:
    assert choose(texts, language) == chosen
