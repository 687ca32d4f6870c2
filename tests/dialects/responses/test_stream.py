from __future__ import annotations

import json
from typing import Any

import pytest

from gptmock.dialects.dialect import Turn
from gptmock.dialects.table import DIALECTS
from gptmock.protocol.reader import EventReader
from gptmock.simulator.scenes import render_scene
from tests.dialects.responses.asked import options_of, understood
from tests.playbook import HEAD, SEPARATORS, as_client, events_in, events_of, sse, translate
from tests.responses_client import responses_text

(ROUTE,) = (route for route in DIALECTS if route.name == "responses")
CODEX = {"originator": "codex_exec"}
CREATED = {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-5.5-2026-04-23", "created_at": 7}}
COMPLETED = {"type": "response.completed", "response": {"id": "resp_1", "output": []}}


def said(*upstream: dict[str, Any] | bytes, turn: Turn | None = None) -> list[dict[str, Any]]:
    """The events that a client gets; ordinary ones are read strictly."""
    data = b"".join(one if isinstance(one, bytes) else sse(one) for one in upstream)
    frames = translate(turn or understood(stream=True), data)
    if turn is None or not options_of(turn).codex:
        as_client(ROUTE, frames)
    return [json.loads(frame.partition(b"data: ")[2]) for frame in frames]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def item_done(item: dict[str, Any], index: int | None = 0) -> dict[str, Any]:
    event = {"type": "response.output_item.done", "item": item}
    return event if index is None else {**event, "output_index": index}


def text_delta(text: str, **where: Any) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "delta": text, **(where or {"output_index": 0})}


# --- What the upstream leaves out ---------------------------------------------------------


@pytest.mark.check(67, 68)
def test_a_bare_delta_gets_all_that_stands_around_it():
    events = said(text_delta("hi"), COMPLETED)
    assert kinds(events) == [
        "created",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert responses_text(events[-1]["response"]) == "hi"
    assert events[0]["response"]["id"] == events[-1]["response"]["id"] == f"resp_{HEAD.id}"


@pytest.mark.check(38, 69)
def test_what_is_only_done_is_told_by_a_delta_too():
    events = said(CREATED, item_done({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}))[:5]
    assert kinds(events[1:]) == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert events[1]["item"]["arguments"] == ""
    assert (events[3]["name"], events[3]["arguments"]) == ("f", "{}")


def test_the_arguments_of_a_call_wait_until_it_is_known_what_is_called():
    delta = {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"a'}
    whole = {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": '{"a":1}'}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'}
    events = said(CREATED, delta, whole, item_done(call), COMPLETED)
    assert kinds(events)[1:3] == ["output_item.added", "function_call_arguments.delta"]
    assert events[2]["delta"] == '{"a":1}'
    assert events[-1]["response"]["output"][0]["arguments"] == '{"a":1}'


@pytest.mark.check(66)
def test_items_without_an_id_get_one_that_stays():
    events = said(render_scene("noids"))
    named = [event.get("item_id") or event["item"]["id"] for event in events if "output_index" in event]
    assert all(named)
    assert len(set(named)) == 3
    final = [item["id"] for item in events[-1]["response"]["output"]]
    assert final == list(dict.fromkeys(named))
    assert [item_id.partition("_")[0] for item_id in final] == ["rs", "msg", "fc"]


def test_an_id_that_changes_on_the_way_stays_the_first():
    message = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
    added = {"type": "response.output_item.added", "output_index": 0, "item": message}
    finished = {**message, "id": "msg_2", "content": [{"type": "output_text", "text": "hi"}]}
    events = said(CREATED, added, text_delta("hi", output_index=0, item_id="msg_x"), item_done(finished), COMPLETED)
    assert {event["item_id"] for event in events if "item_id" in event} == {"msg_1"}
    assert events[-1]["response"]["output"][0]["id"] == "msg_1"


def test_indexes_begin_at_0_and_have_no_gaps():
    events = said(CREATED, text_delta("b", output_index=7), text_delta("a", output_index=3), COMPLETED)
    assert [event["output_index"] for event in events if event["type"] == "response.output_item.added"] == [0, 1]
    assert responses_text(events[-1]["response"]) == "b\n\na"


@pytest.mark.check(39)
def test_what_is_told_three_times_is_shown_once():
    events = said(render_scene("filled"))
    final = events[-1]["response"]
    deltas = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert deltas == responses_text(final)
    again = said(CREATED, item_done({"type": "message", "content": [{"type": "output_text", "text": "hi"}]}), COMPLETED)
    assert kinds(again).count("output_text.delta") == 1


@pytest.mark.check(15)
def test_an_answer_that_stands_only_in_the_end_is_shown():
    item = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "hi"}]}
    events = said(CREATED, {"type": "response.completed", "response": {"output": [item]}})
    assert "output_text.delta" in kinds(events)
    assert responses_text(events[-1]["response"]) == "hi"


