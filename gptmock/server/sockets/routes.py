"""The route ``GET /v1/responses``, for WebSockets."""

from __future__ import annotations

import asyncio

from sanic import Request

from gptmock.dialects.families import wrong_method
from gptmock.dialects.table import RESPONSES, DialectRoute
from gptmock.errors import BodyTooLarge, ClientError, ForeignLogin
from gptmock.server.context import App, ServerOptions, Services
from gptmock.server.encodings import MAX_RATIO
from gptmock.server.guard import client_source
from gptmock.server.requests import headers_of
from gptmock.server.sockets.connection import Socket
from gptmock.server.sockets.messages import error_message
from gptmock.server.sockets.session import Ages, SocketSession


def add_socket_routes(app: App, options: ServerOptions, *, route: DialectRoute = RESPONSES) -> None:
    """Add the route, with and without ``/v1``. ``app.ctx.socket_ages`` replaces the ages of its connections."""

    async def handle(request: Request) -> None:
        if request.headers.get("upgrade", "").lower() != "websocket":
            raise wrong_method(request.method, request.path, allowed=("POST",))
        await _admit(request)
        socket = Socket(
            request,
            max_bytes=options.max_body_bytes,
            too_large=_too_large(options),
            stall_seconds=options.write_stall_seconds,
        )
        socket.shake_hands()
        ages = getattr(request.app.ctx, "socket_ages", None) or Ages()
        session = SocketSession(request, route, options, socket, ages)
        try:
            await session.run()
        except asyncio.CancelledError:
            # By the connection's end: there is nobody to answer.
            assert request.conn_info is not None  # noqa: S101 - it was connected
            if not request.conn_info.lost:
                raise

    # What Sanic asks whether a handler that returns nothing has answered.
    handle.is_websocket = True  # type: ignore[attr-defined]
    for number, path in enumerate(route.paths):
        app.add_route(handle, path, methods=["GET"], name=f"responses_socket_{number}", ctx_upgrades=True)


async def _admit(request: Request) -> None:
    services: Services = request.app.ctx.services
    try:
        await services.admission.admit(headers_of(request), source=client_source(request))
    except ForeignLogin as error:
        # Over HTTP the client is told what to do; Codex shows nothing of a refused handshake.
        raise ClientError(error.message, code=error.code, status=426) from error


def _too_large(options: ServerOptions) -> bytes:
    message = (
        f"The message is larger than 16 MiB, or when decompressed larger than {options.max_body_bytes} bytes, or more "
        f"than {MAX_RATIO} times larger."
    )
    return error_message(BodyTooLarge(message, code="payload_too_large", status=400, should_retry=False))
