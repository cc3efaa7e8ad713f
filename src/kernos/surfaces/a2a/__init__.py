"""A2A: every employee is an agent that other agents find by its card and give tasks.

    surface(office)      what boot mounts: `/a2a/<slug>` and `/a2a/<slug>/.well-known/agent-card.json`

A context is a process, and its id the pid. A task is one turn of it, from a message to the reply: `<pid>.<row>`, the
row at which it began. Nothing is kept here; what a task is follows from the journal (see `tasks`).
"""

from __future__ import annotations

from collections.abc import Iterator

from a2a.server.context import ServerCallContext
from a2a.server.routes.agent_card_routes import create_agent_card_routes
from a2a.server.routes.common import DefaultServerCallContextBuilder
from a2a.server.routes.jsonrpc_routes import create_jsonrpc_routes
from a2a.server.routes.rest_routes import create_rest_routes
from starlette.requests import Request
from starlette.routing import BaseRoute, Mount

from kernos.kernel.office import Office
from kernos.surfaces.a2a.cards import agent_card
from kernos.surfaces.a2a.handler import CALLER, GONE, Agent
from kernos.surfaces.http import Surface, caller_of


def surface(office: Office) -> Surface:
    """The agents of an office: all employees whose program runs here."""
    return Surface(
        [route for slug, card in office.employees.items() if not card.foreign for route in _of(office, slug)]
    )


def _of(office: Office, slug: str) -> Iterator[BaseRoute]:
    path, agent, callers = f"/a2a/{slug}", Agent(office, slug), _Callers()
    card = agent_card(office.employees[slug], office.base + path, office.version)
    yield from create_agent_card_routes(card, card_url=f"{path}/.well-known/agent-card.json")
    yield from create_jsonrpc_routes(agent, path, callers, enable_v0_3_compat=True)
    for route in create_rest_routes(agent, callers, enable_v0_3_compat=True, path_prefix=path):
        if not isinstance(route, Mount):  # the SDK's room for tenants, which takes in every path
            yield route


class _Callers(DefaultServerCallContextBuilder):
    """Tells the agent whose key came with a request, and how to see whether the client has gone."""

    def build(self, request: Request) -> ServerCallContext:
        context = super().build(request)
        context.state[CALLER], context.state[GONE] = caller_of(request), request.is_disconnected
        return context
