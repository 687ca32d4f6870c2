"""The routes ``GET /v1/models`` and ``GET /v1/models/{id}``."""

from __future__ import annotations

from urllib.parse import unquote

from sanic import HTTPResponse, Request

from gptmock.catalog import IMAGE_MODEL, ModelCatalog
from gptmock.clients import Client
from gptmock.dialects import claude_models as claude
from gptmock.dialects.families import VERSION_HEADER
from gptmock.dialects.listings import model_document, models_document
from gptmock.gateway.key_terms import catalog_for, may_use, terms_for
from gptmock.server.context import App, ServerOptions, Services
from gptmock.server.guard import client_source
from gptmock.server.requests import headers_of

MODELS_PATHS = ("/v1/models", "/models")
CODEX_MODELS_PATH = "/backend-api/codex/models"


def add_listing_routes(app: App, options: ServerOptions) -> None:
    """
    Add ``/v1/models``, also without ``/v1``; a client key is required if model calls require one. A request with
    ``anthropic-version`` gets Anthropic's shape.
    """

    async def models(request: Request) -> HTTPResponse:
        client, catalog = await _allowed(request)
        if VERSION_HEADER in request.headers:
            query = {name: values[0] for name, values in request.args.items() if values}
            return HTTPResponse(claude.models_page(catalog, query), content_type="application/json")
        client_version = request.args.get("client_version")
        body = models_document(
            catalog,
            expose_efforts=options.expose_efforts,
            images=options.image_models and may_use(client, IMAGE_MODEL),
            client_version=client_version,
        )
        # Codex compares it with the ETag that each reply names.
        headers = {"etag": catalog.etag} if client_version is not None and catalog.etag is not None else {}
        if headers and request.headers.get("if-none-match") == catalog.etag:
            return HTTPResponse(status=304, headers=headers)
        return HTTPResponse(body, headers=headers, content_type="application/json")

    async def model(request: Request, name: str) -> HTTPResponse:
        wanted = unquote(name).strip("/")
        if not wanted:
            # ``/v1/models/`` is the list.
            return await models(request)
        client, catalog = await _allowed(request)
        if VERSION_HEADER in request.headers:
            services: Services = request.app.ctx.services
            body = claude.model_document(terms_for(client, services.terms), wanted)
        else:
            body = model_document(catalog, wanted, images=options.image_models and may_use(client, IMAGE_MODEL))
        return HTTPResponse(body, content_type="application/json")

    app.add_route(models, CODEX_MODELS_PATH, methods=["GET", "HEAD"], name="codex_models")
    for number, path in enumerate(MODELS_PATHS):
        app.add_route(models, path, methods=["GET", "HEAD"], name=f"models_{number}")
        # ``path``: a model name may hold slashes.
        app.add_route(model, f"{path}/<name:path>", methods=["GET", "HEAD"], name=f"model_{number}")


async def admitted(request: Request) -> Client:
    """
    Authenticate a request.

    Raises:
        Unauthorized: no client key, or a wrong one.
    """
    services: Services = request.app.ctx.services
    return await services.admission.admit(headers_of(request), source=client_source(request))


async def allowed_models(request: Request) -> ModelCatalog:
    """
    Authenticate a request. Returns the models that its client may use.

    Raises:
        Unauthorized: no client key, or a wrong one.
    """
    return (await _allowed(request))[1]


async def _allowed(request: Request) -> tuple[Client, ModelCatalog]:
    client = await admitted(request)
    services: Services = request.app.ctx.services
    return client, catalog_for(client, services.terms.catalog)
