"""Connects sockets to an origin: name resolution, happy eyeballs, TLS. Knows neither HTTP nor WebSockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import aiohappyeyeballs
import httpx

Origin: TypeAlias = tuple[bool, str, int]
"""TLS, host, port."""
_HAPPY_EYEBALLS_SECONDS = 0.25
"""Before the next address of a host is tried beside the first (RFC 8305)."""
_RESOLVED_SECONDS = 10.0
"""How long the addresses of a host are believed, as by aiohttp."""
_Address: TypeAlias = tuple[Any, Any, int, str, tuple[Any, ...]]
"""As ``getaddrinfo`` has it."""
_Protocol = TypeVar("_Protocol", bound=asyncio.Protocol)


class Dialer:
    """
    Opens connections; made inside the running loop that uses it.

    Args:
        connect_seconds: for one connection, TLS included.
        tls: whom to trust; unless given, certifi's roots or those of ``SSL_CERT_FILE``, read when they are needed.
    """

    def __init__(self, *, connect_seconds: float = 10.0, tls: ssl.SSLContext | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._connect_seconds = connect_seconds
        self._tls = tls
        self._resolved: dict[tuple[str, int], tuple[float, list[_Address]]] = {}

    async def dial(self, origin: Origin, make: Callable[[], _Protocol]) -> _Protocol:
        """
        A protocol made by ``make`` on a new connection.

        Raises:
            httpx.ConnectTimeout: not in time.
            httpx.ConnectError: no address, no connection, or no TLS.
        """
        tls, host, port = origin
        if tls and self._tls is None:
            self._tls = httpx.create_ssl_context()
        try:
            async with asyncio.timeout(self._connect_seconds):
                addresses = await self._resolve(host, port)
                context, name = (self._tls, host) if tls else (None, None)
                if len(addresses) == 1:
                    ip, port = addresses[0][4][:2]
                    _, protocol = await self._loop.create_connection(
                        make, str(ip), port, ssl=context, server_hostname=name
                    )
                    return protocol
                sock = await aiohappyeyeballs.start_connection(
                    addresses, happy_eyeballs_delay=_HAPPY_EYEBALLS_SECONDS, interleave=1, loop=self._loop
                )
                try:
                    _, protocol = await self._loop.create_connection(make, sock=sock, ssl=context, server_hostname=name)
                except BaseException:
                    sock.close()
                    raise
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection to {host}:{port} in time") from error
        except (OSError, ValueError) as error:
            raise httpx.ConnectError(f"no connection to {host}:{port}: {error}") from error
        return protocol

    async def _resolve(self, host: str, port: int) -> list[_Address]:
        """The addresses of a host. Each look-up takes a thread, so their answer is kept for a moment."""
        resolved = self._resolved.get((host, port))
        if resolved is not None and self._loop.time() < resolved[0]:
            return resolved[1]
        addresses = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self._resolved[host, port] = self._loop.time() + _RESOLVED_SECONDS, addresses
        return addresses
