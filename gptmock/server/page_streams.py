"""The streams that the page asks for besides its state: ``Try it``, and a sign-in by device code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from sanic import HTTPResponse, Request

from gptmock.accounts import IssuedTokens
from gptmock.dialects.bodies import decode_body
from gptmock.dialects.openai_errors import error_reply
from gptmock.dialects.table import DIALECTS
from gptmock.errors import BadRequest, GptmockError
from gptmock.login.flow import device_login
from gptmock.server.admin_bodies import DeviceLoginBody
from gptmock.server.callers import actor_of, caller, team_of
from gptmock.server.context import App, ServerOptions
from gptmock.server.turns import STREAM_HEADERS, raise_idle_timeout, turn_handler
from gptmock.signin import DeviceCode

_EVENT_STREAM = "text/event-stream"
_CHAT = next(route for route in DIALECTS if route.name == "chat")


def add_page_streams(app: App, options: ServerOptions) -> None:
    """Add ``POST /admin/try`` and ``POST /admin/login/device``."""
    chat = turn_handler(_CHAT, options)

    async def try_it(request: Request) -> HTTPResponse | None:
        # The page has a session in place of a key.
        request.ctx.client = await caller(request)
        return await chat(request)

    async def sign_in(request: Request) -> HTTPResponse | None:
        client = await caller(request, "admin")
        check_accepts_events(request)
        body = decode_body(request.body or b"{}", DeviceLoginBody)
        team = team_of(request)
        book = team.accounts(await actor_of(request, client))

        async def enroll(issued: IssuedTokens) -> dict[str, Any]:
            return {"label": (await book.enroll(issued, label=body.label)).label}

        await stream_device_login(request, options, await team.issuer.begin_device(), enroll)
        return None

    app.add_route(try_it, "/admin/try", methods=["POST"], name="admin_try", ctx_dialect_route=_CHAT)
    app.add_route(sign_in, "/admin/login/device", methods=["POST"], name="admin_login_device", ctx_body=DeviceLoginBody)


def check_accepts_events(request: Request) -> None:
    """
    Check that the client accepts an event stream.

    Raises:
        BadRequest: it does not.
    """
    if _EVENT_STREAM not in request.headers.get("accept", ""):
        raise BadRequest("This is answered with an event stream: send the header Accept: text/event-stream.")


async def stream_device_login(
    request: Request,
    options: ServerOptions,
    device: DeviceCode,
    finish: Callable[[IssuedTokens], Awaitable[dict[str, Any]]],
) -> None:
    """
    Answer with the events of a device login: ``user_code`` and ``url``, ``left_seconds`` each second, and at last what
    ``finish`` returns for the tokens, or ``error``. If the client leaves before it has signed in, the login ends.
    """
    raise_idle_timeout(request, options.deadline_seconds)
    headers = {**STREAM_HEADERS, "cache-control": "no-store"}
    response = await request.respond(headers=headers, content_type=_EVENT_STREAM)
    assert response is not None  # noqa: S101 - respond() gives one unless the stream was used before
    await response.send(_event({"user_code": device.user_code, "url": device.page}))
    left: list[float] = []
    issuer = team_of(request).issuer
    waiting = asyncio.get_running_loop().create_task(
        device_login(issuer, finish, device, tick=left.append), name="login"
    )
    try:
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=1.0)
            if left and not waiting.done():
                await response.send(_event({"left_seconds": round(left[-1])}))
                left.clear()
        await response.send(_event(_outcome(waiting)))
        await response.eof()
    finally:
        waiting.cancel()
        await asyncio.wait({waiting})


def _outcome(done: asyncio.Task[dict[str, Any]]) -> dict[str, Any]:
    error = done.exception()
    if error is None:
        return done.result()
    if not isinstance(error, GptmockError):
        raise error
    shown: dict[str, Any] = msgspec.json.decode(error_reply(error).body)
    return shown


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(document) + b"\n\n"
