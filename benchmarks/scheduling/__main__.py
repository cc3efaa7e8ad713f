"""The load of issue 5 on real llama.cpp (SmolLM2, four slots), three seeds; about 35 minutes on a quiet machine.

    python -m benchmarks.scheduling [--seeds 1 2 3]

Twelve interactive programs of three calls arrive over a minute among four batch programs of twenty that start at once;
each has a context of its own over a shared beginning of 300 tokens.
(a) llama-server: first come, first served, its host cache on; (b) Kernos without history; (c) Kernos with the history
of the runs (b) with other seeds; (d) Kernos knowing every length, with a slot for every program.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from copy import deepcopy
from statistics import fmean

from benchmarks.scheduling import loads
from benchmarks.scheduling.engines import by_itself, through_kernos
from benchmarks.scheduling.runs import Known, Result
from benchmarks.table import show
from kernos.kernel.scheduler.history import History

WAYS = ("a llama-server", "b cold", "c history", "d oracle")


async def measure(seeds: Sequence[int]) -> dict[str, list[Result]]:
    """All runs, by way."""
    histories = {seed: History() for seed in seeds}
    runs: dict[str, dict[int, Result]] = {way: {} for way in WAYS}

    async def with_history(place: int) -> None:
        seed, learnt = seeds[place], histories[seeds[place - 1]]
        runs[WAYS[2]][seed] = _told(f"seed {seed} c", await through_kernos(loads.mixed(seed), deepcopy(learnt)))

    for place, seed in enumerate(seeds):
        load = loads.mixed(seed)
        runs[WAYS[0]][seed] = _told(f"seed {seed} a", await by_itself(load))
        runs[WAYS[1]][seed] = _told(f"seed {seed} b", await through_kernos(load, histories[seed]))
        known = Known(load, 100.0, 55.0)
        runs[WAYS[3]][seed] = _told(f"seed {seed} d", await through_kernos(load, known, len(load)))
        if place:
            await with_history(place)
    await with_history(0)
    return {way: [results[seed] for seed in seeds] for way, results in runs.items()}


def _told(name: str, result: Result) -> Result:
    means = ", ".join(f"{kind or 'all'} {result.mean(kind):.1f}" for kind in ("", "i", "b"))
    tokens = f"{result.prompt_tokens} prompt tokens, {result.rate:.1f} tokens/s"
    print(f"{name}: {result.seconds:.0f} s; mean {means}; {tokens}", flush=True)
    return result


def _ratio(above: Sequence[Result], below: Sequence[Result], kind: str = "") -> float:
    return round(fmean(one.mean(kind) / other.mean(kind) for one, other in zip(above, below, strict=True)), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    runs = asyncio.run(measure(parser.parse_args().seeds))
    a, b, c, d = (runs[way] for way in WAYS)
    rows = [
        [way, f"{place + 1}", kind or "all", *result.row(kind), result.prompt_tokens,
         f"{result.generated / result.seconds:.0f}"]
        for way, results in runs.items() for place, result in enumerate(results) for kind in ("", "i", "b")
    ]  # fmt: skip
    figures = {
        "interactive": _ratio(a, c, "i"), "interactive_cold": _ratio(a, b, "i"),
        "all": _ratio(a, c), "all_cold": _ratio(a, b), "batch": _ratio(c, a, "b"),
        "throughput": round(fmean(y.rate / x.rate for x, y in zip(a, c, strict=True)), 2),
        "prompt_tokens": round(fmean(each.prompt_tokens / each.least for each in c), 3),
        "to_oracle": _ratio(c, d),
    }  # fmt: skip
    columns = ("way", "seed", "kind", "mean s", "p50", "p99", "first token", "its p99", "prompt tokens", "tokens/s")
    show("Twelve interactive programs among four batch programs", columns, rows, figures)


if __name__ == "__main__":
    main()
