"""Routes of Anthropic's API besides Messages: the probe of Claude Code. Its models are in ``server.listings``."""

from __future__ import annotations

from sanic import HTTPResponse, Request

from gptmock.server.context import App


def add_messages_routes(app: App) -> None:
    """Add ``/api/hello``, which Claude Code asks before anything else, without a key."""
    app.add_route(_hello, "/api/hello", methods=["GET", "HEAD"], name="hello")


async def _hello(_: Request) -> HTTPResponse:
    return HTTPResponse(status=200)
