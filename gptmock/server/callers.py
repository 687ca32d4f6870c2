"""Who administers: authenticates requests of the admin API by key or by the cookie of the page, and checks roles."""

from __future__ import annotations

from contextlib import suppress

from sanic import Request

from gptmock.audit import Action, Actor
from gptmock.clients import Client, Role
from gptmock.errors import Forbidden, StoreError
from gptmock.gateway.page_sessions import PageSessions
from gptmock.gateway.team import Team
from gptmock.server.context import Services
from gptmock.server.guard import client_address, client_source
from gptmock.server.requests import headers_of
from gptmock.server.session_cookie import session_value

_SHOWN = 100
"""Characters of a path."""


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
    return await permitted(request, client, role)


async def permitted(request: Request, client: Client, role: Role) -> Client:
    """
    Check the role of a caller; a refusal is in the audit log.

    Raises:
        Forbidden: it is lower than ``role``.
    """
    if not client.may(role):
        detail = f"{request.method} {request.path[:_SHOWN]}"
        await note_lately(request, client, "administration.refused", detail, each=client.tenant)
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


async def note_lately(request: Request, client: Client, action: Action, detail: str = "", *, each: str) -> None:
    """Record an event of a caller in the audit log, if it can be; see ``AuditTrail.note_lately``."""
    with suppress(StoreError):
        trail = team_of(request).trail(await actor_of(request, client))
        await trail.note_lately(action, client.tenant or "no key", detail, each=each)


async def actor_of(request: Request, client: Client) -> Actor:
    """A caller as the audit log names it."""
    names = await team_of(request).key_names()
    name = names.get(client.tenant, client.tenant) if client.tenant else "server without client keys"
    return Actor(name, client_address(request) or "unknown")
