"""
One client connection: Sanic's protocol with the deadlines and bounds that it lacks.

Sanic's own timeouts begin anew with each byte, so that a client that sends one byte a second is never closed; here a
request has its time as a whole. Deadlines are looked at by the worker's one timer (``client_bounds``):

    what the connection does                        time for it                             then
    nothing has come yet                            head_seconds from connecting            close
    a head is arriving                              head_seconds from its first byte        408, close
    a body is arriving                              body_seconds, more for what has come    408, close
    the rest of a body arrives, already answered    the same                                close
    between two requests                            idle_seconds                            close
    a reply is being made or sent                   Sanic's response timeout of silence     503 or close
    an answered request is read and dropped         drop_seconds                            close
    a WebSocket is open                             its own (``server.sockets``)

A client that reads what waits for it is not silent: a large answer may take its time.

Uses what Sanic does not document: ``_http``, ``_task`` and ``_time`` of its protocol, and the stages of its ``Http``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from sanic import Request
from sanic.exceptions import ServiceUnavailable
from sanic.http import Stage
from sanic.server.protocols.http_protocol import HttpProtocol

from gptmock.dialects.families import OPENAI
from gptmock.errors import GptmockError, RequestTooSlow
from gptmock.server.client_bounds import ClientBounds, Place
from gptmock.server.client_http import ClientHttp
from gptmock.server.ops import PROBES
from gptmock.server.requests import refuse_body

_DROP_LATE_SECONDS = 1.0
"""As ``drop_seconds``, for a request that had its time."""


class Upgraded(Protocol):
    """What a connection was upgraded to (``server.sockets``)."""

    drain: Callable[[], None]
    """The server stops."""

    def data_received(self, data: bytes, /) -> None:
        """Take bytes of the client."""

    def eof_received(self) -> None:
        """The client sends no more."""

    def look(self, now: float, /) -> None:
        """As ``client_bounds.LookedAfter``."""


class ClientConnection(HttpProtocol):
    """
    The protocol of one client connection, given to Sanic's server.

    Defines no ``__touchup__``: Sanic recompiles the methods of the classes that do, in their module's namespace.
    """

    HTTP_CLASS = ClientHttp
    __slots__ = (
        "_bounds",
        "_drop_bytes",
        "_drop_until",
        "_is_excess",
        "_is_owed_answer",
        "_kept",
        "_phase",
        "_phase_began",
        "_socket",
        "_timed_out",
        "_unsent_bytes",
    )

    def __init__(self, *, app: Any, **rest: Any) -> None:
        super().__init__(app=app, **rest)
        self._bounds: ClientBounds = app.ctx.client_bounds
        self._is_excess = False
        self._phase: tuple[int, str] | None = None
        """The number of the request, and what arrives of it; since ``_phase_began``."""
        self._phase_began = 0.0
        self._timed_out = 0.0
        """When a deadline had passed; 0 before that."""
        self._unsent_bytes = 0
        """At the last look."""
        self._is_owed_answer = False
        """A request of which the rest may still come was answered with its 408."""
        self._drop_until = 0.0
        """The end of reading and dropping; 0 before it has begun."""
        self._drop_bytes = 0
        self._kept: ClientHttp | None = None
        """Sanic forgets its ``_http`` before it closes."""
        self._socket: Upgraded | None = None

    # --- asyncio's callbacks ---------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Take the connection on, if there is room."""
        place = self._bounds.enter(self)
        if place is Place.NONE:
            _send_away(transport, self._bounds.too_many_connections())
            return
        self._is_excess = place is Place.EXCESS
        if self._is_excess:
            self.request_handler = self._refuse
        super().connection_made(transport)  # type: ignore[no-untyped-call]

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up the place."""
        self._bounds.leave(self)
        self._kept = None
        if self.conn_info is not None:
            super().connection_lost(exc)  # type: ignore[no-untyped-call]

    def data_received(self, data: bytes) -> None:
        """Take the next bytes, or drop them."""
        if self._socket is not None:
            self._socket.data_received(data)
            return
        if not self._drop_until:
            super().data_received(data)
            return
        self._time = time.monotonic()
        self._drop_bytes -= len(data)
        if self._drop_bytes < 0:
            self.close()

    def eof_received(self) -> bool:
        """The client sends no more; the connection ends."""
        if self._socket is not None:
            self._socket.eof_received()
        return False

    def upgrade(self, socket: Upgraded) -> None:
        """Give all that comes from here on to a WebSocket."""
        self._socket = socket
        assert self.transport is not None  # noqa: S101 - a request was read from it
        self.transport.resume_reading()
        if self.recv_buffer:
            early, self.recv_buffer = bytes(self.recv_buffer), bytearray()
            socket.data_received(early)

    # --- Deadlines ---------------------------------------------------------------------------

    def check_timeouts(self) -> None:
        """Sanic's periodic check, one timer for each connection; ``look`` is in its place."""

    def look(self, now: float) -> None:
        """See ``client_bounds.LookedAfter``."""
        http: ClientHttp | None = self.http
        if self._socket is not None:
            self._socket.look(now)
        elif self._drop_until:
            if now > self._drop_until or now - self._time > self._bounds.deadlines.drop_silence_seconds:
                self.close()
        elif self._timed_out:
            if now - self._timed_out > self._bounds.deadlines.drop_seconds and self.transport is not None:
                # It does not take its 408 either.
                self.transport.abort()
        elif http is not None and self._task is not None:
            self._look_at(http, now)

    def _look_at(self, http: ClientHttp, now: float) -> None:
        self._note_reading(now)
        stage, deadlines = http.stage, self._bounds.deadlines
        if stage is Stage.REQUEST:
            if self._seconds_of("head", now) > self._shortened(deadlines.head_seconds):
                http.name_target(bytes(http.recv_buffer))
                self._time_out(http, now, _too_slow("head", deadlines.head_seconds))
        elif stage in (Stage.IDLE, Stage.HANDLER) and getattr(http, "request_body", None):
            # Sanic reads the body before it calls a handler, and what is left of it after the answer.
            more = ((http.request_bytes or 0) - (http.request_bytes_left or 0)) / deadlines.body_bytes_per_second
            if self._seconds_of("body", now) > self._shortened(deadlines.body_seconds + more):
                slow = _too_slow("body", deadlines.body_seconds + more) if stage is Stage.HANDLER else None
                self._time_out(http, now, slow)
        elif stage is Stage.IDLE:
            if not self.state["requests_count"]:
                is_late = self._seconds_of("nothing", now) > self._shortened(deadlines.head_seconds)
            else:
                is_late = now - self._time > deadlines.idle_seconds
            if is_late:
                self._time_out(http, now, None)
        elif now - self._time > self.response_timeout:
            self._time_out(http, now, ServiceUnavailable("Response Timeout"))

    def _note_reading(self, now: float) -> None:
        """The client has read since the last look if less waits for it: then the connection is not silent."""
        unsent = self.transport.get_write_buffer_size() if self.transport is not None else 0
        if unsent < self._unsent_bytes:
            self._time = now
        self._unsent_bytes = unsent

    def _seconds_of(self, what: str, now: float) -> float:
        """For how long this has been arriving; it is seen for the first time one look late at most."""
        phase = (self.state["requests_count"], what)
        if phase != self._phase:
            self._phase, self._phase_began = phase, now
        return now - self._phase_began

    def _shortened(self, seconds: float) -> float:
        """Less the delay with which beginnings are seen."""
        deadlines = self._bounds.deadlines
        return (min(seconds, deadlines.excess_seconds) if self._is_excess else seconds) - deadlines.look_seconds

    def _time_out(self, http: ClientHttp, now: float, error: Exception | None) -> None:
        """Have the connection's task answer with an error, or none, and close."""
        self._timed_out = now
        self._is_owed_answer = error is not None
        # Behind its answer, Sanic would wait for the rest of the body.
        http.request_body = None
        http.exception = error
        assert self._task is not None  # noqa: S101 - see ``look``
        self._task.cancel()

    # --- Over the limit ------------------------------------------------------------------------

    async def _refuse(self, request: Request) -> None:
        """In place of the app, on a connection over the limit; a probe is answered."""
        stream: Any = request.stream
        stream.keep_alive = False
        if request.path not in PROBES:
            refuse_body(request)
            raise self._bounds.too_many_connections()
        await self.app.handle_request(request)

    # --- The end -------------------------------------------------------------------------------

    def _setup_connection(self, *args: Any, **named: Any) -> None:
        super()._setup_connection(*args, **named)  # type: ignore[no-untyped-call]
        self._kept = self._http

    def close(self, timeout: float | None = None) -> None:
        """
        Close; but first read what the client may still be sending of a request that has its answer. Closing with
        unread bytes resets the connection, and the answer may be lost (RFC 9112, 9.6).
        """
        if self._drop_until or not self._is_sent_to():
            super().close(timeout)
            return
        seconds = self._bounds.deadlines.drop_seconds
        self._drop_until = time.monotonic() + (min(seconds, _DROP_LATE_SECONDS) if self._timed_out else seconds)
        self._drop_bytes = self._bounds.max_drop_bytes
        self.recv_buffer = bytearray()
        assert self.transport is not None  # noqa: S101 - see ``_is_sent_to``
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()

    def close_if_idle(self) -> bool:
        """
        Close the connection, or let it end with the response that it is busy with; says whether it is closed already.

        A server that stops asks each connection once. Sanic leaves a busy one open for further requests, and a proxy
        that keeps it would then hold up the stop for the whole grace.
        """
        if self._socket is not None:
            self._socket.drain()
            return False
        if super().close_if_idle():
            return True
        if self.http is not None:
            self.http.keep_alive = False
        return False

    def _is_sent_to(self) -> bool:
        """Whether an open connection has unread bytes, or more of them may come."""
        if self.transport is None or self.transport.is_closing() or self._kept is None:
            return False
        return bool(self._is_owed_answer or self.recv_buffer or getattr(self._kept, "request_body", None))


def _send_away(transport: Any, error: GptmockError) -> None:
    """Answer without having read the request, and close."""
    reply = OPENAI.error(error)
    headers = {**reply.headers, "content-type": reply.content_type, "connection": "close"}
    lines = [f"{name}: {value}\r\n" for name, value in (*headers.items(), ("content-length", len(reply.body)))]
    transport.write(b"HTTP/1.1 503 Service Unavailable\r\n%b\r\n%b" % ("".join(lines).encode(), reply.body))
    transport.close()


def _too_slow(part: str, seconds: float) -> GptmockError:
    return RequestTooSlow(f"The {part} of the request did not arrive within {seconds:.0f} seconds.")
