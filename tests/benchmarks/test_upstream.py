from __future__ import annotations

from tests.benchmarks.upstream import SEGMENTS_BYTES, Link, _Window, measure, table


def test_a_short_loop_shows_what_each_way_sends():
    found = measure(calls=4, rounds=1, link=Link(round_trip=0.0, pause=0.0, has_windows=False))
    up = {way: run.bytes_up for way, run in found.items()}
    assert up["zstd"] < up["http"] / 2
    # The first turn is whole, compressed by permessage-deflate; the others are what is new.
    assert up["websocket"] < up["zstd"] / 2
    assert len(table(found, 4).splitlines()) == 5


def test_a_request_after_a_pause_leaves_in_windows():
    window = _Window(Link(round_trip=0.1))
    left = list(window.departures(b"x" * SEGMENTS_BYTES * 4, 10.0))
    assert [(round(when, 3), len(piece)) for when, piece in left] == [
        (10.0, SEGMENTS_BYTES),
        (10.1, 2 * SEGMENTS_BYTES),
        (10.2, SEGMENTS_BYTES),
    ]
    assert next(iter(window.departures(b"x", 11.0))) == (11.0, b"x")
