"""
HTTP/1.1 on one client connection: Sanic's parser with the checks that it lacks.

Heads are checked before Sanic parses them, chunked bodies are read here. After a refused request, and after any chunked
body, the connection is closed: what follows might be the rest of a body for one party and a request for another.
"""

from __future__ import annotations

import asyncio

from sanic.exceptions import BadRequest, PayloadTooLarge
from sanic.http import Http
from sanic.http.http1 import HTTP_CONTINUE

from gptmock.errors import ClientError
from gptmock.server.chunked_body import BadChunk, ChunkedBody
from gptmock.server.request_head import END, Refusal, refusal, refusal_of_part, target_of


class ClientHttp(Http):
    """
    Reads the requests of one connection and writes their responses.

    Defines no ``__touchup__``, see ``ClientConnection``.
    """

    __slots__ = ("_chunked",)

    async def http1_request_header(self) -> None:
        """
        Receive and check the next head, and parse it into ``self.request``.

        Raises:
            ClientError: the head is refused, with 400, 414 or 431; Sanic answers, and closes the connection.
        """
        self._chunked: ChunkedBody | None = None
        # A turn may have raised it (``server.turns``).
        self.protocol.response_timeout = self.protocol.app.config.RESPONSE_TIMEOUT
        buffer: bytearray = self.recv_buffer
        end = buffer.find(END)
        if end < 0:
            end = await self._receive_head()
        head = bytes(buffer[: end + len(END)])
        if refused := refusal(head):
            raise self._refused(head, refused)
        await super().http1_request_header()  # type: ignore[no-untyped-call] # Sanic's Http is not annotated
        if self.head_only:
            # Sanic takes "head" for HEAD: its answer would lack the body, and the client would take the next answer
            # for it.
            self.head_only = self.request.method == "HEAD"
        if self.request_body:
            self._prepare_body()

    def _prepare_body(self) -> None:
        if self.request.version == "1.0":
            # RFC 9110 10.1.1: such a client does not know interim responses.
            self.expecting_continue = False
        if "transfer-encoding" in self.request.headers:
            # Sanic leaves the last CRLF of the head for its own reader.
            del self.recv_buffer[:2]
            self._chunked = ChunkedBody()
            self.keep_alive = False

    async def read(self) -> bytes | None:
        """
        The next bytes of the request body, ``None`` at its end.

        Raises:
            BadRequest: chunked framing is invalid.
            PayloadTooLarge: the body, as announced, exceeds ``request_max_size``.
        """
        if self._chunked is None or not self.request_body:
            return await super().read()
        if self.expecting_continue:
            self.expecting_continue = False
            await self._send(HTTP_CONTINUE)
        while True:
            data = self._take(self._chunked)
            if data is None:
                self.request_body = None
                return None
            if data:
                if self.recv_buffer:
                    # A body of small chunks: the other connections are served between two steps.
                    await asyncio.sleep(0)
                return data
            await self._receive_more()

    def _take(self, body: ChunkedBody) -> bytes | None:
        try:
            data = body.take(self.recv_buffer)
        except BadChunk as bad:
            self.request_body = None
            raise BadRequest(str(bad)) from None
        self.request_bytes, self.request_bytes_left = body.announced_bytes, body.left_bytes
        if self.request_bytes > self.request_max_size:
            raise PayloadTooLarge("Request body exceeds the size limit")
        return data

    async def _receive_head(self) -> int:
        """Receive until the head is complete; returns where its empty line begins."""
        buffer: bytearray = self.recv_buffer
        checked = 0
        while True:
            part = bytes(buffer)
            if refused := refusal_of_part(part, checked=checked):
                raise self._refused(part, refused)
            checked = len(part)
            await self._receive_more()
            end = buffer.find(END, max(0, checked - len(END)))
            if end >= 0:
                return end

    def _refused(self, head: bytes, refused: Refusal) -> ClientError:
        self.name_target(head)
        return ClientError(f"The request is refused: {refused.reason}.", code=refused.code, status=refused.status)

    def name_target(self, head: bytes) -> None:
        """
        Set the URL of a request that is answered with an error, perhaps before its head is complete: Sanic makes an
        empty request from it, and its path decides whose error format is used.
        """
        target = target_of(head)
        self.url = target if target.startswith(("/", "http")) else None
