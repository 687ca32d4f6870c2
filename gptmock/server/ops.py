"""
Routes for operators: ``/health`` (liveness: a worker answers), ``/readyz`` (readiness: it could serve a model call) and
``/metrics`` (Prometheus: the sum over the workers of this server).
"""

from __future__ import annotations

import msgspec
from sanic import HTTPResponse, Request

from gptmock import __version__
from gptmock.errors import Forbidden
from gptmock.server.context import App, ServerOptions, Services
from gptmock.server.guard import client_source
from gptmock.server.requests import headers_of

METRICS_PATH = "/metrics"
PROBES = frozenset({"/health", "/readyz"})
"""Answered also on a connection over the limit."""
_JSON = "application/json"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The Prometheus text format, which every scraper takes."""
OPEN_TO_ALL = "unauthenticated: other machines can use this server without a client key (--allow-unauthenticated)"


def came_by_scrape_listener(request: Request) -> bool:
    """Whether a request came by the listener of ``--metrics-bind`` (``metrics_listener.ScrapeConnection``)."""
    return getattr(request.protocol, "is_for_scrapes", False)


def add_ops_routes(app: App, options: ServerOptions) -> None:
    """Add them, for GET and HEAD; the probes need no key, the metrics that of a viewer."""
    is_open = options.is_exposed and not options.requires_key
    app.ctx.warnings = [OPEN_TO_ALL] if is_open else []
    app.add_route(_metrics, METRICS_PATH, methods=["GET", "HEAD"], name="metrics")
    app.add_route(_health, "/health", methods=["GET", "HEAD"], name="health")
    app.add_route(_readyz, "/readyz", methods=["GET", "HEAD"], name="readyz", ctx_own_statuses=(503,))


async def _health(_: Request) -> HTTPResponse:
    return HTTPResponse(msgspec.json.encode({"status": "ok", "version": __version__}), content_type=_JSON)


async def _readyz(request: Request) -> HTTPResponse:
    services: Services = request.app.ctx.services
    reasons = ["draining"] if services.draining else await services.readiness()
    body = {"status": "not ready" if reasons else "ready", "reasons": reasons}
    if request.app.ctx.warnings:
        body["warnings"] = request.app.ctx.warnings
    return HTTPResponse(msgspec.json.encode(body), status=503 if reasons else 200, content_type=_JSON)


async def _metrics(request: Request) -> HTTPResponse:
    services: Services = request.app.ctx.services
    if not came_by_scrape_listener(request):
        client = await services.admission.admit(headers_of(request), source=client_source(request))
        if not client.may("viewer"):
            raise Forbidden("The metrics need the key of a viewer or an admin: gptmock keys create NAME --role viewer.")
    return HTTPResponse(await services.exposition(), content_type=METRICS_TYPE)
