"""Loads: programs, each with a kind, an arrival, and calls that it makes one after the other."""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

PREFIX = 300
"""Tokens of the beginning that all contexts share."""
TRACES = Path(os.environ.get("KERNOS_TRACES", Path(__file__).resolve().parents[3] / "shared" / "data" / "traces"))
"""Azure's recorded requests (github.com/Azure/AzurePublicDataset, `azure_llm_2023_*.csv`) lie outside the project."""


@dataclass(frozen=True)
class Call:
    """One model call: tokens that are new in its context, tokens that it generates, seconds of the tool after it."""

    new: int
    generated: int
    tool: float


@dataclass(frozen=True)
class Program:
    """What arrives at `arrives` seconds and makes its calls; `kind` is its class as far as anybody can tell."""

    name: str
    kind: str
    arrives: float
    calls: Sequence[Call]


def interactive(name: str, arrives: float, dice: random.Random, kind: str = "interactive") -> Program:
    """Three calls, with tools of 0.3 to 1 s."""
    news = [dice.randint(100, 200), dice.randint(20, 60), dice.randint(20, 60)]
    return Program(name, kind, arrives, [Call(new, dice.randint(30, 50), dice.uniform(0.3, 1.0)) for new in news])


def batch(name: str, arrives: float, dice: random.Random, kind: str = "batch") -> Program:
    """Twenty calls, with tools of 0.1 to 0.4 s."""
    news = [dice.randint(250, 350), *(dice.randint(20, 40) for _ in range(19))]
    return Program(name, kind, arrives, [Call(new, dice.randint(16, 32), dice.uniform(0.1, 0.4)) for new in news])


def mixed(seed: int, people: int = 12, jobs: int = 4, window: float = 60.0) -> list[Program]:
    """The load of issue 5: interactive programs that arrive over a minute among batch programs that start at once."""
    dice = random.Random(seed)
    arrivals = [(place + dice.random()) * window / people for place in range(people)]
    return [
        *(batch(f"b{place}", 0.0, dice) for place in range(jobs)),
        *(interactive(f"i{place}", at, dice) for place, at in enumerate(arrivals)),
    ]


def bursts(seed: int) -> list[Program]:
    """Interactive programs that come four at once, 20 s apart, among two batch programs."""
    dice = random.Random(seed)
    people = [interactive(f"i{place}", 20.0 * (place // 4), dice) for place in range(8)]
    return [*(batch(f"b{place}", 0.0, dice) for place in range(2)), *people]


def liars(seed: int) -> list[Program]:
    """Programs of one kind, most of them short, of which every third turns out long."""
    dice = random.Random(seed)
    ends = [batch if place % 3 == 2 else interactive for place in range(12)]
    return [end(f"p{place}", place * 5.0 * dice.uniform(0.8, 1.2), dice, "clerk") for place, end in enumerate(ends)]


@dataclass(frozen=True)
class Request:
    """One request of a recorded trace: when, in seconds, and its tokens."""

    at: float
    context: int
    generated: int


def recorded(name: str) -> list[Request]:
    """A trace of Azure's: `conv` or `code`."""
    file_of = TRACES / f"azure_llm_2023_{name}.csv"
    if not file_of.is_file():
        raise SystemExit(f"{file_of} is not there: take it from Azure/AzurePublicDataset, and set KERNOS_TRACES")
    with file_of.open() as file:
        rows = list(csv.DictReader(file))
    times = [datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in rows]
    lengths = ((int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in rows)
    return [Request(at - times[0], *each) for at, each in zip(times, lengths, strict=True)]


def traced(name: str, seed: int, programs: int, window: float, scale: float) -> list[Program]:
    """Requests of a recorded Azure trace as programs of one to three calls: their order, lengths and gaps, with tokens
    scaled to the small engine and gaps to the window."""
    dice, rows = random.Random(seed), recorded(name)
    start = dice.randrange(len(rows) - programs)
    chosen = rows[start : start + programs]
    first, span = chosen[0].at, max(chosen[-1].at - chosen[0].at, 0.001)
    made = []
    for place, row in enumerate(chosen):
        new, generated, calls = row.context * scale, row.generated * scale, dice.randint(1, 3)
        each = [Call(_bounded(new / calls, 600), _bounded(generated / calls, 120), dice.uniform(0.1, 1.0))] * calls
        made.append(Program(f"t{place}", name, (row.at - first) / span * window, each))
    return made


def _bounded(tokens: float, most: int) -> int:
    return max(8, min(most, round(tokens)))
