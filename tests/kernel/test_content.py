"""What in a text acts by itself, however it is hidden, and what a text really says (`extracted`)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.security.codes import Code
from kernos.kernel.content import extracted, links, opaque, plain_links, standard
from kernos.kernel.types import Json
from tests.kernel.disguises import DISGUISES, LINKS

# Links


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("see https://evil.com/x, now", "evil.com/x"),
        ("see (www.evil.com/x).", "evil.com/x"),
        ("see evil.com.", "evil.com"),
        ("see EVIL.COM!", "evil.com"),
        ("点击evil.com看看", "evil.com"),
        ("看evil.com。", "evil.com"),
        ("münchen.de", "münchen.de"),
        ("evil.com:8080/x", "evil.com:8080/x"),
        ("evil.com?d=DE11", "evil.com?d=de11"),
        ("evil.museum/x", "evil.museum/x"),
        ("10.0.0.1/x", "10.0.0.1/x"),
        ("ftp://evil/x", "evil/x"),
        ("1http://evil/x", "evil/x"),
        ("[here](https://evil.com/x)", "evil.com/x"),
        ('<a href="http://evil.com/x">', "evil.com/x"),
    ],
)
def test_a_link_is_found_as_people_write_it(text: str, link: str) -> None:
    assert link in links(text)


@pytest.mark.parametrize(
    "text",
    [
        "evil[.]com", "evil (dot) com", "evil dot com", "evil点com", "evil。com", "e v i l . c o m / x", "evil .com",
        "evil. com", "http: //evil.com", "evil&#46;com", "evil%2Ecom", "moc.live", "ZXZpbC5jb20=", "6576696c2e636f6d",
        "ｅｖｉｌ．ｃｏｍ", "ｅ ｖ ｉ ｌ ．ｃ ｏ ｍ", "ev\u200bil.c\u200bom", "еvіl.соm", "hxxp://evil[.]com",
        "ev\u00adil.com",
        "the word is ZXZpbC5jb20, decode it", "read this backwards: x/moc.live",
    ],
)  # fmt: skip
def test_a_link_is_found_however_it_is_hidden(text: str) -> None:
    assert any(link.startswith("evil.com") for link in links(text))


@pytest.mark.parametrize("disguise", DISGUISES, ids=lambda disguise: disguise.name)
@given(link=LINKS)
def test_whatever_is_done_to_a_link_some_link_or_something_opaque_is_found(disguise: Code, link: str) -> None:
    hiding = f"Please see {disguise.write(link)} today"
    assert links(hiding) or opaque(hiding)


@pytest.mark.parametrize(
    "text",
    [
        "Hello. This is it.", "See you. Me too", "See report.docx and file.txt, e.g. today", "at 5 p.m. at Bob's",
        "version 1.2.3.4", "10.30/11.45", "src/main.py", "and/or", "ann@office.com", "It costs 12.50.",
        "We meet at noon. Live music", "", "the polka dot dress", "你好。我们走吧",
    ],
)  # fmt: skip
def test_ordinary_words_are_no_links(text: str) -> None:
    assert links(text) == ()


@pytest.mark.parametrize("link", ["https://www.News.com/a/", "news.com/a", "NEWS.com/a.", "http://news.com/a!"])
def test_a_link_has_one_form(link: str) -> None:
    assert standard(link) == "news.com/a"


def test_plain_links_are_those_that_all_can_see() -> None:
    assert plain_links("see News.com/a and evil dot com or moc.evil") == ["news.com/a"]


# What could hide anything


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(b"meet me at the bridge").decode(),
        b"meet me at the bridge".hex(),
        "%6D%65%65%74%20%6D%65",
        "aGVsbG8gd29ybGQgdGhpcyBpcw",
        "xK9fT2pQ7LmZ4rW8vB3nC6",
    ],
)
def test_a_long_run_that_no_word_is_is_opaque(text: str) -> None:
    assert opaque(f"the code: {text}.")


@pytest.mark.parametrize(
    "text",
    [
        "internationalization", "DonaudampfschifffahrtsGesellschaft", "2024-05-15 10:00", "0123456789012345",
        "a-b-c-d-e-f-1-2-3-4", "user_task_number_12", "meet me at the bridge", "lunch plan 2024",
    ],
)  # fmt: skip
def test_words_dates_and_numbers_are_not(text: str) -> None:
    assert opaque(text) == ()


@given(st.text())
def test_any_text_can_be_looked_through(text: str) -> None:
    assert all(run in text for run in opaque(text))
    assert len(set(links(text))) == len(links(text))


# What a text really says

BILL = "Dear Ada, Müller & Co asks for 1,250.00 by 2024-05-15. Pay into DE77 or write to bill@muller.com. Thanks!"
SCHEMA = {
    "properties": {
        "amount": {"type": "number"},
        "year": {"type": "integer"},
        "date": {"type": "string"},
        "account": {"type": "string"},
        "urgent": {"type": "boolean"},
        "kind": {"enum": ["bill", "advert", 1]},
        "words": {"type": "array", "items": {"type": "string"}},
    }
}


@pytest.mark.parametrize(
    "found",
    [
        {"amount": 1250}, {"amount": 1250.0, "date": "2024-05-15"}, {"account": "de77"}, {"account": "Müller & Co"},
        {"account": "bill@muller.com"}, {"urgent": True}, {"urgent": False}, {"kind": "advert"}, {"kind": 1},
        {"words": ["Pay", "Thanks"]}, {},
    ],
)  # fmt: skip
def test_what_stands_in_the_text_and_is_of_the_schema_is_kept(found: dict[str, Json]) -> None:
    assert extracted(found, SCHEMA, BILL) == found


@pytest.mark.parametrize(
    "found",
    [
        {"amount": 1251}, {"amount": "1250"}, {"amount": True}, {"year": 1250.5}, {"date": "2024-05-16"},
        {"account": "DE7"}, {"account": "E77"}, {"account": "DE78"}, {"account": ""}, {"account": None},
        {"account": 1250}, {"account": ["DE77"]}, {"account": {"x": "DE77"}}, {"account": "DE\u200b77"},
        {"urgent": "yes"}, {"urgent": 1}, {"kind": "spam"}, {"kind": True}, {"words": "Pay"}, {"words": ["Refund"]},
        {"other": "DE77"},
    ],
)  # fmt: skip
def test_what_does_not_is_dropped(found: dict[str, Json]) -> None:
    assert extracted(found, SCHEMA, BILL) == {}


def test_of_a_list_what_stands_there_is_kept() -> None:
    assert extracted({"words": ["Pay", "obey", 7, "Thanks"]}, SCHEMA, BILL) == {"words": ["Pay", "Thanks"]}


def test_without_a_schema_nothing_comes_back() -> None:
    assert extracted({"account": "DE77"}, {}, BILL) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(BILL.split()) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*SCHEMA["properties"], "other"]), JSON))
def test_nothing_comes_back_that_is_not_in_the_text_or_a_choice(found: dict[str, Json]) -> None:
    kept = extracted(found, SCHEMA, BILL)
    assert kept.keys() <= SCHEMA["properties"].keys()
    for name, value in kept.items():
        for part in value if isinstance(value, list) else [value]:
            shown = str(part).casefold()
            assert name in ("urgent", "kind") or shown in BILL.casefold() or float(part) in (1250.0, 2024.0, 5.0, 15.0)
