"""Exchanges recorded in July 2026, through reader, fold and dialects."""

import json
from pathlib import Path

import pytest

from gptmock.dialects.table import DIALECTS
from gptmock.limits import snapshot_from_headers
from gptmock.protocol.events import OtherEvent
from gptmock.protocol.failures import refusal_of
from gptmock.protocol.fold import ResponseFold
from gptmock.protocol.output_parts import CallInput, CallOpened, Reasoning, Text
from gptmock.protocol.reader import EventReader
from tests.playbook import as_client, client_of, collect, events_in, play

EXCHANGES = json.loads(Path(__file__).with_name("live_exchanges.json").read_bytes())["exchanges"]
TURNS = [one for one in EXCHANGES if one["status"] == 200]

turns = pytest.mark.parametrize("exchange", TURNS, ids=lambda one: one["started_at"])
routes = pytest.mark.parametrize("route", DIALECTS, ids=lambda route: route.name)


def recorded(exchange):
    """The events as plain JSON, read with nothing of ours."""
    lines = exchange["response_body"].split("\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def with_ids(exchange):
    """The stream with ids in the places where the recording hides them: of the response, and one for each item."""
    frames = []
    for event in recorded(exchange):
        if "response" in event:
            event["response"]["id"] = "resp_recorded"
        if "output_index" in event:
            item_id = f"item_{event['output_index']}"
            event.update({"item": {**event["item"], "id": item_id}} if "item" in event else {"item_id": item_id})
        frames.append(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n")
    return "".join(frames).encode()


def finished_items(exchange):
    return [event["item"] for event in recorded(exchange) if event["type"] == "response.output_item.done"]


def text_of(exchange):
    messages = [item for item in finished_items(exchange) if item["type"] == "message"]
    return ["".join(part["text"] for part in message["content"]) for message in messages]


def calls_of(exchange):
    calls = [item for item in finished_items(exchange) if item["type"] == "function_call"]
    return [(call["call_id"], call["name"], call["arguments"]) for call in calls]


def usage_of(exchange):
    return recorded(exchange)[-1]["response"]["usage"]


def folded(exchange):
    reader, fold = EventReader(), ResponseFold()
    for received in events_in([*reader.feed(exchange["response_body"].encode()), *reader.finish()]):
        fold.feed(received)
    return fold.finish()


def test_the_recording_has_texts_calls_and_reasoning():
    kinds = {item["type"] for one in TURNS for item in finished_items(one)}
    assert {"message", "function_call"} <= kinds


@turns
def test_every_event_is_read_and_known(exchange):
    reader = EventReader()
    events = events_in([*reader.feed(exchange["response_body"].encode()), *reader.finish()])
    assert [json.loads(one.data) for one in events] == recorded(exchange)
    assert reader.skipped == 0
    unknown = {one.event.type for one in events if isinstance(one.event, OtherEvent)}
    assert all(kind.startswith(("response.image_generation_call.", "codex.")) for kind in unknown)


@turns
def test_the_fold_says_what_the_recording_says(exchange):
    whole = folded(exchange)
    texts = [piece.text for piece in whole.pieces if isinstance(piece, Text)]
    opened = [piece for piece in whole.pieces if isinstance(piece, CallOpened)]
    inputs = {piece.index: piece.text for piece in whole.pieces if isinstance(piece, CallInput)}
    assert texts == text_of(exchange)
    assert [(one.call_id, one.name, inputs[one.index]) for one in opened] == calls_of(exchange)
    thoughts = [part["text"] for item in finished_items(exchange) for part in item.get("summary") or []]
    assert [piece.text for piece in whole.pieces if isinstance(piece, Reasoning)] == thoughts
    usage = whole.finished.usage
    assert (usage.input_tokens, usage.output_tokens) == (
        usage_of(exchange)["input_tokens"],
        usage_of(exchange)["output_tokens"],
    )


@routes
@turns
def test_every_dialect_tells_the_text_once(route, exchange):
    data = with_ids(exchange)
    reply = as_client(route, play(route, data, style="hidden")).reply
    assert client_of(route).text(reply) == "\n\n".join(text_of(exchange))
    document = collect(route, data, style="hidden")
    assert isinstance(document, bytes)
    assert client_of(route).document(document) == reply


@turns
def test_chat_has_the_calls_and_the_usage(exchange):
    (route,) = [route for route in DIALECTS if route.name == "chat"]
    reply = as_client(route, play(route, exchange["response_body"].encode())).reply
    calls = reply["choices"][0]["message"].get("tool_calls", [])
    told = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls]
    assert told == calls_of(exchange)
    assert reply["choices"][0]["finish_reason"] == ("tool_calls" if told else "stop")
    usage = usage_of(exchange)
    assert reply["usage"]["prompt_tokens"] == usage["input_tokens"]
    assert reply["usage"]["completion_tokens"] == usage["output_tokens"]
    assert reply["usage"]["total_tokens"] == usage["total_tokens"]
    assert reply["usage"]["prompt_tokens_details"]["cached_tokens"] == usage["input_tokens_details"]["cached_tokens"]


@pytest.mark.check(231)
@turns
def test_messages_has_the_text_the_calls_and_the_usage(exchange):
    (route,) = [route for route in DIALECTS if route.name == "messages"]
    streamed = as_client(route, play(route, with_ids(exchange))).reply
    document = collect(route, with_ids(exchange))
    assert isinstance(document, bytes)
    for reply in (streamed, json.loads(document)):
        blocks = [block for block in reply["content"] if block["type"] != "thinking"]
        assert [block["text"] for block in blocks if block["type"] == "text"] == text_of(exchange)
        told = [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
        assert told == [(call_id, name, json.loads(arguments)) for call_id, name, arguments in calls_of(exchange)]
        assert reply["stop_reason"] == ("tool_use" if told else "end_turn")
        usage, recorded_usage = reply["usage"], usage_of(exchange)
        read = usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
        assert usage["input_tokens"] + read == recorded_usage["input_tokens"]
        assert usage["output_tokens"] == recorded_usage["output_tokens"]
        thought = recorded_usage["output_tokens_details"]["reasoning_tokens"]
        assert usage["output_tokens_details"] == {"thinking_tokens": thought}


def test_the_limits_in_the_headers_are_read():
    for exchange in TURNS:
        headers = {name.lower(): values[0] for name, values in exchange["response_headers"].items()}
        snapshot = snapshot_from_headers(headers, now=0.0)
        assert snapshot is not None
        assert snapshot.plan == headers["x-codex-plan-type"]


def test_a_recorded_refusal_is_read():
    for exchange in EXCHANGES:
        if exchange["status"] != 200:
            error = refusal_of(exchange["status"], exchange["response_body"].encode(), now=0.0)
            assert json.loads(exchange["response_body"])["detail"] in error.message
