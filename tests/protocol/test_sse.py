import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.errors import UpstreamBroken
from gptmock.protocol.sse import DEFAULT_LIMIT_BYTES, SSE_HEARTBEAT, ServerSentEvent, SseDecoder, sse_frame
from tests.playbook import split

BOM = b"\xef\xbb\xbf"


def read(*chunks, limit=DEFAULT_LIMIT_BYTES):
    decoder = SseDecoder(limit)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return [*events, *decoder.finish()]


def data_of(*chunks):
    return [event.data for event in read(*chunks)]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"data: a\n\n", [b"a"], id="lf"),
        pytest.param(b"data: a\r\n\r\n", [b"a"], id="crlf"),
        pytest.param(b"data: a\r\r", [b"a"], id="cr"),
        pytest.param(b"data: a\r\n\n", [b"a"], id="mixed line ends"),
        pytest.param(b"data: a\n\r\n", [b"a"], id="lf then crlf"),
        pytest.param(b"data: a\n\ndata: b\n\n", [b"a", b"b"], id="two events"),
        pytest.param(b"data: a\n\n\n\ndata: b\n\n", [b"a", b"b"], id="more blank lines than needed"),
        pytest.param(b"data: a\ndata: b\n\n", [b"a\nb"], id="lines are joined by LF"),
        pytest.param(b"data: a\r\ndata: b\r\n\r\n", [b"a\nb"], id="joined by LF whatever they ended in"),
        pytest.param(b"data:a\n\n", [b"a"], id="no space"),
        pytest.param(b"data:  a\n\n", [b" a"], id="only one space is taken off"),
        pytest.param(b"data\n\n", [b""], id="a field without a colon is empty"),
        pytest.param(b"data:\n\n", [b""], id="an empty value"),
        pytest.param(b"data\ndata\n\n", [b"\n"], id="two empty lines of data"),
        pytest.param(b": comment\n\n", [], id="a comment is no event"),
        pytest.param(b"data: a\n: in between\ndata: b\n\n", [b"a\nb"], id="a comment in the middle"),
        pytest.param(b"event: x\n\n", [], id="an event without data is none"),
        pytest.param(b"id: 7\nretry: 10\nfoo: bar\nnonsense\ndata: a\n\n", [b"a"], id="other fields"),
        pytest.param(b" data: a\n\n", [], id="a field name is exact"),
        pytest.param(b"Data: a\n\n", [], id="and in lower case"),
        pytest.param(b"data: a", [b"a"], id="nothing but the last line"),
        pytest.param(b"data: a\n", [b"a"], id="the final blank line is missing"),
        pytest.param(b"data: a\n\ndata: b\n", [b"a", b"b"], id="the last one lacks its blank line"),
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"\n\n\n", [], id="only blank lines"),
        pytest.param(BOM + b"data: a\n\n", [b"a"], id="byte-order mark"),
        pytest.param(BOM + BOM + b"data: a\n\n", [], id="only one mark is taken off"),
        pytest.param(b"data: a\n\n" + BOM + b"data: b\n\n", [b"a"], id="a mark is one only at the start"),
        pytest.param(b"data: \xff\xfe\n\n", [b"\xff\xfe"], id="nothing is decoded here"),
        pytest.param("data: a\u0085b\u2028c\u2029d\x0be\x0cf\x1cg\n\n".encode(), None, id="other line ends are none"),
    ],
)
def test_a_stream_is_read_as_the_standard_says(stream, expected):
    expected = ["a\u0085b\u2028c\u2029d\x0be\x0cf\x1cg".encode()] if expected is None else expected
    assert data_of(stream) == expected
    # And byte by byte.
    assert data_of(*(stream[at : at + 1] for at in range(len(stream)))) == expected


def test_the_last_event_field_counts_and_is_forgotten_at_the_end_of_its_event():
    assert read(b"event: a\nevent: b\ndata: 1\n\ndata: 2\n\nevent: c\nevent\ndata: 3\n\n") == [
        ServerSentEvent(b"b", b"1"),
        ServerSentEvent(b"", b"2"),
        ServerSentEvent(b"", b"3"),
    ]


def test_an_event_field_without_data_does_not_name_the_next_event():
    assert read(b"event: a\n\ndata: 1\n\n") == [ServerSentEvent(b"", b"1")]


@pytest.mark.parametrize("cut", range(len(BOM) + 1))
def test_a_mark_cut_anywhere_is_taken_off(cut):
    assert data_of(BOM[:cut], b"", BOM[cut:] + b"data: a\n\n") == [b"a"]


