"""Messages to input items; tool results are matched to their calls."""

import json
from typing import Any

import pytest

from tests.dialects.ollama.asked import (
    CHAT,
    PNG,
    PNG_URL,
    USER,
    options_of,
    question,
    refused,
    understood,
    upstream_body,
)

ASKED = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}


def items(*messages: Any, **members: Any) -> list[Any]:
    sent: list[Any] = upstream_body(CHAT, question(CHAT, messages=messages, **members))["input"]
    return sent


def call(name: str = "f", arguments: Any = None, **more: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": arguments or {}}, **more}


def calls(*entries: dict[str, Any], content: str = "") -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(entries)}


def result(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "tool", "content": content, **more}


def pairs(sent: list[Any]) -> list[tuple[str, str]]:
    """Each result with the name of the call that it answers, in the order of the results."""
    names = {item["call_id"]: item["name"] for item in sent if item["type"] == "function_call"}
    assert len(names) == len([item for item in sent if item["type"] == "function_call"]), "call ids are distinct"
    return [(names[item["call_id"]], item["output"]) for item in sent if item["type"] == "function_call_output"]


# --- Roles -----------------------------------------------------------------------------


def test_leading_system_messages_are_the_instructions_and_later_ones_stay():
    system = [{"role": role, "content": text} for role, text in (("System", "A"), ("system", ""), ("developer", "B"))]
    sent = upstream_body(CHAT, question(CHAT, messages=[*system, USER, {"role": "SYSTEM", "content": "C"}]))
    assert sent["instructions"] == "A\n\nB"
    assert sent["input"] == [
        ASKED,
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "C"}]},
    ]


def test_nothing_but_instructions_is_something_to_answer_to():
    sent = upstream_body(CHAT, question(CHAT, messages=[{"role": "system", "content": "A"}]))
    assert (sent["instructions"], sent["input"][0]["role"]) == ("", "developer")


def test_the_assistants_history_is_what_it_said_and_not_what_it_thought():
    said = {"role": "assistant", "content": "<think>Hm.</think>\n\nHello.", "thinking": "Hm."}
    assert items(USER, said, USER)[1] == {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Hello."}],
    }
    assert len(items(USER, {"role": "assistant", "content": "<think>Hm.</think>"}, USER)) == 2


def test_absent_content_is_empty():
    assert items({"role": "user"}, {"role": "user", "content": None}, USER) == [ASKED]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"content": "x"}], "messages[0].role"),
        ([USER, {"role": "robot", "content": "x"}], "messages[1].role"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content"),
        ([{"role": "user", "content": "x", "images": ["!"]}], "messages[0].images[0]"),
        ([{"role": "user", "content": ""}], "messages"),
        ([USER, calls({"function": {"arguments": {}}})], "messages[1].tool_calls[0].function.name"),
        ([USER, calls({"id": "x"})], "messages[1].tool_calls[0].function"),
        ([USER, calls(call(arguments=[1]))], "messages[1].tool_calls[0].function.arguments"),
        ({"role": "user"}, "messages"),
    ],
)
def test_a_message_that_cannot_be_read_is_a_400_that_names_the_place(messages, param):
    error = refused(CHAT, question(CHAT, messages=messages))
    assert (error.status_hint, error.param) == (400, param)


# --- Images ----------------------------------------------------------------------------


@pytest.mark.parametrize("image", [PNG, PNG_URL])
def test_images_are_input_images_beside_the_text(image):
    (sent,) = items({"role": "user", "content": "What?", "images": [image, "https://example.com/x.png"]})
    assert sent["content"] == [
        {"type": "input_text", "text": "What?"},
        {"type": "input_image", "image_url": PNG_URL},
        {"type": "input_image", "image_url": "https://example.com/x.png"},
    ]


def test_images_of_the_request_are_those_of_the_last_user_message():
    first, _, last = items(USER, {"role": "assistant", "content": "Yes?"}, USER, images=[PNG])
    assert first == ASKED
    assert last["content"][1] == {"type": "input_image", "image_url": PNG_URL}
    assert refused(CHAT, question(CHAT, images=["!"])).param == "images[0]"


def test_a_result_may_be_an_image():
    sent = items(USER, calls(call()), result("Look:", images=[PNG]))
    assert sent[-1]["output"] == [
        {"type": "input_text", "text": "Look:"},
        {"type": "input_image", "image_url": PNG_URL},
    ]


# --- Calls and results -------------------------------------------------------------------


@pytest.mark.check(21)
def test_a_result_finds_its_call_by_the_tools_name_alone():
    asked = calls(call("f", {"x": 1}), call("g"), call("f", {"x": 2}))
    sent = items(USER, asked, result("G", tool_name="g"), result("F1", tool_name="f"), result("F2", name="f"))
    assert pairs(sent) == [("g", "G"), ("f", "F1"), ("f", "F2")]
    made = [item for item in sent if item["type"] == "function_call"]
    assert [item["call_id"] for item in made] == ["call_1_0", "call_1_1", "call_1_2"]
    assert [item["arguments"] for item in made] == ['{"x":1}', "{}", '{"x":2}']
    outputs = {item["call_id"]: item["output"] for item in sent if item["type"] == "function_call_output"}
    assert outputs == {"call_1_0": "F1", "call_1_1": "G", "call_1_2": "F2"}


