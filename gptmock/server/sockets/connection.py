"""
One WebSocket over a client's connection: the core of ``websockets`` frames it, this feeds and writes. Knows no turn.

Sanic's own support starts a task for each read and two for each connection, and offers no compression. Messages of the
client may come compressed, and are inflated when the handler takes them; ours are sent as they are, since compressing
each small event would cost more than the turn. No dictionary is kept between messages, so that an idle connection holds
no buffers.
"""

from __future__ import annotations

import asyncio
import logging
import time
import zlib
from collections import deque
from collections.abc import Callable
from typing import Any

from sanic import Request
from sanic.exceptions import RequestCancelled
from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.protocol import State
from websockets.server import ServerProtocol

from gptmock.errors import ClientError
from gptmock.server.client_wire import send_at_once
from gptmock.server.large_bodies import LargeBodies
from gptmock.server.requests import request_id
from gptmock.server.sockets.deflate import EXTENSIONS, CompressedFrame, Message, TooLargeError

MAX_WIRE_BYTES = 16 * 1024 * 1024
"""Of one message, as it comes."""
PING_SECONDS = 20.0
UNANSWERED_PINGS = 3
"""A client that answers none of so many in a row is gone."""
CLOSE_SECONDS = 5.0
"""How long the client has to close, after we have."""
_MAX_UNREAD = 128
"""Messages that wait for the handler, which takes them at once unless it is busy with a large one."""
_MAX_UNREAD_BYTES = 1024 * 1024
"""The same, in bytes as they came: from here on no more is read."""
_WIRE_SLACK_BYTES = 64 * 1024
"""Of frame headers, and of what was read together with the end of the message before."""

log = logging.getLogger("gptmock.server")
_quiet = logging.getLogger("gptmock.websocket")
_quiet.setLevel(logging.WARNING)
"""The core logs every frame, and so what people say, at level DEBUG."""


class _Core(ServerProtocol):
    """Says why before it closes for a message that is too large."""

    too_large = b""

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        if code == CloseCode.MESSAGE_TOO_BIG and self.state is State.OPEN:
            self.send_text(self.too_large)
        super().fail(code, reason)


