"""Loads that the scheduler has not been made for, on real llama.cpp (SmolLM2, four slots); about 25 minutes.

    python -m benchmarks.scheduling.fair [--loads bursts liars code conversations] [--seed 1]

`rehearsal` has the loads. Kernos without history runs one seed and learns from it, and with that history runs the next;
llama-server by itself runs both. `worst` is the greatest ratio of a program's time through Kernos to its time there.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from benchmarks.scheduling.engines import by_itself, through_kernos
from benchmarks.scheduling.rehearsal import LOADS, worst
from benchmarks.table import show
from kernos.kernel.scheduler.history import History

OTHERS = [name for name in LOADS if name != "mixed"]


async def measure(names: Sequence[str], seed: int) -> None:
    rows, figures = list[Sequence[object]](), dict[str, float]()
    for name in names:
        history = History()
        for what, number in (("cold", seed), ("history", seed + 1)):
            load = LOADS[name](number)
            theirs, ours = await by_itself(load), await through_kernos(load, history)
            ratio, least = theirs.mean() / ours.mean(), worst(theirs, ours)
            rows.append([name, what, f"{theirs.mean():.1f}", f"{ours.mean():.1f}", f"{ratio:.2f}", f"{least:.2f}"])
            print(*rows[-1], flush=True)
            figures |= {f"{name}_{what}": round(ratio, 2)}
            figures["worst"] = round(max(figures.get("worst", 0.0), least), 2)
    columns = ("load", "Kernos", "by itself s", "Kernos s", "times sooner", "worst")
    show("Bursts, recorded requests, and a load whose classes lie", columns, rows, figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loads", nargs="+", choices=OTHERS, default=OTHERS)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    asyncio.run(measure(given.loads, given.seed))


if __name__ == "__main__":
    main()
