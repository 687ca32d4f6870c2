"""
What a Codex asks that is signed in with its user's own ChatGPT account: the calls beside its turns, below ``/v1`` and
``/backend-api/codex``, and those of ``/backend-api`` that its user's account would answer. A list of what is served:
anything else does not exist. Nothing of the client's login is read but the account id that it wants to hear again.

Source: next doors D.2 and D.3.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from sanic import HTTPResponse, Request

from gptmock.dialects.backend_documents import accounts_check_document, reset_credits_document, usage_document
from gptmock.dialects.dialect import Call, Terms, Turn
from gptmock.dialects.responses.side_calls import decode_side_call
from gptmock.dialects.table import SIDE_CALLS, DialectRoute
from gptmock.server.context import App, ServerOptions, Services
from gptmock.server.listings import admitted
from gptmock.server.turns import TurnRequest

WHAM_PATH = "/backend-api/wham"
ACCOUNT_HEADER = "chatgpt-account-id"
_EMPTY = {
    "settings/user": b"{}",
    "config/bundle": b"{}",
    "profiles/me": b"{}",
    "workspace-messages": b'{"messages":[]}',
}
"""Answered to everybody, also without a key: they tell nothing."""
_FRESH = {"cache-control": "no-store"}
_Handler: TypeAlias = Callable[..., Coroutine[Any, Any, HTTPResponse]]


def add_backend_routes(app: App, options: ServerOptions) -> None:
    """Add the routes."""
    for route in SIDE_CALLS:
        for number, path in enumerate(route.paths):
            app.add_route(_side_call(route, options), path, methods=[route.method], name=f"{route.name}_{number}")

    async def check(request: Request) -> HTTPResponse:
        origin = options.public_url or f"https://{request.host}"
        return _json(accounts_check_document(request.headers.get(ACCOUNT_HEADER) or None, origin=origin))

    app.add_route(check, f"{WHAM_PATH}/accounts/check", methods=["GET"], name="backend_accounts_check")
    for name, document in _EMPTY.items():
        label = name.replace("/", "_").replace("-", "_")
        app.add_route(_always(document), f"{WHAM_PATH}/{name}", methods=["GET"], name=f"backend_{label}")
    app.add_route(_usage, f"{WHAM_PATH}/usage", methods=["GET"], name="backend_usage")
    app.add_route(_credits, f"{WHAM_PATH}/rate-limit-reset-credits", methods=["GET"], name="backend_reset_credits")
    app.add_route(
        _dropped,
        "/backend-api/codex/analytics-events/<name:path>",
        methods=["POST"],
        name="backend_analytics",
        ctx_bodiless=True,
        ctx_success_status=204,
    )


def _side_call(route: DialectRoute, options: ServerOptions) -> Callable[[Request], Coroutine[Any, Any, Any]]:
    async def handle(request: Request) -> HTTPResponse | None:
        return await _SideCall(request, route, options).run()

    handle.__name__ = f"turn_{route.name}"
    return handle


class _SideCall(TurnRequest):
    """A call that is no turn: authenticated, logged and refused like one, never streamed."""

    async def _answer(self) -> HTTPResponse:
        turn, bound = await self._understand(self._decode)
        relayed = await self._services.gateway.relay(turn, self._outcome, account_id=bound)
        return self._whole(relayed.body, self._reply_headers(turn, None))

    def _decode(self, call: Call, terms: Terms) -> Turn:
        return decode_side_call(f"codex{self._route.paths[1]}", call, terms)


def _always(document: bytes) -> _Handler:
    async def answer(_: Request) -> HTTPResponse:
        return _json(document)

    return answer


async def _usage(request: Request) -> HTTPResponse:
    client = await admitted(request)
    services: Services = request.app.ctx.services
    assert services.shown_limits is not None  # noqa: S101 - a server has it; a test of other routes may not
    conversation = request.headers.get("session-id") or ""
    snapshot = await services.shown_limits.of(conversation, account_id=client.account_id)
    return _json(usage_document(snapshot, now=time.time(), shows_plan=client.account_id is not None))


async def _credits(request: Request) -> HTTPResponse:
    await admitted(request)
    return _json(reset_credits_document())


async def _dropped(_: Request, name: str) -> HTTPResponse:  # noqa: ARG001 - the path is as well
    return HTTPResponse(status=204)


def _json(document: bytes) -> HTTPResponse:
    return HTTPResponse(document, headers=dict(_FRESH), content_type="application/json")