class Socket:
    """
    One WebSocket. Its handler takes messages; the connection feeds it bytes.

    Args:
        request: the handshake.
        max_bytes: of one message, decompressed; it may be ``MAX_RATIO`` times larger than it came.
        too_large: the message sent before a connection is closed for a larger one.
        stall_seconds: a client that has something to read and reads nothing for so long is disconnected.
    """

    def __init__(self, request: Request, *, max_bytes: int, too_large: bytes, stall_seconds: float) -> None:
        protocol: Any = request.protocol
        self._transport: asyncio.Transport = protocol.transport
        self._can_write: asyncio.Event = protocol._can_write  # noqa: SLF001 - as ``client_wire`` does
        # Open from the start: Sanic has read the handshake, which the core would wait for.
        self._core = _Core(state=State.OPEN, extensions=EXTENSIONS, max_size=max_bytes, logger=_quiet)
        self._core.too_large = too_large
        self._request = request
        self._large_bodies: LargeBodies = request.app.ctx.large_bodies
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._kind = Opcode.TEXT
        self._is_compressed = False
        """The message that comes."""
        self._wire_bytes = 0
        self._messages: deque[Message] = deque()
        self._unread_bytes = 0
        self._arrived = asyncio.Event()
        self._is_paused = False
        """So many messages wait, or so much that the client does not read, that no more is read."""
        self._stall_seconds = stall_seconds
        self._seen_sent = 0
        """``sent_bytes`` at the last look."""
        self._over = False
        """No message comes any more."""
        self._is_left = False
        """Nor does anything else that has to be waited for."""
        self._pinged_at = self._read_at = self.heard_at = time.monotonic()
        self._unanswered = 0
        self.written_bytes = 0
        """Since the connection began."""
        self.look_at: Callable[[float], None] = lambda _: None
        """Looks at what the handler does, as often as the connection is looked at; with ``time.monotonic()``."""
        self.drain: Callable[[], None] = lambda: None
        """The server stops."""

    def shake_hands(self) -> None:
        """
        Accept the handshake, and take the connection's bytes from here on.

        Raises:
            ClientError: it is no WebSocket handshake.
        """
        headers = Headers()
        for name, value in self._request.headers.items():
            # Adds to what is there.
            headers[name] = value
        asked = Handshake("/", headers, self._request.method)
        answer = self._core.accept(asked)
        if answer.status_code != 101:
            text = answer.body.decode("utf-8", "replace").partition("\n")[0].rstrip(".")
            raise ClientError(f"{text}.", code="bad_handshake", status=answer.status_code)
        answer.headers["x-request-id"] = request_id(self._request)
        send_at_once(self._transport)
        self._transport.write(answer.serialize())
        protocol: Any = self._request.protocol
        protocol.upgrade(self)

    # --- What the connection calls ------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        self.heard_at, self._unanswered = time.monotonic(), 0
        self._wire_bytes += len(data)
        self._core.receive_data(data)
        for event in self._core.events_received():
            if isinstance(event, Frame):
                self._take(event)
        if self._wire_bytes > MAX_WIRE_BYTES + _WIRE_SLACK_BYTES and self._core.state is State.OPEN:
            self._core.fail(CloseCode.MESSAGE_TOO_BIG, "message too big")
        written = self.written_bytes
        self._flush()
        if self.written_bytes > written and not self._can_write.is_set():
            # Pings, which the core answers.
            self._pause()

    def eof_received(self) -> None:
        """The client sends no more."""
        self._core.receive_eof()
        self._flush()
        self._leave()

    def look(self, now: float) -> None:
        """Ping in silence, and give up a client that is gone or does not read."""
        if self._is_stalled(now):
            self._transport.abort()
            return
        if self._can_write.is_set() and not self._messages:
            self._resume()
        if now - self._pinged_at >= PING_SECONDS:
            self._pinged_at = now
            if self._unanswered >= UNANSWERED_PINGS:
                self._transport.abort()
                return
            # While nothing is read, no answer is heard.
            self._unanswered += not self._is_paused
            if self._core.state is State.OPEN:
                self._core.send_ping(b"")
                self._flush()
        self.look_at(now)

    # --- What the handler calls -----------------------------------------------------------------

    async def receive(self) -> bytes | None:
        """The next message; ``None`` once the connection is over, or is being closed."""
        while not self._messages:
            if self._over:
                return None
            if self._can_write.is_set():
                self._resume()
            self._arrived.clear()
            await self._arrived.wait()
        message = self._messages.popleft()
        self._unread_bytes -= len(message.data)
        try:
            return await message.inflated(self._large_bodies, limit_bytes=self._max_bytes)
        except TooLargeError:
            self._fail(CloseCode.MESSAGE_TOO_BIG, "message too big")
        except zlib.error:
            self._fail(CloseCode.PROTOCOL_ERROR, "decompression failed")
        return None

    def send(self, *texts: bytes) -> bool:
        """Send messages, each a text in UTF-8. ``False``: the buffer is full, or nobody reads any more."""
        core = self._core
        if core.state is not State.OPEN:
            return False
        for text in texts:
            core.send_text(text)
        self._flush()
        return self._can_write.is_set()

    def send_one(self, text: bytes) -> bool:
        """As ``send``, for one message: the path of every delta."""
        core = self._core
        if core.state is not State.OPEN:
            return False
        core.send_text(text)
        (block,) = core.data_to_send()
        self.written_bytes += len(block)
        self._transport.write(block)
        return self._can_write.is_set()

    async def writable(self) -> None:
        """Wait until the buffer has room."""
        await self._can_write.wait()
        if self._transport.is_closing() or self._core.state is not State.OPEN:
            raise RequestCancelled

    @property
    def sent_bytes(self) -> int:
        """As ``written_bytes``, without what waits for the client to read."""
        return self.written_bytes - self._transport.get_write_buffer_size()

    def close(self, code: int, reason: str = "") -> None:
        """Begin to close; ``receive`` ends."""
        if self._core.state is State.OPEN:
            self._core.send_close(code, reason)
            self._flush()
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._leave)

    async def closed(self) -> None:
        """Wait until the client has closed, or had its time for it."""
        while not self._is_left:
            self._arrived.clear()
            await self._arrived.wait()

    def abort(self) -> None:
        """Close at once; the handler is cancelled."""
        self._transport.abort()

    # --- Within ---------------------------------------------------------------------------------

    def _take(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if frame.opcode is not Opcode.CONT:
                self._kind, self._is_compressed = frame.opcode, isinstance(frame, CompressedFrame)
            self._parts.append(bytes(frame.data))
            if not frame.fin:
                return
            message, self._wire_bytes = b"".join(self._parts), 0
            self._parts.clear()
            if self._core.state is not State.OPEN:
                return
            if self._kind is Opcode.BINARY:
                self._core.fail(CloseCode.UNSUPPORTED_DATA, "text messages only")
                return
            self._messages.append(Message(message, self._is_compressed))
            self._unread_bytes += len(message)
            self._arrived.set()
            is_full = len(self._messages) >= _MAX_UNREAD or self._unread_bytes >= _MAX_UNREAD_BYTES
            if is_full:
                self._pause()

    def _is_stalled(self, now: float) -> bool:
        before, self._seen_sent = self._seen_sent, self.sent_bytes
        if self._seen_sent > before or self._seen_sent == self.written_bytes:
            self._read_at = now
        return now - self._read_at >= self._stall_seconds

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def _fail(self, code: CloseCode, reason: str) -> None:
        """Close for a message that was read and cannot be taken; those behind it are dropped."""
        self._messages.clear()
        if self._core.state is State.OPEN:
            self._core.fail(code, reason)
            self._flush()

    def _flush(self) -> None:
        blocks = self._core.data_to_send()
        if not blocks:
            return
        block = blocks[0] if len(blocks) == 1 else b"".join(blocks)
        if block and not self._transport.is_closing():
            self.written_bytes += len(block)
            self._transport.write(block)
        if not blocks[-1]:
            self._end()

    def _end(self) -> None:
        """The core says no more. Closing with unread bytes would reset the connection, and our last message be lost."""
        self._over = True
        self._arrived.set()
        self._resume()
        if self._core.close_rcvd is not None or self._transport.is_closing():
            self._leave()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._leave)

    def _leave(self) -> None:
        self._over = self._is_left = True
        self._arrived.set()
