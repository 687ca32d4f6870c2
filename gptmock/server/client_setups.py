"""``GET /admin/clients``: how each client is set up for this server, as ``gptmock launch --print`` tells it."""

from __future__ import annotations

from functools import partial

from sanic import HTTPResponse, Request

from gptmock.client_setups.setup import ServedModel, Target
from gptmock.client_setups.table import SETUPS, setup_document
from gptmock.dialects.claude_models import families
from gptmock.gateway.key_terms import catalog_for, may_use
from gptmock.server.admin import add_admin_route, answer
from gptmock.server.callers import caller
from gptmock.server.context import App, ServerOptions
from gptmock.server.guard import own_origin


def add_client_setups_route(app: App, options: ServerOptions) -> None:
    """Add it. The setups have the caller's models and no key: they name the variable that holds it."""

    async def setups(request: Request) -> HTTPResponse:
        client = await caller(request)
        terms = request.app.ctx.services.terms
        catalog = catalog_for(client, terms.catalog)
        catalog = catalog if catalog.living else terms.catalog
        model = catalog.default
        target = Target(
            url=(options.public_url or own_origin(request)) + options.base_path,
            model=ServedModel(model.slug, model.context_window),
            small_model=families(terms.catalog, terms.defaults.anthropic_models, partial(may_use, client))["haiku"],
            needs_key=options.requires_key or bool(client.tenant),
        )
        return answer({"clients": [setup_document(setup, target) for setup in SETUPS]})

    add_admin_route(app, "clients", ("GET", "HEAD"), setups, None)
