"""The employee loop: the program that most processes run. It holds no power: every step is a system call.

A turn begins with the owner's words and ends with a reply, and then with a checkpoint, so that a process that waits has
nothing to replay. An employee that another one started takes one turn: its reply is what its process returns. In
between the model chooses actions; what the kernel refuses comes back as words that it can act on:
- facts that only the owner can give are asked for, with the questions that the tool declares, in the owner's language;
  where none are declared the model words the question itself. The call that lacked them is held: when the owner's
  next words give some, which the kernel tells when the call is tried again, the model has to act on them;
- a tool whose result speaks (`say`) ends the turn with those words, rendered from the record;
- a tool that was refused, or that has given all it can, is not offered again in the same turn; after a few replies that
  were refused the employee says that it cannot help.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from kernos.kernel.abi import Invoked, refused, shown
from kernos.kernel.errors import AnswerLost
from kernos.kernel.types import REPLY, Action, Deny, Generation, Json, Message, ToolSpec, canonical
from kernos.userland import calls
from kernos.userland.language import choose, language_of
from kernos.userland.lib import Process

ACTIONS_A_TURN = 8
REPLIES_A_TURN = 3
"""After so many replies that were refused, the employee says that it cannot."""
RESULT_CHARS = 6_000
"""A tool's result is cut to this length in the model's context; the journal has all of it."""
WINDOW_SHARE = 0.7
"""When a context fills this share of the engine's window, its older half is left out."""
GIVING_UP = {
    "en": "I am sorry, I could not manage that. Could you put it another way?",
    "zh": "抱歉，这件事我没能办好，请换个说法再告诉我一次。",
}


@dataclass(frozen=True)
class Brief:
    """What an employee is told: its instructions, its tools (`calls` names those that are system calls), and how many
    tokens its engine's window has."""

    instructions: str
    tools: Mapping[str, ToolSpec] = field(default_factory=dict)
    window: int = 8192
    calls: Collection[str] = ()


@dataclass(frozen=True)
class Held:
    """A call that waits for facts from the owner, and the parameters that lack them."""

    action: Action
    missing: tuple[str, ...]


async def employee(process: Process, brief: Brief) -> str:
    """Take one turn; then begin anew with what is to be remembered of it, or end with the reply to the parent."""
    talk = Talk(process, brief)
    said = await talk.turn(await process.receive())
    if process.parent:
        return said
    await process.checkpoint(talk.state(), talk.messages)


