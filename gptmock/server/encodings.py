"""
Decompresses request bodies (``Content-Encoding``), with a limit on the decompressed size. Knows no request.

Source: RFC 9110 8.4 (codings are listed in the order in which they were applied), RFC 9659 (zstd's window).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import zstandard

from gptmock.errors import BadRequest, BodyTooLarge, UnsupportedEncoding

MAX_CODINGS = 3
"""How many codings may be nested; real clients use one, and each costs a pass."""
_BLOCK_BYTES = 64 * 1024
_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


def decoded(body: bytes, codings: str, *, limit_bytes: int) -> bytes:
    """
    Decompress a body.

    Args:
        body: as received.
        codings: the value of ``Content-Encoding``; several are undone from the last to the first.
        limit_bytes: the largest result of every stage; no more than that is held in memory.

    Raises:
        UnsupportedEncoding: an unknown coding, or more than ``MAX_CODINGS``.
        BadRequest: ``invalid_encoding``, the body is not valid in that coding or is truncated.
        BodyTooLarge: a stage exceeds ``limit_bytes``.
    """
    names = [name for one in codings.split(",") if (name := one.strip().lower()) not in ("", "identity")]
    unknown = next((name for name in names if name not in _DECODERS), None)
    if unknown is not None or len(names) > MAX_CODINGS:
        raise UnsupportedEncoding(
            f"Content-Encoding {', '.join(names)[:64]!r} is not supported: send the plain body, or one in "
            f"{', '.join(UnsupportedEncoding.known)}."
        )
    for name in reversed(names):
        try:
            body = _bounded(_DECODERS[name](body), limit_bytes)
        except (zlib.error, zstandard.ZstdError, EOFError) as error:
            raise BadRequest(f"The request body is not valid {name}, or is cut.", code="invalid_encoding") from error
    return body


def _bounded(blocks: Iterator[bytes], limit_bytes: int) -> bytes:
    body = bytearray()
    for block in blocks:
        body += block
        if len(body) > limit_bytes:
            raise BodyTooLarge(f"The request body is larger than {limit_bytes} bytes when decompressed.")
    return bytes(body)


def _gunzipped(body: bytes) -> Iterator[bytes]:
    # A gzip file may have several members, one after the other.
    while body:
        decompressor = zlib.decompressobj(_GZIP)
        yield from _inflated(decompressor, body)
        body = decompressor.unused_data


def _undeflated(body: bytes) -> Iterator[bytes]:
    # By RFC 9110 "deflate" is the zlib format; some clients send a raw deflate stream.
    has_head = len(body) > 1 and body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2], "big") % 31 == 0
    decompressor = zlib.decompressobj(_ZLIB if has_head else _RAW)
    yield from _inflated(decompressor, body)
    if decompressor.unused_data:
        raise EOFError


def _inflated(decompressor: zlib._Decompress, body: bytes) -> Iterator[bytes]:
    rest = body
    while not decompressor.eof:
        block = decompressor.decompress(rest, _BLOCK_BYTES)
        rest = decompressor.unconsumed_tail
        if not block and not rest and not decompressor.eof:
            raise EOFError
        yield block


def _unzstd(body: bytes) -> Iterator[bytes]:
    # A truncated body gives no error here; its JSON is then invalid.
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    with decompressor.stream_reader(body, read_across_frames=True) as reader:
        while block := reader.read(_BLOCK_BYTES):
            yield block


_DECODERS: Mapping[str, Callable[[bytes], Iterator[bytes]]] = MappingProxyType(
    {"gzip": _gunzipped, "x-gzip": _gunzipped, "deflate": _undeflated, "zstd": _unzstd}
)
