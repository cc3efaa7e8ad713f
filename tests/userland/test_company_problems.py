"""What is wrong in a company: one problem a fault, with its place, what stands there, and what would be right."""

from __future__ import annotations

import inspect

import pytest

from kernos.kernel.errors import BadInput
from kernos.userland.company import sidecar
from kernos.userland.company.folder import read, read_single
from kernos.userland.company.problems import Problem, nearest

AGENT = "---\nname: Ada\n---\nYou help."
SKILL = "---\nname: digest\ndescription: Digest it.\n---\nDo it."
CAR = """
[engines.local]
driver = "embedded"
context = 4096

[data.shop]
path = "shop.db"

[vocabulary.city]
oslo = ["Oslo"]

[tools.find]
driver = "sql"
data = "shop"
description = "finds"
query = "select :city, :age, '12:30', x::text from y"

[tools.find.parameters.city]
vocabulary = "city"
source = "user"

[tools.find.parameters.age]
type = "integer"
minimum = 1

[tools.pay]
driver = "python"
function = "shop.py:pay"

[[employees.ada.claims]]
what = "a price"
pattern = "[0-9]+ yuan"

[employees.ada]
engine = "local"
tools = ["find", "pay"]
ask = ["pay"]
limits = { tokens = 100, seconds = 5 }

[networks]
allow = ["10.0.0.0/8"]
"""
FILES = {"agents/ada/AGENTS.md": AGENT, "skills/digest/SKILL.md": SKILL, "kernos.toml": CAR}


def only_problem(**files: str) -> Problem:
    (problem,) = read(FILES | files).problems
    return problem


def car(old: str, new: str) -> Problem:
    """The one problem of the side-car with one change in it."""
    assert CAR.count(old) == 1, f"the side-car has {old!r} {CAR.count(old)} times"
    return only_problem(**{"kernos.toml": CAR.replace(old, new)})


def test_the_company_of_these_tests_has_no_problem() -> None:
    assert read(FILES).problems == ()


def test_a_problem_is_told_in_one_line_and_is_bad_input() -> None:
    problem = car('engine = "local"', 'engine = "locale"')
    assert str(problem) == "kernos.toml: employees.ada.engine: found 'locale'; expected 'local'"
    assert isinstance(problem.error(), BadInput)


# The side-car

