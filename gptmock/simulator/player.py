"""Sends the steps of a scene as a response, one write per step, and records client disconnects."""

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterable, Mapping

from aiohttp import web

from gptmock.simulator.state import SimulatorState
from gptmock.simulator.steps import Abort, Cut, Framed, Pause, Raw, Step, framed

UNTYPED_MARK = web.ResponseKey("untyped", bool)
_RESET = struct.pack("ii", 1, 0)
"""``SO_LINGER`` with zero seconds: closing the socket sends a TCP RST."""


async def drop_content_type(_request: web.Request, response: web.StreamResponse) -> None:
    """Handler of aiohttp's ``on_response_prepare``: removes ``Content-Type``, which the backend's streams lack."""
    if response.get(UNTYPED_MARK):
        response.headers.popall("content-type", None)


async def play(
    request: web.Request, steps: Iterable[Step], *, state: SimulatorState, scene: str, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Answer ``request`` with the steps; the response head is sent with the first step that is not a pause."""
    response = web.StreamResponse(headers=headers)
    response[UNTYPED_MARK] = True
    response.enable_chunked_encoding()
    async with watched(state, scene):
        for step in framed(steps):
            if not response.prepared and not isinstance(step, Pause):
                await response.prepare(request)
            if await _broken_off(request, response, step):
                return response
            if state.options.pace_seconds and isinstance(step, Raw):
                await asyncio.sleep(state.options.pace_seconds)
        if not response.prepared:
            await response.prepare(request)
        await response.write_eof()
    return response


async def _broken_off(request: web.Request, response: web.StreamResponse, step: Framed) -> bool:
    """Perform one step; true if it ended the connection."""
    transport = request.transport
    match step:
        case Raw(data):
            await response.write(data)
            # Yields to the event loop, so that the write is flushed and a disconnect is noticed.
            await asyncio.sleep(0)
        case Pause(seconds):
            await asyncio.sleep(seconds)
        case Cut(data) if transport is not None:
            transport.write(b"1000\r\n" + data)
            transport.close()
            return True
        case Abort() if transport is not None:
            reset(request)
            return True
    return False


def reset(request: web.Request) -> None:
    """Reset the connection of a request (TCP RST)."""
    if request.transport is not None:
        _linger_zero(request.transport)
        request.transport.abort()


def _linger_zero(transport: asyncio.Transport) -> None:
    connection = transport.get_extra_info("socket")
    # uvloop's socket objects do not allow ``setsockopt``; the option set on a duplicate applies to both.
    with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


@contextlib.asynccontextmanager
async def watched(state: SimulatorState, scene: str) -> AsyncIterator[None]:
    """Count the stream as open; cancellation or a lost connection is a client disconnect, unless we are stopping."""
    began = time.monotonic()
    state.open_streams += 1
    try:
        yield
    except (asyncio.CancelledError, ConnectionError):
        if not state.stopping:
            state.client_left(scene, time.monotonic() - began)
        raise
    finally:
        state.open_streams -= 1
