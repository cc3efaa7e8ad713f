"""A worker in a process of its own, for `test_takeover` to kill and to freeze: `python -m ... URL FOLDER NAME AT_ONCE`.

It says what it does, a line for each thing: that it is ready, that an effect begins or ends, that something is wrong.
Effects and who had them are appended to the file `effects` in the folder, too, which all workers share. An effect of
`once` or `again` lasts until its name is written to the worker's input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from pathlib import Path

from kernos.drivers.clock.system import SystemClock
from kernos.drivers.dispatch.procrastinate import ProcrastinateDispatcher
from kernos.drivers.engine.scripted import ScriptedEngine
from kernos.drivers.policy.cedar import CedarPolicy
from kernos.drivers.store.sql import SqlStore
from kernos.drivers.tool.python import PythonTool
from kernos.kernel.dispatch import Kernel
from kernos.kernel.ports import Tool
from kernos.kernel.types import Json
from kernos.userland.lib import Process
from tests.support import CLERK, ENGINE, by_name, runs


async def labour(process: Process) -> Json:
    """Do what the owner says: so many effects of a tool, one after the other."""
    task = json.loads(await process.receive())
    for step in range(task["steps"]):
        await process.invoke(task["tool"], name=task["name"], step=step)
    return "done"


class Effects:
    """The tools of a worker. Those of the test itself are never called."""

    def __init__(self, folder: Path, worker: str) -> None:
        self.let_go: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

        def log(what: str, name: str, step: int) -> None:
            with (folder / "effects").open("a") as file:
                file.write(f"{worker} {what} {name} {step}\n")
            print(what, name, step, flush=True)

        async def once(name: str, step: int) -> str:
            """Do something that must not be done twice."""
            log("begin", name, step)
            await self.let_go[name].wait()
            log("end", name, step)
            return f"{name} {step} by {worker}"

        async def again(name: str, step: int) -> str:
            """Do something that may be done twice."""
            return await once(name, step)

        async def short(name: str, step: int) -> str:
            """Do something that takes 50 ms."""
            log("begin", name, step)
            await asyncio.sleep(0.05)
            log("end", name, step)
            return ""

        self.tools: list[Tool] = [
            PythonTool(once, ["writes"]), PythonTool(again, ["writes"], idempotent=True), PythonTool(short, ["writes"]),
        ]  # fmt: skip

    async def listen(self) -> None:
        """Let effects go whose names come in."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async for line in reader:
            self.let_go[line.decode().strip()].set()


def kernel(store: SqlStore, effects: Effects) -> Kernel:
    """A kernel on the store that all workers share; the test has one too, without a dispatcher."""
    tools = effects.tools
    station, engines = runs(labour, tools), {ENGINE: ScriptedEngine(())}
    return Kernel(store, SystemClock(), {CLERK: station}, engines, by_name(tools), policy=CedarPolicy())


async def serve(url: str, folder: Path, worker: str, at_once: int) -> None:
    def troubled(pid: str, error: Exception) -> None:
        print("trouble", error, flush=True)

    effects = Effects(folder, worker)
    mine = kernel(SqlStore.open(url), effects)
    dispatcher = ProcrastinateDispatcher(url, SystemClock(), troubled, at_once)
    print("ready", flush=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(effects.listen())
        group.create_task(dispatcher.serve(mine))


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