CASES = [
    ("[networks]", "[networks", "kernos.toml", "at line", "valid TOML"),
    ("[networks]\n", "[network]\n", "kernos.toml: network", "an unknown key", "'networks'"),
    ("context = 4096", "contxt = 4096", "kernos.toml: engines.local.contxt", "an unknown key", "'context'"),
    ('path = "shop.db"', 'path = "shop.db"\nsed = "x"', "kernos.toml: data.shop.sed", "an unknown key", "'seed'"),
    ("minimum = 1", "minimun = 1", "kernos.toml: tools.find.parameters.age.minimun", "an unknown key", "'minimum'"),
    ("tokens = 100", "token = 100", "kernos.toml: employees.ada.limits.token", "an unknown key", "'tokens'"),
    ('ask = ["pay"]', 'aks = ["pay"]', "kernos.toml: employees.ada.aks", "an unknown key", "'ask'"),
    ('what = "a price"', 'what = ""\nwhat_ = ""', "kernos.toml: employees.ada.claims[0].what_", "unknown", "'what'"),
    ('function = "shop.py:pay"', 'function = ""\nfunktion = ""', "kernos.toml: tools.pay.funktion", "an unknown key",
     "'function'"),
    ('allow = ["10.0.0.0/8"]', "sovereing = true", "kernos.toml: networks.sovereing", "an unknown key", "'sovereign'"),
    ('tools = ["find", "pay"]', 'tools = ["fond", "pay"]', "kernos.toml: employees.ada.tools", "'fond'", "'find'"),
    ('ask = ["pay"]', 'ask = ["pai"]', "kernos.toml: employees.ada.ask", "'pai'", "'pay'"),
    ('engine = "local"', 'engine = "cloud"', "kernos.toml: employees.ada.engine", "'cloud'", "one of local"),
    ('data = "shop"', 'data = "shopp"', "kernos.toml: tools.find.data", "'shopp'", "'shop'"),
    ('vocabulary = "city"', 'vocabulary = "town"', "kernos.toml: tools.find.parameters.city.vocabulary", "'town'",
     "one of city"),
    ("context = 4096", 'context = "4096"', "kernos.toml: engines.local.context", "'4096'", "a valid integer"),
    ("context = 4096", "context = 5", "kernos.toml: engines.local.context", "5", "greater than or equal to 512"),
    ("context = 4096", "context = true", "kernos.toml: engines.local.context", "True", "a valid integer"),
    ('ask = ["pay"]', 'ask = "pay"', "kernos.toml: employees.ada.ask", "'pay'", "list"),
    ('tools = ["find", "pay"]\nask = ["pay"]', "tools = [5]", "kernos.toml: employees.ada.tools[0]", "5", "string"),
    ('driver = "embedded"', 'driver = "embeded"', "kernos.toml: engines.local.driver", "'embeded'", "embedded"),
    ('driver = "embedded"', "", "kernos.toml: engines.local.driver", "nothing", "embedded or openai or scripted"),
    ('driver = "python"', 'driver = "pyton"', "kernos.toml: tools.pay.driver", "'pyton'", "sql or python"),
    ('path = "shop.db"', 'driver = "mysql"\npath = ""', "kernos.toml: data.shop.driver", "'mysql'", "'sqlite'"),
    ('driver = "embedded"\ncontext = 4096', 'driver = "openai"', "kernos.toml: engines.local.url", "nothing", "needed"),
    ('path = "shop.db"', "", "kernos.toml: data.shop.path", "nothing", "needed"),
    ('function = "shop.py:pay"', "", "kernos.toml: tools.pay.function", "nothing", "needed"),
    ('type = "integer"', 'type = "int"', "kernos.toml: tools.find.parameters.age.type", "'int'", "'integer'"),
    ('source = "user"', 'source = "owner"', "kernos.toml: tools.find.parameters.city.source", "'owner'", "'user'"),
    ("minimum = 1", "enum = [1.5]", "kernos.toml: tools.find.parameters.age.enum[0]", "1.5", "integer"),
    ('source = "user"', 'type = "number"', "kernos.toml: tools.find.parameters.city.type", "'number'", "'string'"),
    ('source = "user"', 'type = "boolean"', "kernos.toml: tools.find.parameters.city.type", "vocabulary", "'string'"),
    ('type = "integer"\nminimum = 1', 'type = "boolean"\nsource = "user"',
     "kernos.toml: tools.find.parameters.age.type", "'boolean' with the source 'user'", "'string' with a vocabulary"),
    ("minimum = 1", f"minimum.{'a.' * 2000}a = 1", "kernos.toml: tools.find.parameters.age.minimum", "a table",
     "a valid number"),
    ('ask = ["pay"]', f"ask = 0x{'f' * 5000}", "kernos.toml: employees.ada.ask", "too long", "list"),
    ("select :city, :age", "select :city", "kernos.toml: tools.find.query", "no :age", "every parameter in the query"),
    ("select :city, :age", "select :city, :age, :cty", "kernos.toml: tools.find.query", ":cty", "'city'"),
    ('"[0-9]+ yuan"', '"[0-9+ yuan"', "kernos.toml: employees.ada.claims[0].pattern", "'[0-9+ yuan'",
     "a regular expression"),
    ("[[employees.ada.claims]]", 'include = "x"\n[[employees.ada.claims]]', "kernos.toml: tools.pay.include",
     "an unknown key", "one of driver, function"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "where", "found", "right"), CASES)
def test_a_fault_in_the_side_car_is_one_problem_that_names_its_place(
    old: str, new: str, where: str, found: str, right: str
) -> None:
    problem = car(old, new)
    assert problem.where == where
    assert found in problem.found
    assert right in problem.right


@pytest.mark.parametrize("name", ["openai", "embedded", "scripted"])
def test_an_engine_may_be_called_what_its_driver_is(name: str) -> None:
    problem = only_problem(**{"kernos.toml": f'[engines.{name}]\ndriver = "openai"\n'})
    assert (problem.where, problem.right) == (f"kernos.toml: engines.{name}.url", "a value: this key is needed")


