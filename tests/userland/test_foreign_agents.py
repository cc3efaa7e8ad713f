"""What a company's side-car says of agents behind the API, of engines that stand in for each other, and of shares."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernos.boot import System
from kernos.boot.archive import home_of
from kernos.boot.wiring import AGENT, Wiring
from kernos.kernel.errors import ProgramError
from kernos.kernel.grants import Station
from kernos.kernel.ports import Embedder
from kernos.kernel.scheduler.waiting import Share
from kernos.kernel.types import Snapshot

ENGINES = "".join(
    f'[engines.{name}]\ndriver = "openai"\nurl = "http://127.0.0.1:9/v1"\nrole = "{role}"\nhints = "vllm"\n'
    for name, role in (("small", ""), ("left", "main"), ("right", "main"))
)


def wiring(home: Path, car: str) -> Wiring:
    """The wiring of a company of two."""
    for slug in ("ada", "bob"):
        (home / "agents" / slug).mkdir(parents=True)
        (home / "agents" / slug / "AGENTS.md").write_text("You help.")
    (home / "kernos.toml").write_text(ENGINES + car)
    assert System().faults(home) == []
    return Wiring(home_of(home), System().company(home), System().shelf)


def stations(home: Path, car: str) -> dict[str, Station]:
    return wiring(home, car).stations({})


def test_an_engine_makes_vectors_only_if_the_company_says_so(tmp_path: Path) -> None:
    car = '[engines.vectors]\ndriver = "openai"\nurl = "http://127.0.0.1:9/v1"\nembeddings = true\n'
    engines = wiring(tmp_path, car).engines()
    assert [name for name, engine in engines.items() if isinstance(engine, Embedder)] == ["vectors"]


async def test_a_foreign_agent_may_use_all_engines_and_has_no_program_here(tmp_path: Path) -> None:
    found = stations(tmp_path, '[employees.bob]\nprogram = "foreign"\nservice = "batch"\n')
    assert list(found) == ["ada", "bob"]
    assert (found["bob"].foreign, found["bob"].program_name, found["bob"].service) == (True, "foreign", "batch")
    assert (found["bob"].engine, found["bob"].engines) == ("small", frozenset({"small", "left", "right"}))
    with pytest.raises(ProgramError):
        await found["bob"].program(Snapshot())


def test_an_employee_has_its_own_engine_and_those_that_are_named(tmp_path: Path) -> None:
    found = stations(tmp_path, '[employees.ada]\nengine = "left"\nengines = ["small"]\n')
    ada = found["ada"]
    assert (ada.engine, ada.engines, ada.service) == ("left", frozenset({"small"}), "interactive")
    assert (found["bob"].engine, found["bob"].engines, found["bob"].foreign) == ("small", frozenset(), False)


def test_a_foreign_agent_may_be_held_to_some_engines(tmp_path: Path) -> None:
    found = stations(tmp_path, '[employees.bob]\nprogram = "foreign"\nengines = ["right"]\n')
    assert found["bob"].engines == {"right"}


def test_a_company_without_a_foreign_agent_has_one_for_the_api_that_was_given_no_tools(tmp_path: Path) -> None:
    found = stations(tmp_path, "")
    assert list(found) == ["ada", "bob", AGENT]
    assert (found[AGENT].foreign, dict(found[AGENT].grants), dict(found[AGENT].tools)) == (True, {}, {})
    assert found[AGENT].engines == {"small", "left", "right"}
    assert list(System().company(tmp_path).agents) == ["ada", "bob"]


def test_engines_of_a_role_and_the_shares_of_owners_are_handed_on(tmp_path: Path) -> None:
    made = wiring(tmp_path, "[owners.eve]\nshare = 2\ncalls_at_once = 3\ntokens_at_once = 4000\n[owners.kim]\n")
    assert made.roles() == {"left": "main", "right": "main"}
    assert made.shares() == {"eve": Share(2.0, 3, 4000), "kim": Share()}


@pytest.mark.parametrize(
    ("car", "told"),
    [
        ('[employees.ada]\nengines = ["rihgt"]', "kernos.toml: employees.ada.engines: found 'rihgt'; expected 'right'"),
        (
            '[employees.ada]\nservice = "night"',
            "kernos.toml: employees.ada.service: found 'night'; expected 'interactive' or 'batch'",
        ),
        ("[owners.eve]\nshare = 0", "kernos.toml: owners.eve.share: found 0; expected greater than 0"),
        (
            '[engines.odd]\ndriver = "embedded"\nrole = "main"',
            "kernos.toml: engines.odd.role: found an unknown key; expected one of context, driver, key_env, listen, "
            "model, port, price, slots, threads",
        ),
        (
            '[engines.odd]\ndriver = "openai"\nurl = "http://127.0.0.1:9/v1"\nrole = "small"',
            "kernos.toml: engines.odd.role: found 'small', which is an engine; expected a name that no engine has",
        ),
        (
            '[engines.odd]\ndriver = "openai"\nurl = "http://127.0.0.1:9/v1"\nrole = "main"\nembeddings = true',
            "kernos.toml: engines.odd.role: found 'main', of which only some make vectors; "
            "expected embeddings = true for all, or for none",
        ),
    ],
)
def test_what_is_wrong_in_these_fields_is_told(tmp_path: Path, car: str, told: str) -> None:
    (tmp_path / "agents" / "ada").mkdir(parents=True)
    (tmp_path / "agents" / "ada" / "AGENTS.md").write_text("You help.")
    (tmp_path / "kernos.toml").write_text(ENGINES + car)
    assert [str(problem) for problem in System().company(tmp_path).problems] == [told]
