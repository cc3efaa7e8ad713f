"""Who answers a request, and in which process: a model for a foreign agent, or an employee that is talked with.

    seats = Seats(office)
    seat = await seats.seat(caller, model, heads, named) the process; one is started if none fits
    generation = await seats.answer(seat, asked, draft)  the answer; `draft` gets its text piece by piece
    embedded = await seats.embedded(seat, texts)         vectors, of a seat at `VECTORS`, where no conversation stands

A model's name is that of an engine ("" and "default": the process's usual one), of a foreign employee, whose process
the call then belongs to, or of an employee with a program of ours. Such an employee is told the last message, and what
it says to its owner until it waits for more is the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kernos.kernel.abi import Embed, Generate, Reply
from kernos.kernel.errors import BadInput, Forbidden, NotFound
from kernos.kernel.office import Office, Pending
from kernos.kernel.ports import Caller
from kernos.kernel.types import Deny, Embedded, Generation, Message
from kernos.surfaces.http import may_speak, process_of
from kernos.surfaces.openai.fields import Asked
from kernos.surfaces.openai.talk import Draft, Talk, news
from kernos.surfaces.openai.threads import Threads, answered, failed

VECTORS = ("vectors",)
_USUAL = ("", "default")


@dataclass(frozen=True)
class Seat:
    """The process that answers. `employee` is the one that is talked with, if it is; `heads` say where the conversation
    stands, `whose` among whose, if it is known by its messages; `places` are where the process stood before."""

    caller: Caller
    pid: str
    engine: str
    employee: str
    whose: str
    heads: Sequence[str]
    places: tuple[str, ...] = ()


class Seats:
    """Finds processes for requests, and has them answered."""

    def __init__(self, office: Office) -> None:
        self._office, self._kernel = office, office.kernel
        self._threads = Threads()

    async def seat(self, caller: Caller, wanted: str, heads: Sequence[str], named: str = "") -> Seat:
        """The process that a request is for: of the model that is `wanted`, where these `heads` go on; `named` is the
        one that the caller names. Raises Forbidden, also for words to an employee that are not its owner's, or NotFound
        for a model or process that is not there for this caller."""
        model = caller.employee if wanted in _USUAL else wanted
        card = self._office.employees.get(model)
        if card is None and model not in (*_USUAL, *self._office.engines):
            raise NotFound("model", repr(model), " or ".join((*self._office.engines, *self._office.employees)))
        engine = "" if card or model in _USUAL else model
        talks = model if card and not card.foreign else ""
        if talks and not may_speak(caller):
            raise Forbidden(f"the key {caller.key} does not speak for {caller.owner} (kernos key add --speaks)")
        if caller.pid or named:
            pid = await self._own(caller, named, model if card else "")
            return Seat(caller, pid, engine, talks, "", heads)
        employee = self._employee(caller, model if card else "")
        whose = repr((caller.key, caller.owner, caller.speaks, employee))  # a name may be given to another key
        pid, places = self._threads.take(whose, heads)
        pid = pid or await self._kernel.spawn(employee, caller.owner, speaks=caller.speaks)
        return Seat(caller, pid, engine, talks, whose, heads, places)

    def _employee(self, caller: Caller, named: str) -> str:
        """Whose process may be started for a caller."""
        foreign = (slug for slug, card in self._office.employees.items() if card.foreign)
        employee = named or caller.employee or next(foreign, "")
        if caller.employee and employee != caller.employee:
            raise Forbidden(f"this key is for {caller.employee} only")
        card = self._office.employees.get(employee)
        if card is None or not (card.foreign or named):
            right = 'an employee with program = "foreign", to which the calls of an agent belong (kernos.toml)'
            raise BadInput("model", "no foreign agent for this key", right)
        return employee

    async def _own(self, caller: Caller, named: str, employee: str) -> str:
        """The process that a key is for, or that its caller names, which must be the caller's own and of the employee
        that is asked for."""
        if caller.pid and not employee and named in ("", caller.pid):
            return caller.pid
        status = await process_of(self._office.ledger, caller, named or caller.pid)
        if status.owner != caller.owner:
            raise Forbidden(
                f"process {status.pid} works for {status.owner}: an agent of another owner may not act in it"
            )
        if employee not in ("", status.employee):
            raise BadInput("model", repr(employee), f"{status.employee}, whose process {status.pid} is")
        return status.pid

    async def answer(self, seat: Seat, asked: Asked, draft: Draft) -> Generation:
        """What the process answers. Raises Forbidden if the monitor refuses the call."""
        try:
            generation = await (self._talk if seat.employee else self._call)(seat, asked, draft)
        except BaseException:
            await self._leave(seat, (*seat.places, failed(seat.whose, seat.heads)))
            raise
        places = answered(seat.whose, seat.heads, Message("assistant", action=generation.action))
        await self._leave(seat, places, lives=not seat.employee)
        return generation

    async def _leave(self, seat: Seat, places: tuple[str, ...], lives: bool = False) -> None:
        """Have the process stand where its conversation goes on, unless it has exited: then that takes another one."""
        if seat.whose and (lives or (await self._office.ledger.find(seat.pid)).phase != "exited"):
            self._threads.put(seat.pid, places)

    async def _call(self, seat: Seat, asked: Asked, draft: Draft) -> Generation:
        call = replace(asked.call, engine=seat.engine) if seat.engine else asked.call
        reply = await self._made(seat, call, draft)
        assert isinstance(reply, Generation)
        return reply

    async def embedded(self, seat: Seat, texts: Sequence[str]) -> Embedded:
        """Vectors of texts. Raises Forbidden if the monitor refuses the call, BadInput if the engine makes none."""
        try:
            if seat.employee:
                raise BadInput("model", repr(seat.employee), "an engine that makes vectors")
            reply = await self._made(seat, Embed(tuple(texts), seat.engine))
        finally:
            await self._leave(seat, (failed(seat.whose, seat.heads),))
        assert isinstance(reply, Embedded)
        return reply

    async def _made(self, seat: Seat, call: Generate | Embed, draft: Draft | None = None) -> Reply:
        reply = await self._kernel.call(seat.pid, call, draft, may_speak(seat.caller))
        if isinstance(reply, Pending):
            reply = await self._settled(reply)
        if isinstance(reply, Deny):
            raise Forbidden(f"{reply.reason} (rule {reply.rule})")
        return reply

    async def _settled(self, pending: Pending) -> Reply:
        """What a call that waits for a person comes to."""
        async with self._kernel.events(pending.pid) as queue:
            while isinstance(reply := await self._kernel.outcome(pending.pid, pending.seq), Pending):
                await news(queue)
        return reply

    async def _talk(self, seat: Seat, asked: Asked, draft: Draft) -> Generation:
        last = asked.call.messages[-1]
        if last.role != "user" or last.images or asked.call.own:
            right = f"the owner's words, in text, and no tools: {seat.employee} has its own"
            raise BadInput("messages", f"a last message of {last.role}, images or tools", right)
        return await Talk(self._office, seat.pid, last.text, draft).turn()
