"""Files with YAML front matter: agents, skills, tasks and companies, as their formats define them.

Agent Companies, `agentcompanies/v1` (draft): COMPANY.md, agents/<slug>/AGENTS.md, tasks/<slug>/TASK.md,
projects/<slug>/PROJECT.md. Agent Skills (agentskills.io): skills/<slug>/SKILL.md. Claude and Copilot sub-agents: one
file. Fields that are not ours to know are kept out of the way and never an error: formats grow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from kernos.kernel.types import Json
from kernos.userland.company.problems import Problem

SKILL_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
SKILL_NAME_CHARS, SKILL_DESCRIPTION_CHARS = 64, 1024
_RULE = r"---[ \t]*(?:\r?\n|\Z)"
_FRONT = re.compile(rf"\A{_RULE}(?P<head>.*?)^{_RULE}(?P<body>.*)\Z", re.DOTALL | re.MULTILINE)
_PLACES = {kind: re.compile(rf"(?:.*/)?{folder}/([^/]+)/{file}") for kind, folder, file in (
    ("agent", "agents", r"AGENTS\.md"), ("skill", "skills", r"SKILL\.md"), ("task", "tasks", r"TASK\.md"))}  # fmt: skip


@dataclass(frozen=True)
class Document:
    """A file with front matter: its path in the folder, its fields, its text. One that is not `sound` has fields that
    could not be read: that stands in the problems already, and the lack of a field is no other."""

    path: str
    fields: Mapping[str, Json]
    body: str
    sound: bool = True


@dataclass(frozen=True)
class Agent:
    """agents/<slug>/AGENTS.md, or a single sub-agent file. `tools` and `model` are wishes: only grants give."""

    slug: str
    path: str
    name: str
    title: str
    instructions: str
    skills: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    reports_to: str = ""


@dataclass(frozen=True)
class Skill:
    """skills/<slug>/SKILL.md. Its name and description are always known to the employee, its body when needed."""

    name: str
    path: str
    description: str
    body: str
    tools: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """tasks/<slug>/TASK.md: work for an employee."""

    slug: str
    path: str
    name: str
    assignee: str
    body: str


@dataclass
class Reader:
    """Reads documents, and collects what is wrong with them."""

    problems: list[Problem] = field(default_factory=list)

    def documents(self, kind: str, files: Mapping[str, str]) -> dict[str, Document]:
        """The files of a kind, by the name of their folder, which no two of them may share."""
        found: dict[str, Document] = {}
        for path, text in sorted(files.items()):
            match = _PLACES[kind].fullmatch(path)
            if match and match[1] in found:
                taken = f"the {kind} {match[1]!r}, which is in {found[match[1]].path} too"
                self._wrong(path, taken, "a folder of another name")
            elif match:
                found[match[1]] = self.document(path, text)
        return found

    def document(self, path: str, text: str) -> Document:
        """Split a file; one without front matter has no fields."""
        text = text.removeprefix("\ufeff")
        match = _FRONT.match(text)
        if match is None:
            endless = bool(re.match(_RULE, text))
            if endless:
                self._wrong(path, "front matter that never ends", "a second line of ---")
            return Document(path, {}, text.strip(), not endless)
        fields = self._fields(path, match["head"])
        return Document(path, fields or {}, match["body"].strip(), fields is not None)

    def _fields(self, path: str, head: str) -> dict[str, Json] | None:
        """The fields of a front matter; None if they cannot be read."""
        try:
            fields = yaml.safe_load(head) or {}
        except Exception as error:  # a value that does not fit its tag raises whatever PyYAML stumbles over
            where, found = _stumble(error)
            self._wrong(f"{path}: {where}", f"YAML that does not parse ({found})", "valid YAML")
            return None
        if isinstance(fields, dict):
            return fields
        self._wrong(f"{path}: front matter", f"a {type(fields).__name__}", "fields, each `name: value`")
        return None

    def agent(self, slug: str, document: Document) -> Agent:
        """An agent; its name falls back to its folder's, its title to its description."""
        if not document.body:
            self._wrong(document.path, "no instructions below the front matter", "the employee's instructions")
        name = self._text(document, "name") or slug
        title = self._text(document, "title") or self._text(document, "description")
        reports_to = self._text(document, "reportsTo")
        skills, tools = self._names(document, "skills"), self._names(document, "tools")
        return Agent(slug, document.path, name, title, document.body, skills, tools, reports_to)

    def skill(self, slug: str, document: Document) -> Skill:
        """A skill, held to the limits of the Agent Skills format."""
        name, description = self._text(document, "name"), self._text(document, "description")
        if document.sound:
            self._limits(slug, document.path, name, description)
        return Skill(slug, document.path, description, document.body, self._names(document, "allowed-tools"))

    def _limits(self, slug: str, where: str, name: str, description: str) -> None:
        if not name or not SKILL_NAME.fullmatch(name) or len(name) > SKILL_NAME_CHARS:
            right = f"1 to {SKILL_NAME_CHARS} lower-case letters, digits and single hyphens"
            self._wrong(f"{where}: name", _found(name), right)
        elif name != slug:
            self._wrong(f"{where}: name", repr(name), f"{slug!r}, the name of its folder")
        if not 1 <= len(description) <= SKILL_DESCRIPTION_CHARS:
            found = f"{len(description)} characters" if description else "nothing"
            self._wrong(f"{where}: description", found, f"1 to {SKILL_DESCRIPTION_CHARS} characters")

    def task(self, slug: str, document: Document) -> Task:
        name = self._text(document, "name") or slug
        return Task(slug, document.path, name, self._text(document, "assignee"), document.body)

    def _text(self, document: Document, name: str) -> str:
        value = document.fields.get(name)
        if value is not None and not isinstance(value, str | int | float):
            self._wrong(f"{document.path}: {name}", f"a {type(value).__name__}", "a text")
            return ""
        return "" if value is None else str(value).strip()

    def _names(self, document: Document, name: str) -> tuple[str, ...]:
        """A list of names; both formats also write them in one line, with commas or spaces."""
        value = document.fields.get(name)
        if isinstance(value, str):
            return tuple(part for part in re.split(r"[,\s]+(?![^(]*\))", value) if part)
        if value is not None and not isinstance(value, list):
            self._wrong(f"{document.path}: {name}", f"a {type(value).__name__}", "a list of names")
            return ()
        return tuple(str(part) for part in value or ())

    def _wrong(self, where: str, found: str, right: str) -> None:
        """Collect a problem; of one place the first counts, the others follow from it."""
        if all(problem.where != where for problem in self.problems):
            self.problems.append(Problem(where, found, right))


def _stumble(error: Exception) -> tuple[str, str]:
    """Where PyYAML stumbled, and over what."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 2}", str(error.problem)
    return "front matter", (str(error).splitlines() or [type(error).__name__])[0]


def _found(text: str) -> str:
    return repr(text[:80]) if text else "nothing"
