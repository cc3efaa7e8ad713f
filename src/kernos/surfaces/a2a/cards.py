"""The card by which other agents find an employee."""

from __future__ import annotations

from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)

from kernos.kernel.office import EmployeeCard

_BINDINGS = (("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"), ("JSONRPC", "0.3"), ("HTTP+JSON", "0.3"))
"""How an agent may be spoken to, the best first."""
_TEXT = "text/plain"


def agent_card(employee: EmployeeCard, url: str, version: str) -> AgentCard:
    """What an employee says of itself to everybody. An employee without skills has one: what it is there for."""
    purpose = employee.title or employee.name
    skills = employee.skills or {employee.slug: purpose}
    return AgentCard(
        name=employee.name,
        description=purpose,
        version=version,
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding=binding, protocol_version=spoken) for binding, spoken in _BINDINGS
        ],
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=[_TEXT],
        default_output_modes=[_TEXT],
        skills=[AgentSkill(id=name, name=name, description=text, tags=[name]) for name, text in skills.items()],
        security_schemes={"key": SecurityScheme(http_auth_security_scheme=HTTPAuthSecurityScheme(scheme="bearer"))},
        security_requirements=[SecurityRequirement(schemes={"key": StringList()})],
    )
