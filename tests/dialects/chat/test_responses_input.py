import pytest

from tests.dialects.chat.asked import USER_ITEM, upstream_body


def sent(given, **more):
    body = upstream_body({"input": given, **more})
    return body["instructions"], body["input"]


def test_a_text_is_one_user_message():
    assert sent("hi") == ("", [USER_ITEM])
    assert sent("hi", instructions="i") == ("i", [USER_ITEM])


def test_messages_win_over_input():
    body = upstream_body({"messages": [{"role": "user", "content": "hi"}], "input": "other"})
    assert body["input"] == [USER_ITEM]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"role": "user", "content": "hi"}, USER_ITEM),
        ({"type": None, "role": "user", "content": "hi"}, USER_ITEM),
        ({"type": "message", "id": "msg_1", "status": "completed", "role": "user", "content": "hi"}, USER_ITEM),
        ({"role": "system", "content": "hi"}, {**USER_ITEM, "role": "developer"}),
        ({"role": "developer", "content": [{"type": "input_text", "text": "hi"}]}, {**USER_ITEM, "role": "developer"}),
        (
            {"role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": []}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
        ),
        (
            {
                "type": "function_call",
                "id": "fc_1",
                "status": "completed",
                "call_id": "c",
                "name": "f",
                "arguments": "{}",
            },
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        ),
        (
            {"type": "function_call_output", "id": None, "call_id": "c", "output": "x"},
            {"type": "function_call_output", "call_id": "c", "output": "x"},
        ),
        (
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": "g"},
            {"type": "reasoning", "summary": [], "encrypted_content": "g"},
        ),
    ],
)
def test_an_item(item, expected):
    assert sent([item]) == ("", [expected])


def test_reasoning_without_its_content_and_empty_messages_are_dropped():
    given = [{"type": "reasoning", "summary": []}, {"role": "user", "content": ""}, {"role": "user", "content": "hi"}]
    assert sent(given) == ("", [USER_ITEM])


def test_ids_and_names_are_shortened_alike_on_both_sides():
    call = {"type": "function_call", "call_id": "x" * 99, "name": "mcp.f", "arguments": "{}"}
    tools = [{"type": "function", "name": "mcp.f"}]
    body = upstream_body(
        {"input": [call, {"type": "function_call_output", "call_id": "x" * 99, "output": "y"}], "tools": tools}
    )
    first, second = body["input"]
    assert first["call_id"] == second["call_id"] != "x" * 99
    assert first["name"] == body["tools"][0]["name"] != "mcp.f"
