"""
All that one WebSocket asks for: lanes of turns, and the ends of a connection.

    lane        turns of one ``stream_id``, one after another; without one there is a lane too
    lanes       MAX_RUNNING run beside each other, the others wait
    end         asked for by age, idleness or a server that stops: the running turns end first
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from sanic import Request
from sanic.exceptions import RequestCancelled

from gptmock.dialects.table import DialectRoute
from gptmock.errors import GptmockError, TooManyRequests
from gptmock.server.context import ServerOptions, Services
from gptmock.server.large_bodies import LargeBodies
from gptmock.server.replies import as_gptmock_error
from gptmock.server.sockets.connection import Socket
from gptmock.server.sockets.memory import ConnectionMemory
from gptmock.server.sockets.messages import BadMessage, Create, Steer, error_message, read_message, told
from gptmock.server.sockets.turns import SocketTurn, WarmUp

MAX_RUNNING = 8
MAX_WAITING = 64
MAX_WAITING_BYTES = 64 * 1024 * 1024
_NORMAL, _RESTART = 1000, 1012

log = logging.getLogger("gptmock.server")


@dataclass(frozen=True, slots=True)
class Ages:
    """How long a connection lasts."""

    idle_seconds: float = 600.0
    """Without a turn."""
    age_seconds: float = 3600.0
    """From the handshake on; a turn under way ends first."""


class SocketSession:
    """
    The handler of one WebSocket.

    Args:
        request: the handshake.
        route: of the same turns over HTTP.
        options: of the HTTP layer.
        socket: the connection.
        ages: how long it lasts.
    """

    def __init__(
        self, request: Request, route: DialectRoute, options: ServerOptions, socket: Socket, ages: Ages
    ) -> None:
        self._request = request
        self._route = route
        self._options = options
        self._socket = socket
        self._ages = ages
        self._services: Services = request.app.ctx.services
        self._large_bodies: LargeBodies = request.app.ctx.large_bodies
        self._memory = ConnectionMemory()
        self._waiting: dict[bytes, deque[Create]] = {}
        self._waiting_bytes = 0
        self._running: dict[bytes, asyncio.Task[None]] = {}
        self._began = self._busy_at = time.monotonic()
        self._ending: tuple[int, bytes | None] | None = None
        """The close code, and a message before it, once the running turns have ended."""
        socket.look_at, socket.drain = self._look, self._drain

    async def run(self) -> None:
        """Serve the connection until it is over."""
        try:
            while (text := await self._socket.receive()) is not None:
                await self._take(text)
                self._busy_at = time.monotonic()
        finally:
            await self._stop()
        await self._socket.closed()

    async def _stop(self) -> None:
        """The client is gone: its turns end."""
        self._waiting.clear()
        running = list(self._running.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.gather(*running, return_exceptions=True)

    async def _take(self, text: bytes) -> None:
        try:
            message = await self._large_bodies.run(len(text), partial(read_message, text))
            if isinstance(message, Steer):
                await self._answer(message.answer)
                return
            self._check_room(message)
        except BadMessage as error:
            await self._answer(error_message(error, error.lane))
        except GptmockError as error:
            await self._answer(error_message(error))
        else:
            self._waiting.setdefault(bytes(message.lane or b""), deque()).append(message)
            self._waiting_bytes += len(message.body)
            self._start()

    async def _answer(self, text: bytes) -> None:
        """Send what is no event of a turn. A client that does not read is asked for no more until it does."""
        self._socket.send(text)
        await self._read()

    async def _read(self) -> None:
        """Wait until the client has read enough; if it reads nothing, the connection's own deadline ends it."""
        with suppress(RequestCancelled):
            # Raised also while the connection is closed in order.
            await self._socket.writable()

    def _check_room(self, message: Create) -> None:
        waiting = sum(map(len, self._waiting.values()))
        if waiting >= MAX_WAITING or (waiting and self._waiting_bytes + len(message.body) > MAX_WAITING_BYTES):
            raise TooManyRequests(
                f"{waiting} turns of this connection wait already; send more when some have ended.",
                retry_after_seconds=1.0,
            )

    def _start(self) -> None:
        """Start turns of lanes in which none runs, oldest lane first, as far as there is room."""
        if self._ending is not None:
            return
        for name in [name for name in self._waiting if name not in self._running]:
            if len(self._running) >= MAX_RUNNING:
                return
            lane = self._waiting[name]
            create = lane.popleft()
            if not lane:
                del self._waiting[name]
            self._waiting_bytes -= len(create.body)
            task = self._running[name] = asyncio.get_running_loop().create_task(self._turn(create), name="lane")
            task.add_done_callback(partial(self._turn_ended, name, create))

    def _turn_ended(self, name: bytes, create: Create, task: asyncio.Task[None]) -> None:
        self._running.pop(name, None)
        self._busy_at = time.monotonic()
        if task.cancelled():
            return
        if (failure := task.exception()) is not None:
            log.error("server.error", exc_info=failure)
            self._socket.send(error_message(as_gptmock_error(self._request, failure), create.lane))
        self._start()
        self._end_if_idle()

    async def _turn(self, create: Create) -> None:
        kind = WarmUp if create.warms_up else SocketTurn
        turn = kind(self._request, self._route, self._options, create=create, socket=self._socket, memory=self._memory)
        response = await turn.run()
        if response is not None:
            headers = {name.lower(): str(value) for name, value in response.headers.items()}
            self._socket.send(told(response.status, response.body or b"", headers, create.lane))
        # The next turn of the lane begins behind this: a warm-up, or a whole answer in one block, waits for nothing.
        await self._read()

    # --- Ends -----------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        if self._ending is not None:
            return
        if self._services.draining:
            self._drain()
        elif now - self._began >= self._ages.age_seconds:
            limit = GptmockError(
                "This connection has reached its age limit; connect again.",
                code="websocket_connection_limit_reached",
                status=400,
            )
            self._end(_NORMAL, error_message(limit))
        elif not self._running and now - max(self._busy_at, self._began) >= self._ages.idle_seconds:
            self._end(_NORMAL, None)

    def _drain(self) -> None:
        if self._ending is None:
            self._end(_RESTART, None)

    def _end(self, code: int, message: bytes | None) -> None:
        self._ending = (code, message)
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._ending is None or self._running:
            return
        code, message = self._ending
        if message is not None:
            self._socket.send(message)
        self._socket.close(code)
