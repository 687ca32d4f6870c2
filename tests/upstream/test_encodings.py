from __future__ import annotations

import gzip
import random
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import httpx
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gptmock.simulator.encodings import ENCODERS
from gptmock.upstream.encodings import MAX_CODINGS, BodyDecoder, readable

MIB = 1024 * 1024
BODY = b'event: x\ndata: {"type":"x"}\n\n' * 50
STACKS = ["gzip", "deflate", "zstd", "gzip, zstd", "zstd, gzip", "deflate,gzip , zstd", "zstd, zstd"]
no_brotli = pytest.mark.usefixtures("without_brotli")


@pytest.fixture
def without_brotli(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("brotli", "brotlicffi"):
        monkeypatch.setitem(sys.modules, library, None)


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def encoded(body: bytes, codings: str) -> bytes:
    for name in codings.split(","):
        encoder = ENCODERS[name.strip()]()
        body = encoder.encode(body) + encoder.finish()
    return body


def fed(codings: str, pieces: Sequence[bytes]) -> bytes:
    decoder = BodyDecoder(codings)
    return b"".join(block for piece in pieces for block in decoder.feed(piece))


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(bounds)]


@pytest.mark.parametrize("codings", STACKS)
def test_byte_by_byte(codings: str):
    data = encoded(BODY, codings)
    assert fed(codings, [data[place : place + 1] for place in range(len(data))]) == BODY


@given(st.binary(max_size=5000), st.sampled_from(STACKS), st.lists(st.integers(0, 10_000), max_size=8))
def test_cut_anywhere(body: bytes, codings: str, places: list[int]):
    assert fed(codings, cut(encoded(body, codings), places)) == body


@pytest.mark.parametrize("codings", STACKS)
def test_what_was_flushed_is_read_at_once(codings: str):
    names = [name.strip() for name in codings.split(",")]
    encoders, decoder = [ENCODERS[name]() for name in names], BodyDecoder(codings)
    for number in range(5):
        part = data = b"part %d" % number
        for encoder in encoders:
            data = encoder.encode(data)
        assert b"".join(decoder.feed(data)) == part


@pytest.mark.parametrize(
    ("codings", "data"),
    [
        ("x-gzip", gzip.compress(BODY, mtime=0)),
        ("GZip", gzip.compress(BODY, mtime=0)),
        ("identity, gzip,", gzip.compress(BODY, mtime=0)),
        ("gzip", gzip.compress(BODY[:100], mtime=0) + gzip.compress(BODY[100:], mtime=0)),
        ("gzip", gzip.compress(BODY, mtime=0) + b"\0" * 500),
        ("deflate", raw_deflate(BODY)),
        ("deflate", zlib.compress(BODY) + b"junk"),
        ("zstd", zstandard.compress(BODY)),
        ("zstd", zstandard.compress(BODY[:100]) + zstandard.compress(BODY[100:])),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_variants_of_a_coding(codings: str, data: bytes, size: int):
    assert fed(codings, [data[start : start + size] for start in range(0, len(data), size)]) == BODY


@pytest.mark.parametrize("codings", STACKS)
def test_a_body_that_ends_early_gives_what_it_has(codings: str):
    assert BODY.startswith(fed(codings, [encoded(BODY, codings)[:-3]]))


@pytest.mark.parametrize("codings", ["", "identity", " , identity"])
def test_no_coding_is_nothing_to_do(codings: str):
    assert not BodyDecoder(codings)
    assert BodyDecoder("gzip")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("data", [BODY, b"\xff" * 100, b"<html>"])
def test_what_is_not_in_its_coding_is_named(coding: str, data: bytes):
    with pytest.raises(httpx.DecodingError, match=f"it is not valid {coding}"):
        fed(coding, [data])


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_a_fault_takes_nothing_with_it_that_stood_before_it(coding: str):
    encoder, decoder = ENCODERS[coding](), BodyDecoder(coding)
    data = encoder.encode(b"good" * 1000)
    assert b"".join(decoder.feed(data)) == b"good" * 1000
    with pytest.raises(httpx.DecodingError):
        list(decoder.feed(random.Random(0).randbytes(3000)))


@no_brotli
@pytest.mark.parametrize("codings", ["br", "gzip, br", "compress", "x-odd, gzip", ", ".join(["gzip"] * 4)])
def test_a_coding_that_cannot_be_read_is_named(codings: str):
    decoder = BodyDecoder(codings)
    with pytest.raises(httpx.DecodingError) as caught:
        list(decoder.feed(b"data"))
    assert str(caught.value) == f"its Content-Encoding is '{codings}', and what can be read here is gzip, deflate, zstd"


@pytest.mark.parametrize("codings", ["x" * 999, "\x1b[31m", "gzip, " * 99])
def test_the_name_of_a_coding_is_shown_within_bounds(codings: str):
    with pytest.raises(httpx.DecodingError) as caught:
        list(BodyDecoder(codings).feed(b"data"))
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_brotli_is_read_where_its_library_is():
    pytest.importorskip("brotli")
    assert "br" in readable()
    data = encoded(BODY, "gzip, br")
    assert fed("gzip, br", [data[place : place + 1] for place in range(len(data))]) == BODY
    with pytest.raises(httpx.DecodingError, match="it is not valid br"):
        fed("br", [b"\xff" * 100])


@no_brotli
def test_brotli_is_not_read_where_its_library_is_not():
    assert readable() == ("gzip", "deflate", "zstd")


def test_the_most_codings_are_undone():
    codings = ", ".join(["zstd"] * MAX_CODINGS)
    assert fed(codings, [encoded(BODY, codings)]) == BODY


@pytest.mark.alone
@pytest.mark.parametrize(
    ("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstandard.compress)]
)
def test_a_bomb_is_handed_over_in_pieces(coding: str, compress: Callable[[bytes], bytes]):
    data = compress(b"\0" * (256 * MIB))
    tracemalloc.start()
    try:
        assert sum(len(block) for block in BodyDecoder(coding).feed(data)) == 256 * MIB
        assert tracemalloc.get_traced_memory()[1] < 80 * MIB
    finally:
        tracemalloc.stop()
