"""Property tests of decoding and rendering, for every dialect; see ``playbook.CLIENTS`` for what a new one adds."""

import copy
import functools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.dialects.table import DIALECTS
from gptmock.errors import BadRequest, GptmockError
from gptmock.protocol.failures import truncated
from gptmock.protocol.reader import EventReader, Received
from gptmock.simulator.scenes import SCENES, STREAM_SCENE_NAMES, StreamScene, render_scene
from tests.playbook import (
    HEAD,
    SEPARATORS,
    STYLES,
    Frames,
    as_client,
    client_of,
    collect,
    decode,
    ends_well,
    events_in,
    events_of,
    play,
    split,
    sse,
    tells,
    translate,
)
from tests.streams import stories

ENDINGS = {name: scene.ending for name, scene in SCENES.items() if isinstance(scene, StreamScene)}
SMALL = tuple(name for name in STREAM_SCENE_NAMES if name != "giant")
STOPS = ((), ("Hello",), ("simulator", "\n\n", "I "), ("}",))
routes = pytest.mark.parametrize("route", DIALECTS, ids=lambda route: route.name)
styles = pytest.mark.parametrize("style", STYLES)
scenes = pytest.mark.parametrize("scene", SMALL)

upstream_of = functools.cache(render_scene)


def framed(data: bytes, *, line_end: bytes = b"\n", bom: bool = False) -> bytes:
    return (b"\xef\xbb\xbf" if bom else b"") + data.replace(b"\n", line_end)


FRAMINGS = [
    pytest.param({}, id="lf"),
    pytest.param({"line_end": b"\r\n"}, id="crlf"),
    pytest.param({"line_end": b"\r"}, id="cr"),
    pytest.param({"line_end": b"\r\n", "bom": True}, id="crlf-bom"),
    pytest.param({"bom": True}, id="bom"),
]


@pytest.mark.check(237)
@routes
def test_every_dialect_has_a_client_for_the_laws(route):
    client = client_of(route)
    assert route.dialect.decode is not None
    assert client.body()


# --- 1. Any split gives the same frames -------------------------------------------------


@pytest.mark.check(37)
@routes
@scenes
def test_one_byte_at_a_time_gives_the_same_frames(route, scene):
    data = upstream_of(scene)[:20_000]
    chunks = [data[at : at + 1] for at in range(len(data))]
    assert play(route, chunks).joined == play(route, data).joined


@pytest.mark.check(37)
@routes
@pytest.mark.parametrize("framing", FRAMINGS)
@given(story=stories(mixed=True), data=st.data())
def test_any_split_of_any_stream_gives_the_same_frames(route, framing, story, data):
    # The framing is only changed where it is framing: a newline inside a string is escaped in JSON.
    upstream = framed(story.upstream, **framing)
    cuts = data.draw(st.lists(st.integers(0, len(upstream)), max_size=20))
    assert play(route, split(upstream, cuts)).joined == play(route, story.upstream).joined


@routes
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("scene", ["reasoning", "tools2", "separators", "failed-mid", "eof-mid"])
def test_any_split_of_a_scene_gives_the_same_frames(route, scene, framing):
    whole = upstream_of(scene)
    upstream, expected = framed(whole, **framing), play(route, whole).joined
    chance = random.Random(scene)
    for _ in range(20):
        cuts = [chance.randrange(len(upstream)) for _ in range(chance.randrange(60))]
        assert play(route, split(upstream, cuts)).joined == expected


@routes
def test_a_fault_is_at_the_same_place_however_the_stream_is_cut(route):
    text = {"type": "response.output_text.delta", "output_index": 0, "delta": "seen"}
    data = sse(text, {"type": "response.output_text.delta", "delta": 5}, text)
    expected = play(route, data)
    assert not as_client(route, expected).succeeded
    assert b"seen" in expected.joined
    for at in range(len(data)):
        assert play(route, split(data, [at])).joined == expected.joined


# --- 2. It ends exactly once, and a cut is never success ----------------------------------


