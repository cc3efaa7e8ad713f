"""Numbers as people write them: each is found, whole, and read as its value."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernos.kernel.numerals import numbers
from kernos.kernel.texts import normalise

DIGITS = "零一二三四五六七八九"
UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = ["", "", *"twenty thirty forty fifty sixty seventy eighty ninety".split()]


def in_chinese(value: int) -> str:
    """The numeral as a book writes it, 0 to 99,999,999."""
    high, low = divmod(value, 10_000)
    if not high:
        return section(low) or "零"
    return f"{section(high)}万{'零' if 0 < low < 1000 else ''}{section(low)}"


def section(value: int) -> str:
    """The numeral of 1 to 9,999; nothing for 0."""
    text = ""
    for scale, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, value = divmod(value, scale)
        if digit:
            text += DIGITS[digit] + name
        elif text and value and not text.endswith("零"):
            text += "零"
    return text


def in_english(value: int) -> str:
    if value < 20:
        return UNITS[value]
    return TENS[value // 10] + (f"-{UNITS[value % 10]}" if value % 10 else "")


def read(text: str) -> list[int | float]:
    return [number.value for number in numbers(normalise(text))]


@pytest.mark.parametrize(
    ("value", "numeral"),
    [(0, "零"), (10, "一十"), (103, "一百零三"), (20_050, "二万零五十"), (10_010_010, "一千零一万零一十")],
)
def test_the_reference_writer_writes_as_a_book_does(value: int, numeral: str) -> None:
    assert in_chinese(value) == numeral


@given(st.integers(0, 99_999_999))
@example(0)
@example(10_000)
@example(10_000_000)
@example(99_999_999)
@example(20_000_005)
def test_every_chinese_numeral_is_read_back(value: int) -> None:
    assert read(f"大约{in_chinese(value)}元") == [value]


def test_every_chinese_numeral_below_ten_thousand_is_read_back() -> None:
    assert [read(in_chinese(value)) for value in range(10_000)] == [[value] for value in range(10_000)]


@pytest.mark.parametrize("value", range(10, 20))
def test_ten_to_nineteen_need_no_leading_one(value: int) -> None:
    assert read(in_chinese(value).removeprefix("一")) == [value]


@pytest.mark.parametrize(
    ("text", "value"),
    [("二五", 25), ("一九九八", 1998), ("两百", 200), ("两千零两", 2002), ("一〇三", 103), ("万", 10_000)],
)
def test_other_ways_to_write_chinese_numerals_are_read_too(text: str, value: int) -> None:
    assert read(text) == [value]


@pytest.mark.parametrize(("text", "value"), [("三百五", 350), ("两千五", 2500), ("一万二", 12_000)])
def test_a_last_digit_counts_in_the_next_scale_down_as_people_say_prices(text: str, value: int) -> None:
    assert read(text) == [value]


@pytest.mark.parametrize("value", range(100))
def test_every_english_number_word_is_read_back(value: int) -> None:
    assert read(f"about {in_english(value)} of them") == [value]
    assert read(in_english(value).upper().replace("-", " ")) == [value]


@pytest.mark.parametrize("text", ["someone", "often", "weight", "tent", "sixties", "fourteenth"])
def test_a_number_word_inside_another_word_is_no_number(text: str) -> None:
    assert read(text) == []


@given(st.integers(0, 10**12))
def test_digits_are_read_with_and_without_commas(value: int) -> None:
    assert read(f"costs {value} yuan") == [value]
    assert read(f"costs {value:,} yuan") == [value]


@given(st.integers(0, 10**6), st.integers(0, 99))
def test_decimals_are_read(whole: int, cents: int) -> None:
    assert read(f"{whole}.{cents:02}") == [float(f"{whole}.{cents:02}")]


@pytest.mark.parametrize(("text", "value"), [("２５", 25), ("25岁", 25), ("¥300", 300), ("(25)", 25), ("25.", 25)])
def test_digits_are_found_among_other_signs(text: str, value: int) -> None:
    assert read(text) == [value]


@pytest.mark.parametrize("text", ["spf50", "a1", "v2.5"])
def test_digits_in_a_word_are_no_number(text: str) -> None:
    assert read(text) == []


def test_several_numbers_come_in_their_order() -> None:
    assert read("我二十五岁，预算300元, for two") == [25, 300, 2]


def test_a_number_knows_the_words_before_and_after_it() -> None:
    (number,) = numbers(normalise("Budget:  300   Yuan at most"))
    assert (number.text, number.before, number.after) == ("300", "budget:", "yuan at most")


@pytest.mark.parametrize(
    ("text", "units", "beside"),
    [
        ("25 years old", ("years",), True),
        ("25岁", ("岁",), True),
        ("年龄 25", ("年龄",), True),
        ("25 YEARS", ("Years",), True),
        ("25 or so, in years", ("years",), False),
        ("25", ("years",), False),
        ("25 years", (), False),
    ],
)
def test_a_unit_counts_when_it_follows_or_precedes_at_once(text: str, units: tuple[str, ...], beside: bool) -> None:
    (number,) = numbers(normalise(text))
    assert bool(number.unit(units)) is beside


@pytest.mark.parametrize(("text", "unit"), [("2 young children", "yo"), ("package 3", "age"), ("3 maxims", "max")])
def test_a_unit_in_latin_letters_matches_whole_words_only(text: str, unit: str) -> None:
    (number,) = numbers(normalise(text))
    assert not bool(number.unit((unit,)))


def test_a_unit_is_compared_in_the_form_of_the_text() -> None:
    (number,) = numbers(normalise("25 year-old"))
    assert bool(number.unit(("year-old",)))


@pytest.mark.parametrize(("text", "vague"), [("this one", True), ("一款", True), ("二十五", False), ("1", False)])
def test_a_word_that_often_means_no_number_is_vague(text: str, vague: bool) -> None:
    (number,) = numbers(normalise(text))
    assert number.vague is vague
