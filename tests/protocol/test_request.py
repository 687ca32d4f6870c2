import json

from msgspec import UNSET

from gptmock.protocol.request import (
    Content,
    CustomTool,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    FunctionTool,
    InputFile,
    InputImage,
    InputItem,
    InputText,
    Message,
    OutputText,
    ReasoningOptions,
    RefusalPart,
    ResponsesRequest,
    TextOptions,
    Tool,
)


def sent(**fields):
    return json.loads(ResponsesRequest(model="m", input=[], prompt_cache_key="k", **fields).to_json())


def test_the_smallest_request_has_what_the_backend_insists_on_and_nothing_else():
    assert sent() == {
        "model": "m",
        "instructions": "",
        "input": [],
        "prompt_cache_key": "k",
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "stream": True,
    }


def test_what_is_unset_is_not_sent():
    body = sent(reasoning=ReasoningOptions(effort="low"), text=TextOptions(verbosity="high"), tools=UNSET)
    assert body["reasoning"] == {"effort": "low"}
    assert body["text"] == {"verbosity": "high"}
    assert "tools" not in body


def test_items_parts_and_tools_carry_their_type():
    parts: list[Content] = [
        InputText("a"),
        OutputText("b"),
        RefusalPart("c"),
        InputImage("https://e"),
        InputImage("https://e", "low"),
        InputFile("data:x"),
        InputFile("data:x", "n"),
    ]
    items: list[InputItem] = [
        Message("user", parts),
        FunctionCall("c", "f", "{}"),
        FunctionCallOutput("c", "o"),
        CustomToolCall("c", "f", "i"),
        CustomToolCallOutput("c", [InputText("o")]),
        {"type": "reasoning", "encrypted_content": "g"},
    ]
    tools: list[Tool] = [
        FunctionTool("f", {"type": "object"}, strict=False),
        CustomTool("c", "d"),
        {"type": "web_search"},
    ]
    body = json.loads(ResponsesRequest(model="m", input=items, prompt_cache_key="k", tools=tools).to_json())
    assert body["input"] == [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "a"},
                {"type": "output_text", "text": "b"},
                {"type": "refusal", "refusal": "c"},
                {"type": "input_image", "image_url": "https://e"},
                {"type": "input_image", "image_url": "https://e", "detail": "low"},
                {"type": "input_file", "file_data": "data:x"},
                {"type": "input_file", "file_data": "data:x", "filename": "n"},
            ],
        },
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "o"},
        {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "i"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "o"}]},
        {"type": "reasoning", "encrypted_content": "g"},
    ]
    assert body["tools"] == [
        {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False},
        {"type": "custom", "name": "c", "description": "d"},
        {"type": "web_search"},
    ]


def test_the_keys_of_a_schema_keep_their_order():
    schema = {"z": 1, "a": {"y": 2, "b": 3}}
    body = ResponsesRequest(model="m", input=[], prompt_cache_key="k", tools=[FunctionTool("f", schema, strict=True)])
    assert b'"parameters":{"z":1,"a":{"y":2,"b":3}}' in body.to_json()
