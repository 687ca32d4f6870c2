"""What is shown of a turn that makes an image: the laws of ``tests/test_laws.py`` for both routes of images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptmock.dialects.dialect import Call, Turn
from gptmock.dialects.table import IMAGE_DIALECTS, DialectRoute
from gptmock.errors import GptmockError, UpstreamBroken
from gptmock.protocol.failures import truncated
from gptmock.simulator.pictures import PIXEL, picture
from gptmock.simulator.scenes import STREAM_SCENE_NAMES, STREAM_SCENES, render_scene
from tests.playbook import HEAD, Frames, collect, ends_well, events_of, split, sse, terms, translate

routes = pytest.mark.parametrize("route", IMAGE_DIALECTS, ids=lambda route: route.name)
SMALL = tuple(name for name in STREAM_SCENE_NAMES if name != "giant")
COMMON = {"b64_json", "created_at", "size", "quality", "background", "output_format", "type"}
IMAGE_TOOL = {"type": "image_generation", "size": "64x32", "partial_images": 2}
MADE = render_scene(
    "auto",
    request={
        "model": "gpt-5.5",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a cat"}]}],
        "tools": [IMAGE_TOOL],
        "tool_choice": {"type": "image_generation"},
    },
)
"""Two partial images, and one of 64 x 32 pixels."""


def body(route: DialectRoute, **members: Any) -> bytes:
    images = {"images": [{"image_url": f"data:image/png;base64,{PIXEL}"}]} if route.name == "image_edits" else {}
    return json.dumps({"prompt": "a cat", "stream": True, **images, **members}).encode()


def turn_of(route: DialectRoute, **members: Any) -> Turn:
    turn = route.dialect.decode(Call(body(route, **members)), terms())
    assert isinstance(turn, Turn)
    return turn


def play(route: DialectRoute, upstream: bytes | Sequence[bytes], **members: Any) -> Frames:
    return translate(turn_of(route, **members), upstream)


def read(route: DialectRoute, frames: Frames) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The events as a client reads them, and the error that they end with; any breach of the grammar is asserted."""
    prefix = "image_edit" if route.name == "image_edits" else "image_generation"
    events: list[dict[str, Any]] = []
    for frame in frames:
        assert frame.endswith(b"\n\n")
        *head, data = frame.decode()[:-2].split("\n")
        event = json.loads(data.removeprefix("data: "))
        if "error" in event:
            assert not head
            assert frame is frames[-1]
            return events, event["error"]
        assert head == [f"event: {event['type']}"]
        kind = event["type"].removeprefix(prefix)
        more = {".partial_image": {"partial_image_index"}, ".completed": {"usage"}}[kind]
        assert set(event) == COMMON | more
        events.append(event)
    return events, None


@routes
def test_partial_images_and_the_finished_one(route):
    events, error = read(route, play(route, MADE, partial_images=2))
    assert error is None
    assert [event.get("partial_image_index") for event in events] == [0, 1, None]
    assert [event["size"] for event in events] == ["1x1", "1x1", "64x32"]
    assert events[-1]["usage"]["total_tokens"] == 1067
    # Nobody else has asked for them.
    assert len(read(route, play(route, MADE))[0]) == 1


@routes
@pytest.mark.parametrize("count", [1, 2, 3])
def test_images_follow_one_another(route, count):
    events, error = read(route, play(route, MADE * count, n=count))
    assert (len(events), error) == (count, None)
    events, error = read(route, play(route, MADE * (count - 1), n=count))
    assert len(events) == count - 1
    assert error is not None


@routes
@given(cuts=st.lists(st.integers(0, len(MADE)), max_size=20))
@settings(max_examples=50)
def test_any_split_gives_the_same_frames(route, cuts):
    assert play(route, split(MADE, cuts), partial_images=2).joined == play(route, MADE, partial_images=2).joined


@routes
def test_a_cut_is_never_success(route):
    last = max(at for at in range(len(MADE)) if MADE[at : at + 1] == b"}")
    for offset in [*range(0, last, 97), last]:
        frames = play(route, MADE[:offset])
        assert read(route, frames)[0] == []
        assert isinstance(frames.failure, UpstreamBroken)
        assert isinstance(collect(route, MADE[:offset], body=body(route, stream=False)), GptmockError)


@routes
@pytest.mark.parametrize("scene", SMALL)
def test_a_scene_succeeds_if_it_makes_an_image(route, scene):
    data = render_scene(scene)
    frames = play(route, data)
    events, error = read(route, frames)
    ended_well = any(ends_well(received.event) for received in events_of(data))
    assert (error is None) is (ended_well and scene == "image")
    assert (frames.failure is None) is (error is None)
    assert len(events) == int(error is None)
    collected = collect(route, data, body=body(route, stream=False))
    assert isinstance(collected, bytes) is (error is None)
    if error is not None and STREAM_SCENES[scene].ending == "completed":
        assert error["code"] in ("image_generation_unavailable", "moderation_blocked")


@routes
def test_streamed_and_collected_agree(route):
    ((event,), _) = read(route, play(route, MADE))
    document = collect(route, MADE, body=body(route, stream=False))
    assert isinstance(document, bytes)
    answer = json.loads(document)
    (entry,) = answer.pop("data")
    assert entry == {"b64_json": event["b64_json"], "revised_prompt": "a cat"}
    assert answer.pop("created") == event["created_at"] == HEAD.created
    # ``auto`` is what nobody has said.
    assert answer == {name: event[name] for name in ("size", "background", "output_format", "usage")}


@routes
def test_after_the_end_nothing_comes(route):
    translator = turn_of(route).reply.translator(HEAD)
    events = events_of(MADE)
    for received in events:
        translator.feed(received)
    assert translator.finish() == []
    assert [frame for received in events for frame in translator.feed(received)] == []
    assert translator.finish(truncated()) == []


@routes
def test_an_image_that_is_told_twice_is_one(route):
    item = {"type": "image_generation_call", "id": "ig_1", "result": PIXEL}
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    ended = {"type": "response.completed", "response": {"id": "resp_1", "output": [item]}}
    for events in ([done, ended], [ended], [done, done, ended]):
        shown, error = read(route, play(route, sse(*events)))
        assert (len(shown), error) == (1, None)
        assert shown[0]["usage"]["total_tokens"] == 0


@routes
@pytest.mark.parametrize("item", [{"result": 5}, {"result": PIXEL, "size": []}])
def test_an_image_of_a_wrong_shape_is_an_error(route, item):
    event = {"type": "response.output_item.done", "item": {"type": "image_generation_call", **item}}
    assert read(route, play(route, sse(event)))[1] is not None


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_the_format_is_that_of_the_data(kind):
    item = {"type": "image_generation_call", "result": picture("64x32", kind), "output_format": "png"}
    ended = {"type": "response.completed", "response": {"id": "resp_1", "output": [item]}}
    document = collect(IMAGE_DIALECTS[0], sse(ended), body=body(IMAGE_DIALECTS[0], response_format="url", stream=False))
    assert isinstance(document, bytes)
    answer = json.loads(document)
    assert answer["output_format"] == kind
    assert answer["data"][0]["url"].startswith(f"data:image/{kind};base64,")
    assert answer["size"] == ("64x32" if kind == "png" else "1x1")
