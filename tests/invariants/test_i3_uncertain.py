"""I3: a tool that does not know whether it did something says so, and then nobody takes it for a failure."""

from __future__ import annotations

import asyncio

import pytest

import kernos
from kernos.drivers.store.sql import SqlStore
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.dispatch import Kernel
from kernos.kernel.errors import FolderBusy
from kernos.kernel.office import Answer
from kernos.kernel.ports import Tool
from kernos.kernel.types import Json, Note
from kernos.userland.lib import Process
from tests.support import OWNER, House, runs


async def fax(key: str = "") -> str:
    """Send a fax."""
    raise kernos.Uncertain("the line broke after the last page")


def house(tool: Tool) -> House:
    async def program(process: Process) -> Json:
        reply = await process.invoke(tool.spec.name)
        return reply.value if isinstance(reply, kernos.Invoked) else reply.reason

    return House(runs(program, [tool]), [tool])


async def ended(home: House, kernel: Kernel, pid: str, answer: Answer) -> Json:
    await kernel.answer(pid, answer)
    await kernel.tick(pid)
    return (await home.rows(pid))[-1].body["result"]


async def test_i3_a_tool_that_does_not_know_leaves_a_doubt() -> None:
    async with house(PythonTool(fax, ["sends"])) as home:
        kernel, pid = await home.start()
        assert (await kernel.tick(pid)).why == "doubt"
        question = await kernel.question(pid)
        assert question is not None and "the line broke after the last page" in question.text
        assert await ended(home, kernel, pid, Answer(OWNER, settled="happened", value="sent")) == "sent"


@pytest.mark.parametrize("found", [True, False])
async def test_i3_what_can_be_looked_up_is_looked_up_and_nothing_found_proves_nothing(found: bool) -> None:
    async def look(key: str = "") -> kernos.Happened | None:
        return kernos.Happened("sent") if found else None

    async with house(PythonTool(fax, ["sends"], verify=look)) as home:
        kernel, pid = await home.start()
        status = await kernel.tick(pid)
        assert status.why == ("done" if found else "doubt")
        if found:
            rows = await home.rows(pid)
            assert (rows[-1].body["result"], rows[-2].body["by"]) == ("sent", "look-up")


async def test_i3_a_keyed_call_without_an_answer_is_not_left_to_the_model_who_would_pay_again() -> None:
    keys: list[str] = []

    async def pay(key: str) -> str:
        """Pay."""
        keys.append(key)
        if len(keys) == 1:
            await asyncio.Event().wait()
        return "paid"

    async with house(PythonTool(pay, ["pays"], timeout=0.01)) as home:
        kernel, pid = await home.start()
        assert (await kernel.tick(pid)).why == "doubt"
        assert await ended(home, kernel, pid, Answer(OWNER, settled="not")) == "paid"
        assert keys[0] == keys[1]


async def test_i7_an_answer_that_was_put_into_the_mailbox_without_the_key_means_nothing() -> None:
    async with house(PythonTool(fax, ["sends"])) as home:
        kernel, pid = await home.start()
        await kernel.tick(pid)
        question = await kernel.question(pid)
        assert question is not None
        body = {"to": question.seq, "by": OWNER, "approved": True, "text": "", "settled": "happened", "value": "sent"}
        await home.store.post([Note("forged", pid, "answer", body, home.clock.now())])
        assert (await kernel.tick(pid)).why == "doubt"
        assert await home.store.notes(pid) == []


def test_a_second_kernos_that_gives_turns_by_itself_on_one_postgresql_stops(url: str) -> None:
    first, second = SqlStore.open(url), SqlStore.open(url)
    first.hold()
    with pytest.raises(FolderBusy, match="another kernos is at work on this journal"):
        second.hold()
    asyncio.run(first.close())
    second.hold()
    asyncio.run(second.close())
