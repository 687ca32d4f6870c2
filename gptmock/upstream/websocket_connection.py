"""
One WebSocket to the upstream as an asyncio protocol, over the sans-I/O core of ``websockets``: sends one message for
each turn, and hands over what comes within the callback of each read. Knows no pool, and no event by its name.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

import httpx
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, PayloadTooBig, WebSocketException
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from gptmock.protocol.sse import DEFAULT_LIMIT_BYTES

PING_SECONDS = 20.0
MAX_UNANSWERED = 2
"""Pings without any sign of life; then the connection counts as dead."""
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""The upstream refuses a message of this size, and takes one that is a byte smaller (lidge-jun/opencodex PR 2473)."""
LIMIT_HEADER = "x-codex-websocket-max-message-bytes"
_WRITE_BYTES = 64 * 1024
_LARGE_BYTES = 1024 * 1024
"""From here on a message is compressed and masked in a thread."""
_CONTROLS = re.compile(r"[\r\n\0]")
_CLOSE_SECONDS = 1.0
"""For the closing handshake."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a connection is gone."""

    code: int
    """Of the close frame; 1006 if none came."""
    error: Exception | None = None
    """What broke it; ``None`` after a close frame."""
    is_cut: bool = False
    """Part of a message had come, or what is none."""


class HandshakeRefusedError(Exception):
    """The upstream answered the handshake with something else than 101."""

    def __init__(self, response: Response) -> None:
        super().__init__(str(response.status_code))
        self.status = response.status_code
        self.headers = _headers(response)
        self.body = bytes(response.body)


class TakesMessages(Protocol):
    """Takes the messages of a turn."""

    def received_messages(self, messages: list[bytes], /) -> bool:
        """The messages of one read. Returns whether more can be read."""

    def lost(self, loss: Loss, /) -> None:
        """The connection is gone."""


def are_sendable(headers: Mapping[str, str]) -> bool:
    """Whether no header holds a line end or NUL: the core does not look."""
    return not any(_CONTROLS.search(text) for header in headers.items() for text in header)