class Talk:
    """One conversation: its context, and the turn that is being taken."""

    def __init__(self, process: Process, brief: Brief) -> None:
        self._process, self._brief = process, brief
        self._system = Message("system", brief.instructions)
        kept = process.state or {}
        held = kept.get("held")
        self.messages: list[Message] = list(process.messages)
        self._language: str = kept.get("language", "en")
        self._held = Held(Action(held["name"], held["arguments"]), tuple(held["missing"])) if held else None
        self._withheld: set[str] = set()
        self._tried: set[bytes] = set()
        self._speak = True
        self._unsaid = 0
        self._said = ""

    def state(self) -> Json:
        """What the next turn needs of this one beside the messages."""
        held = self._held
        kept = (
            {"name": held.action.name, "arguments": dict(held.action.arguments), "missing": held.missing}
            if held
            else None
        )
        return {"language": self._language} | ({"held": kept} if kept else {})

    async def turn(self, words: str) -> str:
        """From the owner's words to a reply."""
        self._language = language_of(words, self._language)
        self.messages.append(Message("user", words))
        if not (self._held and await self._answered(self._held)):
            await self._act_and_reply()
        return self._said

    async def _act_and_reply(self) -> None:
        for _ in range(ACTIONS_A_TURN):
            context = [self._system, *self.messages]
            try:
                generation = await self._process.generate(
                    context, tuple(self._brief.tools), sorted(self._withheld), self._speak
                )  # fmt: skip
            except AnswerLost as error:
                if await self._unheard(f"your answer was of no use: {error}"):
                    return
                continue
            self._speak = True
            self._slide(generation)
            self._warn(generation.near)
            action = generation.action
            done = await (self._reply(action) if action.name == REPLY else self._act(action))
            if done:
                return
        await self._give_up()

    async def _give_up(self) -> bool:
        return await self._say(GIVING_UP.get(self._language, GIVING_UP["en"]))

    async def _answered(self, held: Held) -> bool:
        """Try a held call again. If the owner's words gave some of what it lacked, the model must now act; if they
        made it right as it was, this was the call: True if that ended the turn."""
        result = await self._process.invoke(held.action.name, **held.action.arguments)
        if isinstance(result, Deny):
            self._speak = not set(result.missing) < set(held.missing)
            return False
        self._held = None
        return await self._done(held.action, result)

    async def _reply(self, action: Action) -> bool:
        refusal = await self._send(action.text)
        self.messages.append(Message("assistant", action=action))
        if refusal is None:
            return True
        return await self._unheard(refused(refusal.reason))

    async def _unheard(self, why: str) -> bool:
        """Tell the model that nothing came of its reply; True if that was once too often, and ended the turn."""
        self._note(REPLY, why)
        self._unsaid += 1
        return self._unsaid >= REPLIES_A_TURN and await self._give_up()

    async def _act(self, action: Action) -> bool:
        """Invoke a tool; True if that ended the turn."""
        again = canonical([action.name, dict(action.arguments)])
        if again in self._tried:
            self._withheld.add(action.name)
        self._tried.add(again)
        result = await self._called(action)
        if isinstance(result, Deny):
            return await self._refused(action, result)
        if self._held and self._held.action.name == action.name:
            self._held = None
        return await self._done(action, result)

    async def _called(self, action: Action) -> Invoked | Deny:
        if action.name in self._brief.calls:
            return await calls.make(self._process, action.name, action.arguments)
        return await self._process.invoke(action.name, **action.arguments)

    async def _send(self, text: str) -> Deny | None:
        """Say it to the owner; to a parent it is what the process returns."""
        refusal = None if self._process.parent else await self._process.send(text)
        self._said = self._said if refusal else text
        return refusal

    def _warn(self, near: Mapping[str, float]) -> None:
        """Tell the model of limits that have come close."""
        for name, share in near.items():
            self._note("limits", f"{share:.0%} of the limit of {name} is used: come to an end")

    async def _done(self, action: Action, result: Invoked) -> bool:
        self.messages.append(Message("assistant", action=action))
        if result.say:
            return await self._say(choose(result.say, self._language))
        self._note(action.name, _shown(result))
        self._warn(result.near)
        if result.error:
            self._withheld.add(action.name)
        return False

    async def _refused(self, action: Action, refusal: Deny) -> bool:
        questions = self._questions(action.name, refusal.missing)
        if questions:
            if self._brief.tools[action.name].effects <= {"reads"}:  # only what does nothing may be tried on suspicion
                self._held = Held(action, refusal.missing)
            return await self._say(questions)
        self.messages.append(Message("assistant", action=action))
        self._note(action.name, refused(refusal.reason))
        if refusal.missing or refusal.rule != "schema":
            self._withheld.add(action.name)
        return False

    def _questions(self, tool: str, missing: Sequence[str]) -> str:
        """The declared questions for what is missing, if each has one."""
        spec = self._brief.tools.get(tool)
        asked = [choose(spec.rule(name).question, self._language) for name in missing] if spec else []
        space = "" if self._language in ("zh", "ja") else " "
        return space.join(asked) if all(asked) else ""

    async def _say(self, text: str) -> bool:
        """Say what was not the model's to word; the owner hears something even if that is refused."""
        if await self._send(text) is not None:
            text = GIVING_UP.get(self._language, GIVING_UP["en"])
            await self._send(text)
        self.messages.append(Message("assistant", action=Action(REPLY, {"text": text})))
        return True

    def _note(self, tool: str, text: str) -> None:
        self.messages.append(Message("tool", text, tool=tool))

    def _slide(self, generation: Generation) -> None:
        """Leave out the older half when the window fills; rarely, so that the engine's prefix cache stays good."""
        if generation.prompt + generation.completion < self._brief.window * WINDOW_SHARE:
            return
        half = len(self.messages) // 2
        later = (place for place in range(half, len(self.messages)) if self.messages[place].role == "user")
        self.messages = self.messages[next(later, half) :]


def _shown(result: Invoked) -> str:
    value: Json = result.error and {"error": result.error} or result.value
    text = shown(value)
    return text if len(text) <= RESULT_CHARS else text[:RESULT_CHARS] + " … (cut)"
