"""Companies as people publish them: read unchanged, with what they ask for and do not get in the notes."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import pytest

from kernos.boot import System
from kernos.kernel.types import Parameter
from kernos.userland.company.folder import Company, instructions, read, read_single, sql_spec
from kernos.userland.company.sidecar import SqlTool

ROOT = Path(__file__).parents[2]
ADVISOR = ROOT / "examples" / "beauty-advisor"
AEON = ROOT / "tests" / "data" / "companies" / "aeon-intelligence"
AGENT = "---\nname: Ada\n---\nYou help."


def text(lines: str) -> str:
    return inspect.cleandoc(lines) + "\n"


# Our own example


def test_the_example_has_no_problem_and_asks_for_nothing_that_it_does_not_get() -> None:
    company = System().company(ADVISOR)
    assert (company.problems, company.notes) == ((), ())
    assert company.name == "Beauty Advisor"
    assert company.employee("advisor").tools == ["search_products", "recommend_product"]
    assert company.tasks["recommend"].assignee == "advisor"


def test_the_drivers_find_nothing_wrong_with_the_example(tmp_path: Path) -> None:
    home = tmp_path / "shop"
    shutil.copytree(ADVISOR, home, ignore=shutil.ignore_patterns("*.db", ".kernos"))
    assert System().faults(home) == []
    assert (home / "data" / "catalogue.db").is_file()


# A published company


def test_a_published_company_is_read_unchanged_without_a_problem() -> None:
    company = System().company(AEON)
    assert company.problems == ()
    assert company.name == "Aeon Intelligence"
    assert set(company.agents) == {"ceo", "crypto-analyst", "engineering-lead", "research-analyst"}
    assert set(company.skills) == {"article", "digest", "pr-review"}
    assert company.agents["ceo"].reports_to == ""
    assert company.agents["crypto-analyst"].reports_to == "ceo"


def test_every_wish_of_a_published_company_that_is_not_met_is_a_note() -> None:
    company = System().company(AEON)
    wishes = {(agent.path, skill) for agent in company.agents.values() for skill in agent.skills}
    unmet = {f"{path}: asks for the skill {skill}: not in this folder" for path, skill in wishes}
    met = {"article", "digest", "pr-review"}
    assert set(company.notes) == {note for note in unmet if note.split("skill ")[1].split(":")[0] not in met}
    assert "agents/ceo/AGENTS.md: asks for the skill morning-brief: not in this folder" in company.notes


def test_an_employee_is_told_of_its_own_skills_by_name_and_description() -> None:
    company = System().company(AEON)
    told = instructions(company.agents["engineering-lead"], company)
    assert told.startswith("You are the Engineering Lead at Aeon Intelligence.")
    assert f"- pr-review: {company.skills['pr-review'].description}" in told
    assert "- article" not in told


def test_an_agent_that_the_side_car_does_not_name_is_given_nothing() -> None:
    given = System().company(AEON).employee("ceo")
    assert (given.tools, given.engine, given.program) == ([], "", "")


def test_tools_that_files_ask_for_are_noted_until_they_are_granted() -> None:
    agent = "---\nname: Ada\ntools: Read, Grep\nskills: [digest]\nreportsTo: bob\n---\nYou help."
    skill = "---\nname: digest\ndescription: d\nallowed-tools: Bash(git add:*, x) Read\n---\nDo."
    files = {
        "agents/ada/AGENTS.md": agent,
        "skills/digest/SKILL.md": skill,
        "tasks/t/TASK.md": "---\nassignee: eve\n---",
    }
    assert set(read(files).notes) == {
        "agents/ada/AGENTS.md: asks for the tool Read: not granted",
        "agents/ada/AGENTS.md: asks for the tool Grep: not granted",
        "skills/digest/SKILL.md: asks for the tool Bash(git add:*, x): not granted to ada",
        "skills/digest/SKILL.md: asks for the tool Read: not granted to ada",
        "agents/ada/AGENTS.md: reports to bob: no such agent",
        "tasks/t/TASK.md: assigned to eve: no such agent",
    }
    car = text(
        """
        [tools.Read]
        driver = "python"
        function = "shop.py:read"
        [employees.ada]
        tools = ["Read"]
        """
    )
    granted = read({**files, "kernos.toml": car})
    assert granted.problems == ()
    assert not [note for note in granted.notes if "Read" in note]


# Single sub-agent files

CLAUDE = text(
    """
    ---
    name: code-reviewer
    description: Reviews code for quality. Use after every change.
    tools: Read, Grep
    model: sonnet
    ---
    You review code.
    """
)
COPILOT = text(
    """
    ---
    description: 'Plans a change before it is made.'
    tools: ['codebase', 'search/usages']
    model: GPT-5
    handoffs:
      - label: Start
        agent: agent
    ---
    # Planning

    You plan.
    """
)


@pytest.mark.parametrize(
    ("file", "content", "slug", "name", "wishes"),
    [
        ("code-reviewer.md", CLAUDE, "code-reviewer", "code-reviewer", ["Read", "Grep"]),
        ("planner.agent.md", COPILOT, "planner", "planner", ["codebase", "search/usages"]),
    ],
)
def test_a_sub_agent_file_is_a_company_of_one(
    tmp_path: Path, file: str, content: str, slug: str, name: str, wishes: list[str]
) -> None:
    (tmp_path / file).write_text(content, "utf-8")
    company = System().company(tmp_path / file)
    assert company.problems == ()
    assert {key: agent.name for key, agent in company.agents.items()} == {slug: name}
    assert company.agents[slug].instructions.endswith(".")
    assert list(company.notes) == [f"{file}: asks for the tool {tool}: not granted" for tool in wishes]
    assert company.employee(slug).tools == []


def test_the_title_of_a_sub_agent_is_its_description() -> None:
    assert read_single("x.md", CLAUDE).agents["x"].title == "Reviews code for quality. Use after every change."


# How files may be written

CAR = text(
    """
    [employees.ada]
    claims = [{ what = "a price", pattern = 'x' }]
    """
)
SKILL = "---\nname: digest\ndescription: Digest it.\n---\nDo it."
FILES = {"agents/ada/AGENTS.md": AGENT, "skills/digest/SKILL.md": SKILL, "kernos.toml": CAR}


def shape(company: Company) -> object:
    agents = [(agent.name, agent.instructions) for agent in company.agents.values()]
    return agents, [skill.description for skill in company.skills.values()], company.sidecar, company.problems


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize(("mark", "end"), [("\ufeff", "\n"), ("", "\r\n"), ("\ufeff", "\r\n")])
def test_a_file_means_the_same_however_an_editor_saved_it(path: str, mark: str, end: str) -> None:
    saved = mark + FILES[path].replace("\n", end)
    assert shape(read({**FILES, path: saved})) == shape(read(FILES))


def test_an_agent_without_front_matter_is_called_what_its_folder_is() -> None:
    company = read({"agents/ada/AGENTS.md": "You help."})
    assert company.problems == ()
    assert (company.agents["ada"].name, company.agents["ada"].instructions) == ("ada", "You help.")


def test_fields_that_are_not_ours_to_know_are_no_problem() -> None:
    agent = AGENT.replace("name: Ada", "name: Ada\ncolor: red\npermissionMode: plan\nmetadata: {a: [1, {b: null}]}")
    assert read({"agents/ada/AGENTS.md": agent}).problems == ()


def test_included_files_add_their_tables() -> None:
    files = {
        **FILES,
        "kernos.toml": 'include = ["words.toml"]\n' + CAR,
        "words.toml": "[vocabulary.city]\noslo = ['Oslo']",
    }
    company = read(files)
    assert company.problems == ()
    assert company.sidecar.vocabulary == {"city": {"oslo": ["Oslo"]}}


def test_a_declared_query_becomes_what_the_kernel_knows_of_a_tool() -> None:
    declared = SqlTool.model_validate(
        {
            "driver": "sql", "data": "shop", "description": "finds", "query": "select :city, :age",
            "parameters": {
                "city": {"vocabulary": "city", "source": "user", "question": {"en": "Where?"}},
                "age": {"type": "integer", "minimum": 1, "units": ["years"], "optional": True},
            },
        }
    )  # fmt: skip
    spec = sql_spec("find", declared, {"city": {"oslo": ["Oslo"], "rome": ["Rome", "Roma"]}})
    assert spec.schema["properties"]["city"] == {"type": "string", "enum": ["oslo", "rome"]}
    assert spec.schema["properties"]["age"] == {"type": "integer", "minimum": 1}
    assert spec.schema["required"] == ["city"]
    assert spec.parameters["city"] == Parameter(
        "user", {"oslo": ("Oslo",), "rome": ("Rome", "Roma")}, (), {"en": "Where?"}
    )
    assert spec.effects == {"reads"}
