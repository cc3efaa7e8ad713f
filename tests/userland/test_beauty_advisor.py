"""The shipped example: whatever it recommends, it may say."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from kernos.boot import System

OWN_ENGINE = '[engines.local]\ndriver = "scripted"\nscript = "script.json"\n'


async def test_every_product_in_stock_can_be_recommended_with_its_price_in_both_languages(tmp_path: Path) -> None:
    place = tmp_path / "advisor"
    shutil.copytree(System().template("beauty-advisor"), place, ignore=shutil.ignore_patterns(".kernos", "*.db"))
    with sqlite3.connect(":memory:") as database:
        database.executescript((place / "data" / "catalogue.sql").read_text("utf-8"))
        skus = [sku for (sku,) in database.execute("select sku from products where stock > 0 order by sku")]
    car = (place / "kernos.toml").read_text("utf-8")
    before, after = car.split("[engines.local]")[0], car[car.index("[data.catalogue]") :]
    rules = after.replace('source = "data"', 'source = "any"')
    (place / "kernos.toml").write_text(before + OWN_ENGINE + rules, "utf-8")
    actions = ", ".join(f'{{"name": "recommend_product", "arguments": {{"sku": "{sku}"}}}}' for sku in skus)
    (place / "script.json").write_text(f"[{actions}]", "utf-8")

    kernel = await System().kernel(place)
    pid = await kernel.spawn("advisor", "customer")
    for number, _ in enumerate(skus):
        await kernel.deliver(pid, "请推荐" if number % 2 else "please recommend one")
        await kernel.tick(pid)
    await kernel.close()

    ledger = await System().ledger(place)
    sent = [row.body for row in await ledger.records(pid) if row.kind == "intent" and row.body["call"] == "send"]
    await ledger.close()
    assert len(skus) >= 60 and len(sent) == len(skus)
    assert [body["text"] for body in sent if body["verdict"]["is"] != "allow"] == []
    assert all("现在有货" in body["text"] or "in stock" in body["text"] for body in sent)
