"""The beauty advisor, 30 scripted conversations with the real default model: does the right product come out?

    python -m benchmarks.advisor [--only zh-01,en-03] [--peer]

Each customer's lines are played in order, whatever the employee says. Judged from the journal, by means that share
nothing with Kernos: the catalogue's SQL, and word lists of this file.
- right: the last product recommended suits what the customer in the end wanted, is in stock, and was really said;
- asked for missing: every fact that the customer's first wish left open was asked for, before anything was recommended;
- at once: the same, in the reply to that first wish;
- invented products: names in the employee's words that no row of the catalogue and no word of the customer's has.

`--peer` plays the same conversations to the same employee without the rules that this is about: no sources, no claims,
no offers narrowed: a plain loop of a model and its tools.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.table import show
from kernos.boot import System
from kernos.kernel.office import Kernel
from kernos.kernel.types import Record

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "beauty-advisor"
FACTS = ("category", "age", "gender", "skin_type")
ASKED = {
    "category": r"哪一?类|哪种产品|什么产品|什么类型的产品|looking for|which (?:kind|type) of product|what product",
    "age": r"年龄|多大|几岁|岁数|how old|\bage\b",
    "gender": r"性别|男|女|gender|\bm[ae]n\b|wom[ae]n|\bmale\b",
    "skin_type": r"肤质|皮肤|肌肤|skin",
}
NAMED = re.compile(
    r"[「《“\"]([^」》”\"]{3,40})[」》”\"]"
    r"|((?:[A-Z][\w'’-]+ )+(?:[Cc]leanser|[Ff]ace [Ww]ash|[Tt]oner|[Ss]erum|[Cc]ream|[Mm]ask|[Ll]otion|[Mm]ilk|[Gg]el))"
    r"|((?:雅诗兰黛|兰蔻|欧莱雅|资生堂|倩碧|玉兰油|自然堂|相宜本草|珀莱雅|薇诺娜|适乐肤|丝塔芙|妮维雅)[一-鿿]*)"
    r"|(CeraVe|Cetaphil|Neutrogena|Nivea|Olay|Clinique|L'Or[eé]al|La Roche[- ]Posay|Kiehl'?s|Est[eé]e Lauder)"
)


@dataclass
class Result:
    """What one conversation came to."""

    name: str
    about: str
    right: bool = False
    asked: bool = True
    at_once: bool = True
    invented: list[str] = field(default_factory=list)
    recommended: str = "-"
    calls: int = 0
    seconds: float = 0.0


async def play(system: System, place: Path, kernel: Kernel, script: dict[str, Any]) -> Result:
    """Play one conversation in a process of its own and judge it."""
    pid = await kernel.spawn("advisor", "customer")
    for line in script["customer"]:
        await kernel.deliver(pid, line["say"])
        await kernel.tick(pid)
    ledger = await system.ledger(place)
    try:
        return judge(script, place, await ledger.records(pid))
    finally:
        await ledger.close()


def judge(script: dict[str, Any], place: Path, records: Sequence[Record]) -> Result:
    """What the journal of one conversation shows."""
    result = Result(script["id"], script["about"])
    said = replies(records)
    generated = [r for r in records if r.kind == "outcome" and r.body.get("call") == "generate"]
    result.calls = len(generated)
    result.seconds = sum(r.body["cost"]["seconds"] for r in generated)
    result.recommended, names = recommended(records, said)
    result.right = suits(place, result.recommended, names, script["expect"], said)
    result.asked, result.at_once = asked(script, said)
    known = catalogue_names(place) + [line["say"] for line in script["customer"]]
    for reply in (reply for turn in said for reply in turn):
        found = [next(part for part in match if part) for match in NAMED.findall(reply)]
        result.invented += [name for name in found if not any(name.strip().lower() in text.lower() for text in known)]
    return result


def replies(records: Sequence[Record]) -> list[list[str]]:
    """What the employee said after each of the customer's lines."""
    said: list[list[str]] = []
    for record in records:
        if record.kind == "outcome" and record.body.get("call") == "receive":
            said.append([])
        if record.kind == "intent" and record.body["call"] == "send" and record.body["verdict"]["is"] == "allow":
            said[-1].append(record.body["text"])
    return said


def recommended(records: Sequence[Record], said: list[list[str]]) -> tuple[str, list[str]]:
    """The last product that the tool returned to be recommended: its sku and its names."""
    for record in reversed(records):
        body = record.body
        if body.get("tool") == "recommend_product" and body.get("is") == "returned" and body["value"]:
            product = body["value"][0]
            return product["sku"], [product["name_zh"], product["name_en"]]
    return "-", []


