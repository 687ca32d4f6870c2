"""One stream over a WebSocket: the frames of server-sent events, each as a message. Knows SSE framing, no turn."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Raw

from gptmock.server.sockets.connection import Socket

_DATA = b"data: "
_FRAME_END = b"\n\n"
_ERROR = b'{"type":"error",'
_ENDS = (b'{"type":"response.completed"', b'{"type":"response.incomplete"')
_LAST = (*_ENDS, _ERROR, b'{"type":"response.failed"')
_LIMITS = b'{"type":"codex.rate_limits"'
_CREATED, _IN_PROGRESS = b'{"type":"response.created"', b'{"type":"response.in_progress"'
REPEAT = b": response.in_progress\n\n"
"""A block in the place of ``response.in_progress`` said once more; nothing before ``response.created``."""


class SocketWire:
    """
    See ``streaming.Wire``. Comments become nothing: the connection has its own pings.

    Args:
        socket: the connection, shared with the streams of other lanes.
        lane: ``stream_id`` of the stream.
        status: of the failure that the stream ends with.
        ended: is given the last event of a turn that went well.
        shown: takes a copy of everything that is sent, if given.
        repeats: whether ``REPEAT`` is ever written.
        limits: the event ``codex.rate_limits``, sent before the last ones unless the upstream's own has come.
    """

    __slots__ = ("_begin", "_created", "_ended", "_limits", "_shown", "_socket", "_status", "_written")

    def __init__(  # noqa: PLR0913 - each is of another kind
        self,
        socket: Socket,
        lane: Raw | None,
        *,
        status: Callable[[], int],
        ended: Callable[[bytes], None],
        shown: list[bytes] | None = None,
        repeats: bool = False,
        limits: bytes | None = None,
    ) -> None:
        self._socket = socket
        self._begin = b"" if lane is None else b'{"stream_id":%b,' % bytes(lane)
        self._status = status
        self._ended = ended
        self._shown = shown
        self._limits = limits
        self._created: bytes | None = None if repeats else b""
        """``response.created``, once it has come; empty if nobody wants to know."""
        self._written = 0
        """The connection's count behind the last message of this stream."""

    async def begin(self, block: bytes) -> None:
        """See ``streaming.Wire.begin``."""
        self._send_last(block)

    def write(self, block: bytes) -> bool:
        """See ``streaming.Wire.write``."""
        start, end = block.find(_DATA), len(block) - 2
        if start < 0 or block.find(_FRAME_END, start) != end or self._shown is not None:
            return self._send(self._placed(self._repeated() if block == REPEAT else texts_of(block)))
        if self._limits is not None and block.startswith(_LIMITS, start + 6):
            self._limits = None
        begin = self._begin
        text = begin + block[start + 7 : end] if begin else block[start + 6 : end]
        if self._created is None and block.startswith(_CREATED, start + 6):
            self._created = block[start + 6 : end]
        can_write = self._socket.send_one(text)
        self._written = self._socket.written_bytes
        return can_write

    async def writable(self) -> None:
        """See ``streaming.Wire.writable``."""
        await self._socket.writable()

    def unsent(self) -> int:
        """See ``streaming.Wire.unsent``; of this stream alone."""
        return max(0, self._written - self._socket.sent_bytes)

    def abort(self) -> None:
        """See ``streaming.Wire.abort``."""
        self._socket.abort()

    async def end(self, block: bytes) -> None:
        """See ``streaming.Wire.end``."""
        self._send_last(block)

    def _send_last(self, block: bytes) -> None:
        self._send(self._placed([self._last(text) for text in texts_of(block)]))

    def _placed(self, texts: list[bytes]) -> list[bytes]:
        """With our own ``codex.rate_limits``, where it is time for it."""
        limits = self._limits
        if limits is None:
            return texts
        if any(text.startswith(_LIMITS) for text in texts):
            self._limits = None
            return texts
        for place, text in enumerate(texts):
            if text.startswith(_LAST):
                self._limits = None
                return [*texts[:place], limits, *texts[place:]]
        return texts

    def _last(self, text: bytes) -> bytes:
        if text.startswith(_ERROR):
            # Codex waits for more after an error without a status.
            return b'%b"status":%d,%b' % (_ERROR, self._status(), text[len(_ERROR) :])
        if text.startswith(_ENDS):
            self._ended(text)
        return text

    def _repeated(self) -> list[bytes]:
        created = self._created
        return [_IN_PROGRESS + created[len(_CREATED) :]] if created else []

    def _send(self, texts: list[bytes]) -> bool:
        if self._shown is not None:
            self._shown.extend(texts)
        if self._created is None:
            self._created = next((text for text in texts if text.startswith(_CREATED)), None)
        if self._begin:
            texts = [self._begin + text[1:] for text in texts]
        can_write = self._socket.send(*texts)
        self._written = self._socket.written_bytes
        return can_write


def texts_of(block: bytes) -> list[bytes]:
    """The JSON texts of whole frames of server-sent events."""
    return [frame[at + 6 :] for frame in block.split(_FRAME_END) if (at := frame.find(_DATA)) >= 0]
