"""How a benchmark prints: a table, then one line of JSON with its figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import quantiles
from typing import Any


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], figures: Mapping[str, Any]) -> None:
    """Print both; the JSON line comes last."""
    texts = [[str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(_width(row[place]) for row in texts) for place in range(len(columns))]
    print(f"\n{title}\n")
    for number, row in enumerate(texts):
        print("  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))
    print()
    print(json.dumps(dict(figures), ensure_ascii=False))


def _width(text: str) -> int:
    return sum(2 if ord(char) > 0x2E7F else 1 for char in text)


def percentile(values: Sequence[float], percent: int) -> float:
    """The value below which this percentage of them lies."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]