def test_an_end_by_the_name_of_the_websocket():
    assert kinds(said(CREATED, text_delta("hi"), {"type": "response.done", "response": {}}))[-1] == "completed"


# --- The Response ---------------------------------------------------------------------------


@pytest.mark.check(65)
def test_the_first_event_is_created_whatever_the_backend_says_first():
    for scene in ("vendor-first", "queued", "unknown"):
        assert kinds(said(render_scene(scene)))[0] == "created"


@pytest.mark.check(67)
def test_the_response_is_whole_from_the_start():
    created = said(CREATED, COMPLETED)[0]["response"]
    assert (created["id"], created["created_at"], created["model"]) == ("resp_1", 7, "gpt-5.5")
    assert (created["output"], created["usage"], created["error"], created["background"]) == ([], None, None, False)


@pytest.mark.check(73)
def test_nothing_that_was_added_upstream_is_seen():
    theirs = {
        "instructions": "an injected prompt",
        "tools": [{"type": "web_search"}],
        "prompt_cache_key": "ours",
        "safety_identifier": "user-of-the-account",
        "reasoning": {"effort": "high", "summary": "detailed"},
        "top_p": 0.98,
        "tool_usage": {"web_search": {"num_requests": 1}},
    }
    turn = understood(stream=True, prompt_cache_key="mine", instructions="be short")
    events = said({**CREATED, "response": theirs}, {**COMPLETED, "response": theirs}, turn=turn)
    for event in events:
        response = event["response"]
        assert (response["instructions"], response["tools"]) == ("be short", [])
        assert (response["prompt_cache_key"], response["safety_identifier"]) == ("mine", None)
        assert (response["reasoning"], response["top_p"]) == ({"effort": "medium", "summary": None}, 1.0)
        assert response["tool_usage"] == {"web_search": {"num_requests": 1}}, "what we do not know stays"


@pytest.mark.check(107)
def test_the_tier_and_the_usage_are_the_upstreams():
    usage = {"input_tokens": 3, "output_tokens": 4, "output_tokens_details": None}
    end = {**COMPLETED, "response": {"service_tier": "priority", "usage": usage}}
    final = said(CREATED, end)[-1]["response"]
    assert final["service_tier"] == "priority"
    assert final["usage"] == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 7,
    }
    assert said(CREATED, COMPLETED)[-1]["response"]["usage"] is None