class WebSocketConnection(asyncio.Protocol):
    """
    One socket. ``loop.create_connection`` makes it, then ``opened`` tells of the handshake.

    Args:
        url: ``ws`` or ``wss``.
        headers: of the handshake; see ``are_sendable``.
        idle: takes a message that comes between turns; returns whether the connection is still of use.
        gone: called once, when it can serve no more.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        idle: Callable[[bytes], bool],
        gone: Callable[[WebSocketConnection], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        # With the context of the messages before: it takes 150 kB for each connection, and what every message repeats
        # (instructions, tools) costs next to nothing.
        deflate = ClientPerMessageDeflateFactory(compress_settings={"memLevel": 5, "level": 3})
        self._core = ClientProtocol(parse_uri(url), extensions=[deflate], max_size=DEFAULT_LIMIT_BYTES)
        self._request_headers = headers
        self._idle = idle
        self._gone = gone
        self._transport: asyncio.Transport | None = None
        self._turn: TakesMessages | None = None
        self._pieces: list[bytes] = []
        """Of a message that comes in fragments."""
        self._is_cut = False
        """The last bytes that came were part of a frame."""
        self._is_writing = False
        self._is_reading_paused = False
        self._paused = False
        self._writable: asyncio.Future[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._unanswered = 0
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self.opened_at = self._loop.time()
        """By the loop's clock."""
        self.headers: dict[str, str] = {}
        """Of the handshake's response; names in lower case."""
        self.limit_bytes = MAX_MESSAGE_BYTES
        """A message must be smaller."""

    @property
    def is_usable(self) -> bool:
        """The next turn can go here."""
        return self._transport is not None and self._turn is None and self._core.state is State.OPEN

    async def send(self, message: bytes, turn: TakesMessages) -> None:
        """Begin a turn: write its message, waiting while nobody reads it, and hand what comes to ``turn``."""
        self._turn = turn
        self.resume_reading()
        self._is_writing = True
        try:
            if len(message) >= _LARGE_BYTES:
                # Nothing else uses the sending half while ``_is_writing``.
                await asyncio.to_thread(self._core.send_text, message)
            else:
                self._core.send_text(message)
            data = memoryview(b"".join(self._core.data_to_send()))
            for begin in range(0, len(data), _WRITE_BYTES):
                if self._transport is None:
                    return
                self._transport.write(data[begin : begin + _WRITE_BYTES])
                if self._paused:
                    self._writable = self._loop.create_future()
                    await self._writable
        except WebSocketException as error:
            self._break(error, is_cut=False)
        finally:
            self._is_writing = False
        self._flush()

    def end_turn(self) -> None:
        """The turn has ended: what comes now belongs to none."""
        self._turn = None
        self.resume_reading()

    def close(self) -> None:
        """Say goodbye, and close."""
        self._turn = None
        if self._transport is None:
            return
        if self._is_writing or not self.opened.done():
            self._transport.abort()
            return
        self._transport.resume_reading()
        with suppress(WebSocketException):
            self._core.send_close(CloseCode.NORMAL_CLOSURE)
        self._flush()
        self._loop.call_later(_CLOSE_SECONDS, self.abort)

    def abort(self) -> None:
        """Close at once."""
        self._turn = None
        if self._transport is not None:
            self._transport.abort()

    def resume_reading(self) -> None:
        """Somebody takes what is read."""
        self._is_reading_paused = False
        if self._transport is not None:
            with suppress(RuntimeError):
                self._transport.resume_reading()

    # --- asyncio.Protocol -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio: the connection is open, TLS included; ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        request = self._core.connect()
        for name, value in self._request_headers.items():
            # The core writes Latin-1; over HTTP the same value is UTF-8.
            request.headers[name] = value.encode().decode("latin-1")
        self._core.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """See asyncio: parse one read, and hand over the messages that it completes."""
        self._unanswered = 0
        self._core.receive_data(data)
        self._flush()
        self._handle(self._core.events_received())
        if self._core.parser_exc is not None:
            self._break(self._core.parser_exc, is_cut=True)

    def eof_received(self) -> bool:
        """See asyncio: nothing more comes, so the transport closes."""
        # The core drops them.
        self._is_cut = bool(self._core.reader.buffer)
        self._core.receive_eof()
        self._handle(self._core.events_received())
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio: the other side, or we, closed the connection."""
        self._transport = None
        if self._ticker is not None:
            self._ticker.cancel()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        error: Exception = httpx.RemoteProtocolError("the connection was closed before the answer was complete")
        is_cut = bool(self._is_cut or self._pieces or self._core.reader.buffer)
        self._lose(Loss(CloseCode.ABNORMAL_CLOSURE, httpx.ReadError(str(exc)) if exc is not None else error, is_cut))

    def pause_writing(self) -> None:
        """See asyncio: the other side does not read."""
        self._paused = True

    def resume_writing(self) -> None:
        """See asyncio: it reads again."""
        self._paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # --- What comes -------------------------------------------------------------------

    def _handle(self, events: list[Any]) -> None:
        messages: list[bytes] = []
        loss: Loss | None = None
        for event in events:
            if isinstance(event, Response):
                self._begin(event)
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.CONT):
                self._pieces.append(bytes(event.data))
                if event.fin:
                    messages.append(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))
                    self._pieces = []
            elif isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                loss = Loss(CloseCode.UNSUPPORTED_DATA, httpx.RemoteProtocolError("a binary message"), is_cut=True)
            elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE and self._core.close_rcvd is not None:
                loss = loss or Loss(self._core.close_rcvd.code, is_cut=bool(self._pieces))
        if messages:
            self._hand_over(messages)
        if loss is not None:
            self._lose(loss)
            if loss.error is not None:
                self.abort()

    def _hand_over(self, messages: list[bytes]) -> None:
        turn = self._turn
        if turn is None:
            if not all(map(self._idle, messages)):
                self._lose(Loss(CloseCode.NORMAL_CLOSURE))
                self.close()
            return
        if not turn.received_messages(messages) and self._turn is turn and self._transport is not None:
            self._is_reading_paused = True
            self._transport.pause_reading()

    def _begin(self, response: Response) -> None:
        refused = self._core.handshake_exc
        if self.opened.done():
            return
        if refused is None:
            self.headers = _headers(response)
            limit = self.headers.get(LIMIT_HEADER, "")
            if limit.isascii() and limit.isdigit():
                self.limit_bytes = min(MAX_MESSAGE_BYTES, int(limit))
            self._ticker = self._loop.call_later(PING_SECONDS, self._tick)
            self.opened.set_result(None)
            return
        is_answer = isinstance(refused, InvalidStatus)
        self._fail_opening(HandshakeRefusedError(response) if is_answer else httpx.RemoteProtocolError(str(refused)))
        self.abort()

    def _fail_opening(self, error: Exception) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
            # Whoever asked may have gone.
            self.opened.exception()

    def _break(self, error: Exception, *, is_cut: bool) -> None:
        """What came is no WebSocket, or a message over the limit."""
        reason = "a message over the limit" if isinstance(error, PayloadTooBig) else "what came is no WebSocket"
        self._lose(Loss(CloseCode.ABNORMAL_CLOSURE, httpx.RemoteProtocolError(f"{reason}: {error}"), is_cut))
        self.abort()

    def _lose(self, loss: Loss) -> None:
        self._fail_opening(loss.error or httpx.RemoteProtocolError("closed in the handshake"))
        turn, self._turn = self._turn, None
        self._gone(self)
        if turn is not None:
            turn.lost(loss)

    # --- What goes --------------------------------------------------------------------

    def _flush(self) -> None:
        if self._is_writing or self._transport is None:
            return
        for data in self._core.data_to_send():
            if data:
                self._transport.write(data)
            else:
                # The end of what we say.
                self._transport.close()

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(PING_SECONDS, self._tick)
        if self._is_reading_paused or self._is_writing:
            # A client that reads slowly: what the upstream says is not heard.
            return
        if self._unanswered >= MAX_UNANSWERED:
            self._lose(Loss(CloseCode.ABNORMAL_CLOSURE, httpx.ReadError("no answer to a ping")))
            self.abort()
            return
        self._unanswered += 1
        with suppress(WebSocketException):
            self._core.send_ping(b"")
        self._flush()


def _headers(response: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.raw_items()}
