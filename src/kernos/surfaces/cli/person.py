"""Who speaks with a process: somebody at a terminal, or lines that were given beforehand; and what words mean."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import click

from kernos.kernel.errors import NotFound
from kernos.kernel.office import Answer, Question
from kernos.kernel.types import Settlement
from kernos.surfaces.cli.places import user

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

Scope = Literal["once", "task", "always"]
_YES = ("y", "yes", "ok", "是", "是的", "好", "好的", "行", "同意", "可以")
_NO = ("n", "no", "否", "不", "不是", "不好", "不行", "不同意", "不可以", "不要")
_SCOPES: dict[Scope, tuple[str, ...]] = {
    "once": ("o", "once", "一次", "仅此一次", "只此一次", "就这一次"),
    "task": ("t", "task", "本次任务", "这次任务"),
    "always": ("a", "always", "总是", "始终", "永远", "以后都可以"),
}
_SETTLED: dict[Settlement, tuple[str, ...]] = {
    "happened": ("happened", "h", "发生", "发生了", "已发生"),
    "not": ("not", "n", "no", "没有", "没发生", "没有发生", "未发生"),
    "stop": ("stop", "s", "停", "停止"),
}
_HOW = {
    "approval": "yes, once, always or no",
    "limit": "yes or no",
    "doubt": "happened, with its result as JSON if it had one; not; or stop",
}
"""How a question of each kind is answered, where not by any text."""


def how(question: Question) -> str:
    """How a question is answered; empty if by any text."""
    some = "; or the numbers of the calls that you allow" if len(question.calls) > 1 else ""
    return _HOW.get(question.kind, "") + some


class Person(Protocol):
    """Who speaks with a process."""

    async def says(self) -> str | None:
        """The next line; None when there will be no more."""


class Given:
    """Lines that were given beforehand; `echo` shows each as it is said."""

    def __init__(self, lines: Iterable[str] = (), echo: bool = False) -> None:
        self._lines = iter([line for line in lines if line.strip()])
        self._echo = echo

    async def says(self) -> str | None:
        line = next(self._lines, None)
        if line is not None and self._echo:
            click.secho(f"› {line}", bold=True)
        return line


class Typed:
    """Somebody at a terminal. An empty line or Ctrl-D ends the talk."""

    def __init__(self) -> None:
        self._session: PromptSession[str] | None = None
        self._rest = ""

    async def says(self) -> str | None:
        """The next line. What was typed of one that is broken off stands there again the next time."""
        from prompt_toolkit import PromptSession
        from prompt_toolkit.formatted_text import HTML
        from prompt_toolkit.patch_stdout import patch_stdout

        session = self._session = self._session or PromptSession(HTML("<b>› </b>"))
        rest, self._rest = self._rest, ""
        try:
            with patch_stdout(raw=True):
                line = await session.prompt_async(default=rest)
        except EOFError:
            return None
        except asyncio.CancelledError:
            self._rest = session.default_buffer.text
            raise
        return line if line.strip() else None


def people(play: Path | None = None) -> Person:
    """The person: a recorded one, whoever types, or what comes through a pipe."""
    if play is not None:
        try:
            return Given(play.read_text("utf-8").splitlines(), echo=True)
        except (OSError, UnicodeDecodeError) as error:
            raise NotFound("--play", f"{play}: {error}", "a text file, one message a line") from None
    return Typed() if sys.stdin.isatty() else Given(sys.stdin.read().splitlines(), echo=True)


def answer(question: Question, line: str) -> Answer | None:
    """What a line answers to a question, in English or Chinese; None if it does not."""
    match question.kind:
        case "ask":
            return Answer(user(), text=line)
        case "doubt":
            return _settled(line)
    word = line.strip().casefold()
    if word in (*_YES, *_NO):
        return Answer(user(), word in _YES, line)
    return _allowed(question, re.findall(r"[^\s,，、;]+", word)) if question.calls else None


def yes(line: str) -> bool:
    """Whether a line agrees."""
    return line.strip().casefold() in _YES


def _allowed(question: Question, words: Sequence[str]) -> Answer | None:
    """What numbers of calls, a scope, or both allow; None if that is not all that is said."""
    numbers = [int(word) - 1 for word in words if word.isdecimal()]
    scopes = [scope for word in words for scope, meant in _SCOPES.items() if word in meant]
    if not words or len(numbers) + len(scopes) != len(words) or len(scopes) > 1:
        return None
    if not set(numbers) <= set(range(len(question.calls))):
        return None
    chosen = tuple(sorted(set(numbers))) if numbers else None
    return Answer(user(), text=" ".join(words), chosen=chosen, scope=scopes[0] if scopes else "task")


def _settled(line: str) -> Answer | None:
    word, *rest = line.split(maxsplit=1) or [""]
    settlement = next((meant for meant, words in _SETTLED.items() if word.casefold() in words), None)
    if settlement is None or (rest and settlement != "happened"):
        return None
    try:
        return Answer(user(), settled=settlement, value=json.loads(rest[0]) if rest else None)
    except ValueError:
        return None
