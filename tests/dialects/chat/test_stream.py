import json

import pytest

from gptmock.dialects.chat.stream import DONE
from gptmock.dialects.table import DIALECTS
from gptmock.errors import UpstreamTimeout
from gptmock.simulator.scenes import render_scene
from tests.dialects.chat.asked import options_of
from tests.playbook import HEAD, as_client, chat_body, decode, play, sse

(CHAT,) = (route for route in DIALECTS if route.name == "chat")
USAGE = {"input_tokens": 11, "output_tokens": 5, "total_tokens": 16, "output_tokens_details": {"reasoning_tokens": 2}}
END = {"type": "response.completed", "response": {"usage": USAGE, "service_tier": "priority"}}


def chunks(frames):
    lines = [frame.removeprefix("data: ") for frame in frames.joined.decode().split("\n\n")[:-1]]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def deltas(frames):
    return [choice["delta"] for chunk in chunks(frames) for choice in chunk.get("choices", [])]


def delta(kind, text, **place):
    return {"type": f"response.{kind}.delta", "output_index": 0, "delta": text, **place}


def error_of(frames):
    error = as_client(CHAT, frames).error
    assert error is not None
    return error


def body(**more):
    return chat_body(**more)


@pytest.mark.check(2, 3, 12, 109)
def test_a_text():
    frames = play(CHAT, sse(delta("output_text", "Hel"), delta("output_text", "lo"), END))
    assert deltas(frames) == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hel"},
        {"content": "lo"},
        {},
    ]
    finish, usage = chunks(frames)[-2:]
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert (finish["service_tier"], finish["usage"]) == ("priority", None)
    assert usage["choices"] == []
    assert usage["usage"] == {
        "prompt_tokens": 11,
        "completion_tokens": 5,
        "total_tokens": 16,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 2,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    assert frames[-1] == DONE


@pytest.mark.check(13)
def test_no_usage_key_unless_asked():
    frames = play(CHAT, sse(delta("output_text", "a"), END), body=body(stream_options=None))
    assert all("usage" not in chunk for chunk in chunks(frames))


def test_usage_that_the_upstream_did_not_give_is_not_invented():
    frames = play(CHAT, sse({"type": "response.completed", "response": {}}))
    assert all(chunk["usage"] is None for chunk in chunks(frames))
    assert as_client(CHAT, frames).succeeded


@pytest.mark.parametrize("event", [{"type": "response.created", "response": {}}, {"type": "codex.rate_limits"}])
def test_the_role_comes_with_the_first_event_of_any_kind(event):
    translator = decode(CHAT, body()).reply.translator(HEAD)
    frames = play(CHAT, sse(event))
    assert b'"role":"assistant"' in frames[0]
    assert len(frames) == 2
    assert len(translator.finish()) == 1


@pytest.mark.check(6, 7)
def test_calls_are_opened_once_and_numbered_from_zero():
    frames = play(CHAT, render_scene("tools2"))
    entries = [one for part in deltas(frames) for one in part.get("tool_calls", [])]
    assert [one["index"] for one in entries if "id" in one] == [0, 1]
    assert all(set(one) == {"index", "function"} for one in entries if "id" not in one)
    assert as_client(CHAT, frames).reply["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.check(105)
def test_a_custom_call():
    message = as_client(CHAT, play(CHAT, render_scene("custom"))).reply["choices"][0]["message"]
    (call,) = message["tool_calls"]
    assert (call["type"], call["custom"]["name"]) == ("custom", "apply_patch")
    assert call["custom"]["input"].startswith("*** Begin Patch")


@pytest.mark.check(50)
def test_the_deprecated_shape_has_one_call():
    frames = play(CHAT, render_scene("tools2"), body=body(functions=[{"name": "get_weather"}]))
    reply = as_client(CHAT, frames).reply["choices"][0]
    assert reply["finish_reason"] == "function_call"
    assert reply["message"]["function_call"]["name"] == "get_weather"
    assert json.loads(reply["message"]["function_call"]["arguments"])
    assert b"tool_calls" not in frames.joined


@pytest.mark.check(103)
def test_a_shortened_name_comes_back_as_the_client_wrote_it():
    name = "mcp.server/" + "x" * 90
    turn = decode(CHAT, body(tools=[{"type": "function", "function": {"name": name}}]))
    ((sent, own),) = options_of(turn).tool_names.items()
    item = {"type": "function_call", "call_id": "c", "name": sent, "arguments": "{}"}
    frames = play(
        CHAT,
        sse({"type": "response.output_item.done", "item": item}, END),
        body=body(tools=[{"type": "function", "function": {"name": name}}]),
    )
    assert own == name
    assert as_client(CHAT, frames).reply["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == name


@pytest.mark.check(59)
def test_annotations_come_once_in_both_shapes_just_before_the_finish():
    parts = deltas(play(CHAT, render_scene("search")))
    assert [index for index, part in enumerate(parts) if "annotations" in part] == [len(parts) - 2]
    (note,) = parts[-2]["annotations"]
    flat = {key: note[key] for key in ("start_index", "end_index", "url", "title")}
    assert note == {"type": "url_citation", "url_citation": flat, **flat}


@pytest.mark.parametrize(
    ("style", "members"),
    [
        ("think-tags", [{"content": "<think>"}, {"content": "s"}, {"content": "</think>"}]),
        ("reasoning-content", [{"reasoning_content": "s"}]),
        ("o3", [{"reasoning": {"content": [{"type": "text", "text": "s"}]}}]),
        ("legacy", [{"reasoning_summary": "s"}]),
        ("hidden", []),
    ],
)
def test_a_style_of_reasoning(style, members):
    frames = play(CHAT, sse(delta("reasoning_summary_text", "s"), END), style=style)
    assert deltas(frames)[1:-1] == members


def test_legacy_shows_raw_thought_under_its_own_name():
    frames = play(CHAT, sse(delta("reasoning_text", "r"), END), style="legacy")
    assert deltas(frames)[1:-1] == [{"reasoning": "r"}]


@pytest.mark.check(55)
def test_a_refusal():
    message = as_client(CHAT, play(CHAT, render_scene("refusal"))).reply["choices"][0]
    assert message["message"]["refusal"] == "I'm sorry, but I can't help with that."
    assert (message["message"]["content"], message["finish_reason"]) == (None, "stop")


@pytest.mark.check(40, 110)
@pytest.mark.parametrize(("scene", "reason"), [("incomplete", "length"), ("filter", "content_filter")])
def test_an_early_end_is_told(scene, reason):
    assert as_client(CHAT, play(CHAT, render_scene(scene))).reply["choices"][0]["finish_reason"] == reason


@pytest.mark.check(30, 31)
@pytest.mark.parametrize("scene", ["failed-mid", "error-event", "eof-mid", "abort-mid", "truncated-chunk"])
def test_a_failure_is_one_error_frame_and_nothing_else(scene):
    frames = play(CHAT, render_scene(scene))
    assert not as_client(CHAT, frames).succeeded
    assert DONE not in frames
    assert b'finish_reason":"' not in frames.joined
    assert error_of(frames)["type"] == "server_error"


def test_a_cause_is_told_in_its_own_words():
    translator = decode(CHAT, body()).reply.translator(HEAD)
    (frame,) = translator.finish(UpstreamTimeout("Nothing came."))
    assert json.loads(frame.removeprefix(b"data: "))["error"] == {
        "message": "Nothing came.",
        "type": "server_error",
        "param": None,
        "code": "upstream_timeout",
    }


def test_a_broken_final_output_ends_the_reply_and_does_not_raise():
    broken = {"type": "response.completed", "response": {"output": [{"type": "function_call"}]}}
    frames = play(CHAT, sse(broken, END))
    assert error_of(frames)["code"] == "upstream_bad_event"


def test_the_model_is_the_one_the_client_named():
    frames = play(CHAT, render_scene("substitute"), body=body(model="GPT-5.5-high"))
    assert {chunk["model"] for chunk in chunks(frames)} == {"GPT-5.5-high"}
