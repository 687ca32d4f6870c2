"""
The listener for scrapes alone (``--metrics-bind``): ``/metrics`` without a key, and the probes, on an address that the
operator keeps from clients. Every worker listens there (SO_REUSEPORT), since any of them tells the sum over all.

The requests go to the same app; what tells them from others is the class of their connection.
"""

from __future__ import annotations

import socket
from typing import Any

from sanic import Request

from gptmock.dialects.families import unknown_route
from gptmock.server.client_connection import ClientConnection
from gptmock.server.context import App
from gptmock.server.ops import METRICS_PATH, PROBES

_SERVED = PROBES | {METRICS_PATH}


class ScrapeConnection(ClientConnection):
    """A connection to the listener for scrapes; ``ops.came_by_scrape_listener`` asks for it."""

    is_for_scrapes = True


def refuse_others(request: Request) -> None:
    """
    Refuse what the listener for scrapes does not serve.

    Raises:
        UnknownRoute: it does not.
    """
    if request.path not in _SERVED:
        raise unknown_route(request.method, request.path)


class MetricsListener:
    """
    Listens between ``open`` and ``close``.

    Args:
        address: host and port.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._server: Any = None

    async def open(self, app: App) -> None:
        """
        Listen; the app has started.

        Raises:
            OSError: the address cannot be bound.
        """
        self._server = await app.create_server(
            sock=_bound(self._address),
            protocol=ScrapeConnection,
            return_asyncio_server=True,
            asyncio_server_kwargs={"start_serving": False},
        )
        await self._server.start_serving()

    async def close(self, _: App) -> None:
        """Stop listening, and close what is connected."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._server.connections):
                connection.abort()


def _bound(address: tuple[str, int]) -> socket.socket:
    host, port = address
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, bind_to = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(bind_to)
    except OSError:
        bound.close()
        raise
    return bound
