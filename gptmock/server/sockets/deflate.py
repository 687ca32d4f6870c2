"""
Compressed messages of a client's WebSocket: left compressed until the handler takes them. Knows no connection.

The core of ``websockets`` would inflate each frame within the read that completes it, on the event loop.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from functools import partial
from typing import Any

from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode

from gptmock.server.encodings import FREE_BYTES, MAX_RATIO
from gptmock.server.large_bodies import LARGE_BYTES, LargeBodies

_TAIL = b"\x00\x00\xff\xff"
"""The end of a compressed message, which is not sent (RFC 7692, 7.2.2)."""
_BLOCK_BYTES = 16 * 1024
_STEP_BYTES = 256 * 1024
"""What comes out in one step; the rest of its block is copied for the next."""


class TooLargeError(Exception):
    """A message exceeds its limit, or ``MAX_RATIO``, when it is decompressed."""


class CompressedFrame(Frame):
    """The first frame of a compressed message; its data, and those of the frames that continue it, are as they came."""


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message."""

    data: bytes
    """As it came."""
    is_compressed: bool

    async def inflated(self, large_bodies: LargeBodies, *, limit_bytes: int) -> bytes:
        """
        The message decompressed; in a thread if it becomes a large one.

        Raises:
            TooLargeError: it becomes larger than ``limit_bytes``, or more than ``MAX_RATIO`` times larger.
            zlib.error: it is no deflate stream.
        """
        if not self.is_compressed:
            return self.data
        limit_bytes = min(limit_bytes, FREE_BYTES + MAX_RATIO * len(self.data))
        if len(self.data) < LARGE_BYTES:
            try:
                return _inflated(self.data, min(limit_bytes, LARGE_BYTES))
            except TooLargeError:
                if limit_bytes <= LARGE_BYTES:
                    raise
        return await large_bodies.run(limit_bytes, partial(_inflated, self.data, limit_bytes))


class _LeavesCompressed(PerMessageDeflate):
    """Inflates nothing; a sender may leave any message uncompressed (RFC 7692, 6), and so do we."""

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:  # noqa: ARG002 - of what is inflated
        """The frame as it is, as a ``CompressedFrame`` where a compressed message begins."""
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY) or not frame.rsv1:
            return frame
        return CompressedFrame(frame.opcode, frame.data, frame.fin, rsv2=frame.rsv2, rsv3=frame.rsv3)

    def encode(self, frame: Frame) -> Frame:
        """The frame as it is."""
        return frame


class _Deflate(ServerPerMessageDeflateFactory):
    """Accepts permessage-deflate, without context between messages on either side."""

    def process_request_params(self, params: Any, accepted_extensions: Any) -> tuple[list[Any], PerMessageDeflate]:
        """See ``ServerExtensionFactory``."""
        answered, agreed = super().process_request_params(params, accepted_extensions)
        leaves = _LeavesCompressed(
            agreed.remote_no_context_takeover,
            agreed.local_no_context_takeover,
            agreed.remote_max_window_bits,
            agreed.local_max_window_bits,
        )
        return answered, leaves


EXTENSIONS = (_Deflate(server_no_context_takeover=True, client_no_context_takeover=True),)


def _inflated(data: bytes, limit_bytes: int) -> bytes:
    """In blocks: what joins a large result at its end holds the interpreter lock for as long."""
    # The largest window reads what was written with any.
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    text = io.BytesIO()
    view = memoryview(data)
    blocks = [view[begin : begin + _BLOCK_BYTES] for begin in range(0, len(view), _BLOCK_BYTES)]
    for block in (*blocks, _TAIL):
        rest: Any = block
        out = b""
        # To the end of its input and of its output, whichever is longer.
        while rest or len(out) == _STEP_BYTES:
            out = decompressor.decompress(rest, _STEP_BYTES)
            text.write(out)
            if text.tell() > limit_bytes:
                raise TooLargeError
            rest = decompressor.unconsumed_tail
    return text.getvalue()