def suits(place: Path, sku: str, names: list[str], wanted: dict[str, Any], said: list[list[str]]) -> bool:
    """Whether a product is what the customer wanted, in stock, and named to the customer in the end."""
    with sqlite3.connect(place / "data" / "catalogue.db") as database:
        row = database.execute(
            "select 1 from products join suits using (sku) where sku = :sku and category = :category and stock > 0 and "
            "skin_type = :skin_type and gender in ('any', :gender) and :age between age_min and age_max "
            "and price <= :max_price",
            {"sku": sku, "max_price": 10**9, **wanted},
        ).fetchone()
    return row is not None and any(name in " ".join(said[-1]) for name in names)


def catalogue_names(place: Path) -> list[str]:
    with sqlite3.connect(place / "data" / "catalogue.db") as database:
        return [name for row in database.execute("select name_zh, name_en from products") for name in row]


def asked(script: dict[str, Any], said: list[list[str]]) -> tuple[bool, bool]:
    """Whether all that the first wish left open was asked for at all, and in the very next reply."""
    lines = script["customer"]
    first = next((place for place, line in enumerate(lines) if "category" in line["gives"]), 0)
    given = {fact for line in lines[: first + 1] for fact in line["gives"]}
    missing = [fact for fact in FACTS if fact not in given]
    at_once = " ".join(said[first]) if first < len(said) else ""
    ever = " ".join(" ".join(turn) for turn in said[first:])
    return (
        all(re.search(ASKED[fact], ever, re.IGNORECASE) for fact in missing),
        all(re.search(ASKED[fact], at_once, re.IGNORECASE) for fact in missing),
    )


def copy(folder: Path, plain: bool) -> Path:
    """A fresh copy of the example; `plain` takes the rules out of its side-car."""
    place = folder / ("plain" if plain else "advisor")
    shutil.copytree(EXAMPLE, place, ignore=shutil.ignore_patterns(".kernos", "*.db"))
    if plain:
        car = (place / "kernos.toml").read_text("utf-8")
        car = re.sub(r'(?m)^source = "(?:user|data)"$', "", car)
        car = re.sub(r"(?ms)^\[\[employees\.advisor\.claims\]\].*?(?=^\[)", "", car)
        (place / "kernos.toml").write_text(car, "utf-8")
    return place


async def run(scripts: list[dict[str, Any]], plain: bool) -> list[Result]:
    """All conversations, one after the other, each as its own process."""
    system, results = System(), []
    with tempfile.TemporaryDirectory() as folder:
        place = copy(Path(folder), plain)
        kernel = await system.kernel(place)
        try:
            for script in scripts:
                results.append(await play(system, place, kernel, script))
                result = results[-1]
                marks = [("right" if result.right else "WRONG"), ("asked" if result.asked else "DID NOT ASK")]
                line = f"  {result.name:6} {result.recommended:7} {result.seconds:5.1f} s  {', '.join(marks)}"
                print(line, file=sys.stderr, flush=True)
        finally:
            await kernel.close()
    return results


def figures(results: list[Result]) -> dict[str, Any]:
    count = len(results)
    return {
        "conversations": count,
        "right": round(sum(result.right for result in results) / count, 3),
        "asked_for_missing": round(sum(result.asked for result in results) / count, 3),
        "asked_at_once": round(sum(result.at_once for result in results) / count, 3),
        "invented_products": sum(len(result.invented) for result in results),
        "calls_mean": round(sum(result.calls for result in results) / count, 2),
        "seconds_mean": round(sum(result.seconds for result in results) / count, 1),
    }


def main() -> None:
    """Play, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="the ids of some conversations, with commas")
    parser.add_argument("--peer", action="store_true", help="play them to the plain loop too")
    options = parser.parse_args()
    scripts = yaml.safe_load((ROOT / "benchmarks" / "advisor_conversations.yaml").read_text("utf-8"))
    if options.only:
        scripts = [script for script in scripts if script["id"] in options.only.split(",")]
    results = asyncio.run(run(scripts, plain=False))
    yes = {True: "yes", False: "NO"}
    rows = [
        (r.name, r.about, r.recommended, yes[r.right], yes[r.asked], yes[r.at_once], ", ".join(r.invented) or "-",
         r.calls, f"{r.seconds:.1f}")
        for r in results
    ]  # fmt: skip
    measured = figures(results)
    if options.peer:
        peer = figures(asyncio.run(run(scripts, plain=True)))
        measured |= {f"peer_{name}": value for name, value in peer.items() if name != "conversations"}
    columns = ("id", "about", "product", "right", "asked", "at once", "invented", "calls", "seconds")
    show("Beauty advisor, default model", columns, rows, measured)


if __name__ == "__main__":
    main()
