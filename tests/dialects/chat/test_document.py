import json

import pytest

from gptmock.dialects.table import DIALECTS
from gptmock.simulator.scene_replies import GREETING, THOUGHTS
from gptmock.simulator.scenes import render_scene
from tests.playbook import chat_body, collect, sse

(CHAT,) = (route for route in DIALECTS if route.name == "chat")
END = {"type": "response.completed", "response": {}}


def document(data, *, style="think-tags", **more):
    whole = collect(CHAT, data, style=style, body=chat_body(stream=False, **more))
    assert isinstance(whole, bytes), whole
    return json.loads(whole)


def message(scene, **more):
    return document(render_scene(scene), **more)["choices"][0]["message"]


@pytest.mark.check(1, 14)
def test_a_text_has_every_member_and_no_other():
    whole = document(render_scene("text"))
    usage = whole.pop("usage")
    assert whole == {
        "id": "chatcmpl-" + "0" * 29,
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-5.5",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": GREETING, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "service_tier": "default",
        "system_fingerprint": None,
    }
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_usage_is_mapped_and_never_invented():
    usage = {
        "input_tokens": 10,
        "output_tokens": 5,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    whole = document(sse({"type": "response.completed", "response": {"usage": usage}}))
    assert whole["usage"]["total_tokens"] == 15
    assert whole["usage"]["prompt_tokens_details"] == {"cached_tokens": 4, "audio_tokens": 0, "cache_write_tokens": 3}
    assert whole["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2
    assert {"usage", "service_tier"}.isdisjoint(document(sse(END)))


@pytest.mark.check(5, 55)
@pytest.mark.parametrize(
    ("scene", "content"), [("tool", None), ("refusal", None), ("text+tool", "Let me look that up.")]
)
def test_content_is_null_only_beside_calls_or_a_refusal(scene, content):
    assert message(scene)["content"] == content


def test_a_turn_that_says_nothing_has_an_empty_content():
    assert document(sse(END))["choices"][0]["message"] == {"role": "assistant", "content": "", "refusal": None}


@pytest.mark.check(5)
def test_a_call_has_its_call_id_and_no_index():
    (call,) = message("tool")["tool_calls"]
    assert call["id"].startswith("call_")
    assert set(call) == {"id", "type", "function"}
    assert isinstance(json.loads(call["function"]["arguments"]), dict)


@pytest.mark.check(109)
def test_calls_and_annotations_are_absent_where_there_are_none():
    assert {"tool_calls", "annotations", "function_call", "reasoning_content"}.isdisjoint(message("text"))


@pytest.mark.check(50)
def test_the_deprecated_shape():
    whole = document(render_scene("tools2"), functions=[{"name": "get_weather"}])["choices"][0]
    assert whole["finish_reason"] == "function_call"
    assert whole["message"]["function_call"]["name"] == "get_weather"
    assert "tool_calls" not in whole["message"]


SUMMARY = "\n\n".join(THOUGHTS)


@pytest.mark.check(57)
@pytest.mark.parametrize(
    ("style", "content", "beside"),
    [
        ("think-tags", f"<think>{SUMMARY}</think>{GREETING}", {}),
        ("reasoning-content", GREETING, {"reasoning_content": SUMMARY}),
        ("o3", GREETING, {"reasoning": {"content": [{"type": "text", "text": SUMMARY}]}}),
        ("legacy", GREETING, {"reasoning_summary": SUMMARY}),
        ("hidden", GREETING, {}),
    ],
)
def test_a_style_of_reasoning(style, content, beside):
    assert message("reasoning", style=style) == {"role": "assistant", "content": content, "refusal": None, **beside}


def test_legacy_shows_raw_thought_under_its_own_name():
    assert message("reasoning-raw", style="legacy")["reasoning"] == "The user greets me, so I greet back."


def test_json_has_its_thinking_beside_it():
    got = message("reasoning", response_format={"type": "json_object"})
    assert (got["content"], got["reasoning_content"]) == (GREETING, SUMMARY)


def test_a_stop_cuts_the_answer_and_the_usage_is_real():
    whole = document(render_scene("text"), stop=["the simulator"])
    assert whole["choices"][0]["message"]["content"] == "Hello from "
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"]["completion_tokens"] > 5


def test_messages_are_joined_by_a_blank_line():
    assert message("two-messages")["content"] == f"I am going to greet.\n\n{GREETING}"


@pytest.mark.check(38, 39)
@pytest.mark.parametrize("scene", ["done-only", "noids", "filled"])
def test_what_is_told_once_or_many_times_is_told_once(scene):
    got = message(scene, style="hidden")
    assert got["content"] == f"{GREETING} See Example."
    assert len(got["tool_calls"]) == 1


def test_the_answer_of_another_model_keeps_the_name_that_was_asked_for():
    assert document(render_scene("substitute"))["model"] == "gpt-5.5"
