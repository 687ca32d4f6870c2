"""
An httpx transport on aiohttp: httpx's API with aiohttp's sockets, pool, TLS and proxies. Knows no endpoint.

httpx's own transport schedules an event and a cancel scope for every HTTP chunk and yields one chunk at a time: about
90 microseconds per chunk where this takes 30, with at most 100 connections (``tests/benchmarks``).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import httpx

from gptmock.upstream.bodies import Body, Take
from gptmock.upstream.engine import Answer, Engine, Outgoing, answer_of

READ_BUFFER_BYTES = 256 * 1024
"""Reading pauses above twice this: a slow client must not fill our memory."""
_MAX_HEADER_BYTES = 32 * 1024
_LARGE_BODY_BYTES = 1024 * 1024

_EXCEPTIONS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientProxyConnectionError, httpx.ProxyError),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (aiohttp.ClientError, httpx.ReadError),
    (OSError, httpx.ReadError),
)
"""aiohttp exception to httpx exception; the first match wins, so subclasses come first."""


class AiohttpTransport(Engine):
    """
    One connection pool without a cap; made inside the running loop that uses it.

    Args:
        proxy: URL of an http or https proxy; ambient proxy variables are not read.
        connect_seconds: for one connection, TLS included.
        keepalive_seconds: how long an idle connection is kept for the next request.
    """

    def __init__(
        self, *, proxy: str | None = None, connect_seconds: float = 10.0, keepalive_seconds: float = 30.0
    ) -> None:
        self._proxy = proxy
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=None)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                # httpx's context: certifi's roots, or those of SSL_CERT_FILE.
                ssl=httpx.create_ssl_context(),
                limit=0,
                keepalive_timeout=keepalive_seconds,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BUFFER_BYTES,
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def exchange(self, outgoing: Outgoing) -> Answer:
        """See ``Engine.exchange``."""
        with _as_httpx_errors():
            response = await self._session.request(
                outgoing.method,
                outgoing.target.url,
                headers=[(_text(name), _text(value)) for name, value in outgoing.headers],
                data=_in_pieces(outgoing.body) or None,
                allow_redirects=False,
                timeout=self._timeout,
                proxy=self._proxy,
            )
        return answer_of(response.status, list(response.raw_headers), AiohttpBody(response))

    async def aclose(self) -> None:
        """Close the pool and what still uses it."""
        await self._session.close()


def _text(field: bytes) -> str:
    # aiohttp writes UTF-8.
    try:
        return field.decode()
    except UnicodeDecodeError:
        return field.decode("latin-1")


def _in_pieces(body: bytes) -> bytes | io.BytesIO:
    # aiohttp writes bytes in one call, which blocks the loop if they are an image; a file is written in blocks.
    return io.BytesIO(body) if len(body) > _LARGE_BODY_BYTES else body


class AiohttpBody(Body):
    """The response body, one block for each read from the socket, each of which wakes the waiting task."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.complete = False

    async def deliver(self, take: Take) -> bool:
        """See ``Body.deliver``."""
        content = self._response.content
        while not self.complete:
            with _as_httpx_errors():
                block = await content.readany()
            if block:
                if not take(block):
                    return False
            else:
                self.complete = content.at_eof()
        return True

    async def aclose(self) -> None:
        """See httpx."""
        # A body that was not read to its end closes its connection; a finished one has already given it back.
        self._response.close()


@contextmanager
def _as_httpx_errors() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        for theirs, ours in _EXCEPTIONS:
            if isinstance(error, theirs):
                raise ours(str(error) or type(error).__name__) from error
        raise
