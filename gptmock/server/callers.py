"""Who administers: authenticates requests of the admin API by key or by the cookie of the page, and checks roles."""

from __future__ import annotations

from sanic import Request

from gptmock.audit import Actor
from gptmock.clients import Client, Role
from gptmock.errors import Forbidden
from gptmock.gateway.page_sessions import PageSessions
from gptmock.gateway.team import Team
from gptmock.server.context import Services
from gptmock.server.guard import client_address, client_source
from gptmock.server.requests import headers_of
from gptmock.server.session_cookie import session_value


async def caller(request: Request, role: Role = "user") -> Client:
    """
    Authenticate a request of the admin API.

    Raises:
        Unauthorized: no key, or a wrong one.
        Forbidden: the caller's role is lower than ``role``.
    """
    services: Services = request.app.ctx.services
    value = session_value(request)
    client = await services.sessions.client_of(value) if value is not None and services.sessions is not None else None
    if client is None:
        client = await services.admission.admit(headers_of(request), source=client_source(request))
    return permitted(client, role)


def permitted(client: Client, role: Role) -> Client:
    """
    Check the role of a caller.

    Raises:
        Forbidden: it is lower than ``role``.
    """
    if not client.may(role):
        article = "an" if role == "admin" else "a"
        raise Forbidden(
            f"This needs the key of {article} {role}{' or an admin' if role == 'viewer' else ''}: "
            f"gptmock keys create NAME --role {role}."
        )
    return client


def team_of(request: Request) -> Team:
    """The administration of this server."""
    services: Services = request.app.ctx.services
    assert services.team is not None  # noqa: S101 - a server has it; a test of other routes may not
    return services.team


def sessions_of(request: Request) -> PageSessions:
    """The sessions of the page."""
    services: Services = request.app.ctx.services
    assert services.sessions is not None  # noqa: S101 - as above
    return services.sessions


async def actor_of(request: Request, client: Client) -> Actor:
    """A caller as the audit log names it."""
    names = await team_of(request).key_names()
    name = names.get(client.tenant, client.tenant) if client.tenant else "server without client keys"
    return Actor(name, client_address(request) or "unknown")
