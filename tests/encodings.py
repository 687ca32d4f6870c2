"""Undoes the codings of a whole body."""

from __future__ import annotations

from gptmock.server.encodings import BodyDecoder


def decoded(body: bytes, codings: str, *, limit_bytes: int, block_bytes: int = 1000) -> bytes:
    """The body as it was before ``codings``; it is fed in blocks."""
    decoder = BodyDecoder(codings, limit_bytes=limit_bytes)
    for begin in range(0, len(body), block_bytes):
        decoder.feed(body[begin : begin + block_bytes])
    return decoder.finish()
