"""
Creates the Sanic app: the guard before every route, routes from the dialect table, middleware, services opened and
closed with each worker.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, closing
from types import SimpleNamespace
from typing import Any

from sanic import Request, Sanic
from sanic.config import Config
from sanic.http import Http
from sanic.models.handler_types import RouteHandler
from sanic.response import BaseHTTPResponse

from gptmock.dialects.families import below_base_path, family_of
from gptmock.dialects.table import DIALECTS, IMAGE_DIALECTS, DialectRoute
from gptmock.errors import ClientError
from gptmock.server.admin import add_admin_routes
from gptmock.server.backend_api import add_backend_routes
from gptmock.server.client_bounds import ClientBounds
from gptmock.server.client_setups import add_client_setups_route
from gptmock.server.context import App, ServerOptions, Services
from gptmock.server.conversations import add_conversation_routes
from gptmock.server.cors import CorsPolicy
from gptmock.server.dashboard import add_dashboard_routes
from gptmock.server.descriptors import capacity, raise_descriptor_limit
from gptmock.server.events import add_events_route
from gptmock.server.guard import Guard, guard_of_scrapes
from gptmock.server.invitations import add_invitation_routes
from gptmock.server.large_bodies import LargeBodies
from gptmock.server.listings import add_listing_routes
from gptmock.server.live_feed import LiveFeed
from gptmock.server.messages import add_messages_routes
from gptmock.server.metrics_listener import MetricsListener, refuse_others
from gptmock.server.ollama import add_ollama_routes
from gptmock.server.openapi import add_openapi_route
from gptmock.server.ops import add_ops_routes, came_by_scrape_listener
from gptmock.server.page_streams import add_page_streams
from gptmock.server.replies import ErrorAnswers
from gptmock.server.requests import ClientRequest, request_id
from gptmock.server.responses import add_responses_routes
from gptmock.server.sockets.routes import add_socket_routes
from gptmock.server.streaming import Heartbeats
from gptmock.server.transcriptions import add_transcription_route
from gptmock.server.turns import turn_handler
from gptmock.server.usage import add_usage_routes

APP_NAME = "gptmock"
_MAX_HEADER_BYTES = 16 * 1024
"""Sanic's own limit of 8 KiB is close to what clients with JWTs send."""


class GuardedApp(Sanic[Config, SimpleNamespace]):
    """
    Refuses requests before they are routed and before their bodies are read; ``ctx.guard`` decides.

    An override and no signal handler: Sanic's dispatch of a signal costs more than the check.
    """

    async def handle_request(self, request: Request) -> None:
        """Answer a request."""
        try:
            if came_by_scrape_listener(request):
                if self.ctx.scrape_guard is not None:
                    self.ctx.scrape_guard.admit(request)
                refuse_others(request)
            else:
                self.ctx.guard.admit(request)
                if getattr(request, "is_outside", False):
                    raise below_base_path(request.method, request.path, base_path=self.ctx.base_path)
        except ClientError as refused:
            await self.handle_exception(request, refused)
        else:
            await super().handle_request(request)

    def add_route(self, *arguments: Any, **options: Any) -> RouteHandler:
        """
        Add a route; see Sanic.

        Errors are rendered by ``ErrorAnswers``. Without a format of its own, Sanic reads and parses the source of
        every handler: half of what it costs to create the app.
        """
        return super().add_route(*arguments, **{"error_format": "json", **options})


