"""A worker in a process of its own, for tests to kill and to freeze: `python -m tests.faults.worker_child URL FOLDER NAME AT_ONCE`.

It prints "ready", and a line for each effect that begins or ends. The same lines, with who and when, are appended to
`effects` in the folder, which all workers share. An effect lasts until there is a file of its name in the folder.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from kernos.drivers.clock.system import SystemClock
from kernos.drivers.dispatch.procrastinate import ProcrastinateDispatcher
from kernos.drivers.engine.scripted import ScriptedEngine
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


def tools(folder: Path, worker: str) -> list[Tool]:
    def log(what: str, name: str, step: int) -> None:
        with (folder / "effects").open("a") as file:
            file.write(f"{time.monotonic()} {worker} {what} {name} {step}\n")
        print(what, name, step, flush=True)

    async def once(name: str, step: int) -> str:
        """Do something that must not be done twice."""
        log("begin", name, step)
        while not (folder / name).exists():
            await asyncio.sleep(0.01)
        log("end", name, step)
        return f"{name} {step} by {worker}"

    async def again(name: str, step: int) -> str:
        """Do something that may be done twice."""
        return await once(name, step)

    return [PythonTool(once, ["writes"]), PythonTool(again, ["writes"], idempotent=True)]


def kernel(url: str, folder: Path, worker: str) -> Kernel:
    """A kernel on the database that all workers share; the test has one too, without a dispatcher."""
    all_of_them = tools(folder, worker)
    station = runs(labour, all_of_them)
    engines = {ENGINE: ScriptedEngine(())}
    return Kernel(SqlStore.open(url), SystemClock(), {CLERK: station}, engines, by_name(all_of_them))


async def serve(url: str, folder: Path, worker: str, at_once: int) -> None:
    dispatcher = ProcrastinateDispatcher(
        url, SystemClock(), lambda pid, error: print("trouble", pid, error, flush=True)
    )
    print("ready", os.getpid(), flush=True)
    await dispatcher.serve(kernel(url, folder, worker))


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
