"""A model that says what it was told to: for tests, demonstrations and dry runs, where its words don't matter.

`ScriptedEngine([...])` plays a list of actions in order; `ScriptedEngine(function)` asks a function of the prompt.
Both count what a real engine would, one token a word, so that limits and reports work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from kernos.kernel.errors import BadInput, EngineError
from kernos.kernel.ports import Prompt
from kernos.kernel.types import REPLY, Action, Generation

Script = Iterable[Action] | Callable[[Prompt], Action]


def say(text: str) -> Action:
    """The action of replying with this text."""
    return Action(REPLY, {"text": text})


def played(where: str, file: Path) -> ScriptedEngine:
    """An engine that plays the actions in a JSON file. Raises BadInput, with `where` the field that names the file."""
    try:
        return ScriptedEngine([Action(**action) for action in json.loads(file.read_text("utf-8"))])
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(where, f"{file.name}: {error}", "a JSON list of actions") from None


class ScriptedEngine:
    """Plays its script; `prompts` keeps what it was asked."""

    def __init__(self, script: Script, slots: int = 1) -> None:
        self._next = script if callable(script) else self._play(iter(script))
        self._slots = slots
        self.prompts: list[Prompt] = []

    @property
    def slots(self) -> int:
        return self._slots

    async def generate(self, prompt: Prompt, draft: Callable[[str], None]) -> Generation:
        """The script's next action; see `ports.Engine`."""
        self.prompts.append(prompt)
        action = self._next(prompt)
        for word in re.findall(r"\S+\s*|\s+", action.text):
            draft(word)
        return Generation(action, sum(len(message.text.split()) for message in prompt.messages), 0, 1)

    async def close(self) -> None:
        """Nothing to let go of."""

    @staticmethod
    def _play(actions: Iterator[Action]) -> Callable[[Prompt], Action]:
        def following(_: Prompt) -> Action:
            try:
                return next(actions)
            except StopIteration:
                raise EngineError("the script has ended") from None

        return following