@pytest.mark.parametrize("start", [b"\xef", b"\xef\xbb"])
def test_the_beginning_of_a_mark_that_is_none_is_kept(start):
    assert data_of(start, b"\ndata: a\n\n") == [b"a"]
    assert data_of(start) == []


def test_an_event_comes_out_with_the_byte_that_completes_it():
    decoder = SseDecoder()
    assert decoder.feed(b"data: a\r") == []
    assert decoder.feed(b"\n") == []
    assert decoder.feed(b"\r") == [ServerSentEvent(b"", b"a")]
    assert decoder.feed(b"\n") == []
    assert decoder.finish() == []


@given(
    lines=st.lists(st.sampled_from([b"data: a", b"data:b", b"", b": c", b"event: e", "data: \u2028é".encode(), b"x"])),
    ends=st.lists(st.sampled_from([b"\n", b"\r\n", b"\r"]), min_size=40, max_size=40),
    data=st.data(),
)
def test_any_cutting_reads_the_same(lines, ends, data):
    stream = b"".join(line + end for line, end in zip(lines, ends, strict=False))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    assert read(*split(stream, cuts)) == read(stream)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_any_bytes_are_read_and_read_alike(stream, cuts):
    assert read(*split(stream, cuts)) == read(stream)


# --- The limit ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("shape", [b"data: %s\n\n", b"data: %s\r\n\r\n", b"data: %s"])
def test_an_event_of_exactly_the_limit_passes_and_one_byte_more_does_not(size, shape):
    limit = 100
    fits, breaks = (shape % (b"x" * (limit - len("data: ") + more)) for more in (0, 1))
    chunks = [fits[at : at + size] for at in range(0, len(fits), size)]
    assert len(read(*chunks, limit=limit)) == 1
    with pytest.raises(UpstreamBroken, match="more than 100 bytes") as caught:
        read(*(breaks[at : at + size] for at in range(0, len(breaks), size)), limit=limit)
    assert caught.value.code == "upstream_event_too_large"


def test_the_limit_is_16_mib():
    room = DEFAULT_LIMIT_BYTES - len("data: ")
    assert DEFAULT_LIMIT_BYTES == 16 * 1024 * 1024
    assert len(read(b"data: " + b"x" * room + b"\n\n")) == 1
    with pytest.raises(UpstreamBroken):
        read(b"data: " + b"x" * (room + 1) + b"\n\n")


def test_the_limit_counts_the_lines_of_one_event_together_and_starts_anew_with_the_next():
    line = b"data: 1234\n"
    assert len(read((line * 2 + b"\n") * 50, limit=20)) == 50
    with pytest.raises(UpstreamBroken):
        read(line * 3 + b"\n", limit=20)


@pytest.mark.parametrize("size", [1, 13, 10_000])
def test_whole_events_before_an_oversized_one_are_not_lost(size):
    stream = b"data: good\n\n" * 3 + b"data: " + b"x" * 200 + b"\n\n" + b"data: late\n\n"
    decoder, events = SseDecoder(100), []
    with pytest.raises(UpstreamBroken):  # noqa: PT012 - where it raises depends on the cut, that it does not
        for at in range(0, len(stream), size):
            events += decoder.feed(stream[at : at + size])
        events += decoder.finish()
    assert [event.data for event in events] == [b"good"] * 3
    for again in (decoder.finish, lambda: decoder.feed(b""), lambda: decoder.feed(b"data: late\n\n")):
        with pytest.raises(UpstreamBroken):
            again()


def test_a_long_line_in_many_chunks_takes_linear_time():
    def seconds(chunks):
        decoder, chunk = SseDecoder(), b"x" * 512
        decoder.feed(b"data: ")
        # Of this process: what others take from it says nothing about the decoder.
        started = time.process_time()
        for _ in range(chunks):
            decoder.feed(chunk)
        decoder.feed(b"\n\n")
        return time.process_time() - started

    seconds(100)
    # Eight times the work; were each chunk to copy the line, it would be sixty-four times.
    assert min(seconds(16_000) for _ in range(3)) < 30 * max(min(seconds(2_000) for _ in range(3)), 0.0005)


# --- What goes out -----------------------------------------------------------------------


def test_a_frame_is_one_event_and_a_heartbeat_is_none():
    assert data_of(sse_frame(b'{"a":1}')) == [b'{"a":1}']
    assert sse_frame(b"x") == b"data: x\n\n"
    assert data_of(SSE_HEARTBEAT + sse_frame(b"x") + SSE_HEARTBEAT) == [b"x"]
