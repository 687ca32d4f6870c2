"""
One HTTP/1.1 connection as an asyncio protocol: sends a request, and hands over the answer to it within the callback of
each read. httptools (llhttp) parses. Knows no pool, no TLS and no request of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import httptools
import httpx

from gptmock.upstream.bodies import Header, PushedBody
from gptmock.upstream.dialer import Origin

MAX_HEAD_BYTES = 64 * 1024
_MAX_FIELD_BYTES = 32 * 1024
_MAX_FIELDS = 512
_WRITE_BYTES = 64 * 1024
"""Of a large request body at a time: a transport that gets all of it at once copies all of it."""


class DirectBody(PushedBody):
    """The answer to one request: its head, and then its body, taken read by read."""

    __slots__ = ("_connection", "_head", "head")

    def __init__(self) -> None:
        super().__init__()
        self._connection: Connection | None = None
        self.head: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the head is there."""
        self._head: tuple[int, list[Header]] | None = None

    async def aclose(self) -> None:
        """Let go of the connection: it is closed unless the body was read to its end."""
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    def _resume_reading(self) -> None:
        if self._connection is not None:
            self._connection.resume_reading()

    # --- From the connection ------------------------------------------------------

    def begin(self, connection: Connection) -> None:
        """The request is on its way."""
        self._connection = connection

    def begun(self, status: int, headers: list[Header]) -> None:
        """The head is there."""
        if not self.head.done():
            self._head = status, headers
            self.head.set_result(None)

    def taken_head(self) -> tuple[int, list[Header]]:
        """Status and headers, once: they are not held for as long as the body comes."""
        head, self._head = self._head, None
        assert head is not None  # noqa: S101 - ``head`` is done
        return head

    def ended(self, error: Exception | None = None) -> None:
        """The last byte was received, or none will be."""
        self._connection = None
        if not self.head.done() and error is not None:
            self.head.set_exception(error)
            # Whoever asked may have gone.
            self.head.exception()
        super().ended(error)

    def fail(self, reason: type[httpx.TransportError], message: str) -> None:
        """See ``ended``."""
        self.ended(reason(message))


