"""
Request bodies as they are sent: compressed with zstd where that saves something. Knows bytes, no endpoint.

A body of an agent is mostly text that repeats, and shrinks to a third; Codex itself sends zstd when it is signed in.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import zstandard

MIN_BYTES = 8 * 1024
"""A smaller body fits into a few packets as it is."""
LEVEL = 3
"""Codex's own level."""
_LARGE_BYTES = 1024 * 1024
"""From here on a body is compressed in a thread: it would hold up every other stream for milliseconds."""


@dataclass(frozen=True, slots=True)
class EncodedBody:
    """A request body and the value of its ``Content-Encoding``, empty for none."""

    data: bytes
    coding: str = ""


class BodyEncoder:
    """
    Compresses request bodies.

    Args:
        compresses: whether at all; ``plain_only`` ends it.
    """

    def __init__(self, *, compresses: bool) -> None:
        self._compresses = compresses
        self._compressor: zstandard.ZstdCompressor | None = None

    async def encode(self, body: bytes) -> EncodedBody:
        """The body as it is sent."""
        if not self._compresses or len(body) < MIN_BYTES:
            return EncodedBody(body)
        if len(body) >= _LARGE_BYTES:
            return EncodedBody(await asyncio.to_thread(_compressor().compress, body), "zstd")
        if self._compressor is None:
            self._compressor = _compressor()
        return EncodedBody(self._compressor.compress(body), "zstd")

    def plain_only(self) -> None:
        """The other side does not take compressed bodies: send no more of them."""
        self._compresses = False


def _compressor() -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=LEVEL)
