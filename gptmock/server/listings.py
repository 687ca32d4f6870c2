"""GET routes that list what there is."""

from __future__ import annotations

from sanic import HTTPResponse, Request

from gptmock.dialects.listings import models_document
from gptmock.server.context import App, ServerOptions, Services
from gptmock.server.requests import headers_of

MODELS_PATHS = ("/v1/models", "/models")


def add_listing_routes(app: App, options: ServerOptions) -> None:
    """``/v1/models``, with and without ``/v1``; a client key is needed where turns need one."""

    async def models(request: Request) -> HTTPResponse:
        services: Services = request.app.ctx.services
        await services.admission.admit(headers_of(request))
        body = models_document(services.terms.catalog, expose_efforts=options.expose_efforts)
        return HTTPResponse(body, content_type="application/json")

    for number, path in enumerate(MODELS_PATHS):
        app.add_route(models, path, methods=["GET", "HEAD"], name=f"models_{number}")
