"""The MCP servers of a company's folder: `mcp.json`, what is declared of their tools, and the lists that were kept."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from kernos.kernel.types import Field, Json, Parameter
from kernos.userland.company.folder import Company, read
from kernos.userland.company.mcp import Address, Program, list_of, listing
from kernos.userland.company.sidecar import McpServer

AGENT = {"agents/ada/AGENTS.md": "---\nname: Ada\n---\nYou help."}
SERVERS: Mapping[str, Json] = {
    "mail": {"command": "mail-server", "args": ["--fast"], "env": {"KEY": "${MAIL_KEY}"}, "disabled": False},
    "far desk": {"type": "streamable-http", "url": "https://desk.example/mcp", "headers": {"X": "y"}},
}
SEND = {
    "name": "send/mail",
    "description": "Send a mail.",
    "inputSchema": {"type": "object", "properties": {"to": {"type": "string"}, "body": {"type": "string"}}},
}


def company(car: str = "", servers: Mapping[str, Json] = SERVERS, tools: tuple[Json, ...] = (SEND,)) -> Company:
    """A company with these servers, of which the first was seen with these tools."""
    kept = {list_of("mail"): listing({tool["name"]: tool for tool in tools})} if tools else {}
    return read({**AGENT, "mcp.json": json.dumps({"mcpServers": servers}), "kernos.toml": car, **kept})


def problems(*given: str, **more: Json) -> list[str]:
    return [str(problem) for problem in company("\n".join(given), **more).problems]


def test_servers_are_programs_or_addresses_and_keys_of_other_programs_are_left_alone() -> None:
    found = company()
    assert found.problems == ()
    assert found.servers["mail"].opened == Program(command="mail-server", args=["--fast"], env={"KEY": "${MAIL_KEY}"})
    far = Address(type="streamable-http", url="https://desk.example/mcp", headers={"X": "y"})
    assert found.servers["far desk"].opened == far


def test_tools_are_called_after_their_server_as_models_can_take_it() -> None:
    found = company().servers
    assert dict(found["mail"].names) == {"mail_send_mail": "send/mail"}
    assert found["far desk"].tool_name("look") == "far_desk_look"
    assert len(found["mail"].tool_name("x" * 90)) == 64


def test_an_undeclared_tool_acts_and_nothing_of_it_is_vouched_for() -> None:
    server = company().servers["mail"]
    spec = server.specs(McpServer(), {})["send/mail"]
    assert (spec.name, spec.description, spec.schema) == ("mail_send_mail", "Send a mail.", SEND["inputSchema"])
    assert spec.effects == {"writes", "sends"}
    assert (spec.consequential, spec.repeatable, dict(spec.returns), dict(spec.parameters)) == (True, False, {}, {})
    assert spec.timeout == 60


def test_what_is_declared_of_a_tool_is_what_the_monitor_knows() -> None:
    car = """
        [vocabulary.who]
        bob = ["Robert"]
        [mcp.mail.tools."send/mail"]
        effects = ["sends"]
        idempotent = true
        timeout = 5
        verbs = ["mail"]
        reaches = ["network"]
        [mcp.mail.tools."send/mail".parameters.to]
        source = "user"
        use = "recipient"
        of = "address"
        vocabulary = "who"
        [mcp.mail.tools."send/mail".returns]
        id = { attested = true, of = "email" }
    """
    found = company(car)
    assert found.problems == ()
    spec = found.servers["mail"].specs(found.sidecar.mcp["mail"], found.sidecar.vocabulary)["send/mail"]
    assert spec.effects == {"sends"}
    assert (spec.idempotent, spec.timeout, spec.verbs) == (True, 5, ("mail",))
    assert spec.reaches == {"network"}
    assert spec.parameters == {"to": Parameter("user", {"bob": ("Robert",)}, use="recipient", of="address")}
    assert spec.returns == {"id": Field(attested=True, of="email")}


def test_an_employee_may_have_tools_of_a_server_that_is_not_known_yet() -> None:
    named = '[employees.ada]\ntools = ["mail_anything"]'
    assert problems(named, tools=()) == []
    assert company(named, tools=()).notes == tuple(
        f"mcp.json: the tools of {name} are not known before a kernel has run here" for name in SERVERS
    )
    assert problems(named) == [
        "kernos.toml: employees.ada.tools: found 'mail_anything'; expected one of mail_send_mail"
    ]


@pytest.mark.parametrize(
    ("car", "told"),
    [
        ("[mcp.mial]", "kernos.toml: mcp.mial: found no such server; expected 'mail'"),
        ("[mcp.mail.tools.sendmail]", "kernos.toml: mcp.mail.tools.sendmail: found no such tool; expected 'send/mail'"),
        (
            '[mcp.mail.tools."send/mail".parameters.too]',
            "kernos.toml: mcp.mail.tools.send/mail.parameters.too: found no such parameter; expected 'to'",
        ),
        (
            '[mcp.mail.tools."send/mail".parameters.to]\nvocabulary = "who"',
            "kernos.toml: mcp.mail.tools.send/mail.parameters.to.vocabulary: found 'who'; "
            "expected a table under [vocabulary]",
        ),
        (
            '[mcp.mail.tools."send/mail"]\neffect = ["reads"]',
            "kernos.toml: mcp.mail.tools.send/mail.effect: found an unknown key; expected 'effects'",
        ),
        (
            '[[employees.ada.grants]]\ntool = "mail_send_mail"\nwhen = { too = { equals = "x" } }',
            "kernos.toml: employees.ada.grants[0].when: found 'too'; expected 'to'",
        ),
    ],
)
def test_a_declaration_of_nothing_is_told_with_the_nearest_right_name(car: str, told: str) -> None:
    assert problems(car) == [told]


@pytest.mark.parametrize(
    ("servers", "told"),
    [
        ({"mail": {}}, "mcp.json: mcpServers.mail.command: found nothing; expected a value: this key is needed"),
        ({"program": {"url": 1}}, "mcp.json: mcpServers.program.url: found 1; expected a valid string"),
        ({"mail": "x"}, "mcp.json: mcpServers.mail: found 'x'; expected a valid dictionary or instance of Program"),
    ],
)
def test_a_server_that_is_none_is_told_with_its_place(servers: Json, told: str) -> None:
    assert problems(servers=servers, tools=()) == [told]


def test_files_that_are_not_json_are_told() -> None:
    broken = read({**AGENT, "mcp.json": "{", list_of("mail"): "{"})
    assert [problem.where for problem in broken.problems] == ["mcp.json"]
    [list_problem] = read({**AGENT, "mcp.json": json.dumps({"mcpServers": SERVERS}), list_of("mail"): "{"}).problems
    assert list_problem.where == ".kernos/mcp/mail.json"
    assert list_problem.right == "valid JSON; delete it to list them anew"


def test_two_tools_of_one_name_are_told() -> None:
    twins = tuple({**SEND, "name": name} for name in ("send/mail", "send.mail"))
    assert problems(tools=twins) == [
        "mcp.json: mail: found send.mail, a second mail_send_mail; expected another name for the server"
    ]
    assert "a second mail_send_mail" in problems('[tools.mail_send_mail]\ndriver = "python"\nfunction = "t.py:t"')[0]
