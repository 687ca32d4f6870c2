"""A worker: one Sanic server on the listening socket, which drains when the supervisor says so, or is gone."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

import uvloop
from sanic.http import Stage

from gptmock.server.client_connection import ClientConnection
from gptmock.server.context import App
from gptmock.server.turns import cut_turns
from gptmock.supervision.link import Link

log = logging.getLogger("gptmock.server")

BACKLOG = 4096
"""Connections that may wait to be accepted. With a shorter backlog (Sanic's 100), Linux resets
some connections of a burst."""
ORPHAN_GRACE_SECONDS = 5.0
"""For what is being answered when the supervisor is gone."""
FAREWELL_SECONDS = 2.0
"""For the last words to those whose answers the grace did not suffice for."""
_TLS_DEADLINES = {"ssl_handshake_timeout": 10.0, "ssl_shutdown_timeout": 5.0}
LOOK_SECONDS = 0.05
"""Between two looks at the connections while the server drains."""


@dataclass(frozen=True, slots=True)
class Drain:
    """How to finish."""

    delay: float = 0.0
    """Seconds in which connections are still accepted."""
    grace: float = 0.0
    """Seconds for what is being answered then."""
    linger: float = 0.0
    """Seconds that a connection has been idle for before it is closed: a request may be on its way."""


def run_worker(build: Callable[[], App], listening: socket.socket, link: Link, tls: SSLContext | None = None) -> int:
    """
    Serve until the supervisor ends it; returns an exit code.

    Args:
        build: makes the app.
        listening: bound; shared with other workers.
        link: to the supervisor.
        tls: for TLS on each connection.
    """
    link.set_blocking(False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(build, listening, link, tls))


async def _serve(build: Callable[[], App], listening: socket.socket, link: Link, tls: SSLContext | None) -> int:
    orders = _Orders(link)
    try:
        app = build()
        starting = asyncio.ensure_future(_started(app, listening, tls))
        await asyncio.wait([starting, orders.drain], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            # Nobody is connected yet.
            return 0
        server = starting.result()
    except Exception:
        log.exception("server.start_failed")
        link.send({"failed": True})
        return 1
    link.send({"serving": True})
    drain = await orders.drain
    app.ctx.services.draining = True
    await _drained(app, server, drain, orders)
    return 0


class _Orders:
    """What the supervisor says; that it is gone is the order to end soon."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self.drain: asyncio.Future[Drain] = self._loop.create_future()
        self.ends_at = float("inf")
        """When what is still being answered is cut, by the loop's clock: the earliest end of all orders."""
        self._loop.add_reader(link, self._hear)

    def _hear(self) -> None:
        with suppress(EOFError):
            for message in self._link.receive():
                self._obey(Drain(message["delay"], message["grace"], message["linger"]))
            return
        self._loop.remove_reader(self._link)
        log.error("server.orphaned")
        self._obey(Drain(grace=ORPHAN_GRACE_SECONDS))

    def _obey(self, drain: Drain) -> None:
        self.ends_at = min(self.ends_at, self._loop.time() + drain.delay + drain.grace)
        if not self.drain.done():
            self.drain.set_result(drain)


async def _started(app: App, listening: socket.socket, tls: SSLContext | None) -> Any:
    """Sanic's ``AsyncioServer``, whose methods have no types."""
    server: Any = await app.create_server(
        sock=listening,
        ssl=tls,
        protocol=ClientConnection,
        backlog=BACKLOG,
        return_asyncio_server=True,
        asyncio_server_kwargs={"start_serving": False, **(_TLS_DEADLINES if tls is not None else {})},
    )
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await server.after_start()
    return server


async def _drained(app: App, server: Any, drain: Drain, orders: _Orders) -> None:
    await asyncio.sleep(drain.delay)
    await server.before_stop()
    server.close()
    if not await _is_left(server, lambda: orders.ends_at, drain.linger):
        cut_turns(app)
        farewell_ends_at = asyncio.get_running_loop().time() + FAREWELL_SECONDS
        await _is_left(server, lambda: farewell_ends_at, 0.0)
    for connection in list(server.connections):
        connection.abort()
    await server.after_stop()


async def _is_left(server: Any, ends_at: Callable[[], float], linger: float) -> bool:
    """Whether all clients have left by a time, which may come nearer; idle connections are closed."""
    loop = asyncio.get_running_loop()
    idle_since: dict[ClientConnection, float] = {}
    while server.connections:
        now = loop.time()
        if now >= ends_at():
            return False
        idle_since = {one: idle_since.get(one, now) for one in server.connections if _is_idle(one)}
        for connection, since in idle_since.items():
            if now - since >= linger:
                connection.close()
        await asyncio.sleep(LOOK_SECONDS)
    return True


def _is_idle(connection: ClientConnection) -> bool:
    return connection.http is None or connection.http.stage is Stage.IDLE
