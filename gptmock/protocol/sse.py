"""
Server-Sent Events on bytes: a decoder for what comes, a frame for what goes. Must not know JSON or any event's name.

Source: HTML Living Standard, "Server-sent events", parsing and interpreting an event stream.
"""

from __future__ import annotations

import re

import msgspec

from gptmock.errors import UpstreamBroken

DEFAULT_LIMIT_BYTES = 16 * 1024 * 1024
"""One event: its ``data`` lines as they came. The upstream's own frame limit is about 16 MiB; Node and nginx have
none, browsers none documented."""

SSE_HEARTBEAT = b": keep-alive\n\n"
"""A comment: every parser skips it, every proxy sees bytes."""

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """One dispatched event: nothing in ``data`` is decoded."""

    event: bytes
    """The ``event`` field, empty when there was none."""
    data: bytes
    """The ``data`` lines joined by LF."""


class SseDecoder:
    """
    Bytes cut anywhere in, whole events out.

    Lines end at LF, CR or CRLF and nowhere else: ``str.splitlines`` would also cut at U+0085, U+2028 and U+2029,
    which JSON strings carry. Differs from the standard in one thing: ``finish`` dispatches an event that lacks its
    final blank line, because a stream that ends right after its last line is complete to everybody but the letter.
    """

    __slots__ = ("_broken", "_data", "_event", "_limit", "_rest", "_rest_size", "_size", "_skip_lf", "_start")

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._broken: UpstreamBroken | None = None
        self._start: bytes | None = b""
        """The first bytes while they may still be a byte-order mark; ``None`` afterwards."""
        self._skip_lf = False
        """The last chunk ended in CR: an LF at the start of the next belongs to it."""
        self._rest: list[bytes] = []
        """The pieces of an unfinished line: joined once, so that a line in a thousand reads is not copied each time."""
        self._rest_size = 0
        self._size = 0
        """Bytes of the ``data`` lines held for the event in the making, the unfinished line apart."""
        self._event = b""
        self._data: list[bytes] = []

    @property
    def at_boundary(self) -> bool:
        """Nothing of an event is held: the next byte begins one."""
        return (
            self._start is None
            and not (self._rest or self._data or self._event or self._skip_lf)
            and self._broken is None
        )

    @property
    def is_broken(self) -> bool:
        """An event was too large: the next call raises."""
        return self._broken is not None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """
        Take the next bytes of the stream, cut anywhere.

        Returns the events completed by this chunk, oldest first; often none.

        Raises:
            UpstreamBroken: an event exceeds ``limit_bytes``; by the next call if whole events stood before it.
        """
        if self._broken is not None:
            raise self._broken
        if self._start is not None:
            chunk = self._strip_bom(chunk)
        if self._skip_lf and chunk:
            self._skip_lf = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return []
        if b"\r" in chunk:
            lines = _LINE_END.split(chunk)
            self._skip_lf = chunk.endswith(b"\r")
        else:
            lines = chunk.split(b"\n")
        return self._take(lines)

    def finish(self) -> list[ServerSentEvent]:
        """
        The stream has ended: dispatch what stands complete but for its final blank line.

        Raises:
            UpstreamBroken: as ``feed``.
        """
        if self._broken is not None:
            raise self._broken
        if self._start:
            self._rest.append(self._start)
            self._start = None
        last = b"".join(self._rest)
        self._rest, self._rest_size = [], 0
        return self._take([last, b"", b""]) if last else self._take([b"", b""])

    def _strip_bom(self, chunk: bytes) -> bytes:
        held = (self._start or b"") + chunk
        if len(held) < len(_BOM) and _BOM.startswith(held):
            self._start = held
            return b""
        self._start = None
        return held.removeprefix(_BOM)

    def _take(self, lines: list[bytes]) -> list[ServerSentEvent]:
        """All lines but the last are whole; the last is the beginning of the next."""
        if self._rest and len(lines) > 1:
            self._rest.append(lines[0])
            lines[0] = b"".join(self._rest)
            self._rest, self._rest_size = [], 0
        rest = lines.pop()
        events: list[ServerSentEvent] = []
        for line in lines:
            if self._size + len(line) > self._limit and not self._fits(len(line)):
                break
            if line.startswith(b"data: "):
                # Half of all lines: the call alone would cost as much.
                self._data.append(line[6:])
                self._size += len(line)
            elif line:
                self._field(line)
            elif (event := self._dispatch()) is not None:
                events.append(event)
        if rest and self._fits(self._rest_size + len(rest)):
            self._rest.append(rest)
            self._rest_size += len(rest)
        if self._broken is not None and not events:
            raise self._broken
        return events

    def _field(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            self._size += len(line)
        elif line.startswith(b"event:"):
            self._event = line[7:] if line[6:7] == b" " else line[6:]
        elif line == b"data":
            self._data.append(b"")
        elif line == b"event":
            self._event = b""
        # Comments, ``id`` and ``retry`` mean nothing to one request; other fields are ignored by the standard.

    def _fits(self, line_bytes: int) -> bool:
        """Whether a line of so many bytes is still allowed; a line counts alike, whole or in the making."""
        if self._broken is None and self._size + line_bytes > self._limit:
            self._broken = UpstreamBroken(
                f"The upstream sent an event of more than {self._limit} bytes; the stream was given up.",
                code="upstream_event_too_large",
            )
        return self._broken is None

    def _dispatch(self) -> ServerSentEvent | None:
        event, data = self._event, self._data
        self._event, self._data, self._size = b"", [], 0
        if not data:
            return None
        return ServerSentEvent(event=event, data=data[0] if len(data) == 1 else b"\n".join(data))


def sse_frame(data: bytes) -> bytes:
    """One frame for a client that reads only ``data``: one line, ended by a blank one."""
    return b"data: " + data + b"\n\n"
