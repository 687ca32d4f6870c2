import zlib

import pytest
import zstandard

from gptmock.simulator.encodings import ENCODERS, encoded
from gptmock.simulator.steps import Cut, Pause, Raw

PARTS = (b"hello ", b"world", b"x" * 200_000)


def test_brotli_without_a_library():
    encoder = ENCODERS["br"]()
    # As the reference decoder reads it.
    assert encoder.encode(b"hello") + encoder.encode(b"!") + encoder.finish() == b"\x40\x00\x10hello\x00\x00\x08!\x03"
    assert ENCODERS["br"]().finish() == b"\x06"


def test_brotli_is_read_by_its_library():
    brotli = pytest.importorskip("brotli")
    encoder = ENCODERS["br"]()
    data = b"".join(encoder.encode(part) for part in PARTS) + encoder.finish()
    assert brotli.decompress(data) == b"".join(PARTS)


@pytest.mark.parametrize(
    ("coding", "decompressor"),
    [
        ("gzip", lambda: zlib.decompressobj(16 + zlib.MAX_WBITS)),
        ("deflate", zlib.decompressobj),
        ("zstd", lambda: zstandard.ZstdDecompressor().decompressobj()),
    ],
)
def test_each_part_can_be_read_as_soon_as_it_has_come(coding, decompressor):
    encoder, reader = ENCODERS[coding](), decompressor()
    assert [reader.decompress(encoder.encode(part)) for part in PARTS] == list(PARTS)
    assert reader.decompress(encoder.finish()) == b""


def test_pauses_and_cuts_stay_where_they_are():
    steps = list(encoded([Raw(b"a"), Pause(1.0), Raw(b"b"), Cut(b"c")], ["gzip"]))
    assert [type(step) for step in steps if not isinstance(step, Raw)] == [Pause, Cut]
    assert isinstance(steps[0], Raw)
