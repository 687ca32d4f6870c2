"""
The little HTTP server that a browser comes back to. One path means something; all others are 404 and change nothing.

    GET /auth/callback?...   the login's own way back; waits until the login is decided, and says how
    GET /cancel              the next login of the same person takes the port over; not for web pages

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
"""The only two that the issuer sends a browser back to."""
HEAD_SECONDS = 10.0
CLOSE_SECONDS = 2.0
TAKE_OVER_TRIES = 10
TAKE_OVER_PAUSE_SECONDS = 0.2
_CANCEL_SECONDS = 1.0
_HEAD_LIMIT_BYTES = 16 * 1024
_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.[01]")
_OF_A_PAGE = re.compile(rb"^(?:origin|referer|sec-fetch-[a-z]+):", re.IGNORECASE | re.MULTILINE)
"""What a browser sends when a web page makes it ask; the next login's handshake has none of it."""


class CallbackServer:
    """
    Answers browsers.

    Args:
        came_back: judges the query of a redirect, and answers once the login is decided.
        cancelled: somebody else's login wants the port.
    """

    def __init__(self, came_back: Callable[[str], Awaitable[Page]], cancelled: Callable[[], None]) -> None:
        self._came_back = came_back
        self._cancelled = cancelled
        self._requests: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listen(self, host: str, ports: Sequence[int]) -> AsyncIterator[int]:
        """
        Listen on the first port that can be had, while the context lasts; yields it.

        Raises:
            LoginUnavailable: there is none, and what to do about it.
        """
        server = await self._bind(host, ports)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            if self._requests:
                # The last page is on its way.
                await asyncio.wait(self._requests, timeout=CLOSE_SECONDS)
            for request in self._requests:
                request.cancel()
            await asyncio.gather(*self._requests, return_exceptions=True)

    async def _bind(self, host: str, ports: Sequence[int]) -> asyncio.Server:
        for port in ports:
            server = await self._take(host, port)
            if server is None and port == ports[0]:
                server = await self._take_over(host, port)
            if server is not None:
                return server
        words = " and ".join(str(port) for port in ports)
        raise LoginUnavailable(
            f"Ports {words} on {host} are in use, and a browser can come back to no other. Stop what uses them, "
            "or sign in with a device code: gptmock login --headless"
        )

    async def _take_over(self, host: str, port: int) -> asyncio.Server | None:
        """The port of an earlier login, which makes room when asked; ``None`` when somebody else keeps it."""
        await _ask_to_leave(host, port)
        for _ in range(TAKE_OVER_TRIES):
            await asyncio.sleep(TAKE_OVER_PAUSE_SECONDS)
            if (server := await self._take(host, port)) is not None:
                return server
        return None

    async def _take(self, host: str, port: int) -> asyncio.Server | None:
        """The server, or ``None`` when somebody else has the port."""
        try:
            return await asyncio.start_server(self._visited, host, port, limit=_HEAD_LIMIT_BYTES)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return None
            raise LoginUnavailable(
                f"Cannot listen on {host}:{port} for the browser: {error.strerror or type(error).__name__}. "
                "See GPTMOCK_LOGIN_BIND, or sign in with a device code: gptmock login --headless"
            ) from error

    async def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
        # Cut by hand: a URL parser takes //host/auth/callback for the path as well.
        path, _, query = target.partition("?")
        if path == "/cancel" and not _OF_A_PAGE.search(headers):
            if method != "GET":
                return pages.NOT_ALLOWED
            self._cancelled()
            return pages.CANCELLED
        if path != CALLBACK_PATH:
            return pages.NOT_FOUND
        return await self._came_back(query) if method == "GET" else pages.NOT_ALLOWED


async def _ask_to_leave(host: str, port: int) -> None:
    """An earlier login of the same person, left waiting somewhere, makes room when asked; anybody else says 404."""
    near = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - a comparison
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_CANCEL_SECONDS):
            reader, writer = await asyncio.open_connection(near, port)
            try:
                writer.write(b"GET /cancel HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n\r\n" % port)
                await reader.read(_HEAD_LIMIT_BYTES)
            finally:
                writer.close()
