"""
Ollama's routes besides chat and generate: version, model list, and errors for model management and embeddings.

``dialects.ollama.catalogue`` has the documents; errors have Ollama's format because of their path.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from sanic import HTTPResponse, Request

from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.ollama import catalogue
from gptmock.protocol.ndjson import NDJSON
from gptmock.server.context import App, ServerOptions
from gptmock.server.dashboard import PATH as PAGE_PATH
from gptmock.server.dashboard import wants_page
from gptmock.server.listings import admitted, allowed_models
from gptmock.server.turns import STREAM_HEADERS

_Handler: TypeAlias = Callable[..., Coroutine[Any, Any, HTTPResponse]]
_GREETING = "Ollama is running"
_GET = ("GET", "HEAD")
_POST = ("POST",)


def add_ollama_routes(app: App, options: ServerOptions) -> None:
    """Add all routes under ``/api`` that make no model call, and the greeting at ``/``."""

    async def version(_: Request) -> HTTPResponse:
        return _json(json_bytes({"version": options.ollama_version}))

    async def tags(request: Request) -> HTTPResponse:
        return _json(catalogue.tags(await allowed_models(request), expose_efforts=options.expose_efforts))

    about_one = {"ctx_body": catalogue.ModelBody}
    _route(app, "/", _GET, _greeting(options), "greeting")
    _route(app, "/api/version", _GET, version, "version")
    _route(app, "/api/tags", _GET, tags, "tags")
    _route(app, "/api/ps", _GET, _running, "ps")
    _route(app, "/api/show", _POST, _show, "show", **about_one)
    _route(app, "/api/pull", _POST, _pull, "pull", **about_one)
    _route(app, "/api/embed", _POST, _embed, "embed", **about_one)
    _route(app, "/api/embeddings", _POST, _embed, "embeddings", **about_one)
    for name in ("create", "copy", "push"):
        _route(app, f"/api/{name}", _POST, _manage, name)
    _route(app, "/api/delete", ("DELETE",), _manage, "delete")
    _route(app, "/api/blobs/<digest:str>", ("HEAD", "POST"), _blob, "blob")


def _route(app: App, path: str, methods: tuple[str, ...], handler: _Handler, name: str, **context: Any) -> None:
    app.add_route(handler, path, methods=list(methods), name=f"ollama_{name}", **context)


def _greeting(options: ServerOptions) -> _Handler:
    page = {"location": f"{options.base_path}{PAGE_PATH}", "vary": "accept"}

    async def greeting(request: Request) -> HTTPResponse:
        if wants_page(request):
            return HTTPResponse(status=302, headers=page)
        return HTTPResponse(_GREETING, headers={"vary": "accept"}, content_type="text/plain; charset=utf-8")

    return greeting


async def _running(request: Request) -> HTTPResponse:
    await admitted(request)
    return _json(catalogue.running())


async def _show(request: Request) -> HTTPResponse:
    catalog = await allowed_models(request)
    return _json(catalogue.show(catalog, catalogue.decode_model_request(request.body).name))


async def _pull(request: Request) -> HTTPResponse:
    catalog = await allowed_models(request)
    listing = catalogue.pull(catalog, catalogue.decode_model_request(request.body))
    if not listing.streamed:
        return _json(listing.body)
    return HTTPResponse(listing.body, headers=STREAM_HEADERS, content_type=NDJSON)


async def _embed(request: Request) -> HTTPResponse:
    await admitted(request)
    raise catalogue.no_embeddings(catalogue.decode_model_request(request.body).name)


async def _manage(request: Request) -> HTTPResponse:
    await admitted(request)
    raise catalogue.no_management()


async def _blob(request: Request, digest: str) -> HTTPResponse:  # noqa: ARG001 - no blob is here, whatever it is
    """HEAD: 404, the blob does not exist. POST: refused, no blob is stored."""
    await admitted(request)
    if request.method == "HEAD":
        return HTTPResponse(status=404)
    raise catalogue.no_management()


def _json(body: bytes) -> HTTPResponse:
    return HTTPResponse(body, content_type="application/json")
