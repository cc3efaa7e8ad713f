"""What flows into a call, and who decided it: the facts about one call that the policy decides on (I4).

`examine` looks at each argument by its use: a deciding one needs an origin, a name only words that are known, content
no link that the owner did not name, and whoever will see it must be one who may see what was read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from kernos.kernel import intent
from kernos.kernel.content import links, opaque
from kernos.kernel.limits import EVIDENCE_CHARS
from kernos.kernel.origins import CLEAN, Origins, call_key
from kernos.kernel.reading import key
from kernos.kernel.texts import normalise
from kernos.kernel.types import AUDIENCE, EFFECT, Item, Json, Parameter, ToolSpec

_DECIDING = ("recipient", "object", "amount", "link", "secret", "command")
_TEXTS = (None, "content", "name", "link", "query")
"""What may hold something that was read; the others have a source of their own."""
_PLACES = ("object", "name", "command", "link")
_ONCE = frozenset({"pays", "sends", "grants"})
"""Effects that nobody wants twice by accident: the very same call is asked about."""
_AREAS = {
    "kernos.toml": "grants", "company.md": "employees", "agents.md": "employees", "agents/": "employees",
    "skill.md": "skills", "skills/": "skills", "policies/": "policies", "redlines.cedar": "policies",
    ".kernos": "journal", ".config/kernos": "credentials", ".ssh": "credentials", ".env": "credentials",
    "kernos/kernel/": "kernel", ".gguf": "engines",
}  # fmt: skip
"""By which names in a path what of the system is known."""
_MARKS = {
    mark: re.compile(rf"(?<![\w.-]){re.escape(mark)}" + (rf"|/{mark}?(?![\w.-])" if mark[-1] == "/" else r"(?![\w-])"))
    for mark in _AREAS
} | {".gguf": re.compile(r"\.gguf(?![\w-])")}
"""A name stands for itself: `travel-agents/` is no `agents/`."""


@dataclass(frozen=True)
class Found:
    """What was found out about a call. `items` are what a person would have to stand for."""

    unfounded: tuple[Item, ...] = ()
    uncovered: tuple[Item, ...] = ()
    intended: bool = True
    again: bool = False
    approved: bool = False
    evidence: Mapping[str, str] = field(default_factory=dict)
    reaches: frozenset[str] = frozenset()
    tool: str = ""

    @property
    def items(self) -> tuple[Item, ...]:
        kind = () if self.intended else (Item(self.tool, EFFECT, self.tool),)
        return (*kind, *self.unfounded, *self.uncovered)


NOTHING = Found()


def examine(origins: Origins, spec: ToolSpec, arguments: Mapping[str, Json], handles: Mapping[str, Json] = {}) -> Found:
    """The facts about a call of a tool. What only reads, and shows nobody anything, may read all but credentials."""
    reaches = frozenset(_reached(spec, arguments))
    if not spec.consequential:
        return Found(reaches=reaches) if reaches else NOTHING
    unfounded: list[Item] = []
    evidence: dict[str, str] = {}
    for name, rule, value in _scalars(spec, arguments):
        why = _why(origins, spec, rule, value, arguments, handles.get(name, ()))
        if why is None:
            unfounded.append(_item(origins, spec, name, rule, value))
        elif why:
            evidence[name] = why
    this = call_key(spec.name, arguments)
    return Found(
        tuple(unfounded), tuple(_uncovered(origins, spec, arguments)), _intended(origins, spec),
        not origins.clean and this in origins.done and bool(spec.effects & _ONCE),
        origins.calls[this] > 0, evidence, reaches, spec.name,
    )  # fmt: skip


def _intended(origins: Origins, spec: ToolSpec) -> bool:
    if origins.clean or spec.effects <= {"reads"} or origins.stands(spec.name, EFFECT):
        return True
    return intent.asked(origins.words, spec)


def _scalars(spec: ToolSpec, arguments: Mapping[str, Json]) -> Iterator[tuple[str, Parameter, Json]]:
    """Each scalar in the arguments, with the rule of its parameter ("attachments.file_id" for one inside)."""
    for name, value in arguments.items():
        yield from _inside(spec, name, value)


def _inside(spec: ToolSpec, name: str, value: Json) -> Iterator[tuple[str, Parameter, Json]]:
    rule = spec.parameters.get(name) or spec.rule(name.split(".")[0])
    if isinstance(value, Mapping):
        declared = {*_properties(spec.schema), *(known.rpartition(".")[2] for known in spec.parameters)}
        for inner, part in value.items():
            if inner not in declared:  # a key that no schema knows says something itself
                yield name, rule, inner
            yield from _inside(spec, f"{name}.{inner}", part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _inside(spec, name, part)
    elif value is not None and value != "":
        yield name, rule, value


def _properties(schema: Json) -> Iterator[str]:
    """The names of all properties in a schema."""
    if isinstance(schema, Mapping):
        yield from schema.get("properties", {})
        for part in schema.values():
            yield from _properties(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _properties(part)


def _use(spec: ToolSpec, rule: Parameter) -> str:
    """What a parameter does; one that nothing is known of decides, in a call that does more than read."""
    return rule.use or ("query" if spec.effects <= {"reads"} else "object")


def _why(
    origins: Origins, spec: ToolSpec, rule: Parameter, value: Json, arguments: Mapping[str, Json],
    handles: Sequence[Json],
) -> str | None:  # fmt: skip
    """Why a value may stand there ("" if that needs no reason); None: nothing says that it may."""
    use = _use(spec, rule)
    if origins.clean or (rule.source != "any" and rule.use is None):
        return ""
    if use in _DECIDING:
        origin = origins.carried(value, rule, handles) or origins.of(value, rule, spec)
        if origin is None and use == "recipient" and _copied(origins, value, arguments):
            return "the owner gets a copy"
    elif use == "name":
        origin = origins.name(str(value))
    elif use == "content":
        origin = CLEAN if not _acting(origins, str(value)) else None
    else:
        return ""
    return None if origin is None else "" if origin is CLEAN else str(origin)


def _copied(origins: Origins, value: Json, arguments: Mapping[str, Json]) -> bool:
    """Whether the owner only gets what others get too."""
    own = origins.reading.identities
    lists = (part for part in arguments.values() if isinstance(part, list) and value in part)
    return key(value) in own and any(key(other) not in own for part in lists for other in part)


def _acting(origins: Origins, text: str) -> list[str]:
    """What in a text would act, or hides what it is, and is not the owner's."""
    found = links(text)
    named = {link for said in origins.words.said for link in links(said)} if found else set[str]()
    strange = [link for link in found if link not in named and not origins.stands(link)]
    strange += [run for run in opaque(text) if not origins.words.name(run) and not origins.stands(run)]
    return [] if strange and (origins.stands(text) or origins.words.name(text)) else strange


