"""
The HTTP server on loopback that the issuer redirects the browser to. Any other path is a 404 and changes nothing.

    GET /auth/callback?...   the redirect URI; answers with a page when the login has succeeded or failed
    GET /cancel              ends this login: a newer one on the same machine needs the port; refused to web pages

Source: openai/codex ``login/src/server.rs``.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from gptmock.errors import LoginUnavailable
from gptmock.login import pages
from gptmock.login.attempt import CALLBACK_PATH
from gptmock.login.pages import Page

PORTS = (1455, 1457)
"""The only two ports that the issuer accepts in a redirect URI."""
HEAD_SECONDS = 10.0
CLOSE_SECONDS = 2.0
RECLAIM_TRIES = 10
RECLAIM_PAUSE_SECONDS = 0.2
_CANCEL_SECONDS = 1.0
_HEAD_LIMIT_BYTES = 16 * 1024
_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.[01]")
_FROM_WEB_PAGE = re.compile(rb"^(?:origin|referer|sec-fetch-[a-z]+):", re.IGNORECASE | re.MULTILINE)
"""Headers of a request that a web page made; ``/cancel`` of another login has none of them."""


class CallbackServer:
    """
    Receives the redirect.

    Args:
        on_redirect: given the query of a redirect; returns the page once the login has succeeded or failed.
        on_cancel: called when another login needs the port.
    """

    def __init__(self, on_redirect: Callable[[str], Awaitable[Page]], on_cancel: Callable[[], None]) -> None:
        self._on_redirect = on_redirect
        self._on_cancel = on_cancel
        self._requests: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listen(self, host: str, ports: Sequence[int]) -> AsyncIterator[int]:
        """
        Listen on the first free port while the context lasts; yields the port.

        Raises:
            LoginUnavailable: none is free; the message says what to do.
        """
        server = await self._bind(host, ports)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            if self._requests:
                # Let the last page be sent.
                await asyncio.wait(self._requests, timeout=CLOSE_SECONDS)
            for request in self._requests:
                request.cancel()
            await asyncio.gather(*self._requests, return_exceptions=True)

    async def _bind(self, host: str, ports: Sequence[int]) -> asyncio.Server:
        for port in ports:
            server = await self._bind_port(host, port)
            if server is None and port == ports[0]:
                server = await self._reclaim(host, port)
            if server is not None:
                return server
        words = " and ".join(str(port) for port in ports)
        raise LoginUnavailable(
            f"Ports {words} on {host} are in use, and the issuer redirects to no other. Stop the program that uses "
            "them, or sign in with a device code: gptmock login --headless"
        )

    async def _reclaim(self, host: str, port: int) -> asyncio.Server | None:
        """Cancel an earlier login that holds the port, and bind it; ``None`` if another program keeps it."""
        await _request_cancel(host, port)
        for _ in range(RECLAIM_TRIES):
            await asyncio.sleep(RECLAIM_PAUSE_SECONDS)
            if (server := await self._bind_port(host, port)) is not None:
                return server
        return None

    async def _bind_port(self, host: str, port: int) -> asyncio.Server | None:
        """The server, or ``None`` when the port is in use."""
        try:
            return await asyncio.start_server(self._handle, host, port, limit=_HEAD_LIMIT_BYTES)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return None
            raise LoginUnavailable(
                f"Cannot listen on {host}:{port} for the browser: {error.strerror or type(error).__name__}. "
                "See GPTMOCK_LOGIN_BIND, or sign in with a device code: gptmock login --headless"
            ) from error

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this as one
        self._requests.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
                writer.write(await self._answer(reader))
                await writer.drain()
        finally:
            self._requests.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return pages.TOO_LARGE.response()
        line, _, headers = head.partition(b"\r\n")
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            return pages.BAD_REQUEST.response()
        method, target = match[1].decode(), match[2].decode()
        page = await self._page(method, target, headers)
        return page.response(with_body=method != "HEAD")

    async def _page(self, method: str, target: str, headers: bytes) -> Page:
        # Without a URL parser, which would take //host/auth/callback for a host and this path.
        path, _, query = target.partition("?")
        if path == "/cancel" and not _FROM_WEB_PAGE.search(headers):
            if method != "GET":
                return pages.NOT_ALLOWED
            self._on_cancel()
            return pages.CANCELLED
        if path != CALLBACK_PATH:
            return pages.NOT_FOUND
        return await self._on_redirect(query) if method == "GET" else pages.NOT_ALLOWED


async def _request_cancel(host: str, port: int) -> None:
    """Send ``GET /cancel``: an earlier gptmock or Codex login then frees the port; another program answers 404."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - a comparison
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_CANCEL_SECONDS):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                writer.write(b"GET /cancel HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n\r\n" % port)
                await reader.read(_HEAD_LIMIT_BYTES)
            finally:
                writer.close()