def test_an_unknown_key_of_a_tool_called_what_its_driver_is_has_its_nearest() -> None:
    problem = only_problem(**{"kernos.toml": '[tools.python]\ndriver = "python"\nfunction = "x"\nfunktion = "y"\n'})
    assert (problem.where, problem.right) == ("kernos.toml: tools.python.funktion", "'function'")


def test_the_journals_table_stands_in_no_included_file() -> None:
    files = {"kernos.toml": 'include = ["more.toml"]', "more.toml": '[journal]\npath = "x.db"'}
    assert [str(fault.error()) for fault in sidecar.parse(files)[1]] == [
        "more.toml: journal: found the table of the journal; expected that table in kernos.toml itself"
    ]


@pytest.mark.parametrize(
    ("include", "right"), [('["wrds.toml"]', "'words.toml'"), ('["a/b/c.toml"]', "a .toml file beside it")]
)
def test_an_included_file_that_is_not_there_is_named_with_its_nearest(include: str, right: str) -> None:
    files = {f"skills/{letter}/x.md": "" for letter in "bcdefghijklmn"}
    problem = only_problem(**{"kernos.toml": f"include = {include}\n{CAR}", "words.toml": "", **files})
    assert problem.where == "kernos.toml: include"
    assert (problem.found, problem.right) == (include[1:-1].replace('"', "'"), right)


def test_a_fault_in_an_included_file_names_that_file() -> None:
    problem = only_problem(**{"kernos.toml": f'include = ["words.toml"]\n{CAR}', "words.toml": "[vocabulary"})
    assert (problem.where, problem.right) == ("words.toml", "valid TOML")


@pytest.mark.parametrize(
    ("words", "where"),
    [
        ("[vocabulary.city]\nrome = ['Rome']", "words.toml: vocabulary.city"),
        ("[networks]\nallow = []", "words.toml: networks.allow"),
        ("tools = 5", "words.toml: tools"),
        ("include = ['more.toml']", "words.toml: include"),
    ],
)
def test_an_included_file_replaces_nothing(words: str, where: str) -> None:
    problem = only_problem(**{"kernos.toml": f'include = ["words.toml"]\n{CAR}', "words.toml": words})
    assert problem.where == where


def test_an_included_file_adds_to_a_table_of_the_same_name() -> None:
    files = {"kernos.toml": f'include = ["words.toml"]\n{CAR}', "words.toml": "[networks]\nsovereign = false"}
    company = read(FILES | files)
    assert company.problems == ()
    assert (company.sidecar.networks.sovereign, company.sidecar.networks.allow) == (False, ["10.0.0.0/8"])


def test_an_employee_that_is_no_agent_is_named_with_its_nearest() -> None:
    problem = only_problem(**{"kernos.toml": CAR + "\n[employees.adda]\n"})
    assert problem == Problem("kernos.toml: employees.adda", "no such agent", "'ada'")


# Agents, skills and the whole


def test_a_folder_without_an_agent_is_a_problem_that_says_how_to_make_one() -> None:
    (problem,) = read({"COMPANY.md": "---\nname: Nobody\n---\n"}).problems
    assert problem.where == "agents/"
    assert "kernos init" in problem.right


SKILL_FILE, AGENT_FILE = "skills/digest/SKILL.md", "agents/ada/AGENTS.md"


def skill(name: str = "digest", description: str = "Digest it.") -> str:
    return f"---\nname: {name}\ndescription: {description}\n---\nDo it."


