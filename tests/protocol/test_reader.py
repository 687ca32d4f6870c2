import pytest

from gptmock.errors import UpstreamBroken
from gptmock.protocol.events import OtherEvent, OutputTextDelta
from gptmock.protocol.reader import EventReader
from gptmock.simulator.scenes import render_scene
from tests.playbook import events_in, events_of, sse

GOOD = {"type": "response.output_text.delta", "delta": "x"}
BAD = {"type": "response.output_text.delta", "delta": 5}


def test_an_event_comes_with_the_text_it_came_as():
    (received,) = events_of(b'data: {"delta":"x",  "type":"response.output_text.delta"}\n\n')
    assert received.event == OutputTextDelta(delta="x")
    assert received.data == b'{"delta":"x",  "type":"response.output_text.delta"}'


def test_the_event_field_says_nothing():
    (received,) = events_of(b'event: response.completed\ndata: {"type":"codex.x"}\n\n')
    assert received.event == OtherEvent(type="codex.x")


@pytest.mark.parametrize(
    ("data", "skipped"),
    [(b"data: {\n\n", 1), (b"data: [DONE]\n\n", 0), (b"data:\n\n", 0), (b"data: 5\n\ndata: 6\n\n", 2), (b": c\n\n", 0)],
)
def test_what_is_no_event_is_counted_and_skipped(data, skipped):
    reader = EventReader()
    assert reader.feed(data) == []
    assert reader.finish() == []
    assert reader.skipped == skipped


def test_garbage_between_good_events_is_skipped():
    reader = EventReader()
    events = events_in([*reader.feed(render_scene("garbage")), *reader.finish()])
    assert [one.event for one in events if not isinstance(one.event, OtherEvent)] == [
        one.event for one in events_of(render_scene("text"))
    ]
    assert reader.skipped == 5


def test_an_event_that_lacks_its_final_blank_line_counts():
    whole = sse(GOOD)
    for missing in (1, 2):
        assert [one.event for one in events_of(whole[:-missing])] == [OutputTextDelta(delta="x")]


def test_a_broken_event_takes_nothing_with_it_that_stood_before():
    reader = EventReader()
    assert [one.event for one in events_in(reader.feed(sse(GOOD, BAD, GOOD)))] == [OutputTextDelta(delta="x")]
    for again in (lambda: reader.feed(b""), lambda: reader.feed(sse(GOOD)), reader.finish):
        with pytest.raises(UpstreamBroken):
            again()


def test_a_broken_event_with_nothing_before_it_is_raised_at_once():
    with pytest.raises(UpstreamBroken):
        EventReader().feed(sse(BAD))
    reader = EventReader()
    assert reader.feed(sse(BAD)[:-2]) == []
    with pytest.raises(UpstreamBroken):
        reader.finish()


def test_an_oversized_event_breaks_the_stream():
    reader = EventReader(limit_bytes=200)
    assert len(reader.feed(sse(GOOD) + sse({**GOOD, "delta": "x" * 200}))) == 1
    with pytest.raises(UpstreamBroken, match="more than 200 bytes"):
        reader.finish()
