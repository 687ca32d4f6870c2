"""
Reads the chunked framing of a request body out of a buffer. Knows bytes only, no Sanic.

Source: RFC 9112 7.1. Stricter than it: a chunk size has at most 16 digits, extensions have no white space, and the size
of extensions, trailers and the framing as a whole is bounded. Extensions and trailers are read and dropped.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from gptmock.server.request_head import FIELD

MAX_LINE_BYTES = 256
"""Of a size and its extensions; real clients send 3 to 6 bytes."""
MAX_EXTENSIONS_BYTES = 4 * 1024
"""Of all extensions of a body; otherwise a body within its limit may have framing without end (CVE-2023-39326)."""
MAX_TRAILERS_BYTES = 4 * 1024
MAX_FRAMING_RATIO = 16
"""Bytes of framing for each byte of data, beyond ``FREE_FRAMING_BYTES``; chunks of one byte have five."""
FREE_FRAMING_BYTES = 64 * 1024
STEP_CHUNKS = 256
"""Read in one step, which takes about a millisecond."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:;%b(?:=(?:%b|%b))?)*)" % (_TOKEN, _TOKEN, _QUOTED))
_TRAILER = re.compile(FIELD)
_CRLF = b"\r\n"


class BadChunk(Exception):
    """The framing is invalid, so the end of the body is unknown; the connection must be closed. The text says why."""


class _Awaited(Enum):
    SIZE = auto()
    DATA = auto()
    END_OF_DATA = auto()
    TRAILERS = auto()
    NOTHING = auto()


class ChunkedBody:
    """
    The framing of one body.

    ``announced_bytes`` is the sum of the chunk sizes so far, ``left_bytes`` what is missing of the current chunk.
    """

    def __init__(self) -> None:
        self.announced_bytes = 0
        self.left_bytes = 0
        self._awaited = _Awaited.SIZE
        self._framing_bytes = 0
        self._extensions_bytes = 0
        self._trailers_bytes = 0

    def take(self, buffer: bytearray) -> bytes | None:
        """
        Remove what can be read from the buffer's beginning and return the next data, of ``STEP_CHUNKS`` at most.

        Returns ``b""`` when more bytes have to arrive first, ``None`` once the body has ended; what is left in the
        buffer then belongs to the next request.

        Raises:
            BadChunk: to be raised once only; the body cannot be read on.
        """
        pieces: list[bytes] = []
        while self._awaited is not _Awaited.NOTHING and len(pieces) < STEP_CHUNKS:
            if self._awaited is _Awaited.DATA:
                if not buffer:
                    break
                pieces.append(self._data(buffer))
            elif self._awaited is _Awaited.END_OF_DATA:
                if not _CRLF.startswith(buffer[:2]):
                    raise BadChunk("a chunk does not end where its size says")
                if len(buffer) < len(_CRLF):
                    break
                del buffer[:2]
                self._awaited = _Awaited.SIZE
            else:
                line = _next_line(buffer)
                if line is None:
                    break
                self._take_line(line)
        return b"".join(pieces) if pieces or self._awaited is not _Awaited.NOTHING else None

    def _take_line(self, line: bytes) -> None:
        if self._awaited is _Awaited.SIZE:
            self._begin_chunk(line)
        elif line:
            self._drop_trailer(line)
        else:
            self._awaited = _Awaited.NOTHING

    def _data(self, buffer: bytearray) -> bytes:
        data = bytes(buffer[: self.left_bytes])
        del buffer[: len(data)]
        self.left_bytes -= len(data)
        if not self.left_bytes:
            self._awaited = _Awaited.END_OF_DATA
        return data

    def _begin_chunk(self, line: bytes) -> None:
        matched = _SIZE_LINE.fullmatch(line) if len(line) <= MAX_LINE_BYTES else None
        if matched is None:
            raise BadChunk("the size of a chunk is no hexadecimal number, or its extensions are invalid or too long")
        self._extensions_bytes += len(matched[2])
        if self._extensions_bytes > MAX_EXTENSIONS_BYTES:
            raise BadChunk(f"its chunk extensions have more than {MAX_EXTENSIONS_BYTES} bytes")
        self.left_bytes = int(matched[1], 16)
        self.announced_bytes += self.left_bytes
        self._framing_bytes += len(line) + 2 * len(_CRLF)
        if self._framing_bytes > MAX_FRAMING_RATIO * self.announced_bytes + FREE_FRAMING_BYTES:
            raise BadChunk(f"its chunked framing has more than {MAX_FRAMING_RATIO} times the bytes of its data")
        self._awaited = _Awaited.DATA if self.left_bytes else _Awaited.TRAILERS

    def _drop_trailer(self, line: bytes) -> None:
        self._trailers_bytes += len(line)
        if self._trailers_bytes > MAX_TRAILERS_BYTES:
            raise BadChunk(f"its trailers have more than {MAX_TRAILERS_BYTES} bytes")
        if not _TRAILER.fullmatch(line):
            raise BadChunk("a trailer is no header field")


def _next_line(buffer: bytearray) -> bytes | None:
    """The next line without its CRLF; ``None`` if its end has not arrived."""
    end = buffer.find(b"\n", 0, MAX_TRAILERS_BYTES + 2)
    if end < 0:
        if len(buffer) > MAX_TRAILERS_BYTES:
            raise BadChunk("a line of its chunked framing is too long")
        return None
    if buffer[end - 1 : end] != b"\r":
        raise BadChunk("a line of its chunked framing ends with LF instead of CRLF")
    line = bytes(buffer[: end - 1])
    del buffer[: end + 1]
    return line
