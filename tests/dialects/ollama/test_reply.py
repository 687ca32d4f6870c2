"""Streamed and collected replies: tool calls, endings, usage. ``tests/test_laws.py`` checks that both agree."""

import json
from datetime import UTC, datetime

import pytest

from gptmock.dialects.dialect import Progress, ReplyHead
from gptmock.dialects.ollama.line_encoder import metrics, rfc3339
from gptmock.dialects.table import DIALECTS, DialectRoute
from gptmock.errors import GptmockError, Unauthorized, UnknownModel
from gptmock.protocol.items import ResponseUsage
from gptmock.simulator.scenes import render_scene
from tests.playbook import HEAD, as_client, client_of, collect, decode, play, sse

OLLAMA = [route for route in DIALECTS if route.name.startswith("ollama")]
routes = pytest.mark.parametrize("route", OLLAMA, ids=lambda route: route.name)
COMPLETED = {"type": "response.completed", "response": {"usage": {"input_tokens": 11, "output_tokens": 5}}}


def item(call_id, arguments, *, name="f"):
    call = {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": name, "arguments": arguments}
    return {"type": "response.output_item.done", "output_index": int(call_id[-1]), "item": call}


def text(delta):
    return {"type": "response.output_text.delta", "output_index": 9, "item_id": "msg", "delta": delta}


def lines(route, *events):
    return [json.loads(line) for line in play(route, sse(*events)).joined.decode().split("\n")[:-1]]


def said(route: DialectRoute, line):
    return line["message"] if route.name == "ollama_chat" else line


def arguments_of(route, *events):
    reply = as_client(route, play(route, sse(*events))).reply
    return [call["function"]["arguments"] for call in reply.get("tool_calls", ())]


# --- Calls -----------------------------------------------------------------------------


@pytest.mark.check(20)
@routes
def test_calls_are_told_whole_one_for_each_line_before_the_last(route):
    told = lines(route, item("call_0", '{"x":1}'), text("Wait."), item("call_1", '{"y": [2]}', name="g"), COMPLETED)
    assert [said(route, line).get("tool_calls") for line in told[1:3]] == [
        [{"id": "call_0", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}}],
        [{"id": "call_1", "function": {"index": 1, "name": "g", "arguments": {"y": [2]}}}],
    ]
    assert [line["done"] for line in told] == [False, False, False, True]
    assert told[-1]["done_reason"] == "stop"


@pytest.mark.check(20)
@routes
def test_arguments_are_an_object_when_collected_too(route):
    document = collect(route, sse(item("call_0", '{"x":1}'), COMPLETED))
    assert isinstance(document, bytes)
    (call,) = said(route, json.loads(document))["tool_calls"]
    assert call["function"]["arguments"] == {"x": 1}


@routes
def test_arguments_stay_as_they_were_written_but_on_one_line(route):
    written = '{\n  "big": 12345678901234567890123,\r\n  "one": 1.0,\t"b": "\\u2028 \\n x", "a": {}\n}'
    wire = play(route, sse(item("call_0", written), COMPLETED)).joined
    assert b'"arguments":{"big":12345678901234567890123,"one":1.0,"b":"\\u2028 \\n x","a":{}}' in wire
    assert arguments_of(route, item("call_0", written), COMPLETED) == [json.loads(written)]


@routes
@pytest.mark.parametrize("arguments", ["", "[1]", '"x"', "null", '{"x":', '{"x":1} {', "[" * 5000, '{"a":' * 5000])
def test_arguments_that_are_no_object_end_with_an_error_and_never_with_an_empty_one(route, arguments):
    upstream = sse(item("call_0", '{"good":1}'), item("call_1", arguments, name="spoilt"), COMPLETED)
    read = as_client(route, play(route, upstream))
    assert read.error == {"error": "The model called 'spoilt' with arguments that are no JSON object."}
    assert b"tool_calls" not in play(route, upstream).joined
    collected = collect(route, upstream)
    assert isinstance(collected, GptmockError)
    assert (collected.status_hint, collected.code) == (502, "invalid_tool_arguments")


