import json
import re

import pytest

from gptmock.simulator.call import FIXED_TIME
from gptmock.simulator.scene_replies import FAILURES, GREETING
from gptmock.simulator.scenes import (
    SCENE_NAMES,
    SCENES,
    STREAM_SCENE_NAMES,
    STREAM_SCENES,
    UnknownSceneError,
    find_scene,
    render_scene,
)
from tests.simulator.sse import events, frames, items_of, text_of, types
from tests.simulator.wire import CLOCK, WEATHER, body

ENDINGS = {"completed": "completed", "incomplete": "incomplete", "failed": "failed", "error": "error"}
SMALL = [name for name in STREAM_SCENE_NAMES if name != "giant"]


@pytest.mark.parametrize("name", SMALL)
def test_the_same_request_gives_the_same_bytes(name):
    assert render_scene(name) == render_scene(name)
    assert render_scene(name, request=body("one")) == render_scene(name, request=body("one"))


@pytest.mark.parametrize("name", STREAM_SCENE_NAMES)
def test_a_scene_ends_as_the_table_says(name):
    scene = STREAM_SCENES[name]
    found = [kind for kind in types(render_scene(name)) if kind in ENDINGS]
    assert found == ([] if scene.ending == "cut" else [scene.ending])


@pytest.mark.parametrize("name", SMALL)
def test_numbers_count_from_zero_without_a_gap(name):
    numbers = [event["sequence_number"] for event in events(render_scene(name)) if "sequence_number" in event]
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("name", [name for name in SMALL if name not in {"done-only", "noids", "unknown", "eof-first"}])
def test_what_opens_is_what_closes_in_order(name):
    found = events(render_scene(name))
    opened = [event["output_index"] for event in found if event["type"] == "response.output_item.added"]
    closed = [event["output_index"] for event in found if event["type"] == "response.output_item.done"]
    assert opened == list(range(len(opened)))
    assert closed == opened[: len(closed)]
    cuts = {"cut", "failed", "error"}
    assert len(closed) == len(opened) or STREAM_SCENES[name].ending in cuts


@pytest.mark.parametrize("name", SMALL)
def test_deltas_add_up_to_what_done_says(name):
    found = events(render_scene(name))
    for kind, field in (
        ("output_text", "text"),
        ("function_call_arguments", "arguments"),
        ("reasoning_summary_text", "text"),
        ("custom_tool_call_input", "input"),
        ("refusal", "refusal"),
    ):
        if STREAM_SCENES[name].ending in {"completed", "incomplete"}:
            deltas = "".join(each["delta"] for each in found if each["type"] == f"response.{kind}.delta")
            done = "".join(each[field] for each in found if each["type"] == f"response.{kind}.done")
            assert deltas == done


def test_a_text_arrives_in_the_recorded_order():
    order = types(render_scene("text"))
    assert order[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert order[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert set(order[4:-4]) == {"output_text.delta"}


def test_the_response_object_echoes_the_request_and_is_empty_at_the_end():
    request = body(tools=[WEATHER], tool_choice="none", reasoning={"effort": "low", "summary": "auto"})
    found = events(render_scene("text", request=request))
    first, last = found[0]["response"], found[-1]["response"]
    assert first["instructions"] == last["instructions"] == "Be brief."
    assert first["tools"] == last["tools"] == [WEATHER]
    assert first["reasoning"] == {"context": "current_turn", "effort": "low", "mode": "standard", "summary": "detailed"}
    assert (first["status"], first["service_tier"], first["usage"]) == ("in_progress", "auto", None)
    assert (last["status"], last["service_tier"], last["output"]) == ("completed", "default", [])
    assert first["created_at"] == FIXED_TIME
    usage = last["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_the_schema_key_is_dropped_from_the_echo():
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {}}
    request = body(text={"format": {"type": "json_schema", "name": "x", "schema": schema}})
    shown = events(render_scene("text", request=request))[0]["response"]["text"]["format"]
    assert "$schema" not in shown["schema"]
    assert shown["description"] is None


def test_tools2_counts_the_reasoning_item_too():
    items = items_of(render_scene("tools2", request=body(tools=[WEATHER, CLOCK])))
    assert [item["type"] for item in items] == ["reasoning", "function_call", "function_call"]
    assert [item.get("name") for item in items[1:]] == ["get_weather", "get_time"]
    assert items[1]["call_id"] != items[2]["call_id"]
    assert json.loads(items[1]["arguments"]) == {"city": "Paris"}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("reasoning", ["reasoning", "message"]),
        ("interleaved", ["reasoning", "message", "reasoning", "message"]),
        ("text+tool", ["message", "function_call"]),
        ("custom", ["custom_tool_call"]),
        ("search", ["web_search_call", "message"]),
        ("two-messages", ["message", "message"]),
        ("image", ["image_generation_call"]),
        ("refusal", ["message"]),
        ("done-only", ["reasoning", "message", "function_call"]),
    ],
)
def test_items_of_a_scene(name, kinds):
    assert [item["type"] for item in items_of(render_scene(name))] == kinds


