from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gptmock.errors import BadRequest, BodyTooLarge, UnsupportedEncoding
from gptmock.server.encodings import FREE_BYTES, MAX_CODINGS, MAX_RATIO
from tests.encodings import decoded

MIB = 1024 * 1024
BODY = b'{"model": "gpt-5.5", "messages": []}' * 50


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def streamed_zstd(data: bytes) -> bytes:
    """Without the size in the frame's head."""
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(data) + compressor.flush()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZip": gzip.compress,
    "deflate": zlib.compress,
    "deflate ": raw_deflate,
    "zstd": zstandard.compress,
    "ZSTD": streamed_zstd,
}
each = pytest.mark.parametrize("coding", ENCODERS)


@each
@pytest.mark.parametrize("body", [BODY, b"x", b"\0" * MIB, bytes(range(256)) * 1000])
def test_every_coding_is_undone(coding: str, body: bytes):
    assert decoded(ENCODERS[coding](body), coding, limit_bytes=MIB) == body


@given(st.binary(max_size=3000), st.sampled_from(sorted(ENCODERS)))
def test_any_body_comes_back(body: bytes, coding: str):
    assert decoded(ENCODERS[coding](body), coding, limit_bytes=3000) == body


@given(st.binary(max_size=3000), st.sampled_from(sorted(ENCODERS)), st.integers(1, 4000))
def test_a_body_may_arrive_in_any_blocks(body: bytes, coding: str, block_bytes: int):
    assert decoded(ENCODERS[coding](body), coding, limit_bytes=3000, block_bytes=block_bytes) == body


@pytest.mark.parametrize("codings", ["", "identity", " identity , ", ","])
def test_no_coding_is_none(codings: str):
    assert decoded(BODY, codings, limit_bytes=1) == BODY


def test_codings_are_undone_from_the_last_to_the_first():
    stacked = zstandard.compress(zlib.compress(gzip.compress(BODY)))
    assert decoded(stacked, "gzip, deflate, identity, zstd", limit_bytes=MIB) == BODY


def test_members_and_frames_are_read_one_after_the_other():
    assert decoded(gzip.compress(b"a") + gzip.compress(b"b"), "gzip", limit_bytes=2) == b"ab"
    assert decoded(zstandard.compress(b"a") + zstandard.compress(b"b"), "zstd", limit_bytes=2) == b"ab"


@pytest.mark.parametrize("codings", ["br", "compress", "gzip, br", "utf-8", "gzip;q=1", ", ".join(["gzip"] * 4)])
def test_an_unknown_coding_is_refused_and_the_known_ones_named(codings: str):
    assert MAX_CODINGS < 4
    with pytest.raises(UnsupportedEncoding) as caught:
        decoded(BODY, codings, limit_bytes=MIB)
    assert (caught.value.status_hint, caught.value.code) == (415, "unsupported_encoding")
    for known in UnsupportedEncoding.known:
        assert known in caught.value.message


@each
@pytest.mark.parametrize("damage", ["foreign", "junk after it", "cut"])
def test_what_is_not_in_that_coding_is_a_400(coding: str, damage: str):
    whole = ENCODERS[coding](BODY)
    data = {"foreign": b"\xff" + BODY, "junk after it": whole + b"\xff" * 9, "cut": whole[:-4]}[damage]
    if damage == "cut" and coding.lower() == "zstd":
        # Not seen as a cut, and never the whole body.
        assert decoded(data, coding, limit_bytes=MIB) != BODY
        return
    with pytest.raises(BadRequest) as caught:
        decoded(data, coding, limit_bytes=MIB)
    assert caught.value.code == "invalid_encoding"


@each
def test_the_limit_counts_what_comes_out(coding: str):
    body = b"a" * 100_000
    assert decoded(ENCODERS[coding](body), coding, limit_bytes=100_000) == body
    with pytest.raises(BodyTooLarge):
        decoded(ENCODERS[coding](body), coding, limit_bytes=99_999)


@each
def test_a_bomb_stops_at_the_limit(coding: str):
    bomb = ENCODERS[coding](b"\0" * (64 * MIB))
    assert len(bomb) < MIB
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            decoded(bomb, coding, limit_bytes=MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB


@each
def test_more_than_the_ratio_is_refused_after_the_first_mebibyte(coding: str):
    """Far below the limit of size, and after a few bytes of the input."""
    assert decoded(ENCODERS[coding](b"\0" * FREE_BYTES), coding, limit_bytes=64 * MIB) == b"\0" * FREE_BYTES
    bomb = ENCODERS[coding](b"\0" * (32 * MIB))
    assert len(bomb) * MAX_RATIO < 32 * MIB
    with pytest.raises(BodyTooLarge, match="more than 100 times"):
        decoded(bomb, coding, limit_bytes=64 * MIB)


def test_a_bomb_in_a_bomb_stops_at_the_outer_one():
    nested = gzip.compress(gzip.compress(b"\0" * (64 * MIB)))
    with pytest.raises(BodyTooLarge):
        decoded(nested, "gzip, gzip", limit_bytes=MIB)


def test_a_window_that_takes_more_memory_than_http_allows_is_refused():
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(BadRequest):
        decoded(compressor.compress(BODY) + compressor.flush(), "zstd", limit_bytes=MIB)
