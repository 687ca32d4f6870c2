"""
Bodies that a proxy in between has encoded, decoded as they come. Knows bytes and codings, no upstream.

We ask for none of it (``Accept-Encoding: identity``), and some proxies compress all the same. httpx's own decoders
fail at the end of a body that is zstd under another coding, and pass one on unread whose coding they do not know.

Source: RFC 9110 8.4 (codings are listed in the order in which they were applied), RFC 9659 (zstd's window).
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType, ModuleType
from typing import TypeAlias

import httpx
import zstandard

MAX_CODINGS = 3
"""One over the other; each costs a pass."""
_SLICE_BYTES = 1024
"""So much is decoded at once: of zstd no more than 32 MiB can come out of it."""
_BLOCK_BYTES = 256 * 1024
_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_ZLIB_HEAD_BYTES = 2
_SHOWN_CHARACTERS = 64

_Decode: TypeAlias = Callable[[bytes], Iterator[bytes]]
"""The next bytes of a body, cut anywhere, to all that can be read of them; keeps its place."""


class BodyDecoder:
    """
    The decoder of one body.

    Args:
        codings: the value of ``Content-Encoding``.
    """

    def __init__(self, codings: str) -> None:
        self._names = [name for one in codings.split(",") if (name := one.strip().lower()) not in ("", "identity")]
        self._decoders: list[tuple[str, _Decode]] | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to decode."""
        return bool(self._names)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """
        Take the next bytes of the body, cut anywhere, and yield all that can be read of them.

        A body that ends too early is not noticed here: its reader knows whether something is missing.

        Raises:
            httpx.DecodingError: the coding cannot be decoded here, or the body is not in that coding.
        """
        if self._decoders is None:
            self._decoders = self._opened()
        for start in range(0, len(data), _SLICE_BYTES):
            yield from self._through(len(self._decoders), data[start : start + _SLICE_BYTES])

    def _through(self, count: int, data: bytes) -> Iterator[bytes]:
        """What comes out of the last ``count`` codings, undone from the last to the first."""
        assert self._decoders is not None  # noqa: S101 - made by ``feed``
        if not count:
            yield data
            return
        name, decode = self._decoders[-count]
        blocks = decode(data)
        while (block := _next(name, blocks)) is not None:
            yield from self._through(count - 1, block)

    def _opened(self) -> list[tuple[str, _Decode]]:
        made = [(name, _decoder(name)) for name in reversed(self._names[-MAX_CODINGS:])]
        known = [(name, decode) for name, decode in made if decode is not None]
        if len(known) != len(self._names):
            shown = "".join(letter for letter in ", ".join(self._names) if letter.isprintable())[:_SHOWN_CHARACTERS]
            raise httpx.DecodingError(
                f"its Content-Encoding is '{shown}', and what can be read here is {', '.join(readable())}"
            )
        return known


def readable() -> tuple[str, ...]:
    """The codings that can be decoded here."""
    return (*_DECODERS, "br") if _brotli() is not None else tuple(_DECODERS)


def _next(name: str, blocks: Iterator[bytes]) -> bytes | None:
    try:
        return next(blocks, None)
    except (zlib.error, zstandard.ZstdError) as error:
        raise httpx.DecodingError(f"it is not valid {name}") from error


def _decoder(name: str) -> _Decode | None:
    made = _DECODERS.get(name.removeprefix("x-"))
    return _Brotli.if_possible() if made is None and name == "br" else made() if made is not None else None


class _Gzip:
    """A body may have several members, one after the other, and zeros behind the last."""

    def __init__(self) -> None:
        self._member: zlib._Decompress | None = None

    def __call__(self, data: bytes) -> Iterator[bytes]:
        while data := data if self._member is not None else data.lstrip(b"\0"):
            if self._member is None:
                self._member = zlib.decompressobj(_GZIP)
            yield from _inflated(self._member, data)
            data = self._member.unused_data
            if self._member.eof:
                self._member = None


class _Deflate:
    """RFC 9110 means zlib's format by "deflate"; some servers send the raw stream."""

    def __init__(self) -> None:
        self._head = b""
        self._inner: zlib._Decompress | None = None

    def __call__(self, data: bytes) -> Iterator[bytes]:
        if self._inner is None:
            self._head, data = b"", self._head + data
            if len(data) < _ZLIB_HEAD_BYTES:
                self._head = data
                return
            has_head = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
            self._inner = zlib.decompressobj(_ZLIB if has_head else _RAW)
        if not self._inner.eof:
            yield from _inflated(self._inner, data)


def _inflated(inner: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """All that comes out of these bytes, at most ``_BLOCK_BYTES`` at a time."""
    while True:
        block = inner.decompress(data, _BLOCK_BYTES)
        data = inner.unconsumed_tail
        if block:
            yield block
        if inner.eof or (not data and len(block) < _BLOCK_BYTES):
            return


class _Zstd:
    def __init__(self) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._inner = decompressor.decompressobj(read_across_frames=True)

    def __call__(self, data: bytes) -> Iterator[bytes]:
        if block := self._inner.decompress(data):
            yield block


class _Brotli:
    """Of the library that is there, ``brotli`` or ``brotlicffi``: neither is one of ours."""

    def __init__(self, library: ModuleType) -> None:
        self._library = library
        inner = library.Decompressor()
        self._decompress: Callable[[bytes], bytes] = getattr(inner, "process", None) or inner.decompress

    @classmethod
    def if_possible(cls) -> _Brotli | None:
        library = _brotli()
        return None if library is None else cls(library)

    def __call__(self, data: bytes) -> Iterator[bytes]:
        try:
            block = self._decompress(data)
        except self._library.error as error:
            raise httpx.DecodingError("it is not valid br") from error
        if block:
            yield block


def _brotli() -> ModuleType | None:
    for name in ("brotli", "brotlicffi"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


_DECODERS: Mapping[str, Callable[[], _Decode]] = MappingProxyType({"gzip": _Gzip, "deflate": _Deflate, "zstd": _Zstd})
