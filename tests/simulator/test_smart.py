import json
from typing import Any

import pytest

from gptmock.simulator.scenes import render_scene
from tests.simulator.sse import events, items_of, text_of, types
from tests.simulator.wire import CLOCK, WEATHER, body, user

CALL = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city":"Paris"}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "18 degrees"}


def names(request: dict[str, Any]) -> list[str]:
    return [item["name"] for item in items_of(render_scene("auto", request=request)) if "name" in item]


def said(request: dict[str, Any]) -> str:
    return text_of(render_scene("auto", request=request))


def test_it_quotes_the_last_words():
    assert said(body("How are you?")) == "You said: How are you?"
    assert types(render_scene("auto", request=body("How are you?"))).count("output_text.delta") > 2


@pytest.mark.parametrize(
    ("text", "changes", "called"),
    [
        ("use get_weather", {}, ["get_weather"]),
        ("get_time and then get_weather", {}, ["get_time", "get_weather"]),
        ("get_time and then get_weather", {"parallel_tool_calls": False}, ["get_time"]),
        ("call a tool", {}, ["get_weather"]),
        ("hello", {}, []),
        ("hello", {"tool_choice": "required"}, ["get_weather"]),
        ("hello", {"tool_choice": {"type": "function", "name": "get_time"}}, ["get_time"]),
        ("use get_weather", {"tool_choice": "none"}, []),
        (
            "hello",
            {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [CLOCK]}},
            ["get_time"],
        ),
    ],
)
def test_which_tools_it_calls(text, changes, called):
    assert names(body(text, tools=[WEATHER, CLOCK], **changes)) == called


def test_calls_can_be_spelled_out():
    text = 'call:get_weather{"city": "Oslo {1}"} and call:get_time{} call:nowhere{} call:get_time{oops'
    called = [
        (item["name"], item["arguments"])
        for item in items_of(render_scene("auto", request=body(text, tools=[WEATHER, CLOCK])))
        if item["type"] == "function_call"
    ]
    assert called == [("get_weather", '{"city": "Oslo {1}"}'), ("get_time", "{}")]


def test_reasoning_can_be_sealed_without_a_summary():
    items = items_of(render_scene("sealed", request=body("use get_time", tools=[CLOCK])))
    assert [item["type"] for item in items] == ["reasoning", "function_call"]
    assert (items[0]["summary"], items[0]["encrypted_content"][:5]) == ([], "gAAAA")


def test_it_reports_what_the_tools_answered():
    request = body(tools=[WEATHER], input=[user("use get_weather"), CALL, OUTPUT])
    assert said(request) == "The tools answered: 18 degrees"


def test_words_after_the_outputs_call_no_tool_again():
    request = body(tools=[WEATHER], input=[user("use get_weather"), CALL, OUTPUT, user("Tool get_weather loaded.")])
    assert said(request) == "You said: Tool get_weather loaded."
    assert names({**request, "tool_choice": "required"}) == ["get_weather"]


def test_what_the_developer_adds_does_not_hide_the_outputs():
    note = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "note"}]}
    request = body(tools=[WEATHER], input=[user("use get_weather"), CALL, OUTPUT, note])
    assert said(request) == "The tools answered: 18 degrees"


def test_a_marker_counts_only_until_its_tools_have_answered():
    request = body(tools=[WEATHER], input=[user("scene:tool"), CALL, OUTPUT])
    assert said(request) == "The tools answered: 18 degrees"


def test_tools_of_lite_bodies_are_found_in_their_namespace():
    tool = {**WEATHER, "type": "function"}
    extra: dict[str, Any] = {"type": "additional_tools", "role": "developer"}
    extra["tools"] = [{"type": "namespace", "name": "functions", "tools": [tool]}]
    items = items_of(render_scene("auto", request=body(input=[extra, user("use get_weather")])))
    assert (items[0]["name"], items[0]["namespace"]) == ("get_weather", "functions")


def test_custom_tools_get_text():
    items = items_of(render_scene("auto", request=body("tool", tools=[{"type": "custom", "name": "apply_patch"}])))
    assert items[0]["type"] == "custom_tool_call"
    assert items[0]["input"].startswith("*** Begin Patch")


def test_it_obeys_a_schema():
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    shape = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
    assert json.loads(said(body(text=shape))) == {"city": "Paris"}
    assert isinstance(json.loads(said(body("json please", text={"format": {"type": "json_object"}}))), dict)


@pytest.mark.parametrize(
    ("reasoning", "parts"),
    [
        (None, None),
        ({"effort": "low"}, None),
        ({"effort": "none", "summary": "auto"}, None),
        ({"effort": "low", "summary": "auto"}, 1),
        ({"summary": "detailed"}, 2),
    ],
)
def test_it_thinks_when_asked_to(reasoning, parts):
    items = items_of(render_scene("auto", request=body(reasoning=reasoning)))
    thoughts = [item for item in items if item["type"] == "reasoning"]
    assert [len(item["summary"]) for item in thoughts] == ([] if parts is None else [parts])
    assert all(item["encrypted_content"].startswith("gAAAA") for item in thoughts)


def test_it_searches_when_it_may_and_should():
    tools = [{"type": "web_search"}]
    assert items_of(render_scene("auto", request=body("search for it", tools=tools)))[0]["type"] == "web_search_call"
    assert len(items_of(render_scene("auto", request=body("hello", tools=tools)))) == 1


def test_a_compaction_trigger_gives_one_compaction_item():
    request = body(input=[user("hello"), {"type": "compaction_trigger"}])
    assert [item["type"] for item in items_of(render_scene("auto", request=request))] == ["compaction"]


def test_a_long_prompt_is_partly_cached():
    usage = events(render_scene("auto", request=body(instructions="x" * 8000)))[-1]["response"]["usage"]
    assert usage["input_tokens"] > 2000
    assert usage["input_tokens_details"]["cached_tokens"] % 128 == 0
    assert usage["input_tokens_details"]["cached_tokens"] > 0
