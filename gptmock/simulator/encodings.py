"""Steps as a proxy in between would pass them on: encoded, flushed after each event, cut anywhere. Pure."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import zstandard

from gptmock.simulator.steps import Framed, Raw, Step, framed

ODD_SIZES = (1, 2, 3, 61, 5, 1, 127, 11)
"""Of the writes, in bytes."""
_MOST_RAW_BYTES = 1 << 16
"""Of one uncompressed meta-block of brotli with a length of four nibbles."""


class Encoder(Protocol):
    """One coding of one body."""

    def encode(self, data: bytes) -> bytes:
        """So much more of the body; all of it can be decoded as soon as it has come."""

    def finish(self) -> bytes:
        """The end of the body."""


class _Zlib:
    def __init__(self, window_bits: int) -> None:
        self._compressor = zlib.compressobj(wbits=window_bits)

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._compressor.flush()


class _Zstd:
    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor().compressobj()

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._compressor.flush()


class _Brotli:
    """
    Uncompressed meta-blocks only, which need no library and are brotli all the same.

    Source: RFC 7932, 9.1 and 9.2.
    """

    def __init__(self) -> None:
        self._begun = False

    def encode(self, data: bytes) -> bytes:
        blocks = (data[start : start + _MOST_RAW_BYTES] for start in range(0, len(data), _MOST_RAW_BYTES))
        return b"".join(self._head(len(block)) + block for block in blocks)

    def finish(self) -> bytes:
        # ISLAST and ISLASTEMPTY; behind WBITS if nothing was said at all.
        return b"\x03" if self._begun else b"\x06"

    def _head(self, size: int) -> bytes:
        # From the lowest bit: ISLAST 0, MNIBBLES 00 for four nibbles, MLEN - 1, ISUNCOMPRESSED 1.
        bits = (size - 1) << 3 | 1 << 19
        if not self._begun:
            # WBITS: a single 0 for a window of 64 KiB.
            self._begun, bits = True, bits << 1
        return bits.to_bytes(3, "little")


ENCODERS: Mapping[str, Callable[[], Encoder]] = MappingProxyType(
    {
        "gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
        "deflate": lambda: _Zlib(zlib.MAX_WBITS),
        "zstd": _Zstd,
        "br": _Brotli,
    }
)


def encoded(steps: Iterable[Step], codings: Sequence[str]) -> Iterator[Framed]:
    """The same steps with every byte in these codings, applied in this order; writes end at odd places."""
    encoders = [ENCODERS[name]() for name in codings]
    place = 0
    for step in framed(steps):
        if not isinstance(step, Raw):
            yield step
            continue
        for piece in _pieces(_through(encoders, step.data), place):
            yield Raw(piece)
            place += 1
    yield from (Raw(piece) for piece in _pieces(_end(encoders), place))


def _through(encoders: Sequence[Encoder], data: bytes) -> bytes:
    for encoder in encoders:
        data = encoder.encode(data)
    return data


def _end(encoders: Sequence[Encoder]) -> bytes:
    data = b""
    for encoder in encoders:
        data = (encoder.encode(data) if data else b"") + encoder.finish()
    return data


def _pieces(data: bytes, place: int) -> Iterator[bytes]:
    while data:
        size = ODD_SIZES[place % len(ODD_SIZES)]
        yield data[:size]
        data, place = data[size:], place + 1
