"""Decoding that goes on in the middle of a JSON text: a grammar of all that may follow what was written so far.

`grammar_after` is the grammar for llama.cpp (in llguidance's notation) of a schema and the beginning of its text; None
where there is none that is exact: in the middle of a number, an escape or a pattern. Whoever stops a model keeps what
came up to the last place where it can go on.
Names that no schema knows are not compared: an object may be given one of its names twice.
The text is written as `json.dumps` writes it, so that an answer stands in the next context letter by letter. What is
not begun yet is left to the library, schema and all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from jsonschema import Draft202012Validator

from kernos.kernel.types import Json

_SPACING: Json = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_CHAR = r'([^"\\\x00-\x1F\x7F]|\\["\\\/bfnrt]|\\u[0-9a-fA-F]{4})'
_OPEN_STRING = re.compile(rf'"{_CHAR}*')
_KINDS = {'"': "string", "{": "object", "[": "array", "t": "boolean", "f": "boolean", "n": "null"}
_UNKNOWN = {"allOf", "not", "if", "patternProperties", "prefixItems", "propertyNames", "unevaluatedProperties"}
"""Keywords whose values are not taken up again in the middle."""


def grammar_after(schema: Json, written: str) -> str | None:
    """The grammar of what may follow `written` under the schema, or None if it cannot be told."""
    rests = _Rests(schema).after(schema, written)
    return "%llguidance {}\nstart: " + " | ".join(dict.fromkeys(rests)) if rests else None


class _Rests:
    """What may follow the beginning of a value, each possibility a sequence in the grammar's notation."""

    def __init__(self, root: Json) -> None:
        self._definitions: Json = {"$defs": root["$defs"]} if "$defs" in root else {}

    def after(self, schema: Json, text: str) -> list[str]:
        """All that may follow `text`, where a value of this schema has begun."""
        if not text:
            return [self._value(schema)]
        schema = self._resolved(schema)
        for union in ("anyOf", "oneOf"):
            if union in schema:
                beside = {key: part for key, part in schema.items() if key != union}
                return [rest for branch in schema[union] for rest in self.after({**beside, **branch}, text)]
        if choice := _choice(schema):
            return _beginning_with(text, choice)
        kind, allowed = _KINDS.get(text[0], ""), schema.get("type", list(_KINDS.values()))
        if kind not in ([allowed] if isinstance(allowed, str) else allowed) or _UNKNOWN & schema.keys():
            return []
        if kind == "object":
            return list(self._object(schema, text))
        if kind == "array":
            return list(self._array(schema, text))
        return _string(schema, text) if kind == "string" else _beginning_with(text, [True, False, None])

    def _resolved(self, schema: Json) -> Json:
        schema = schema if isinstance(schema, dict) else {}
        while "$ref" in schema:
            schema = self._definitions.get("$defs", {}).get(schema["$ref"].removeprefix("#/$defs/"), {"not": {}})
        return schema

    def _value(self, schema: Json) -> str:
        whole = {**(schema if isinstance(schema, dict) else {}), **self._definitions, "x-guidance": _SPACING}
        return f"%json {json.dumps(whole, ensure_ascii=False)}"

    def _finished(self, schema: Json, text: str) -> int:
        """The length of the whole value with which the text begins; 0 if it is not whole, or not of the schema."""
        try:
            value, size = json.JSONDecoder().raw_decode(text)
        except ValueError:
            return 0
        if size == len(text) and text[-1].isdigit():
            return 0
        schema = self._resolved(schema)
        if choice := _choice(schema):
            return size if value in choice else 0
        return size if Draft202012Validator({**schema, **self._definitions}).is_valid(value) else 0

    def _object(self, schema: Json, text: str) -> Iterator[str]:
        fields, needed = list(schema.get("properties", {}).items()), set(schema.get("required", ()))
        others, names = schema.get("additionalProperties", True), frozenset(schema.get("properties", {}))
        place, comma = 1, ""
        while step := self._member(fields, needed, others, names, text[place:], comma):
            taken, size = step
            fields, place, comma = fields[taken:], place + size, ", "
        tail = text[place:]
        for number, (name, form) in enumerate(fields, 1):
            end = self._members(fields[number:], needed, others)
            yield from self._followed(_head(comma, name), form, tail, end)
            if name in needed:
                return
        if others is not False:
            yield from self._other(comma, others, names, tail)
        if "}".startswith(tail):
            yield _literal("}"[len(tail) :])

    def _member(
        self, fields: list[tuple[str, Json]], needed: set[str], others: Json, names: frozenset[str], tail: str,
        comma: str,
    ) -> tuple[int, int] | None:  # fmt: skip
        """The whole member with which the tail begins: how many of the fields are past with it, and its length."""
        for number, (name, form) in enumerate(fields, 1):
            head = "".join(_head(comma, name))
            if tail.startswith(head):
                size = self._finished(form, tail[len(head) :])
                return (number, len(head) + size) if size else None
            if name in needed:
                return None
        key = self._name(names, tail[len(comma) :]) if tail.startswith(comma) and others is not False else 0
        start = len(comma) + key + 2
        size = self._finished(others, tail[start:]) if key else 0
        return (len(fields), start + size) if size else None

    def _name(self, names: frozenset[str], text: str) -> int:
        """The length of a name that no schema knows, with which the text begins; 0 if there is none."""
        size = self._finished({"type": "string"}, text)
        return size if size and json.loads(text[:size]) not in names else 0

    def _followed(self, head: Sequence[str], form: Json, tail: str, end: str) -> Iterator[str]:
        """What may come after the tail, if it is a part of the head or goes on after it with a part of the value."""
        whole = "".join(head)
        if whole.startswith(tail):
            yield f"{_literals(head, len(tail))} {self._value(form)} {end}"
        elif tail.startswith(whole):
            yield from (f"{rest} {end}" for rest in self.after(form, tail[len(whole) :]))

    def _other(self, comma: str, form: Json, names: frozenset[str], tail: str) -> Iterator[str]:
        """A member of a name that no schema knows."""
        end = self._members([], set(), form)
        value = f"{_literal(': ')} {self._value(form)} {end}"
        if f'{comma}"'.startswith(tail):
            quote = '"' if len(tail) <= len(comma) else ""
            yield f"{_literal(comma[len(tail) :])} {_chars(before=quote)} {value}"
        elif size := self._name(names, tail[len(comma) :]):
            yield from self._followed((": ",), form, tail[len(comma) + size :], end)
        elif tail.startswith(comma):
            yield from (f"{rest} {value}" for rest in _string({}, tail[len(comma) :]))

    def _members(self, fields: list[tuple[str, Json]], needed: set[str], others: Json) -> str:
        """The rest of an object that has a member already."""
        parts = []
        for name, form in fields:
            member = f"({_literals(_head(', ', name))} {self._value(form)})"
            parts.append(member if name in needed else f"{member}?")
        if others is not False:
            name = _chars(before='"')
            parts.append(f"({_literal(', ')} {name} {_literal(': ')} {self._value(others)})*")
        return " ".join([*parts, _literal("}")])

    def _array(self, schema: Json, text: str) -> Iterator[str]:
        form, least, most = schema.get("items", {}), schema.get("minItems", 0), schema.get("maxItems")
        place, count, comma = 1, 0, ""
        while text.startswith(comma, place) and (size := self._finished(form, text[place + len(comma) :])):
            place, count, comma = place + len(comma) + size, count + 1, ", "
        tail = text[place:]
        if most is None or count < most:
            yield from self._followed(
                comma, form, tail, self._items(form, least - count - 1, most and most - count - 1)
            )
        if count >= least and "]".startswith(tail):
            yield _literal("]"[len(tail) :])

    def _items(self, form: Json, least: int, most: int | None) -> str:
        """The rest of an array that has an item already."""
        item = f"({_literal(', ')} {self._value(form)})" + f"{{{max(0, least)},{'' if most is None else most}}}"
        return f"{'' if most == 0 else item} {_literal(']')}"