@routes
@scenes
def test_a_scene_succeeds_exactly_when_its_upstream_did(route, scene):
    data = upstream_of(scene)
    ended_well = any(ends_well(received.event) for received in events_of(data))
    frames = play(route, data)
    assert as_client(route, frames).succeeded is (ended_well and tells(route, data))
    # What the log says of it is what the client sees.
    assert (frames.failure is None) is (ended_well and tells(route, data))
    assert isinstance(collect(route, data), bytes) is (ended_well and tells(route, data))
    # The simulator says so too, but for the missing blank line, which we forgive.
    assert ended_well is (ENDINGS[scene] in ("completed", "incomplete") or scene == "nobreak")


@pytest.mark.check(31, 120)
@routes
@pytest.mark.parametrize("scene", ["text", "tools2", "reasoning"])
def test_a_cut_at_every_byte_is_never_success(route, scene):
    data = upstream_of(scene)
    body = client_of(route).body()
    turn = decode(route, body)
    last_byte = max(at for at in range(len(data)) if data[at : at + 1] == b"}")
    reader = EventReader()
    read: list[Received] = []
    seen: dict[tuple[int, tuple[bytes, ...]], bool] = {}
    for offset in range(len(data)):
        # ``read`` holds the events of data[:offset]; only the end of the stream is tried on a copy.
        tail = events_in(copy.deepcopy(reader).finish())
        key = (len(read), tuple(received.data for received in tail))
        if key not in seen:
            seen[key] = _succeeds(route, turn, [*read, *tail])
        assert seen[key] is (offset > last_byte), f"cut at byte {offset} of {len(data)}"
        read += events_in(reader.feed(data[offset : offset + 1]))
    assert len(seen) > 20
    assert _succeeds(route, turn, [*read, *reader.finish()])


def _succeeds(route, turn, events):
    translator, frames = turn.reply.translator(HEAD), Frames()
    for received in events:
        frames.came(received.event)
        frames.went(translator.feed(received))
    frames.went(translator.finish())
    return as_client(route, frames).succeeded


@pytest.mark.check(32, 120)
@routes
@pytest.mark.parametrize("scene", ["text", "search", "filled", "done-only"])
def test_a_cut_is_never_success_for_whoever_collects(route, scene):
    data = upstream_of(scene)
    last_byte = max(at for at in range(len(data)) if data[at : at + 1] == b"}")
    for offset in range(0, last_byte, 101):
        assert isinstance(collect(route, data[:offset]), GptmockError)


@routes
@scenes
def test_after_the_end_nothing_comes(route, scene):
    turn = decode(route, client_of(route).body())
    translator = turn.reply.translator(HEAD)
    events = events_of(upstream_of(scene))
    for received in events:
        translator.feed(received)
    translator.finish()
    late = [*events, *events_of(upstream_of("text"))]
    assert [frame for received in late for frame in translator.feed(received)] == []
    assert translator.finish() == []
    assert translator.finish(truncated()) == []


@routes
@pytest.mark.parametrize("scene", [name for name in SMALL if ENDINGS[name] != "cut"])
def test_events_after_the_terminal_one_change_nothing(route, scene):
    data = upstream_of(scene)
    more = upstream_of("failed-mid") + sse({"type": "response.output_text.delta", "delta": 5})
    separated = data if data.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")) else data + b"\n"
    assert play(route, separated + more).joined == play(route, data).joined
    collected, expected = collect(route, separated + more), collect(route, data)
    assert str(collected) == str(expected)


@pytest.mark.check(120)
@routes
@given(data=st.data())
def test_any_order_of_events_ends_once_and_a_failure_is_no_success(route, data):
    pool = _pool()
    chosen = data.draw(st.lists(st.sampled_from(pool), max_size=30))
    frames = play(route, sse(*chosen))
    read = as_client(route, frames)
    first_end = next((event["type"] for event in chosen if event["type"] in _ENDS), None)
    ended_well = first_end in ("response.completed", "response.incomplete")
    assert read.succeeded is (ended_well and tells(route, sse(*chosen)))
    collected = collect(route, sse(*chosen))
    assert isinstance(collected, bytes) is read.succeeded


_ENDS = ("response.completed", "response.incomplete", "response.failed", "error", "response.cancelled")


