"""Agents of other frameworks, unmodified, each with its own tool: they run on Kernos by its address and a key alone.

Their pins contradict each other, so each has an environment of its own, made when it is first needed and kept. What
they print last is the answer.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from benchmarks.peers import installed
from kernos.drivers.engine.scripted import say
from kernos.drivers.store.sql import SqlStore
from kernos.kernel.ports import Prompt
from kernos.kernel.types import Action
from kernos.surfaces.openai import surface
from tests.support import CLERK, House, idle, runs
from tests.surfaces.offices import foreign, served

PROGRAMS = Path(__file__).parent / "frameworks"
PACKAGES = {
    "openai_agents": ["openai-agents==0.24.0"],
    "langgraph": ["langgraph==1.2.22", "langchain-openai==1.7.3"],
    "pydantic_ai": ["pydantic-ai-slim[openai]==2.68.0"],
    "smolagents": ["smolagents[openai]==1.26.0"],
}


def adds(prompt: Prompt) -> Action:
    """A model that has the tool add two numbers, and then tells the sum; by a tool, if it has one for that."""
    last = prompt.messages[-1].text
    if "What is 2 and 3?" in last:
        return Action("add", {"a": 2, "b": 3})
    answer = f"It is {re.findall('[0-9]+', last)[-1]}."
    return Action("final_answer", {"answer": answer}) if "final_answer" in prompt.offers else say(answer)


@pytest.mark.index
@pytest.mark.parametrize("framework", PACKAGES)
async def test_an_agent_of_another_framework_does_its_task_in_one_process(framework: str, tmp_path: Path) -> None:
    python = await asyncio.to_thread(installed, "tests", PACKAGES[framework])
    store = SqlStore.open(tmp_path / "kernos.db")
    async with House(foreign(runs(idle)), script=adds, store=store) as house, served(house, surface) as site:
        known = {"OPENAI_BASE_URL": f"{site.url}/v1", "OPENAI_API_KEY": await site.key("agent", employee=CLERK)}
        program = await asyncio.create_subprocess_exec(
            python, "-P", PROGRAMS / f"{framework}.py", env={**os.environ, **known}, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await program.communicate()
        [status] = await site.office.ledger.statuses()
    assert printed.decode().splitlines()[-1] == "It is 5."
    assert status.employee == CLERK and status.calls == 2