def create_app(
    open_services: Callable[[], AbstractAsyncContextManager[Services]],
    options: ServerOptions,
    *,
    dialects: Sequence[DialectRoute] = DIALECTS,
) -> App:
    """
    Create the app; no service is opened before a worker starts.

    Args:
        open_services: entered when a worker starts, exited after its last stream has ended.
        options: limits and features of the HTTP layer.
        dialects: the routes of model calls.
    """
    cors = CorsPolicy(options.cors_origins)
    app = GuardedApp(
        APP_NAME,
        config=_config(options),
        error_handler=ErrorAnswers(cors),
        request_class=ClientRequest,
        configure_logging=False,
    )
    app.ctx.guard, app.ctx.base_path = Guard(options, cors), options.base_path
    app.ctx.scrape_guard = guard_of_scrapes(options)
    _add_routes(app, options, dialects)
    app.register_middleware(_response_headers(cors), "response")
    stack = AsyncExitStack()

    async def open_worker(worker: App) -> None:
        worker.ctx.heartbeats, worker.ctx.turns = Heartbeats(), set()
        worker.ctx.client_bounds = stack.enter_context(_client_bounds(options))
        worker.ctx.large_bodies = stack.enter_context(closing(LargeBodies()))
        services = worker.ctx.services = await stack.enter_async_context(open_services())
        services.activity.count_connections = worker.ctx.client_bounds.count_connections
        worker.ctx.live_feed = LiveFeed(services)

    async def close_worker(_: App) -> None:
        await stack.aclose()

    app.register_listener(open_worker, "before_server_start")
    # Not before_server_stop, when streams are still running.
    app.register_listener(close_worker, "after_server_stop")
    if options.metrics_address is not None:
        listener = MetricsListener(options.metrics_address)
        app.register_listener(listener.open, "after_server_start")
        app.register_listener(listener.close, "after_server_stop")
    return app


def _add_routes(app: App, options: ServerOptions, dialects: Sequence[DialectRoute]) -> None:
    for route in (*dialects, *IMAGE_DIALECTS):
        for number, path in enumerate(route.paths):
            handler, name = turn_handler(route, options), f"{route.name}_{number}"
            app.add_route(handler, path, methods=[route.method], name=name, ctx_dialect_route=route)
    add_responses_routes(app, options)
    add_socket_routes(app, options)
    add_messages_routes(app, options)
    add_backend_routes(app, options)
    add_transcription_route(app, options)
    add_listing_routes(app, options)
    add_conversation_routes(app)
    add_ollama_routes(app, options)
    add_usage_routes(app)
    add_ops_routes(app, options)
    add_admin_routes(app)
    add_invitation_routes(app, options)
    add_client_setups_route(app, options)
    add_events_route(app, options)
    add_page_streams(app, options)
    add_dashboard_routes(app, options)
    add_openapi_route(app, base_path=options.base_path)


def _client_bounds(options: ServerOptions) -> ClientBounds:
    room = capacity(raise_descriptor_limit(), max_connections=options.max_connections, max_streams=options.max_streams)
    return ClientBounds(options.deadlines, room, max_drop_bytes=options.max_body_bytes)


def _config(options: ServerOptions) -> Config:
    # Without a prefix, so that SANIC_* environment variables have no effect.
    config = Config(env_prefix=None)
    config.ACCESS_LOG = False
    config.AUTO_EXTEND = False
    config.MOTD = False
    config.REQUEST_MAX_SIZE = options.max_body_bytes
    config.REQUEST_MAX_HEADER_SIZE = _MAX_HEADER_BYTES
    config.GRACEFUL_SHUTDOWN_TIMEOUT = options.shutdown_grace_seconds
    return config


def _response_headers(cors: CorsPolicy) -> Callable[[Request, BaseHTTPResponse], Coroutine[Any, Any, None]]:
    """Middleware that adds the request id and CORS headers to every response, also to errors and streams."""

    async def add_headers(request: Request, response: BaseHTTPResponse) -> None:
        services: Services | None = getattr(request.app.ctx, "services", None)
        if services is not None and services.draining and isinstance(request.stream, Http):
            # The client is told to connect anew, which leads it to a server that stays.
            request.stream.keep_alive = False
        response.headers["x-request-id"] = request_id(request)
        if (name := family_of(request.path, request.headers).request_id_header) is not None:
            response.headers[name] = request_id(request)
        for name, value in cors.answer(request.headers).items():
            response.headers[name] = value

    return add_headers