@pytest.mark.check(40)
@pytest.mark.parametrize(("scene", "reason"), [("incomplete", "max_output_tokens"), ("filter", "content_filter")])
def test_an_incomplete_response_says_why(scene: str, reason: str):
    last = said(render_scene(scene))[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["status"] == "incomplete"
    assert last["response"]["incomplete_details"] == {"reason": reason}


def test_what_an_incomplete_response_leaves_open_is_incomplete():
    end = {"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}}
    (message,) = said(CREATED, text_delta("ha"), end)[-1]["response"]["output"]
    assert (message["status"], message["content"][0]["text"]) == ("incomplete", "ha")


@pytest.mark.check(59)
def test_citations_are_flat():
    final = said(render_scene("search"))[-1]["response"]
    (annotation,) = final["output"][-1]["content"][0]["annotations"]
    assert annotation["type"] == "url_citation"
    assert annotation["url"].startswith("https://")
    assert "url_citation" not in annotation


@pytest.mark.check(105)
def test_a_custom_tool_call_passes():
    events = said(render_scene("custom"))
    (item,) = events[-1]["response"]["output"]
    assert (item["type"], bool(item["input"])) == ("custom_tool_call", True)
    assert kinds(events)[-3:] == ["custom_tool_call_input.done", "output_item.done", "completed"]


@pytest.mark.check(103)
def test_a_tool_is_called_by_the_clients_own_name():
    name = "mcp.server/" + "x" * 90
    turn = understood(stream=True, tools=[{"type": "function", "name": name}])
    (short,) = options_of(turn).tool_names
    call = {"type": "function_call", "call_id": "c", "name": short, "arguments": "{}"}
    added = {"type": "response.output_item.added", "output_index": 0, "item": call}
    events = said(CREATED, added, item_done(call), COMPLETED, turn=turn)
    names = [event.get("name") or event["item"]["name"] for event in events if "name" in event or "item" in event]
    assert set(names) == {name}
    assert short not in json.dumps(events)


@pytest.mark.check(37)
def test_separators_arrive_and_any_cut_gives_the_same_frames():
    data = render_scene("separators")
    whole = translate(understood(stream=True), data).joined
    for at in range(0, len(data), 97):
        assert translate(understood(stream=True), [data[:at], data[at:]]).joined == whole
    text = responses_text(said(data)[-1]["response"])
    assert all(separator in text and separator.encode() not in whole for separator in SEPARATORS)


# --- Failures -------------------------------------------------------------------------------


@pytest.mark.check(35)
def test_a_failure_keeps_what_was_finished():
    message = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "done"}]}
    error = {"code": "server_error", "message": "no", "extra": 1}
    failed = {"type": "response.failed", "response": {"id": "resp_9", "error": error}}
    events = said(CREATED, item_done(message), text_delta("cut", output_index=1), failed)
    first, second = events[-2:]
    assert (first["type"], first["code"], first["message"]) == ("error", "server_error", "no")
    assert first["error"] == {"message": "no", "type": "server_error", "param": None, "code": "server_error"}
    assert [item["id"] for item in second["response"]["output"]] == ["msg_1"]
    assert second["response"]["error"] == error
    assert second["response"]["id"] == "resp_1"


def test_a_number_beyond_all_bounds_breaks_the_stream_and_not_us():
    odd = b'data: {"type":"response.output_text.delta","output_index":0,"delta":"x","odd":1e999}\n\n'
    events = said(CREATED, text_delta("hi"), odd, COMPLETED)
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["error"]["code"] == "upstream_bad_event"


# --- What we do not know ----------------------------------------------------------------------


UNKNOWN = {"type": "response.hologram.beam", "colour": "blue", "depth": [1, {"x": None}], "sequence_number": 99}


def test_an_unknown_event_passes_with_nothing_changed_but_its_number():
    """Only ``sequence_number`` of an unknown event is changed."""
    events = said(CREATED, UNKNOWN, COMPLETED)
    assert events[1] == {**UNKNOWN, "sequence_number": 1}
    early = said(UNKNOWN, CREATED, COMPLETED)
    assert kinds(early) == ["created", "hologram.beam", "completed"]
    assert early[1] == {**UNKNOWN, "sequence_number": 1}


def test_unknown_items_parts_and_members_pass():
    hologram = {"type": "hologram", "id": "holo_1", "beam": "blue", "nothing": None}
    part = {"type": "scent", "of": "rose"}
    message = {"type": "message", "id": "msg_1", "content": [part], "phase": "final_answer", "aura": 1}
    opened = {"type": "response.content_part.added", "output_index": 1, "content_index": 0, "part": part, "aura": 2}
    events = said(CREATED, item_done(hologram, 0), opened, item_done(message, 1), {**COMPLETED, "aura": 3})
    assert events[-1]["response"]["output"][0] == hologram
    assert events[-1]["response"]["output"][1]["content"] == [part]
    assert events[-1]["response"]["output"][1]["aura"] == 1
    (event,) = (event for event in events if event["type"] == "response.content_part.added")
    assert (event["part"], event["aura"]) == (part, 2)
    assert events[-1]["aura"] == 3