@functools.cache
def _pool():
    """Every kind of event, from the scenes and beyond."""
    from_scenes: list[dict[str, object]] = []
    for scene in ("interleaved", "tools2", "custom", "search", "refusal", "noids", "unknown", "filled", "incomplete"):
        from_scenes += [json.loads(received.data) for received in events_of(upstream_of(scene))]
    kinds: dict[str, list[dict[str, object]]] = {}
    for event in from_scenes:
        kinds.setdefault(str(event["type"]), []).append(event)
    few = [event for events in kinds.values() for event in events[:6]]
    failed = {
        "type": "response.failed",
        "response": {"id": "resp_r", "error": {"code": "server_error"}},
    }
    return [*few, failed, {"type": "error", "message": "no"}, {"type": "response.cancelled", "response": {}}]


# --- 3. Streamed and collected agree -----------------------------------------------------


@routes
@styles
@pytest.mark.parametrize("stop", STOPS, ids=repr)
@scenes
def test_streamed_and_collected_agree(route, scene, style, stop):
    data = upstream_of(scene)
    _agree(route, data, style, stop)


@routes
@given(story=stories(), style=st.sampled_from(STYLES), stop=st.sampled_from([(), ("a",), ("STOP", "TO"), ("\n\n",)]))
def test_any_stream_streamed_and_collected_agrees(route, story, style, stop):
    _agree(route, story.upstream, style, stop)


@routes
@given(story=stories(mixed=True), style=st.sampled_from(STYLES), stop=st.sampled_from([(), ("ab", "b"), ("S",)]))
def test_any_interleaved_stream_streamed_and_collected_agrees(route, story, style, stop):
    _agree(route, story.upstream, style, stop)


def _agree(route, data, style, stop):
    body = client_of(route).body(stop=stop)
    streamed = as_client(route, play(route, data, body=body, style=style))
    collected = collect(route, data, body=body, style=style)
    if isinstance(collected, bytes):
        assert streamed.reply == client_of(route).document(collected)
    else:
        assert not streamed.succeeded


@pytest.mark.check(39)
@routes
@given(story=stories())
def test_the_text_of_any_stream_arrives_once_and_whole(route, story):
    client = client_of(route)
    read = as_client(route, play(route, story.upstream, style="hidden"))
    if not tells(route, story.upstream):
        assert not read.succeeded
    elif (story.refusals and client.refuses_in_text) or (story.images and client.notes_images_in_text):
        # What else is said in the text stands anywhere between.
        text = client.text(read.reply)
        said = [*story.messages, *(story.refusals if client.refuses_in_text else ())]
        assert all(text.count(one) >= said.count(one) for one in said)
    else:
        assert client.text(read.reply) == "\n\n".join(story.messages)


# --- 4. Separators survive and are never raw on the wire ----------------------------------


@pytest.mark.check(37)
@routes
@pytest.mark.parametrize("separator", SEPARATORS, ids=ascii)
@pytest.mark.parametrize("stream", [True, False])
def test_separators_survive_and_are_never_raw(route, separator, stream):
    text = f"a{separator}b"
    delta = {"type": "response.output_text.delta", "output_index": 0, "delta": text}
    data = sse(delta, {"type": "response.completed", "response": {}})
    if stream:
        frames = play(route, data)
        wire, reply = frames.joined, as_client(route, frames).reply
    else:
        collected = collect(route, data)
        assert isinstance(collected, bytes)
        wire, reply = collected, client_of(route).document(collected)
    assert separator.encode() not in wire
    assert client_of(route).text(reply) == text


@routes
@pytest.mark.parametrize("separator", SEPARATORS, ids=ascii)
def test_separators_in_an_error_are_never_raw(route, separator):
    event = {"type": "error", "message": f"a{separator}b", "code": f"c{separator}"}
    frames = play(route, sse(event))
    assert separator.encode() not in frames.joined
    told = as_client(route, frames).error or {}
    assert any("a b" in str(value) for value in told.values())
    error = collect(route, sse(event))
    assert isinstance(error, GptmockError)
    assert separator.encode() not in route.dialect.error(error).body
    body = route.dialect.error(BadRequest(f"a{separator}b")).body
    assert separator.encode() not in body
    assert f"\\u{ord(separator):04x}".encode() in body


def test_a_failure_prints_the_script():
    route = DIALECTS[0]
    frames = translate(decode(route, client_of(route).body()), upstream_of("eof-mid"))
    assert "-> OutputTextDelta" in repr(frames)
    assert "<- b'data: " in repr(frames)