class Connection(asyncio.Protocol):
    """One socket: an answer at a time. Callbacks of asyncio, and of httptools' parser."""

    __slots__ = (
        "_answer",
        "_blocks",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_is_interim",
        "_is_writing",
        "_keep",
        "_loop",
        "_parser",
        "_paused",
        "_registry",
        "_transport",
        "_until_close",
        "_writable",
        "idle_since",
        "on_body",
        "origin",
        "was_answered",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        keep: Callable[[Connection], None],
        registry: set[Connection],
        origin: Origin,
    ) -> None:
        self._loop = loop
        self._keep = keep
        self._registry = registry
        self.origin = origin
        self.idle_since = 0.0
        self.was_answered = False
        """A byte has come since the last request."""
        self._transport: asyncio.Transport | None = None
        self._blocks: list[bytes] = []
        """The body bytes of this read, one for each HTTP chunk."""
        self.on_body = self._blocks.append
        self._parser = httptools.HttpResponseParser(self)
        self._answer: DirectBody | None = None
        self._headers: list[Header] = []
        self._head_bytes = 0
        self._in_head = False
        self._is_interim = False
        self._until_close = False
        self._is_writing = False
        self._paused = False
        self._writable: asyncio.Future[None] | None = None

    @property
    def is_usable(self) -> bool:
        """The next request can go here."""
        return self._transport is not None and self._answer is None and not self._transport.is_closing()

    async def send(self, head: bytes, body: bytes, answer: DirectBody) -> None:
        """Write a request whose answer is ``answer``; waits while the other side does not read."""
        transport = self._transport
        assert transport is not None  # noqa: S101 - usable
        self._answer, self._head_bytes, self._headers = answer, 0, []
        self.was_answered, self._in_head = False, True
        answer.begin(self)
        if len(body) <= _WRITE_BYTES:
            transport.write(head + body)
            return
        self._is_writing = True
        transport.write(head)
        view = memoryview(body)
        for begin in range(0, len(body), _WRITE_BYTES):
            if answer.head.done():
                # Answered, or broken, before it was read: a refusal. The rest is not wanted.
                return
            transport.write(view[begin : begin + _WRITE_BYTES])
            if self._paused:
                writable = self._writable = self._loop.create_future()
                waiting: set[asyncio.Future[Any]] = {writable, answer.head}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            else:
                # A turn of the loop for everybody else.
                await asyncio.sleep(0)
        self._is_writing = False

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def resume_reading(self) -> None:
        """Somebody takes what is read."""
        if self._transport is not None:
            with suppress(RuntimeError):
                self._transport.resume_reading()

    # --- asyncio.Protocol -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio: the connection is open, TLS included."""
        # uvloop's is one too, but says so to nobody.
        self._transport = cast("asyncio.Transport", transport)
        self._registry.add(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio: parse one read, and hand over what it has of the body."""
        answer = self._answer
        if answer is None:
            # Nothing was asked for.
            self.abort()
            return
        self.was_answered = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._break(httpx.RemoteProtocolError, f"what came is no HTTP: {error}")
            return
        blocks = self._blocks
        if blocks:
            block = blocks[0] if len(blocks) == 1 else b"".join(blocks)
            blocks.clear()
            go_on = answer.received(block)
            if not go_on and not answer.complete and self._transport is not None:
                self._transport.pause_reading()
        if answer.complete:
            answer.ended()
        elif self._in_head:
            # The parser holds a field until it is complete.
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._break(httpx.RemoteProtocolError, "the head of the answer is too large")

    def eof_received(self) -> bool:
        """See asyncio: nothing more comes, so the transport closes."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio: the end of an answer without a length, or a fault."""
        self._transport = None
        self._registry.discard(self)
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        answer = self._answer
        if answer is None:
            return
        if self._until_close and exc is None:
            self._answer = None
            answer.ended()
        elif exc is None:
            self._break(httpx.RemoteProtocolError, "the connection was closed before the answer was complete")
        else:
            self._break(httpx.ReadError, f"the connection broke: {exc}")

    def pause_writing(self) -> None:
        """See asyncio: the other side does not read."""
        self._paused = True

    def resume_writing(self) -> None:
        """See asyncio: it reads again."""
        self._paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def _break(self, reason: type[httpx.TransportError], message: str) -> None:
        answer, self._answer = self._answer, None
        self.abort()
        if answer is not None:
            if self._blocks:
                # What stood before the fault.
                answer.received(b"".join(self._blocks))
                self._blocks.clear()
            answer.fail(reason, message)

    # --- httptools.HttpResponseParser -------------------------------------------------

    def on_message_begin(self) -> None:
        """See httptools."""
        if self._answer is None:
            raise ValueError("an answer that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools: one header, whole."""
        if len(value) > _MAX_FIELD_BYTES or len(self._headers) > _MAX_FIELDS:
            raise ValueError("the head of the answer is too large")
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """See httptools: the head is whole; a 1xx is none."""
        status = self._parser.get_status_code()
        headers, self._headers = self._headers, []
        self._is_interim = 100 <= status < 200
        if self._is_interim or self._answer is None:
            return
        names = {name.lower() for name, _ in headers}
        self._in_head = False
        self._until_close = not names & {b"content-length", b"transfer-encoding"} and status not in (204, 304)
        self._answer.begun(status, headers)

    def on_message_complete(self) -> None:
        """See httptools: the last byte of the answer."""
        answer = self._answer
        if self._is_interim or answer is None:
            return
        self._answer = None
        answer.complete = True
        if self._is_writing or self._paused or not self._parser.should_keep_alive():
            self.abort()
        else:
            self._keep(self)