def test_a_result_finds_its_call_by_id_before_anything_else():
    asked = calls(call("f", id="call_a"), call("f", id="call_b"))
    sent = items(USER, asked, result("B", tool_call_id="call_b", tool_name="f"), result("A", tool_call_id="call_a"))
    assert [item["call_id"] for item in sent[1:]] == ["call_a", "call_b", "call_b", "call_a"]


def test_results_with_neither_are_in_the_order_of_the_calls():
    sent = items(USER, calls(call("f"), call("g")), result("F"), result("G", tool_name="a name that nobody has"))
    assert pairs(sent) == [("f", "F"), ("g", "G")]


def test_ids_that_a_client_uses_again_are_kept_apart():
    turn = (calls(call("f", id="0")), result("F", tool_call_id="0"))
    again = (calls(call("g", id="0")), result("G", tool_call_id="0"))
    assert pairs(items(USER, *turn, USER, *again)) == [("f", "F"), ("g", "G")]


def test_ids_are_those_of_the_next_turn_too():
    first = items(USER, calls(call("f")), result("F"))
    later = items(USER, calls(call("f")), result("F"), {"role": "assistant", "content": "Done."}, USER)
    assert later[: len(first)] == first


@pytest.mark.parametrize("after", [[USER], [{"role": "assistant", "content": "Never mind."}], []], ids=len)
def test_a_result_that_never_came_is_empty_and_beside_its_call(after):
    sent = items(USER, calls(call("f"), call("g"), content="Wait."), result("G", tool_name="g"), *after)
    assert pairs(sent) == [("g", "G"), ("f", "")]
    assert [item["type"] for item in sent[:6]] == [
        "message",
        "message",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
    ]


def test_a_result_may_come_after_a_word_of_the_user():
    assert pairs(items(USER, calls(call("f"), call("g")), USER, result("F"), result("G"))) == [("f", "F"), ("g", "G")]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([USER, result("x")], "messages[1]"),
        ([USER, calls(call()), result("x"), result("y")], "messages[3]"),
        ([USER, calls(call()), {"role": "assistant", "content": "No."}, result("x")], "messages[3]"),
    ],
)
def test_a_result_without_a_call_is_a_400(messages, param):
    assert refused(CHAT, question(CHAT, messages=messages)).param == param


def test_arguments_may_be_text_already_and_may_be_absent():
    sent = items(USER, calls(call("f", '{"a": 1}'), {"function": {"name": "g"}}), result("F"), result("G"))
    assert [item["arguments"] for item in sent if item["type"] == "function_call"] == ['{"a": 1}', "{}"]


def test_long_ids_and_names_with_dots_are_shortened_on_both_sides():
    long = "call_" + "x" * 100
    sent = items(USER, calls(call("files.read", id=long)), result("R", tool_call_id=long))
    assert sent[1]["call_id"] == sent[2]["call_id"]
    assert len(sent[1]["call_id"]) <= 64
    assert sent[1]["name"].startswith("files_read_")


# --- Tools -----------------------------------------------------------------------------


def test_tools_are_flat_and_not_strict_and_their_parameters_an_object():
    properties = {"b": {"type": ["string", "null"]}, "a": {"type": "integer", "x-unknown": 1}}
    tools = [
        {"type": "function", "function": {"name": "f", "description": "F", "parameters": {"properties": properties}}},
        {"function": {"name": "g"}},
        {"type": "function", "name": "h", "parameters": {"type": "object"}},
    ]
    sent = upstream_body(CHAT, question(CHAT, tools=tools))["tools"]
    parameters = {"type": "object", "properties": properties}
    empty = {"type": "object", "properties": {}}
    assert sent == [
        {"type": "function", "name": "f", "description": "F", "parameters": parameters, "strict": False},
        {"type": "function", "name": "g", "parameters": empty, "strict": False},
        {"type": "function", "name": "h", "parameters": {"type": "object", "properties": {}}, "strict": False},
    ]
    assert json.dumps(sent[0]["parameters"]) == json.dumps(parameters)


def test_the_clients_own_name_of_a_tool_comes_back():
    tools = [{"type": "function", "function": {"name": "files.read"}}]
    turn = understood(CHAT, question(CHAT, tools=tools))
    assert list(options_of(turn).tool_names.values()) == ["files.read"]


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "function", "function": {}}, "tools[0].function.name"),
        ({"type": "function", "function": {"name": "f", "parameters": []}}, "tools[0].function.parameters"),
        ({"type": "mcp"}, "tools[0].type"),
        ({}, "tools[0].type"),
    ],
)
def test_a_tool_that_cannot_be_used_is_a_400(tool, param):
    assert refused(CHAT, question(CHAT, tools=[tool])).param == param
