"""The laws of the core, for every dialect of the table; see ``playbook.CLIENTS`` for what a new dialect adds."""

import copy
import functools
import json
import random

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gptmock.dialects.table import DIALECTS
from gptmock.errors import GptmockError
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
doors = pytest.mark.parametrize("door", DIALECTS, ids=lambda door: door.name)
styles = pytest.mark.parametrize("style", STYLES)
scenes = pytest.mark.parametrize("scene", SMALL)
slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

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


@doors
def test_every_dialect_has_a_client_for_the_laws(door):
    client = client_of(door)
    assert door.dialect.decode is not None
    assert client.body()


# --- 1. Any split gives the same frames -------------------------------------------------


@pytest.mark.check(37)
@doors
@scenes
def test_one_byte_at_a_time_gives_the_same_frames(door, scene):
    data = upstream_of(scene)[:20_000]
    chunks = [data[at : at + 1] for at in range(len(data))]
    assert play(door, chunks).joined == play(door, data).joined


@pytest.mark.check(37)
@doors
@pytest.mark.parametrize("framing", FRAMINGS)
@given(story=stories(mixed=True), data=st.data())
@slow
def test_any_split_of_any_stream_gives_the_same_frames(door, framing, story, data):
    # The framing is only changed where it is framing: a newline inside a string is escaped in JSON.
    upstream = framed(story.upstream, **framing)
    cuts = data.draw(st.lists(st.integers(0, len(upstream)), max_size=20))
    assert play(door, split(upstream, cuts)).joined == play(door, story.upstream).joined


@doors
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("scene", ["reasoning", "tools2", "separators", "failed-mid", "eof-mid"])
def test_any_split_of_a_scene_gives_the_same_frames(door, scene, framing):
    whole = upstream_of(scene)
    upstream, expected = framed(whole, **framing), play(door, whole).joined
    chance = random.Random(scene)
    for _ in range(20):
        cuts = [chance.randrange(len(upstream)) for _ in range(chance.randrange(60))]
        assert play(door, split(upstream, cuts)).joined == expected


@doors
def test_a_fault_is_at_the_same_place_however_the_stream_is_cut(door):
    text = {"type": "response.output_text.delta", "output_index": 0, "delta": "seen"}
    data = sse(text, {"type": "response.output_text.delta", "delta": 5}, text)
    expected = play(door, data)
    assert not as_client(door, expected).succeeded
    assert b"seen" in expected.joined
    for at in range(len(data)):
        assert play(door, split(data, [at])).joined == expected.joined


# --- 2. It ends exactly once, and a cut is never success ----------------------------------


@doors
@scenes
def test_a_scene_succeeds_exactly_when_its_upstream_did(door, scene):
    data = upstream_of(scene)
    ended_well = any(ends_well(received.event) for received in events_of(data))
    frames = play(door, data)
    assert as_client(door, frames).succeeded is (ended_well and tells(door, data))
    # What the log says of it is what the client sees.
    assert (frames.failure is None) is (ended_well and tells(door, data))
    assert isinstance(collect(door, data), bytes) is (ended_well and tells(door, data))
    # The simulator says so too, but for the missing blank line, which we forgive.
    assert ended_well is (ENDINGS[scene] in ("completed", "incomplete") or scene == "nobreak")


@pytest.mark.check(31, 120)
@doors
@pytest.mark.parametrize("scene", ["text", "tools2", "reasoning"])
def test_a_cut_at_every_byte_is_never_success(door, scene):
    data = upstream_of(scene)
    body = client_of(door).body()
    turn = decode(door, body)
    last_byte = max(at for at in range(len(data)) if data[at : at + 1] == b"}")
    reader = EventReader()
    read: list[Received] = []
    seen: dict[tuple[int, tuple[bytes, ...]], bool] = {}
    for offset in range(len(data)):
        # ``read`` holds the events of data[:offset]; only the end of the stream is tried on a copy.
        tail = copy.deepcopy(reader).finish()
        key = (len(read), tuple(received.data for received in tail))
        if key not in seen:
            seen[key] = _succeeds(door, turn, [*read, *tail])
        assert seen[key] is (offset > last_byte), f"cut at byte {offset} of {len(data)}"
        read += reader.feed(data[offset : offset + 1])
    assert len(seen) > 20
    assert _succeeds(door, turn, [*read, *reader.finish()])


def _succeeds(door, turn, events):
    translator, frames = door.dialect.translator(turn, HEAD), Frames()
    for received in events:
        frames.came(received.event)
        frames.went(translator.feed(received))
    frames.went(translator.finish())
    return as_client(door, frames).succeeded


@pytest.mark.check(32, 120)
@doors
@pytest.mark.parametrize("scene", ["text", "search", "filled", "done-only"])
def test_a_cut_is_never_success_for_whoever_collects(door, scene):
    data = upstream_of(scene)
    last_byte = max(at for at in range(len(data)) if data[at : at + 1] == b"}")
    for offset in range(0, last_byte, 101):
        assert isinstance(collect(door, data[:offset]), GptmockError)