DOCUMENTS = [
    (SKILL_FILE, skill("x" * 65), "name", "x" * 60, "1 to 64 lower-case"),
    (SKILL_FILE, skill("Digest"), "name", "'Digest'", "lower-case"),
    (SKILL_FILE, skill("di--gest"), "name", "'di--gest'", "single hyphens"),
    (SKILL_FILE, skill("-digest"), "name", "'-digest'", "single hyphens"),
    (SKILL_FILE, skill(""), "name", "nothing", "1 to 64"),
    (SKILL_FILE, skill("digset"), "name", "'digset'", "'digest', the name of its folder"),
    (SKILL_FILE, skill(description="x" * 1025), "description", "1025 characters", "1 to 1024 characters"),
    (SKILL_FILE, skill(description="''"), "description", "nothing", "1 to 1024 characters"),
    (SKILL_FILE, skill(description="[a]"), "description", "a list", "a text"),
    (SKILL_FILE, skill(description="d\nallowed-tools: {a: b}"), "allowed-tools", "a dict", "a list of names"),
    (AGENT_FILE, "---\nname: Ada\ntools: 5\n---\nYou help.", "tools", "a int", "a list of names"),
    (AGENT_FILE, "---\nname: [Ada]\n---\nYou help.", "name", "a list", "a text"),
    (AGENT_FILE, "---\n- name: Ada\n---\nYou help.", "front matter", "a list", "fields, each `name: value`"),
    (AGENT_FILE, "---\nname: Ada\n---\n\n", "", "no instructions", "the employee's instructions"),
    (AGENT_FILE, "---\nname: Ada\nYou help.", "", "front matter that never ends", "a second line of ---"),
    (AGENT_FILE, "---\nname: Ada\ntitle: a: b\n---\nYou help.", "line 3", "mapping values are not", "valid YAML"),
    (AGENT_FILE, "---\nname: Ada\n\n\tx: 1\n---\nYou help.", "line 4", "YAML that does not parse", "valid YAML"),
    (AGENT_FILE, "\ufeff---\r\nname: 'Ada\r\n---\r\nYou help.", "line 3", "YAML that does not parse", "valid YAML"),
    (SKILL_FILE, skill("[digest]"), "name", "a list", "a text"),
    (SKILL_FILE, skill("{"), "line", "YAML that does not parse", "valid YAML"),
    (SKILL_FILE, skill("!!timestamp x"), "front matter", "YAML that does not parse", "valid YAML"),
    (SKILL_FILE, "---\nname: digest", "", "front matter that never ends", "a second line of ---"),
    ("COMPANY.md", "---\nname: {\n---\n", "line", "YAML that does not parse", "valid YAML"),
    ("tasks/t/TASK.md", "---\nassignee: [a]\n---\n", "assignee", "a list", "a text"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "content", "field", "found", "right"), DOCUMENTS)
def test_a_fault_in_a_document_is_one_problem_that_names_its_place(
    path: str, content: str, field: str, found: str, right: str
) -> None:
    problem = only_problem(**{path: content})
    assert problem.where.startswith(f"{path}: {field}" if field else path)
    assert found in problem.found
    assert right in problem.right


@pytest.mark.parametrize("description", ["x" * 1024, "字" * 1024])
def test_a_skill_at_its_limits_is_no_problem(description: str) -> None:
    name = "a" * 64
    files = {AGENT_FILE: AGENT, f"skills/{name}/SKILL.md": skill(name, description)}
    assert read(files).problems == ()


def test_a_document_that_begins_with_a_rule_has_no_front_matter_to_miss() -> None:
    assert read({AGENT_FILE: "----\nYou help."}).problems == ()


@pytest.mark.parametrize("path", ["agents/ada/AGENTS.md", "skills/digest/SKILL.md", "tasks/t/TASK.md"])
def test_two_agents_skills_or_tasks_of_one_name_are_a_problem_that_names_both(path: str) -> None:
    file = FILES.get(path, "")
    problem = only_problem(**{path: file, f"teams/north/{path}": file})
    assert problem.where == f"teams/north/{path}"
    assert f"in {path} too" in problem.found


def test_a_sub_agent_file_without_instructions_is_a_problem() -> None:
    (problem,) = read_single("/home/me/reviewer.md", "---\nname: reviewer\n---\n").problems
    assert problem.where == "reviewer.md"


def test_every_fault_is_found_at_once() -> None:
    faulty = inspect.cleandoc(
        """
        [tools.find]
        driver = "python"
        [engines.local]
        driver = "embeded"
        """
    )
    files = {
        "agents/ada/AGENTS.md": "---\nname: [Ada]\n---\n",
        "skills/digest/SKILL.md": skill("x"),
        "kernos.toml": faulty,
    }
    assert len(read(files).problems) == 5


# The nearest name


@pytest.mark.parametrize(
    ("name", "names", "right"),
    [
        ("fnd", ["find", "pay"], "'find'"),
        ("zzz", ["find", "pay"], "one of find, pay"),
        ("zzz", [], "something else"),
        ("zzz", [f"tool{n:02}" for n in range(13)], "something else"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest_or_all_of_a_few(name: str, names: list[str], right: str) -> None:
    assert nearest(name, names, "something else") == right