@pytest.mark.check(40)
@routes
def test_a_call_that_the_end_has_cut_is_left_out_and_the_reason_says_so(route):
    incomplete = {"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}}
    events = (item("call_0", '{"x":'), item("call_1", '{"y":2}'), incomplete)
    told = lines(route, *events)
    assert [call["function"] for line in told for call in said(route, line).get("tool_calls", ())] == [
        {"index": 0, "name": "f", "arguments": {"y": 2}}
    ]
    assert told[-1]["done_reason"] == "length"


# --- Texts -----------------------------------------------------------------------------


@routes
@pytest.mark.parametrize("order", ["AR", "RA", "ARA", "AAR", "RAA", "ARAR"])
def test_a_refusal_is_text_apart_from_what_was_said_around_it(route, order):
    said, events = [], []
    for index, kind in enumerate(order):
        place = {"output_index": index, "item_id": f"msg_{index}", "content_index": 0}
        wire = "response.output_text.delta" if kind == "A" else "response.refusal.delta"
        events += [{"type": wire, **place, "delta": f"{kind}{index}"}, {"type": wire, **place, "delta": "."}]
        said.append(f"{kind}{index}.")
    assert client_of(route).text(as_client(route, play(route, sse(*events, COMPLETED))).reply) == "\n\n".join(said)


@routes
def test_a_heartbeat_is_a_line_that_says_nothing(route):
    turn = decode(route, client_of(route).body())
    beat = turn.reply.heartbeat(HEAD)
    assert beat.endswith(b"}\n")
    assert beat.count(b"\n") == 1
    with_beats = b"".join(beat + frame for frame in play(route, render_scene("text")))
    plain = as_client(route, play(route, render_scene("text")))
    assert as_client(route, [with_beats]) == plain


# --- Endings ---------------------------------------------------------------------------


@pytest.mark.check(110)
@routes
def test_the_content_filter_is_an_error_line(route):
    read = as_client(route, play(route, render_scene("filter")))
    assert read.error == {"error": "The upstream's content filter stopped this answer."}
    collected = collect(route, render_scene("filter"))
    assert isinstance(collected, GptmockError)
    assert (collected.status_hint, collected.code) == (400, "content_filter")


@pytest.mark.check(40)
@routes
def test_what_is_incomplete_ends_with_length(route):
    assert as_client(route, play(route, render_scene("incomplete"))).reply["done_reason"] == "length"


@pytest.mark.check(34)
@routes
@pytest.mark.parametrize("scene", ["eof-mid", "failed-mid", "error-event", "garbage-known-type"])
def test_a_stream_that_breaks_ends_with_one_string(route, scene):
    upstream = sse(text("So"), {"type": "response.output_text.delta", "delta": 5})
    frames = play(route, upstream if scene == "garbage-known-type" else render_scene(scene))
    assert set(json.loads(frames[-1])) == {"error"}
    assert isinstance(json.loads(frames[-1])["error"], str)
    assert b'"done":true' not in frames.joined


@pytest.mark.check(38, 39)
@routes
@pytest.mark.parametrize("scene", ["done-only", "filled", "noids"])
def test_what_is_told_twice_or_late_arrives_once(route, scene):
    reply = as_client(route, play(route, render_scene(scene))).reply
    assert reply["text"] == "Hello from the simulator. Zażółć gęślą jaźń, 你好, 🙂! See Example."
    assert [call["function"]["arguments"] for call in reply["tool_calls"]] == [{"city": "Paris"}]
    assert reply["thinking"].count("Reading the question") == 1


@pytest.mark.check(37)
@routes
def test_separators_arrive_escaped(route):
    wire = play(route, render_scene("separators")).joined
    assert b"\\u0085" in wire
    assert not any(separator.encode() in wire for separator in "\u0085\u2028\u2029")


# --- Numbers and times -------------------------------------------------------------------


def test_durations_are_those_of_the_turn_in_nanoseconds():
    head = ReplyHead("x", 0, Progress(lambda: 5.5, accepted_seconds=1.25, begun_seconds=3.0))
    numbers = metrics(head, ResponseUsage(input_tokens=11, output_tokens=5, total_tokens=16))
    assert numbers == {
        "total_duration": 5_500_000_000,
        "load_duration": 1_250_000_000,
        "prompt_eval_count": 11,
        "prompt_eval_duration": 1_750_000_000,
        "eval_count": 5,
        "eval_duration": 2_500_000_000,
    }


def test_nothing_is_invented_and_nothing_divides_by_zero():
    numbers = metrics(HEAD, None)
    assert "eval_count" not in numbers
    assert "prompt_eval_count" not in numbers
    assert numbers["eval_duration"] == 1
    skewed = ReplyHead("x", 0, Progress(lambda: 1.0, accepted_seconds=2.0, begun_seconds=1.5))
    assert all(type(number) is int and number >= 0 for number in metrics(skewed, None).values())


@pytest.mark.check(95)
@routes
def test_times_are_utc_and_counts_are_the_upstreams(route):
    *_, last = lines(route, text("So"), COMPLETED)
    assert (last["prompt_eval_count"], last["eval_count"]) == (11, 5)
    assert last["created_at"].endswith("Z")
    assert datetime.fromisoformat(last["created_at"]) == datetime.fromtimestamp(HEAD.created, UTC)
    assert rfc3339(0) == "1970-01-01T00:00:00Z"


# --- Errors ----------------------------------------------------------------------------


@pytest.mark.check(82)
@routes
def test_errors_are_strings_with_their_status(route):
    unknown = route.dialect.error(UnknownModel("Not here.", model="x\x1b'"))
    assert (unknown.status, json.loads(unknown.body)) == (404, {"error": "model 'x'' not found: Not here."})
    closed = route.dialect.error(Unauthorized("Incorrect API key provided."))
    assert (closed.status, json.loads(closed.body)) == (401, {"error": "unauthorized"})
    assert closed.headers["www-authenticate"] == "Bearer"
