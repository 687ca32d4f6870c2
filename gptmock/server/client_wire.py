"""
A client's connection under Sanic. The one place that writes past ``HTTPResponse.send``, which costs a coroutine for
each block: once the head has gone, a block is framed here and handed to the transport.

Uses what Sanic does not document: ``HttpProtocol._can_write`` and ``transport``, and that ``Http`` has chosen chunked
encoding. ``tests/server/test_client_wire.py`` holds them.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from typing import Any

from sanic import HTTPResponse, Request
from sanic.exceptions import RequestCancelled

_UNSAFE = re.compile(rb"[\r\n\x00]")
"""What Sanic takes out of headers."""


class TurnResponse(HTTPResponse):
    """The response to a turn. Its headers are looked at once, all together; Sanic translates each name and value."""

    __slots__ = ()

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        """See Sanic: the headers as bytes, without line ends and NUL."""
        self.headers.setdefault("content-type", self.content_type)
        encoded = [
            (name.encode("ascii"), f"{value}".encode(errors="surrogateescape")) for name, value in self.headers.items()
        ]
        if _UNSAFE.search(b"".join(part for header in encoded for part in header)):
            return super().processed_headers
        return iter(encoded)


class SanicWire:
    """
    See ``streaming.Wire``.

    Args:
        request: its handler streams the response.
        response: made by ``request.respond``, or given to it.
        shown: takes a copy of everything that is sent, if given.
    """

    __slots__ = ("_can_write", "_response", "_shown", "_transport")

    def __init__(self, request: Request, response: HTTPResponse, *, shown: list[bytes] | None = None) -> None:
        self._response = response
        protocol: Any = request.protocol
        self._transport: asyncio.Transport = protocol.transport
        self._can_write: asyncio.Event = protocol._can_write  # noqa: SLF001 - see above
        self._shown = shown
        send_at_once(self._transport)

    async def begin(self, block: bytes) -> None:
        """See ``streaming.Wire.begin``."""
        self._show(block)
        await self._response.send(block)

    def write(self, block: bytes) -> bool:
        """See ``streaming.Wire.write``. Always chunked: a streamed response has no length."""
        if self._shown is not None:
            self._show(block)
        self._transport.write(b"%x\r\n%b\r\n" % (len(block), block))
        return self._can_write.is_set()

    async def writable(self) -> None:
        """See ``streaming.Wire.writable``."""
        await self._can_write.wait()
        if self._transport.is_closing():
            raise RequestCancelled

    def unsent(self) -> int:
        """See ``streaming.Wire.unsent``."""
        return self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """See ``streaming.Wire.abort``."""
        self._transport.abort()

    async def end(self, block: bytes) -> None:
        """See ``streaming.Wire.end``."""
        self._show(block)
        await self._response.send(block, end_stream=True)

    def _show(self, block: bytes) -> None:
        if self._shown is not None:
            self._shown.append(block)


def send_at_once(transport: asyncio.BaseTransport) -> None:
    """Have a connection send what is written without waiting for more (TCP_NODELAY)."""
    if not isinstance(transport, asyncio.Transport):
        # That of uvloop, which has seen to it. It is no subclass.
        return
    # Sanic's listening socket names no protocol, so plain asyncio leaves Nagle on: 44 ms a reply instead of 4.
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