def test_an_event_that_we_do_not_know_follows_its_item():
    added = {"type": "response.output_item.added", "output_index": 4, "item": {"type": "hologram", "id": "holo_1"}}
    beam = {**UNKNOWN, "output_index": 4, "item_id": "holo_1"}
    (event,) = (event for event in said(CREATED, added, beam, COMPLETED) if event["type"] == UNKNOWN["type"])
    assert (event["output_index"], event["item_id"]) == (0, "holo_1")


def test_a_type_that_would_break_the_frame_has_no_event_line():
    odd = {"type": "response.odd\nevent: response.completed"}
    frames = translate(understood(stream=True), sse(CREATED) + b"data: " + json.dumps(odd).encode() + b"\n\n")
    assert frames[1].startswith(b"data: ")


@pytest.mark.parametrize("kept", [True, False])
def test_the_padding_is_a_matter_of_the_client(kept: bool):  # noqa: FBT001
    turn = understood(stream=True, stream_options={"include_obfuscation": kept})
    events = said(render_scene("text"), turn=turn)
    assert any("obfuscation" in event for event in events) is kept
    assert any("obfuscation" in event for event in said(render_scene("text")))


# --- Codex --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scene", ["text", "reasoning", "tools2", "custom", "search", "image", "unknown", "two-messages"]
)
def test_a_regular_stream_reaches_codex_as_it_is(scene: str):
    """All but the end, which has the output that the backend leaves out."""
    upstream = render_scene(scene)
    events = said(upstream, turn=understood(stream=True, headers=CODEX))
    theirs = [received.document() for received in events_of(upstream)]
    assert [_unnumbered(event) for event in events[1:-1]] == [_unnumbered(event) for event in theirs[1:-1]]
    (end,) = theirs[-1:]
    assert {**events[-1]["response"], "output": []} == {**_whole(events[-1]["response"], end["response"])}
    assert events[-1]["response"]["output"]


def _unnumbered(event: dict[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in event.items() if name != "sequence_number"}
    # The backend leaves out the name of a call where its own API demands it.
    if plain["type"] == "response.function_call_arguments.done":
        plain.pop("name", None)
    if "response" in plain:
        plain["response"] = plain["response"]["id"]
    return plain


def _whole(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """The backend's own response, with the counters and members that it leaves out."""
    return {**ours, **{name: value for name, value in theirs.items() if name != "usage"}}


def test_codex_gets_the_backends_own_words_in_their_place():
    upstream = render_scene("vendor-first")
    events = said(upstream, turn=understood(stream=True, headers=CODEX))
    assert kinds(events)[:3] == ["codex.rate_limits", "metadata", "created"]
    response = events[2]["response"]
    assert response["model"] == "gpt-5.5"
    assert response["safety_identifier"]
    assert kinds(said(upstream))[0] == "created"
    assert "metadata" not in kinds(said(upstream))


def test_a_reader_is_all_that_a_machine_needs():
    """A translator needs no gateway; after the terminal event ``finish`` adds nothing."""
    translator = understood(stream=True).reply.translator(HEAD)
    reader = EventReader()
    first = [frame for received in events_in(reader.feed(render_scene("text"))) for frame in translator.feed(received)]
    assert first[-1].startswith(b"event: response.completed\n")
    assert translator.finish() == []


@pytest.mark.parametrize("told", [None, 1, "x", {}])
def test_log_probabilities_are_a_list_whatever_the_backend_says(told: object):
    part = {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": told}
    events = said(sse({"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": part}))
    assert [event["part"]["logprobs"] for event in events if event["type"] == "response.content_part.done"] == [[]]