def _choice(schema: Json) -> list[Json]:
    """The values of a schema that names them."""
    return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))


def _head(comma: str, name: str) -> tuple[str, ...]:
    return comma, json.dumps(name, ensure_ascii=False), ": "


def _literals(parts: Sequence[str], written: int = 0) -> str:
    """Parts of which so many characters are written. Each is a literal of its own: one that began as another does would
    hide it."""
    left = []
    for part in parts:
        left += [_literal(part[written:])] if written < len(part) else []
        written = max(0, written - len(part))
    return " ".join(left)


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _beginning_with(text: str, values: list[Json]) -> list[str]:
    written = [json.dumps(value, ensure_ascii=False) for value in values]
    return [_literal(each[len(text) :]) for each in written if each.startswith(text)]


def _string(schema: Json, text: str) -> list[str]:
    """What may follow a string of which its quote and perhaps more is written."""
    if not _OPEN_STRING.fullmatch(text) or {"pattern", "format"} & schema.keys():
        return []
    length, most = len(json.loads(f'{text}"')), schema.get("maxLength")
    if most is not None and length > most:
        return []
    return [_chars(schema.get("minLength", 0) - length, None if most is None else most - length)]


def _chars(least: int = 0, most: int | None = None, before: str = "") -> str:
    """So many characters of a string, and the quote that ends it."""
    return f'/{before}{_CHAR}{{{max(0, least)},{"" if most is None else most}}}"/'