def _item(origins: Origins, spec: ToolSpec, name: str, rule: Parameter, value: Json) -> Item:
    """What a person is shown of a value: where it stands, as far as it stands anywhere."""
    wanted = _acting(origins, str(value)) if _use(spec, rule) == "content" else [value]
    shown = wanted[0] if wanted else value
    leaf = origins.reading.quote(shown)
    if leaf is None:
        return Item(spec.name, name, shown)
    text, wanted_text = str(leaf.value), str(shown)
    start = max(0, normalise(text).find(normalise(wanted_text)) - EVIDENCE_CHARS // 2)
    return Item(spec.name, name, shown, f"{leaf.place}: “{text[start : start + EVIDENCE_CHARS]}”")


def _uncovered(origins: Origins, spec: ToolSpec, arguments: Mapping[str, Json]) -> Iterator[Item]:
    """Whoever would see what he may not: others than the owner, after something private or undirected was read."""
    reading = origins.reading
    if not (reading.private or reading.undirected):
        return
    shown = [value for _, rule, value in _scalars(spec, arguments) if rule.use in ("recipient", "link")]
    audience = [value for value in shown if key(value) not in reading.identities]
    if not shown and "sends" in spec.effects:
        audience = [spec.name]  # it names nobody: whoever sees what it sends
    texts = [str(value) for _, rule, value in _scalars(spec, arguments) if rule.use in _TEXTS]
    leaks = any(not origins.words.name(text) and _leaks(origins, text) for text in texts)
    for value in audience if leaks else []:
        what = "what only the owner may see" if reading.private else "what no word of the owner's led to"
        yield Item(spec.name, AUDIENCE, value, f"it may hold {what}")


def _leaks(origins: Origins, text: str) -> bool:
    """Whether a text may hold what was read: a model that has read what anyone wrote may have put anything into it."""
    if not origins.clean:
        return True
    plain = normalise(text)
    return any(normalise(str(leaf.value)) in plain for leaf in origins.reading.private if len(str(leaf.value)) > 2)


def _reached(spec: ToolSpec, arguments: Mapping[str, Json]) -> Iterator[str]:
    """What of the system itself a call would touch, by the names of its files; of one that reads only credentials."""
    reads = spec.effects <= {"reads"}
    for _, rule, value in _scalars(spec, arguments):
        if isinstance(value, str) and (reads or _use(spec, rule) in _PLACES):
            plain = unquote(value).casefold().replace("\\", "/")
            for mark, area in _AREAS.items():
                known = _MARKS[mark].search(plain) or (mark in plain and rule.use == "command")
                if known and (area == "credentials" or not reads):
                    yield area
