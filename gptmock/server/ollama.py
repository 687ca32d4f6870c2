"""
Ollama's routes beside the two doors: probes, the catalogue, and honest refusals of what local models are managed by.

The documents are ``dialects.ollama.catalogue``'s; errors get their shape from the family of the path.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from sanic import HTTPResponse, Request

from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.ollama import catalogue
from gptmock.protocol.ndjson import NDJSON
from gptmock.server.context import App, ServerOptions, Services
from gptmock.server.requests import headers_of
from gptmock.server.turns import STREAM_HEADERS

_Handler: TypeAlias = Callable[..., Coroutine[Any, Any, HTTPResponse]]
_GREETING = "Ollama is running"
_GET = ("GET", "HEAD")
_POST = ("POST",)


def add_ollama_routes(app: App, options: ServerOptions) -> None:
    """Everything under ``/api`` that takes no model turn, and the greeting at ``/``."""

    async def version(_: Request) -> HTTPResponse:
        return _json(json_bytes({"version": options.ollama_version}))

    async def tags(request: Request) -> HTTPResponse:
        return _json(catalogue.tags(_admitted(request).terms.catalog, expose_efforts=options.expose_efforts))

    routes: list[tuple[str, tuple[str, ...], _Handler]] = [
        ("/", _GET, _greeting),
        ("/api/version", _GET, version),
        ("/api/tags", _GET, tags),
        ("/api/ps", _GET, _running),
        ("/api/show", _POST, _show),
        ("/api/pull", _POST, _pull),
        ("/api/embed", _POST, _embed),
        ("/api/embeddings", _POST, _embed),
        ("/api/create", _POST, _manage),
        ("/api/copy", _POST, _manage),
        ("/api/push", _POST, _manage),
        ("/api/delete", ("DELETE",), _manage),
        ("/api/blobs/<digest:str>", ("HEAD", "POST"), _blob),
    ]
    for number, (path, methods, handler) in enumerate(routes):
        app.add_route(handler, path, methods=list(methods), name=f"ollama_{number}")


async def _greeting(_: Request) -> HTTPResponse:
    return HTTPResponse(_GREETING, content_type="text/plain; charset=utf-8")


async def _running(request: Request) -> HTTPResponse:
    _admitted(request)
    return _json(catalogue.running())


async def _show(request: Request) -> HTTPResponse:
    catalog = _admitted(request).terms.catalog
    return _json(catalogue.show(catalog, catalogue.asked_model(request.body).name))


async def _pull(request: Request) -> HTTPResponse:
    catalog = _admitted(request).terms.catalog
    listing = catalogue.pull(catalog, catalogue.asked_model(request.body))
    if not listing.streamed:
        return _json(listing.body)
    return HTTPResponse(listing.body, headers=STREAM_HEADERS, content_type=NDJSON)


async def _embed(request: Request) -> HTTPResponse:
    _admitted(request)
    raise catalogue.no_embeddings(catalogue.asked_model(request.body).name)


async def _manage(request: Request) -> HTTPResponse:
    _admitted(request)
    raise catalogue.no_management()


async def _blob(request: Request, digest: str) -> HTTPResponse:  # noqa: ARG001 - no blob is here, whatever it is
    """HEAD asks whether one has to be sent; none is ever taken."""
    _admitted(request)
    if request.method == "HEAD":
        return HTTPResponse(status=404)
    raise catalogue.no_management()


def _admitted(request: Request) -> Services:
    services: Services = request.app.ctx.services
    services.admission.tenant(headers_of(request))
    return services


def _json(body: bytes) -> HTTPResponse:
    return HTTPResponse(body, content_type="application/json")
