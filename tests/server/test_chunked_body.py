from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.server.chunked_body import (
    FREE_FRAMING_BYTES,
    MAX_EXTENSIONS_BYTES,
    MAX_TRAILERS_BYTES,
    STEP_CHUNKS,
    BadChunk,
    ChunkedBody,
)

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def read(*parts: bytes) -> tuple[bytes | None, bytes]:
    """The whole body, ``None`` if its end has not come, and what is left behind it."""
    body, buffer, data = ChunkedBody(), bytearray(), bytearray()
    for part in parts:
        buffer += part
        while piece := body.take(buffer):
            data += piece
        if piece is None:
            return bytes(data), bytes(buffer)
    return None, bytes(buffer)


def read_by_h11(data: bytes) -> bytes | None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1024 * 1024)
    connection.receive_data(HEAD + data)
    found = b""
    try:
        while (event := connection.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Data):
                found += event.data
            elif isinstance(event, h11.EndOfMessage):
                return found
    except h11.RemoteProtocolError:
        return None
    return None


@pytest.mark.parametrize(
    ("data", "body", "rest"),
    [
        (b"0\r\n\r\n", b"", b""),
        (b"5\r\nhello\r\n0\r\n\r\nGET /", b"hello", b"GET /"),
        (b'A;a;b=c;d="e\\"f"\r\n0123456789\r\n000\r\nX-Sum: 1\r\n\r\n', b"0123456789", b""),
    ],
)
def test_valid_framing(data: bytes, body: bytes, rest: bytes):
    assert read(data) == (body, rest)
    assert read(*(bytes([byte]) for byte in data[: len(data) - len(rest)])) == (body, b"")


@pytest.mark.parametrize(
    "data",
    [
        *(b"0x5", b"+5", b"-5", b" 5", b"5 ", b"5_0", b"", b"g", b"5\t", b"\xef\xbc\x95", b"0" * 17),
        *(b"5 ;a", b"5; a", b"5;a =b", b"5;", b'5;a="b', b"5;a=\x01", b"5;\x00", b"5;a\rb", b"5;" + b"a" * 300),
    ],
)
def test_an_invalid_size_line(data: bytes):
    with pytest.raises(BadChunk):
        read(data + b"\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [
        *(b"5\nhello\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhello!\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n"),
        *(
            b"5\r\nhello\r0\r\n\r\n",
            b"4\r\nhello\r\n0\r\n\r\n",
            b"0\r\n\n",
            b"0\r\nX : y\r\n\r\n",
            b"0\r\n X: y\r\n\r\n",
        ),
        *(b"0\r\nGET / HTTP/1.1\r\n\r\n", b"0\r\nX: a\0b\r\n\r\n", b"0\r\nX: y\n\r\n"),
        b"0\r\n" + b"X: y\r\n" * (MAX_TRAILERS_BYTES // 4 + 1) + b"\r\n",
        b"0\r\nX: " + b"y" * (MAX_TRAILERS_BYTES + 10),
        (b"1;" + b"a" * 200 + b"\r\nx\r\n") * (MAX_EXTENSIONS_BYTES // 200 + 1),
    ],
)
def test_invalid_framing(data: bytes):
    with pytest.raises(BadChunk):
        read(data)


def test_a_size_is_known_before_its_data():
    body = ChunkedBody()
    assert body.take(bytearray(b"5\r\nhello\r\nffffffffffff\r\n")) == b"hello"
    assert body.announced_bytes == 5 + 0xFFFFFFFFFFFF
    assert body.take(bytearray()) == b""


def test_small_chunks_are_read_together_and_in_steps():
    body, buffer = ChunkedBody(), bytearray(b"1\r\nx\r\n" * (STEP_CHUNKS + 3) + b"0\r\n\r\nGET /")
    assert body.take(buffer) == b"x" * STEP_CHUNKS
    assert body.take(buffer) == b"xxx"
    assert [body.take(buffer) for _ in range(2)] == [None, None]
    assert buffer == b"GET /"


def test_framing_is_bounded_by_the_data():
    small = b"1\r\nx\r\n" * FREE_FRAMING_BYTES
    assert read(small + b"0\r\n\r\n") == (b"x" * FREE_FRAMING_BYTES, b"")
    with pytest.raises(BadChunk, match="more than 16 times the bytes of its data"):
        read(b"0000000000000001\r\nx\r\n" * FREE_FRAMING_BYTES)


_pieces = st.lists(
    st.sampled_from([b"5", b"a", b"0", b"0", b"hello", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b";a=b", b" ", b"X: y"])
    | st.binary(max_size=3),
    max_size=14,
).map(b"".join)
_chunks = st.lists(st.binary(min_size=1, max_size=40)).map(
    lambda each: b"".join(b"%x\r\n%b\r\n" % (len(data), data) for data in each) + b"0\r\n\r\n"
)


@given(data=_pieces | _chunks)
def test_what_is_read_is_read_by_h11_too(data: bytes):
    try:
        body, _ = read(data)
    except BadChunk:
        return
    if body is not None:
        assert read_by_h11(data) == body


def outcome(*parts: bytes) -> bytes | str | None:
    try:
        return read(*parts)[0]
    except BadChunk:
        return "bad"


@given(data=_pieces | _chunks, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_any_split_reads_the_same(data: bytes, cuts: list[int]):
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert outcome(*(data[begin:end] for begin, end in pairwise(places))) == outcome(data)