@doors
@scenes
def test_after_the_end_nothing_comes(door, scene):
    turn = decode(door, client_of(door).body())
    translator = door.dialect.translator(turn, HEAD)
    events = events_of(upstream_of(scene))
    for received in events:
        translator.feed(received)
    translator.finish()
    late = [*events, *events_of(upstream_of("text"))]
    assert [frame for received in late for frame in translator.feed(received)] == []
    assert translator.finish() == []
    assert translator.finish(truncated()) == []


@doors
@pytest.mark.parametrize("scene", [name for name in SMALL if ENDINGS[name] != "cut"])
def test_events_after_the_terminal_one_change_nothing(door, scene):
    data = upstream_of(scene)
    more = upstream_of("failed-mid") + sse({"type": "response.output_text.delta", "delta": 5})
    separated = data if data.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")) else data + b"\n"
    assert play(door, separated + more).joined == play(door, data).joined
    collected, expected = collect(door, separated + more), collect(door, data)
    assert str(collected) == str(expected)


@pytest.mark.check(120)
@doors
@given(data=st.data())
@slow
def test_any_order_of_events_ends_once_and_a_failure_is_no_success(door, data):
    pool = _pool()
    chosen = data.draw(st.lists(st.sampled_from(pool), max_size=30))
    frames = play(door, sse(*chosen))
    read = as_client(door, frames)
    first_end = next((event["type"] for event in chosen if event["type"] in _ENDS), None)
    ended_well = first_end in ("response.completed", "response.incomplete")
    assert read.succeeded is (ended_well and tells(door, sse(*chosen)))
    collected = collect(door, sse(*chosen))
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


@doors
@styles
@pytest.mark.parametrize("stop", STOPS, ids=repr)
@scenes
def test_streamed_and_collected_agree(door, scene, style, stop):
    data = upstream_of(scene)
    _agree(door, data, style, stop)


@doors
@given(story=stories(), style=st.sampled_from(STYLES), stop=st.sampled_from([(), ("a",), ("STOP", "TO"), ("\n\n",)]))
@slow
def test_any_stream_streamed_and_collected_agrees(door, story, style, stop):
    _agree(door, story.upstream, style, stop)


@doors
@given(story=stories(mixed=True), style=st.sampled_from(STYLES), stop=st.sampled_from([(), ("ab", "b"), ("S",)]))
@slow
def test_any_interleaved_stream_streamed_and_collected_agrees(door, story, style, stop):
    _agree(door, story.upstream, style, stop)


def _agree(door, data, style, stop):
    body = client_of(door).body(stop=stop)
    streamed = as_client(door, play(door, data, body=body, style=style))
    collected = collect(door, data, body=body, style=style)
    if isinstance(collected, bytes):
        assert streamed.reply == client_of(door).document(collected)
    else:
        assert not streamed.succeeded


@pytest.mark.check(39)
@doors
@given(story=stories())
@slow
def test_the_text_of_any_stream_arrives_once_and_whole(door, story):
    assume(story.messages and not (story.refusals and client_of(door).refuses_in_text))
    read = as_client(door, play(door, story.upstream, style="hidden"))
    if not tells(door, story.upstream):
        assert not read.succeeded
    elif story.refusals and client_of(door).refuses_in_text:
        text = client_of(door).text(read.reply)
        said = [*story.messages, *story.refusals]
        assert all(text.count(one) >= said.count(one) for one in said)
        assert sum(map(len, said)) <= len(text) <= len("\n\n".join(said))
    else:
        assert client_of(door).text(read.reply) == "\n\n".join(story.messages)


# --- 4. Separators survive and are never raw on the wire ----------------------------------


@pytest.mark.check(37)
@doors
@pytest.mark.parametrize("separator", SEPARATORS, ids=ascii)
@pytest.mark.parametrize("stream", [True, False])
def test_separators_survive_and_are_never_raw(door, separator, stream):
    text = f"a{separator}b"
    delta = {"type": "response.output_text.delta", "output_index": 0, "delta": text}
    data = sse(delta, {"type": "response.completed", "response": {}})
    if stream:
        frames = play(door, data)
        wire, reply = frames.joined, as_client(door, frames).reply
    else:
        collected = collect(door, data)
        assert isinstance(collected, bytes)
        wire, reply = collected, client_of(door).document(collected)
    assert separator.encode() not in wire
    assert client_of(door).text(reply) == text


@doors
@pytest.mark.parametrize("separator", SEPARATORS, ids=ascii)
def test_separators_in_an_error_are_never_raw(door, separator):
    event = {"type": "error", "message": f"a{separator}b", "code": f"c{separator}"}
    frames = play(door, sse(event))
    assert separator.encode() not in frames.joined
    told = as_client(door, frames).error or {}
    assert any(separator in str(value) for value in told.values())
    error = collect(door, sse(event))
    assert isinstance(error, GptmockError)
    assert separator.encode() not in door.dialect.error(error).body


def test_a_failure_prints_the_script():
    door = DIALECTS[0]
    frames = translate(door, decode(door, client_of(door).body()), upstream_of("eof-mid"))
    assert "-> OutputTextDelta" in repr(frames)
    assert "<- b'data: " in repr(frames)
