"""Loads that the scheduler has not been made for, on a simulated llama.cpp, over the code that ships; ten seconds.

    python -m benchmarks.scheduling.rehearsal [--seeds 1 2]

The load of issue 5; bursts; programs of one kind of which every third turns out long; Azure's recorded requests, made
into programs. Mean seconds from arrival to end: the server by itself, Kernos without history, with the history of a run
with another seed, and knowing every length. `worst` is the program that fares worst against the server by itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from benchmarks.scheduling import loads, virtual
from benchmarks.scheduling.loads import Call, Program
from benchmarks.scheduling.runs import Kernos, Known, Result, run
from benchmarks.scheduling.scale import Virtual
from benchmarks.scheduling.simulated import PREFILL, Queue, SimulatedSlots
from benchmarks.table import show
from kernos.kernel.scheduler.history import History
from kernos.kernel.types import Message

DECODE = 95.0
"""Tokens a second of one call, about."""
LOADS: Mapping[str, Callable[[int], list[Program]]] = {
    "mixed": loads.mixed,
    "bursts": loads.bursts,
    "liars": loads.liars,
    "code": partial(loads.traced, "code", programs=24, window=60.0, scale=0.1),
    "conversations": partial(loads.traced, "conv", programs=24, window=60.0, scale=0.2),
}


def by_itself(load: Sequence[Program]) -> Result:
    """The server's own queue."""

    async def main() -> Result:
        queue, met = Queue(), set[str]()

        async def ask(program: Program, messages: Sequence[Message], call: Call, began: Callable[[], None]) -> str:
            first = program.name not in met
            met.add(program.name)
            await queue.call(call.new, call.generated, first, began)
            return "said"

        return await run(load, ask)

    done: Result = virtual.run(main())
    return done


def through_kernos(load: Sequence[Program], history: History, slots: int = 4) -> Result:
    """The kernel's scheduler; what the run teaches stays in the history."""

    async def main() -> Result:
        kernos = Kernos(SimulatedSlots(slots), history, Virtual())
        return await run(load, kernos.ask, kernos.over)

    done: Result = virtual.run(main())
    return done


def worst(theirs: Result, *ours: Result) -> float:
    """The greatest ratio of a program's time here to its time there."""
    return max(each.completion[name] / seconds for each in ours for name, seconds in theirs.completion.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    rows, figures = list[Sequence[object]](), dict[str, float]()
    for name, make in LOADS.items():
        for seed in parser.parse_args().seeds:
            load, learnt = make(seed), History()
            through_kernos(make(seed + 10), learnt)
            a, b, c = by_itself(load), through_kernos(load, History()), through_kernos(load, learnt)
            d = through_kernos(load, Known(load, PREFILL, DECODE), len(load))
            means = [f"{each.mean():.1f}" for each in (a, b, c, d)]
            rows.append([name, seed, *means, f"{worst(a, b, c):.2f}"])
            figures[f"{name}_{seed}"] = round(a.mean() / c.mean(), 2)
            figures["worst"] = round(max(figures.get("worst", 0.0), worst(a, b, c)), 2)
    columns = ("load", "seed", "by itself s", "cold s", "history s", "oracle s", "worst")
    show("Simulated loads on one engine", columns, rows, figures)


if __name__ == "__main__":
    main()
