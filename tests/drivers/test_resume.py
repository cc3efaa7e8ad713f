"""Where an answer under a schema can be gone on with, and where it cannot be told how."""

from __future__ import annotations

import pytest

from kernos.drivers.engine.resume import grammar_after
from kernos.kernel.types import Json
from tests.drivers.llama import COUNT

NESTED: Json = {
    "type": "object",
    "properties": {
        "sizes": {"type": "array", "items": {"$ref": "#/$defs/size"}, "minItems": 1, "maxItems": 3},
        "count": COUNT,
        "note": {"type": ["string", "null"], "maxLength": 5},
    },
    "required": ["sizes"],
    "$defs": {"size": {"enum": ["S", "M", "extra large"]}},
}


@pytest.mark.parametrize(
    ("written", "possible"),
    [
        ('{"sizes": ["', True), ('{"sizes": ["S", "ext', True), ('{"sizes": ["S"]', True), ('{"sizes": ["S"], ', True),
        ('{"sizes": ["S"], "no', True), ('{"sizes": ["S"], "note": "ab', True), ('{"sizes": ["S"], "note": n', True),
        ('{"sizes": ["S"], "other": {"a": [', True), ('{"sizes": ["S"], "count": 3, ', True), ('{"sizes": []', False),
        ('{"sizes": ["S"], "count": 3', False), ('{"sizes": ["S"], "note": "a\\', False), ('{"sizes": ["L', False),
        ('{"sizes": ["S", "S", "S", ', False), ('{"sizes": ["S"]}', True), ('{"sizes": ["S"], "note": "abcdef', False),
        ('{"count": 3, ', False), ("[", False), ('{"sizes": ["S"]} ', False),
    ],
)  # fmt: skip
def test_a_text_can_be_gone_on_with_where_its_schema_says_how(written: str, possible: bool) -> None:
    assert (grammar_after(NESTED, written) is not None) == possible


def test_what_is_left_of_a_choice_is_left_of_each_value_that_fits() -> None:
    rest = grammar_after({"enum": ["Oslo", "Osaka", "Rome"]}, '"Os')
    assert rest == '%llguidance {}\nstart: "lo\\"" | "aka\\""'
