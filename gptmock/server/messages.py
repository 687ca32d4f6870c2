"""Routes of Anthropic's API besides Messages: counts, and a probe of Claude Code. Models are in ``server.listings``."""

from __future__ import annotations

from sanic import HTTPResponse, Request

from gptmock.server.context import App, ServerOptions
from gptmock.server.token_counts import add_count_routes


def add_messages_routes(app: App, options: ServerOptions) -> None:
    """Add the routes that count tokens, and ``/api/hello``: Claude Code asks it first of all, without a key."""
    add_count_routes(app, options)
    app.add_route(_hello, "/api/hello", methods=["GET", "HEAD"], name="hello")


async def _hello(_: Request) -> HTTPResponse:
    return HTTPResponse(status=200)
