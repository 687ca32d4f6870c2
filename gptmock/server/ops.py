"""Probe routes: ``/health`` (liveness: a worker answers) and ``/readyz`` (readiness: it could serve a model call)."""

from __future__ import annotations

import msgspec
from sanic import HTTPResponse, Request

from gptmock import __version__
from gptmock.server.context import App, Services

PROBES = frozenset({"/health", "/readyz"})
"""Answered also on a connection over the limit."""
_JSON = "application/json"


def add_ops_routes(app: App) -> None:
    """Add both, for GET and HEAD, without authentication."""
    app.add_route(_health, "/health", methods=["GET", "HEAD"], name="health")
    app.add_route(_readyz, "/readyz", methods=["GET", "HEAD"], name="readyz", ctx_own_statuses=(503,))


async def _health(_: Request) -> HTTPResponse:
    return HTTPResponse(msgspec.json.encode({"status": "ok", "version": __version__}), content_type=_JSON)


async def _readyz(request: Request) -> HTTPResponse:
    services: Services = request.app.ctx.services
    reasons = ["draining"] if services.draining else await services.readiness()
    body = {"status": "not ready" if reasons else "ready", "reasons": reasons}
    return HTTPResponse(msgspec.json.encode(body), status=503 if reasons else 200, content_type=_JSON)
