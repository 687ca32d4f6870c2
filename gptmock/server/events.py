"""``GET /admin/events``: the state that the page shows, and then its differences, as server-sent events."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from sanic import HTTPResponse, Request

from gptmock.protocol.sse import SSE_HEARTBEAT
from gptmock.server.callers import caller
from gptmock.server.context import App, ServerOptions
from gptmock.server.live_feed import LiveFeed, Watcher
from gptmock.server.turns import STREAM_HEADERS, raise_idle_timeout

PATH = "/admin/events"
_EVENT_STREAM = "text/event-stream"


def add_events_route(app: App, options: ServerOptions) -> None:
    """Add it. A client that does not accept an event stream gets the state as one JSON object."""

    async def events(request: Request) -> HTTPResponse | None:
        client = await caller(request)
        feed: LiveFeed = request.app.ctx.live_feed
        if request.method == "HEAD" or _EVENT_STREAM not in request.headers.get("accept", ""):
            return HTTPResponse(
                _object(await feed.state(client)),
                headers={"cache-control": "no-store"},
                content_type="application/json",
            )
        raise_idle_timeout(request, options.deadline_seconds)
        async with feed.watching(client) as watcher:
            response = await request.respond(
                headers={**STREAM_HEADERS, "cache-control": "no-store"}, content_type=_EVENT_STREAM
            )
            assert response is not None  # noqa: S101 - respond() gives one unless the stream was used before
            while not (watcher.ended or request.app.ctx.services.draining):
                await response.send(await _next(watcher, options.heartbeat_seconds))
            await response.send(b"event: ended\ndata: {}\n\n")
            await response.eof()
        return None

    app.add_route(events, PATH, methods=["GET", "HEAD"], name="admin_events")


async def _next(watcher: Watcher, seconds: float) -> bytes:
    """The next event; a heartbeat after so many seconds of silence."""
    with suppress(TimeoutError):
        await asyncio.wait_for(watcher.wake.wait(), seconds)
    watcher.wake.clear()
    if not watcher.waiting:
        return SSE_HEARTBEAT
    body = _object(watcher.waiting)
    watcher.waiting.clear()
    return b"event: state\ndata: " + body + b"\n\n"


def _object(sections: dict[str, bytes]) -> bytes:
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), body) for name, body in sections.items()) + b"}"
