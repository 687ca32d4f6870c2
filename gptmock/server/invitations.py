"""
Invitations: the part of the admin API that makes, lists and revokes them, and what whoever has one asks without a key.

The token is in the body of requests only. ``GET /join`` is a page that reads it from the fragment of its address.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from sanic import HTTPResponse, Request

from gptmock.accounts import IssuedTokens, Login, Secret
from gptmock.clients import Invitation, IssuedKey, KeyTerms, invitation_link, revised
from gptmock.dialects.bodies import decode_body
from gptmock.gateway.invitations import Reception
from gptmock.overview import invitation_document, moment
from gptmock.server.admin import add_admin_route, answer
from gptmock.server.admin_bodies import InvitationBody, InvitationTokenBody, given_terms, key_name
from gptmock.server.callers import actor_of, caller, team_of
from gptmock.server.context import App, ServerOptions, Services
from gptmock.server.guard import client_source, own_origin
from gptmock.server.page_streams import check_accepts_events, stream_device_login


def add_invitation_routes(app: App, options: ServerOptions) -> None:
    """Add them all."""
    for path, methods, handler, body in (
        ("invitations", ("GET", "HEAD"), _all, None),
        ("invitations", ("POST",), partial(_create, options=options), InvitationBody),
        ("invitations/<name>", ("DELETE",), _revoke, None),
        ("invitation", ("POST",), _show, InvitationTokenBody),
        ("invitation/redeem", ("POST",), partial(_redeem, options=options), InvitationTokenBody),
    ):
        add_admin_route(app, path, methods, handler, body)


async def _all(request: Request) -> HTTPResponse:
    client = await caller(request, "viewer")
    invitations = team_of(request).invitations(await actor_of(request, client))
    return answer({"invitations": [invitation_document(one) for one in await invitations.all()]})


async def _create(request: Request, *, options: ServerOptions) -> HTTPResponse:
    client = await caller(request, "admin")
    body = decode_body(request.body, InvitationBody)
    name, terms = key_name(body.name), revised(KeyTerms(), given_terms(body))
    invitations = team_of(request).invitations(await actor_of(request, client))
    issued = await invitations.create(name, terms, ttl_seconds=float(body.valid_seconds))
    link = invitation_link((options.public_url or own_origin(request)) + options.base_path, issued.text)
    return answer({"link": link, **invitation_document(issued.invitation)})


async def _revoke(request: Request, name: str) -> HTTPResponse:
    client = await caller(request, "admin")
    invitation = await team_of(request).invitations(await actor_of(request, client)).revoke(name)
    return answer(invitation_document(invitation))


# --- Without a key ----------------------------------------------------------------------------


async def _show(request: Request) -> HTTPResponse:
    text = _token(request)
    return answer(_offer(await _reception(request).find(text, address=client_source(request))))


def _offer(invitation: Invitation) -> dict[str, Any]:
    """What the person who was invited needs to know."""
    shown = ("name", "models", "rpm", "tokens_per_day", "tokens_per_week", "concurrency", "expires_at")
    document = invitation_document(invitation)
    return {**{name: document[name] for name in shown}, "key_expires_at": document["key_expires_at"]}


async def _redeem(request: Request, *, options: ServerOptions) -> HTTPResponse | None:
    check_accepts_events(request)
    text, reception, address = _token(request), _reception(request), client_source(request)
    device = await reception.begin(text, address=address)

    async def enter(issued: IssuedTokens) -> dict[str, Any]:
        return _entered(*await reception.enter(text, issued, address=address))

    await stream_device_login(request, options, device, enter)
    return None


def _entered(issued: IssuedKey, login: Login) -> dict[str, Any]:
    key = issued.key
    return {
        "key": issued.text.reveal(),
        "name": key.name,
        "account": login.label,
        "expires_at": moment(key.terms.expires_at),
    }


def _token(request: Request) -> Secret:
    return Secret(decode_body(request.body, InvitationTokenBody).token)


def _reception(request: Request) -> Reception:
    services: Services = request.app.ctx.services
    assert services.reception is not None  # noqa: S101 - a server has it; a test of other routes may not
    return services.reception
