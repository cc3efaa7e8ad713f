"""The owner's words: what they name, which kinds of thing they mean, which choice they make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.security.codes import Code
from kernos.kernel.texts import disguised, hidden, lower, stem, tokens
from kernos.kernel.words import Words, is_time
from tests.kernel.disguises import DISGUISES, VALUES


def heard(*texts: str) -> Words:
    """The words of an owner who said these."""
    words = Words()
    for text in texts:
        words.add(text)
    return words


# Values that are named

NAMED = [
    ("Write to Alice", "Alice"),
    ("write to ALICE, please", "alice"),
    ("invite Bob Smith", "Bob  Smith"),
    ("mail bob@office.com.", "bob@office.com"),
    ("mail bob@office.com, and then Ann", "bob@office.com"),
    ("mail Bob@Office.com!", "bob@office.com"),
    ("is bob@office.com right?", "bob@office.com"),
    ("(bob@office.com)", "bob@office.com"),
    ("look at https://news.com/today", "news.com/today"),
    ("look at news.com/today", "https://news.com/today/"),
    ("look at www.news.com.They write well", "www.news.com"),
    ("open /home/ada/list.txt", "/home/ada/list.txt"),
    ("pay to DE11222233334444", "de11222233334444"),
    ("delete the mail with id 34", "34"),
    ("delete mail number 34", "34"),
    ("delete mail #34", 34),
    ("删除编号为34的邮件", "34"),
    ("use 1234567", "1234567"),
    ("给小明发邮件", "小明"),
    ("ask bob-smith", "bob-smith"),
    ("Straße: bob@office.com", "bob@office.com"),
]


@pytest.mark.parametrize(("text", "value"), NAMED)
def test_a_value_that_the_owner_wrote_is_named(text: str, value: object) -> None:
    assert heard(text).name(value) is not None


NOT_NAMED = [
    ("write to Alice", "Alicia"),
    ("write to Alice", "Ali"),
    ("write to Alice", "Alice Bob"),
    ("invite Bob and Smith", "Bob Smith"),
    ("mail bob@office.com", "bob@office.co"),
    ("mail bob@office.com.evil.net", "bob@office.com"),
    ("mail bob@office.com-evil", "bob@office.com"),
    ("mail notbob@office.com", "bob@office.com"),
    ("mail ann+bob@office.com", "bob@office.com"),
    ("mail ann.bob@office.com", "bob@office.com"),
    ("look at news.com/today", "news.com"),
    ("look at news.com/today", "ftp://news.com/today"),
    ("look at ftp://news.com/today", "news.com/today"),
    ("look at news.com", "news.com@evil.com"),
    ("open /home/ada/list.txt", "ada/list.txt"),
    ("open /home/ada/list.txt", "/home/ada"),
    ("send 34 mails", "34"),
    ("at 12 o'clock", 12),
    ("delete mail number 345", "34"),
    ("delete mail number 34", "3"),
    ("write to Alice", "to"),
    ("write to Alice", "a"),
    ("send a message about the website", "message"),
    ("send a message about the website", "website"),
    ("ask bob-smith", "bob_smith"),
    ("ask Bob Smith", "bob_smith"),
    ("write to Alice", ""),
    ("write to Alice", "  "),
    ("write to Alice", "!!"),
    ("write to Alice", "/"),
]


@pytest.mark.parametrize(("text", "value"), NOT_NAMED)
def test_what_only_looks_like_it_is_not_named(text: str, value: object) -> None:
    assert heard(text).name(value) is None


def test_a_value_does_not_run_over_two_messages_or_sentences() -> None:
    assert heard("write to Bob", "Smith comes too").name("Bob Smith") is None
    assert heard("Who is Alice? Bob knows her.").name("Alice Bob") is None
    assert heard("Write to Alice. Bob knows her.").name("Alice Bob") is None
    assert heard("给小明发邮件。小红不用").name("邮件小红") is None
    assert heard("Write to Dr. Smith").name("Dr. Smith") is not None


def test_what_is_said_later_names_too() -> None:
    words = heard("write to somebody")
    assert words.name("Alice") is None
    words.add("I mean Alice")
    assert words.name("Alice") == "alice"


@pytest.mark.parametrize("disguise", DISGUISES, ids=lambda disguise: disguise.name)
@given(value=VALUES)
def test_a_disguised_value_is_never_named_though_the_owner_named_the_plain_one(disguise: Code, value: str) -> None:
    hiding = disguise.write(value)
    words = heard(f"use {value} now")
    assert words.name(value) is not None
    assert hiding == value or disguised(hiding) or words.name(hiding) is None


# A password or a command


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("change my password to Abc_1!x", "Abc_1!x"),
        ("change my password to Abc_1.", "Abc_1"),
        ("the new password is 'to the moon'", "to the moon"),
        ("run `ls -l`, please", "ls -l"),
        ("run make test", "make test"),
        ("把密码改成 x9y8", "x9y8"),
    ],
)
def test_a_password_or_command_is_given_letter_by_letter(text: str, value: str) -> None:
    assert heard(text).exact(value) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("change my password to Abc_1", "abc_1"),
        ("change my password to Abc_1", "Abc-1"),
        ("change my password to Abc_12", "Abc_1"),
        ("change my password to Abc_1", "password"),
        ("change my password to Abc_1", "change"),
        ("run `ls -l`, please", "ls"),
        ("run `ls -l`, please", "please"),
        ("do not say Abc_1", "Abc_1"),
        ("change it to x", "\u200bx"),
        ("change it to x", ""),
    ],
)
def test_another_word_of_the_owners_is_no_password_and_no_command(text: str, value: str) -> None:
    assert heard(text).exact(value) is None


# What things are called


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("read the grocery list", "grocery list.docx"),
        ("read the grocery list", "Grocery List for today.docx"),
        ("read team-plan.docx", "team-plan.docx"),
        ("the mail about the Lunch with Ann", "lunch with ann"),
        ("open the Q3 report", "Q3 report.pdf"),
    ],
)
def test_a_thing_is_called_by_its_name_without_the_ending_or_by_half_of_a_long_one(text: str, value: str) -> None:
    assert heard(text).phrase(value) is not None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("read the grocery list", "list.docx.exe of the day and more"),
        ("read the grocery list", "groceries"),
        ("read it for the day", "for the night of the day.txt"),
        ("read the grocery list", "grocery\u200b list.docx"),
        ("read a b c", "c.txt"),
    ],
)
def test_less_than_half_of_a_name_or_words_without_meaning_are_none(text: str, value: str) -> None:
    assert heard(text).phrase(value) is None


@pytest.mark.parametrize(
    ("text", "value", "exact"),
    [
        ('delete the mail "Lunch"', "Lunch", True),
        ("delete the mail “Lunch on Friday”", "lunch on friday", True),
        ("删除《午餐安排》", "午餐安排", True),
        ("delete lunch.txt", "lunch.txt", True),
        ("delete the mail about Lunch", "Lunch", False),
        ('delete the mail "Lunch"', "Lunch on Friday", False),
        ("a follow-up of it", "follow-up", False),
    ],
)
def test_a_whole_name_is_written_as_one_in_quotes_or_with_its_ending(text: str, value: str, exact: bool) -> None:
    assert heard(text).exactly(value) is exact


def test_a_text_is_of_the_owners_words_if_each_that_means_something_is() -> None:
    words = heard("Plan the hiking trip to Paris")
    assert words.holds("the trip: hiking and hikes in Paris")
    assert not words.holds("trip to Rome")
    assert not words.holds("trip\u200b to Paris")


def test_two_texts_share_words_that_say_something() -> None:
    words = heard("What did people write about the climate conference?")
    assert words.shared("A CLIMATE CONFERENCE opens") == {"climat", "conferenc"}
    assert words.shared("users write about what they read") == set()


# Days and numbers


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("on 2024-05-15", "2024-05-15"),
        ("on 2024-05-15 at noon", "2024-05-15 12:00"),
        ("on May 15th", "2024-05-15T09:30:00"),
        ("on the 15th of May", "2024-05-15"),
        ("on 15 may", "2024-05-15"),
        ("on Sep. 3", "2024-09-03"),
        ("5月15日", "2024-05-15"),
        ("on May 15", "2024-05-15T09:30:00.5+02:00"),
    ],
)
def test_a_day_is_named_in_digits_or_by_month_and_day(text: str, date: str) -> None:
    assert heard(text).day(date)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("on May 16th", "2024-05-15"),
        ("on May 1", "2024-05-15"),
        ("on May 15", "2024-05-01"),
        ("maybe 15 people", "2024-05-15"),
        ("15月5日", "2024-05-15"),
        ("25月15日", "2024-05-15"),
        ("on 2024-05-151", "2024-05-15"),
        ("on 2024-05-15", "2024-05-15@evil.com"),
        ("on 2024-05-15", "2024-05-15; rm -rf /"),
        ("on May 15", "2024-05-15 10:00 mallory@evil.com"),
        ("on May 15", "2024-13-15"),
        ("on May 15", "May 15"),
    ],
)
def test_another_day_and_what_only_begins_with_a_date_are_not_named(text: str, date: str) -> None:
    assert not heard(text).day(date)


@given(st.dates(), st.text(min_size=1))
def test_nothing_but_a_date_is_a_date(date: object, more: str) -> None:
    assert is_time(str(date))
    assert not is_time(f"{date}{more}x")


def test_numbers_are_those_that_the_owner_wrote_in_any_form() -> None:
    assert heard("pay 12.50, then twenty-five and 三百").numbers == {12.5, 25.0, 300.0}


# People, and the owner himself


def test_a_person_is_meant_by_a_part_of_an_address() -> None:
    words = heard("write to Mark about it")
    assert words.person("mark.davies@office.com") == ["mark"]
    assert words.person("mar@office.com") == []
    assert words.person("Marks@office.com") == []
    assert words.person("ann@mark.com") == []


def test_a_word_that_is_no_name_means_nobody() -> None:
    words = heard("Show me my files, and files of Files & Co")
    assert words.person("notes@office.com") == words.person("show.me@office.com") == []
    assert words.person("files@office.com") == ["files"]
    assert heard("show me my files").person("files@office.com") == []


@pytest.mark.parametrize(
    "text",
    [
        "send me a mail", "email it to me", "Please send the summary to me", "Send the email to me", "invite me",
        "use my own address", "发给我", "把总结发给我",
    ],
)  # fmt: skip
def test_something_for_the_owner_himself(text: str) -> None:
    assert heard(text).me()


@pytest.mark.parametrize(
    "text",
    [
        "tell Bob about me", "read my mail", "mail Bob", "show me the files", "some mess",
        "read my mail and tell me more", "Pay the bill in the mail. Show me the rest.", "看看我发的邮件",
    ],
)  # fmt: skip
def test_nothing_for_the_owner_himself(text: str) -> None:
    assert not heard(text).me()


@pytest.mark.parametrize(
    ("text", "author", "wrote"),
    [
        ("read what Bob posted", "Bob", True),
        ("open the link from Bob, please", "Bob", True),
        ("the article that Bob has shared", "bob", True),
        ("write to Bob", "Bob", False),
        ("the article that Bob posted", "Eve", False),
        ("the article that Bob posted", "", False),
    ],
)
def test_whose_writing_the_owner_speaks_of(text: str, author: str, wrote: bool) -> None:
    assert heard(text).wrote(author) is wrote


# Choices


@pytest.mark.parametrize(
    ("text", "kinds", "every"),
    [
        ("write to all users", ["user"], True),
        ("write to each of the users", ["user"], True),
        ("invite everyone", ["file"], True),
        ("write to all users", ["file"], False),
        ("all is well, the user said", ["user"], True),
        ("all that I want for the next week is a file", ["file"], False),
        ("write to a user", ["user"], False),
    ],
)
def test_all_things_of_a_kind(text: str, kinds: list[str], every: bool) -> None:
    assert heard(text).every(kinds) is every


@pytest.mark.parametrize(
    ("text", "nouns", "way"),
    [
        ("the channel with the most users", ["user"], 1),
        ("the channel with the fewest users", ["users"], -1),
        ("the largest file", ["size"], 1),
        ("the smallest file", ["size"], -1),
        ("the most expensive hotel", ["price"], 1),
        ("the cheapest hotel", ["price"], -1),
        ("the latest mail", ["timestamp"], 1),
        ("the oldest mail", ["changed", "created"], -1),
        ("the best rated one", ["rating"], 1),
        ("the channel with the most users", ["message"], 0),
        ("the largest file", ["price"], 0),
        ("a file", ["size"], 0),
    ],
)
def test_the_most_the_least_or_neither(text: str, nouns: list[str], way: int) -> None:
    words = heard(text)
    assert words.most(nouns) == way
    assert words.compares is (text != "a file")


def test_the_largest_number_of_something() -> None:
    assert heard("the one with the largest number of guests").number_of() == 1
    assert heard("the one with the lowest count of guests").number_of() == -1
    assert heard("the number of guests").number_of() == 0


@pytest.mark.parametrize(
    ("text", "prefixes"),
    [
        ("the channel starting with External", ["external"]),
        ("the file that begins with the word 'Draft'", ["draft"]),
        ("以Ext开头的频道", ["ext"]),
        ("start with the channel", ["channel"]),
        ("the external channel", []),
    ],
)
def test_what_a_name_begins_with(text: str, prefixes: list[str]) -> None:
    assert heard(text).prefixes() == prefixes


# The texts below


@pytest.mark.parametrize(
    ("words", "root"),
    [(["book", "booking", "booked", "books"], "book"), (["hobby", "hobbies"], "hobby"), (["plan", "planning"], "plan")],
)
def test_words_of_one_stem(words: list[str], root: str) -> None:
    assert {stem(word) for word in words} == {root}


@given(st.text())
def test_tokens_are_words_and_nothing_else(text: str) -> None:
    assert all(token and " " not in token and token.isalnum() for token in tokens(text))


@given(st.text())
def test_in_lower_case_each_character_stays_where_it_was(text: str) -> None:
    assert len(lower(text)) == len(text)


@pytest.mark.parametrize("text", ["a\u200bb", "\u202eabc", "a\u00adb", "a\x00b", "a\ue000b"])
def test_what_nobody_sees_is_hidden(text: str) -> None:
    assert hidden(text) and disguised(text)


@pytest.mark.parametrize("text", ["ａnn", "①", "ann＠office.com", "ｅ", "a／b", "evil．com", "𝐚nn"])
def test_letters_digits_and_the_signs_of_addresses_in_another_shape_are_disguised(text: str) -> None:
    assert disguised(text) and not hidden(text)


@pytest.mark.parametrize("text", ["Ann", "Müller", "小明：你好！", "a\nb", "“quoted” – so…", "Straße 7"])
def test_ordinary_texts_are_not(text: str) -> None:
    assert not disguised(text)
