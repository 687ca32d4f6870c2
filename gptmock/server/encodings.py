"""
Decompresses request bodies (``Content-Encoding``) block by block, with limits on what comes out. Knows no request.

Source: RFC 9110 8.4 (codings are listed in the order in which they were applied), RFC 9659 (zstd's window).
"""

from __future__ import annotations

import io
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, TypeAlias

import zstandard

from gptmock.errors import BadRequest, BodyTooLarge, UnsupportedEncoding

MAX_CODINGS = 3
"""How many codings may be nested; real clients use one, and each costs a pass."""
MAX_RATIO = 100
"""How many bytes may come out of one, after the first ``FREE_BYTES``. Conversations with tools: 3 to 30."""
FREE_BYTES = 1024 * 1024
_BLOCK_BYTES = 64 * 1024
_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_Sink: TypeAlias = Callable[[bytes], object]


class BodyDecoder:
    """
    Undoes the codings of one body, which arrives in blocks.

    Args:
        codings: the value of ``Content-Encoding``; several are undone from the last to the first.
        limit_bytes: the largest result of every stage; no more than that is held in memory.

    Raises:
        UnsupportedEncoding: an unknown coding, or more than ``MAX_CODINGS``.
    """

    def __init__(self, codings: str, *, limit_bytes: int) -> None:
        self._names = _known(codings)
        self._body = io.BytesIO()
        self._taken = 0
        self._stages: list[_Stage] = []
        feed: _Sink = self._body.write
        for name in self._names:
            # The first coding was applied first: it is the last to be undone.
            stage = _DECODERS[name](_Bounded(feed, limit_bytes, self._ratio_limit))
            self._stages.insert(0, stage)
            feed = stage.feed
        self._feed = feed

    def feed(self, block: bytes) -> None:
        """
        Take the next block, of any size.

        Raises:
            BadRequest: ``invalid_encoding``, the body is not valid in its coding.
            BodyTooLarge: a stage exceeds ``limit_bytes``, or ``MAX_RATIO``.
        """
        self._taken += len(block)
        self._undo(self._feed, block)

    def finish(self) -> bytes:
        """
        The decoded body; call it once, after the last block.

        Raises:
            BadRequest: ``invalid_encoding``, the body ends too early.
            BodyTooLarge: as ``feed``.
        """
        for stage in self._stages:
            self._undo(stage.finish)
        return self._body.getvalue()

    def _undo(self, step: Callable[..., object], *block: bytes) -> None:
        try:
            step(*block)
        except (zlib.error, zstandard.ZstdError, EOFError) as error:
            shown = ", ".join(self._names)
            raise BadRequest(f"The request body is not valid {shown}, or is cut.", code="invalid_encoding") from error

    def _ratio_limit(self) -> int:
        return FREE_BYTES + MAX_RATIO * self._taken


class _Bounded:
    """A sink that counts what it passes on. zstandard needs a ``write`` that returns a number."""

    def __init__(self, sink: _Sink, limit_bytes: int, ratio_limit: Callable[[], int]) -> None:
        self._sink = sink
        self._limit_bytes = limit_bytes
        self._ratio_limit = ratio_limit
        self._passed = 0

    def write(self, block: bytes) -> int:
        self._passed += len(block)
        if self._passed > self._limit_bytes:
            raise BodyTooLarge(f"The request body is larger than {self._limit_bytes} bytes when decompressed.")
        if self._passed > self._ratio_limit():
            raise BodyTooLarge(f"The request body becomes more than {MAX_RATIO} times larger when decompressed.")
        self._sink(block)
        return len(block)


class _Stage(Protocol):
    def feed(self, block: bytes, /) -> None: ...

    def finish(self) -> None: ...


class _Inflate(ABC):
    def __init__(self, sink: _Bounded) -> None:
        self._sink = sink
        self._decompressor: zlib._Decompress | None = None

    def feed(self, block: bytes) -> None:
        rest = block
        while rest:
            if self._decompressor is None:
                self._decompressor = self._begin(rest)
            # To the end of its input and of its output, whichever is longer.
            while not self._decompressor.eof:
                out = self._decompressor.decompress(rest, _BLOCK_BYTES)
                rest = self._decompressor.unconsumed_tail
                self._sink.write(out)
                if not rest and len(out) < _BLOCK_BYTES:
                    break
            rest = self._after(self._decompressor)

    def finish(self) -> None:
        if self._decompressor is not None and not self._decompressor.eof:
            raise EOFError

    @abstractmethod
    def _begin(self, block: bytes) -> zlib._Decompress: ...

    @abstractmethod
    def _after(self, decompressor: zlib._Decompress) -> bytes:
        """What follows the end of the compressed data."""


class _Gzip(_Inflate):
    def _begin(self, block: bytes) -> zlib._Decompress:  # noqa: ARG002 - always the same
        return zlib.decompressobj(_GZIP)

    def _after(self, decompressor: zlib._Decompress) -> bytes:
        # A gzip file may have several members, one after the other.
        if decompressor.eof and decompressor.unused_data:
            self._decompressor = None
        return decompressor.unused_data


class _Deflate(_Inflate):
    _held = b""

    def feed(self, block: bytes) -> None:
        if self._decompressor is None:
            self._held += block
            if len(self._held) < len(("CMF", "FLG")):
                return
            block, self._held = self._held, b""
        elif self._decompressor.eof and block:
            raise EOFError
        super().feed(block)

    def finish(self) -> None:
        if self._held:
            super().feed(self._held)
        super().finish()

    def _begin(self, block: bytes) -> zlib._Decompress:
        # By RFC 9110 "deflate" is the zlib format; some clients send a raw deflate stream.
        has_head = len(block) > 1 and block[0] & 0x0F == zlib.DEFLATED and int.from_bytes(block[:2], "big") % 31 == 0
        return zlib.decompressobj(_ZLIB if has_head else _RAW)

    def _after(self, decompressor: zlib._Decompress) -> bytes:
        if decompressor.unused_data:
            raise EOFError
        return b""


class _Zstd:
    # A truncated body gives no error here; its JSON is then invalid.
    def __init__(self, sink: _Bounded) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        # Writes no more than a block at a time, so that a bomb ends at the first one over the limit.
        self._writer = decompressor.stream_writer(sink, write_size=_BLOCK_BYTES, closefd=False)  # type: ignore[arg-type]

    def feed(self, block: bytes) -> None:
        self._writer.write(block)

    def finish(self) -> None:
        """Nothing is held back."""


_DECODERS: Mapping[str, Callable[[_Bounded], _Stage]] = MappingProxyType(
    {"gzip": _Gzip, "x-gzip": _Gzip, "deflate": _Deflate, "zstd": _Zstd}
)


def _known(codings: str) -> Sequence[str]:
    names = [name for one in codings.split(",") if (name := one.strip().lower()) not in ("", "identity")]
    if len(names) > MAX_CODINGS or any(name not in _DECODERS for name in names):
        raise UnsupportedEncoding(
            f"Content-Encoding {', '.join(names)[:64]!r} is not supported: send the plain body, or one in "
            f"{', '.join(UnsupportedEncoding.known)}."
        )
    return names
