"""Tools that are a query: the database is only ever read, and its records are put into the declared words."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from kernos.drivers.tool.sql import RECORDS, SqliteData, SqlTool
from kernos.kernel.errors import BadInput, NotFound, ToolError
from kernos.kernel.types import Json, ToolSpec, canonical

SEED = """
create table products (sku text primary key, name text, price real, stock integer);
insert into products values ('a1', 'Foam 泡沫', 89.0, 3), ('a2', 'Milk', 120.5, 0), ('a3', 'Gel', 45.0, 7);
"""
CHEAP = "select sku, name, price from products where price <= coalesce(:most, price) order by price"


@pytest.fixture
def data(tmp_path: Path) -> SqliteData:
    (tmp_path / "shop.sql").write_text(SEED, "utf-8")
    made = SqliteData("kernos.toml: data.shop", tmp_path / "shop.db", tmp_path / "shop.sql")
    made.prepare()
    return made


def query(
    data: SqliteData,
    sql: str,
    say: Mapping[str, str] | None = None,
    empty: Mapping[str, str] | None = None,
    **types: str,
) -> SqlTool:
    form = {"type": "object", "properties": {name: {"type": kind} for name, kind in types.items()}}
    return SqlTool(ToolSpec("find", "finds", form), data, sql, say or {}, empty or {})


async def records(tool: SqlTool, **arguments: Json) -> Json:
    return (await tool.call(arguments, "k")).value


# The database


def test_the_seed_makes_the_database_and_leaves_nothing_else(data: SqliteData, tmp_path: Path) -> None:
    assert sorted(file.name for file in tmp_path.iterdir()) == ["shop.db", "shop.sql"]
    assert data.query("select count(*) as n from products", {}) == [{"n": 3}]


def test_a_database_that_is_there_is_not_made_again(data: SqliteData, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database, database:
        database.execute("delete from products")
    data.prepare()
    assert data.query("select * from products", {}) == []


def test_a_broken_seed_is_bad_input_and_leaves_no_half_made_database(tmp_path: Path) -> None:
    (tmp_path / "shop.sql").write_text(SEED + "insert into nowhere values (1);", "utf-8")
    broken = SqliteData("kernos.toml: data.shop", tmp_path / "shop.db", tmp_path / "shop.sql")
    with pytest.raises(BadInput, match=r"^kernos.toml: data.shop.seed: .*no such table: nowhere"):
        broken.prepare()
    assert [file.name for file in tmp_path.iterdir()] == ["shop.sql"]


def test_a_seed_that_is_no_text_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "shop.sql").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match=r"data.shop.seed"):
        SqliteData("data.shop", tmp_path / "shop.db", tmp_path / "shop.sql").prepare()


@pytest.mark.parametrize(("seed", "field"), [(None, "path"), ("none.sql", "seed")])
def test_a_missing_file_is_named_with_its_field(tmp_path: Path, seed: str | None, field: str) -> None:
    missing = SqliteData("kernos.toml: data.shop", tmp_path / "shop.db", tmp_path / seed if seed else None)
    with pytest.raises(NotFound, match=rf"^kernos.toml: data.shop.{field}: found no file {tmp_path}"):
        missing.prepare()


@pytest.mark.parametrize(
    "writing",
    [
        "insert into products values ('a4', 'Oil', 1.0, 1)",
        "update products set stock = 0",
        "delete from products",
        "drop table products",
        "insert into products values ('a4', 'Oil', 1.0, 1) returning *",
    ],
)
async def test_a_query_that_writes_is_refused_and_changes_nothing(data: SqliteData, writing: str) -> None:
    before = data.query("select * from products", {})
    with pytest.raises(ToolError, match="readonly|not authorized"):
        await query(data, writing).call({}, "k")
    assert data.query("select * from products", {}) == before


async def test_a_query_cannot_make_another_file(data: SqliteData, tmp_path: Path) -> None:
    with pytest.raises(ToolError):
        await query(data, f"attach '{tmp_path}/other.db' as other").call({}, "k")
    assert not (tmp_path / "other.db").exists()


async def test_virtual_tables_can_be_read(data: SqliteData, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database, database:
        database.execute("create virtual table words using fts5(said)")
        database.execute("insert into words values ('gentle foam')")
    assert await records(query(data, "select said from words where words match 'foam'")) == [{"said": "gentle foam"}]
    assert await records(query(data, "select value from json_each('[1, 2]')")) == [{"value": 1}, {"value": 2}]


# Rehearsing


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("select colour from products", "no such column: colour"),
        ("selekt 1", "syntax error"),
        ("select 1; select 2", "one statement"),
        ("insert into products values ('a4', 'Oil', 1.0, 1)", "readonly|not authorized"),
    ],
)
def test_a_query_that_the_database_does_not_take_is_bad_input_before_it_is_called(
    data: SqliteData, sql: str, message: str
) -> None:
    with pytest.raises(BadInput, match=f"^kernos.toml: tools.find.query: .*({message})"):
        query(data, sql).rehearse("kernos.toml: tools.find")


def test_a_query_that_the_database_takes_is_rehearsed_without_its_arguments(data: SqliteData) -> None:
    query(data, CHEAP, most="number").rehearse("kernos.toml: tools.find")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The {nmae}.", "{nmae}; expected {name}"),
        ("{price:{wdith}}", "{wdith}; expected one of sku, name, price"),
        ("{name.first}", "{name.first}; expected"),
        ("{}", "{0}; expected one of"),
        ("{name", "'{name': "),
    ],
)
def test_a_text_to_say_that_no_record_can_fill_is_bad_input_before_the_query_is_called(
    data: SqliteData, text: str, found: str
) -> None:
    with pytest.raises(BadInput) as raised:
        query(data, CHEAP, {"en": "{name}", "zh": text}, most="number").rehearse("kernos.toml: tools.find")
    assert str(raised.value).startswith(f"kernos.toml: tools.find.say.zh: found {found}")


@pytest.mark.parametrize(
    "sql",
    [
        f"{CHEAP};\n",
        f"{CHEAP} -- the cheapest first",
        "select name from products limit :most",
        "with cheap as (select * from products) select p.name, q.sku from cheap p, cheap q",
        "select sku from products where 0 union select name as name from products",
        "select printf('%d', :most) as name",
    ],
)
def test_columns_are_known_of_any_query(data: SqliteData, sql: str) -> None:
    column = "sku" if "union" in sql else "name"
    query(data, sql, {"en": f"{{{column}}}"}, most="number").rehearse("kernos.toml: tools.find")


# Calling


async def test_records_come_by_column_in_the_order_of_the_query(data: SqliteData) -> None:
    assert await records(query(data, CHEAP, most="number"), most=100) == [
        {"sku": "a3", "name": "Gel", "price": 45.0},
        {"sku": "a1", "name": "Foam 泡沫", "price": 89.0},
    ]


@pytest.mark.parametrize("arguments", [{}, {"most": None}])
async def test_a_parameter_that_is_left_out_is_null(data: SqliteData, arguments: dict[str, Json]) -> None:
    assert len(await records(query(data, CHEAP, most="number"), **arguments)) == 3


async def test_an_argument_is_a_value_and_never_a_part_of_the_query(data: SqliteData) -> None:
    tool = query(data, "select sku from products where sku = :sku", sku="string")
    assert await records(tool, sku="a1' or '1' = '1") == []
    assert await records(tool, sku="a1") == [{"sku": "a1"}]


async def test_no_more_records_are_read_than_a_model_can_use(data: SqliteData) -> None:
    many = "with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"
    assert [record["i"] for record in await records(query(data, many))] == list(range(1, RECORDS + 1))


async def test_the_person_hears_the_first_record_in_the_declared_words(data: SqliteData) -> None:
    say = {"en": "The {name} costs {price:.2f}.", "zh": "「{name}」{price:g} 元"}
    result = await query(data, CHEAP, say, {"en": "None."}, most="number").call({"most": 50}, "k")
    assert result.say == {"en": "The Gel costs 45.00.", "zh": "「Gel」45 元"}


@pytest.mark.parametrize("field", ["{note}", "{note:.2f}", "{note!r}", "{note!s:>4}"])
async def test_the_person_hears_nothing_where_there_is_nothing(data: SqliteData, field: str) -> None:
    tool = query(data, "select name, null as note from products", {"en": f"{{name}}: {field}."})
    tool.rehearse("kernos.toml: tools.find")
    assert (await tool.call({}, "k")).say == {"en": "Foam 泡沫: ."}


async def test_the_person_hears_that_there_is_none(data: SqliteData) -> None:
    result = await query(data, CHEAP, {"en": "The {name}."}, {"en": "None.", "zh": "没有"}, most="number").call(
        {"most": 1}, "k"
    )
    assert (result.value, result.say) == ([], {"en": "None.", "zh": "没有"})


@pytest.mark.parametrize("text", ["{colour}", "{}", "{name", "{name:d}", "{name.first}", "{name[first]}", "{price[0]}"])
async def test_a_text_that_cannot_be_filled_is_a_failure_of_the_tool(data: SqliteData, text: str) -> None:
    with pytest.raises(ToolError, match="the text to say"):
        await query(data, CHEAP, {"en": text}, most="number").call({}, "k")


@pytest.mark.parametrize(
    ("kind", "value"),
    [("integer", 10**30), ("string", "\ud83d"), ("string", "a\0b"), ("array", [1]), ("object", {"a": 1})],
)
async def test_no_argument_of_the_declared_type_breaks_more_than_the_call(
    data: SqliteData, kind: str, value: Json
) -> None:
    tool = query(data, "select :what as what", what=kind)
    assert tool.problem({"what": value}) is None
    try:
        assert await records(tool, what=value) == [{"what": value}]
    except ToolError as error:
        assert str(error).startswith("the database answered: ")


@pytest.mark.parametrize("expression", ["x'ff00'", "9e999", "-9e999", "cast(x'ff' as text)"])
async def test_a_result_can_be_journaled_or_the_call_has_failed(data: SqliteData, expression: str) -> None:
    try:
        canonical(await records(query(data, f"select {expression} as what")))
    except ToolError as error:
        assert str(error)


async def test_a_database_that_has_gone_is_a_failure_of_the_tool(data: SqliteData, tmp_path: Path) -> None:
    (tmp_path / "shop.db").unlink()
    with pytest.raises(ToolError, match="unable to open"):
        await query(data, CHEAP, most="number").call({}, "k")
    assert not (tmp_path / "shop.db").exists()
