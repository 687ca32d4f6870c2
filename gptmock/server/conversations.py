"""Routes of stored responses: get, delete, cancel and list input items. Must not know where they are stored."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from sanic import HTTPResponse, Request

from gptmock.dialects.stored import deleted_document, input_items_document, page_of, refuse_stream
from gptmock.server.context import App, Services
from gptmock.server.guard import client_source
from gptmock.server.requests import headers_of

RESPONSES_PATHS = ("/v1/responses", "/responses")
_JSON = "application/json"
_READ = ("GET", "HEAD")


def add_conversation_routes(app: App) -> None:
    """Add ``/v1/responses/{id}``, also without ``/v1``; a client key has access to its own responses only."""
    routes: tuple[tuple[str, tuple[str, ...], Callable[[Request, str], Coroutine[Any, Any, HTTPResponse]]], ...] = (
        ("/<response_id>", _READ, _get),
        ("/<response_id>", ("DELETE",), _delete),
        ("/<response_id>/input_items", _READ, _input_items),
        ("/<response_id>/cancel", ("POST",), _cancel),
    )
    for number, base in enumerate(RESPONSES_PATHS):
        for path, methods, handler in routes:
            name = f"stored{handler.__name__}_{number}"
            app.add_route(handler, base + path, methods=methods, name=name, unquote=True)


async def _get(request: Request, response_id: str) -> HTTPResponse:
    services, tenant = await _admitted(request)
    refuse_stream(_query(request))
    snapshot = await services.conversations.load(tenant, response_id)
    return HTTPResponse(bytes(snapshot.response), content_type=_JSON)


async def _delete(request: Request, response_id: str) -> HTTPResponse:
    services, tenant = await _admitted(request)
    await services.conversations.forget(tenant, response_id)
    return HTTPResponse(deleted_document(response_id), content_type=_JSON)


async def _input_items(request: Request, response_id: str) -> HTTPResponse:
    services, tenant = await _admitted(request)
    page = page_of(_query(request))
    snapshot = await services.conversations.load(tenant, response_id)
    return HTTPResponse(input_items_document(snapshot, page), content_type=_JSON)


async def _cancel(request: Request, response_id: str) -> HTTPResponse:
    services, tenant = await _admitted(request)
    await services.conversations.cancel(tenant, response_id)


async def _admitted(request: Request) -> tuple[Services, str]:
    services: Services = request.app.ctx.services
    client = await services.admission.admit(headers_of(request), source=client_source(request))
    return services, client.tenant


def _query(request: Request) -> dict[str, str]:
    """The first value of each parameter."""
    return {name: values[0] for name, values in request.args.items() if values}
