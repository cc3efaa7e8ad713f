"""Whatever stands in a company's files, reading them ends in a company and its problems, never in an exception."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.userland.company.folder import read, read_single

AGENT = "---\nname: Ada\n---\nYou help."
PIECES = st.sampled_from(
    ["---", "\n", "\r\n", "name: ", "skills: ", "tools: ", "- ", "[", "]", "{", "}", ": ", "&a ", "*a", "!!int ",
     "!!binary ", "0x_", "2001-99-99", "? ", "'", '"', "|", "\t", "\0", "\x85", "\ufeff", "include = ", "[[", "]]", "=",
     "[employees.ada]\n", "[tools.x]\n", "driver = ", '"sql"', "5", "true", "1979-13-01", "é", "字", "claims = ",
     "pattern = 'a{99999999999}'", "enum = ", "what = 'a'\n", "parameters.a.", "[engines.local]\n", "limits = ",
     "reportsTo: ", "%", "@", "`", "<<: ", "__proto__"]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=14).map("".join) | st.text()
PATHS = [
    "COMPANY.md", "kernos.toml", "words.toml", "agents/ada/AGENTS.md", "skills/digest/SKILL.md", "tasks/t/TASK.md",
    "agents/AGENTS.md", "skills/Digest/SKILL.md",
]  # fmt: skip


def framed(body: str) -> str:
    return f"---\n{body}\n---\n{body}"


@given(st.dictionaries(st.sampled_from(PATHS), TEXTS | TEXTS.map(framed)))
def test_whatever_there_is_in_the_files_is_read_and_reported_and_never_raised(files: Mapping[str, str]) -> None:
    company = read(files)
    assert all(problem.where and problem.found and problem.right for problem in company.problems)
    assert company.problems or company.agents


@given(TEXTS | TEXTS.map(framed))
def test_whatever_there_is_in_a_sub_agent_file_is_read_and_never_raised(content: str) -> None:
    assert set(read_single("ada.agent.md", content).agents) == {"ada"}


CLAIM = "[[employees.ada.claims]]\nwhat = 'a'\npattern = "


@pytest.mark.parametrize(
    ("path", "content"),
    [
        pytest.param("agents/ada/AGENTS.md", framed("name: 2001-99-99"), id="a date that is none"),
        pytest.param("agents/ada/AGENTS.md", framed("name: 0x_"), id="a number without digits"),
        pytest.param("agents/ada/AGENTS.md", framed("name: !!int x"), id="a tag that does not fit"),
        pytest.param("agents/ada/AGENTS.md", framed("name: \0"), id="a character that YAML refuses"),
        pytest.param("agents/ada/AGENTS.md", framed("name: " + "[" * 5000), id="YAML that is too deep"),
        pytest.param("kernos.toml", "include = [['a']]", id="a list in include"),
        pytest.param("kernos.toml", "include = [{ a = 1 }]", id="a table in include"),
        pytest.param("kernos.toml", f"include = [{'9' * 5000}]", id="a number that is too long"),
        pytest.param("kernos.toml", f"include = {'[' * 5000}", id="TOML that is too deep"),
        pytest.param("kernos.toml", CLAIM + "'a{99999999999}'", id="a pattern that repeats too often"),
        pytest.param("kernos.toml", CLAIM + "'" + "(" * 5000 + "'", id="a pattern that is too deep"),
    ],
)
def test_what_makes_a_parser_stumble_is_one_problem_of_that_file(path: str, content: str) -> None:
    problems = read({"agents/ada/AGENTS.md": AGENT, path: content}).problems
    assert [problem.where.split(":")[0] for problem in problems] == [path]