def test_done_only_has_no_delta():
    assert not [kind for kind in types(render_scene("done-only")) if kind.endswith(("delta", "text.done"))]


def test_noids_names_no_item():
    assert not [event for event in events(render_scene("noids")) if "item_id" in event or "id" in event.get("item", {})]


def test_search_cites_a_place_in_the_text():
    data = render_scene("search")
    note = next(each["annotation"] for each in events(data) if each["type"].endswith("annotation.added"))
    assert text_of(data)[note["start_index"] : note["end_index"]] == note["title"]
    assert items_of(data)[1]["content"][0]["annotations"] == [note]


def test_separators_stand_unescaped_in_one_line():
    data = render_scene("separators")
    assert all(mark in data.decode() for mark in ("\u0085", "\u2028", "\u2029"))
    assert "next\u0085line\u2028line\u2029paragraph" in text_of(data)


@pytest.mark.parametrize(
    "name", ["odd-splits", "crlf", "cr", "bom", "comments", "multiline", "garbage", "vendor-first"]
)
def test_disguises_do_not_change_what_is_said(name):
    assert text_of(render_scene(name)) == GREETING


def test_multiline_and_garbage_are_what_they_say():
    assert any("\n" in frame for frame in frames(render_scene("multiline")))
    assert len(frames(render_scene("garbage"))) > len(events(render_scene("garbage")))
    assert b"\xff" in render_scene("garbage")


def test_line_ends():
    assert b"\n" not in render_scene("cr")
    assert not re.search(rb"[^\r]\n", render_scene("crlf"))


def test_giant_has_one_event_over_16_mib():
    assert max(map(len, frames(render_scene("giant")))) > 16 * 1024 * 1024


def test_filled_and_substitute():
    last = events(render_scene("filled"))[-1]["response"]
    assert [item["type"] for item in last["output"]] == ["reasoning", "message", "function_call"]
    assert events(render_scene("substitute"))[0]["response"]["model"] == "gpt-5.6-luna"


@pytest.mark.parametrize("code", FAILURES)
def test_failures_carry_their_code(code):
    for name in ("failed-first", "failed-mid"):
        error = events(render_scene(f"{name}:{code}"))[-1]["response"]["error"]
        assert error == {"code": code, "message": FAILURES[code]}
    assert events(render_scene(f"error-event:{code}"))[-1]["code"] == code
    assert events(render_scene(f"error-event-nested:{code}"))[-1]["error"]["code"] == code


def test_overload_is_a_failure_in_a_stream():
    assert types(render_scene("overload")) == ["created", "in_progress", "failed"]
    assert events(render_scene("overload"))[-1]["response"]["error"]["code"] == "server_is_overloaded"


def test_unknown_names_and_parameters_are_told():
    with pytest.raises(UnknownSceneError, match="no scene is called 'nope'; known are: auto, text"):
        find_scene("nope")
    with pytest.raises(UnknownSceneError, match="does not take 'melted'"):
        find_scene("failed-mid:melted")
    with pytest.raises(UnknownSceneError, match="does not take 'x'"):
        find_scene("stall:x")
    with pytest.raises(UnknownSceneError, match="is not a stream"):
        render_scene("429-usage")


def test_every_scene_has_a_line_of_description():
    assert all(scene.summary for scene in SCENES.values())
    assert len(SCENE_NAMES) == len(set(SCENE_NAMES))
