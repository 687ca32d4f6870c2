import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.dialects.chat import ChatCompletions
from gptmock.dialects.dialect import Call
from gptmock.errors import BadRequest, ClientError
from tests.playbook import terms

CHAT = ChatCompletions()
USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
INVALID, MISSING = "invalid_value", "missing_required_parameter"
UNSUPPORTED, CONTENT = "unsupported_parameter", "unsupported_content_type"


def with_user(**more):
    return {"messages": [USER], **more}


def said(*messages):
    return {"messages": list(messages)}


def part(part):
    return said({"role": "user", "content": [part]})


def called(**changes):
    return said(USER, {"role": "assistant", "tool_calls": [{**CALL, **changes}]})


BEFORE_SCHEMA = (
    b'{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":'
)


def nested(depth, opening="[", closing="]"):
    return (opening * depth + "0" + closing * depth).encode()


def deep_schema(depth):
    return b'{"a":' * depth + b"{}" + b"}" * depth


BODIES = [
    # id, body, param, code
    ("empty", b"", None, "invalid_json"),
    ("blank", b"  \n", None, "invalid_json"),
    ("no JSON", b"{not json", None, "invalid_json"),
    ("cut JSON", b'{"messages": [', None, "invalid_json"),
    ("two values", b"{} {}", None, "invalid_json"),
    ("single quotes", b"{'messages': []}", None, "invalid_json"),
    ("form data", b"model=gpt-5.5&messages=hi", None, "invalid_json"),
    ("array", [USER], None, "invalid_json"),
    ("string", "hi", None, "invalid_json"),
    ("number", 5, None, "invalid_json"),
    ("null", None, None, "invalid_json"),
    ("undecodable bytes", b'{"messages":[{"role":"user","content":"\xff"}]}', None, "invalid_json"),
    ("NaN", b'{"messages":[{"role":"user","content":"x"}],"temperature":NaN}', None, "invalid_json"),
    ("infinite", b'{"messages":[{"role":"user","content":"x"}],"temperature":1e999}', None, "invalid_json"),
    ("int of 5000 digits", b'{"seed":1' + b"0" * 5000 + b"}", None, "invalid_json"),
    ("raw newline in a string", b'{"messages":[{"role":"user","content":"a\nb"}]}', None, "invalid_json"),
    ("100 000 brackets", nested(100_000), None, "invalid_json"),
    ("100 000 braces", nested(100_000, '{"a":', "}"), None, "invalid_json"),
    *[
        (f"{depth} deep in {place}", before + deep_schema(depth) + after, None, "invalid_json")
        for depth in (250, 500, 700, 900, 1000, 1200, 5000)
        for place, before, after in (
            ("an ignored field", b'{"messages":[{"role":"user","content":"x"}],"foo":', b"}"),
            ("metadata", b'{"messages":[{"role":"user","content":"x"}],"metadata":', b"}"),
            (
                "tool parameters",
                BEFORE_SCHEMA,
                b"}}]}",
            ),
        )
    ],
    # Messages
    ("no messages", {}, "messages", MISSING),
    ("null messages", {"messages": None}, "messages", MISSING),
    ("instructions alone", {"instructions": "x"}, "messages", MISSING),
    ("empty messages", {"messages": []}, "messages", INVALID),
    ("messages as object", {"messages": {}}, "messages", INVALID),
    ("messages as string", {"messages": "hi"}, "messages", INVALID),
    ("message as string", {"messages": ["hi"]}, "messages[0]", INVALID),
    ("no role", said({"content": "hi"}), "messages[0].role", MISSING),
    ("null role", said({"role": None, "content": "hi"}), "messages[0].role", INVALID),
    ("number as role", said({"role": 5}), "messages[0].role", INVALID),
    ("unknown role", said(USER, {"role": "ai", "content": "x"}), "messages[1].role", INVALID),
    ("role in capitals", said({"role": "User", "content": "x"}), "messages[0].role", INVALID),
    ("very long role", said({"role": "x" * 100_000}), "messages[0].role", INVALID),
    ("content as number", said({"role": "user", "content": 5}), "messages[0].content", INVALID),
    ("content as object", said({"role": "user", "content": {}}), "messages[0].content", INVALID),
    ("nothing but empty messages", said({"role": "user", "content": ""}), "messages", INVALID),
    ("only an empty assistant", said({"role": "assistant", "content": None}), "messages", INVALID),
    ("only empty instructions", said({"role": "system", "content": ""}), "messages", INVALID),
    # Parts
    ("part as string", part("hi"), "messages[0].content[0]", INVALID),
    ("part without type", part({"text": "hi"}), "messages[0].content[0].type", MISSING),
    ("unknown part", part({"type": "video_url"}), "messages[0].content[0].type", INVALID),
    ("text part without text", part({"type": "text"}), "messages[0].content[0].text", MISSING),
    ("text part with a number", part({"type": "text", "text": 5}), "messages[0].content[0].text", INVALID),
    ("refusal of a user", part({"type": "refusal", "refusal": "x"}), "messages[0].content[0].type", INVALID),
    ("audio", part({"type": "input_audio", "input_audio": {"data": "x"}}), "messages[0].content[0]", CONTENT),
    ("image without url", part({"type": "image_url"}), "messages[0].content[0].image_url", MISSING),
    ("image url null", part({"type": "image_url", "image_url": None}), "messages[0].content[0].image_url", MISSING),
    (
        "image object without url",
        part({"type": "image_url", "image_url": {}}),
        "messages[0].content[0].image_url.url",
        MISSING,
    ),
    ("image url as number", part({"type": "image_url", "image_url": 5}), "messages[0].content[0].image_url", INVALID),
    (
        "bad base64",
        part({"type": "image_url", "image_url": "data:image/png;base64,!!"}),
        "messages[0].content[0].image_url",
        "invalid_image",
    ),
    (
        "empty base64",
        part({"type": "image_url", "image_url": "data:image/png;base64,"}),
        "messages[0].content[0].image_url",
        "invalid_image",
    ),
    (
        "not an image",
        part({"type": "image_url", "image_url": "data:text/plain;base64,aGk="}),
        "messages[0].content[0].image_url",
        "invalid_image",
    ),
    (
        "unknown magic",
        part({"type": "image_url", "image_url": "aGVsbG8="}),
        "messages[0].content[0].image_url",
        "invalid_image",
    ),
    (
        "file scheme",
        part({"type": "image_url", "image_url": "file:///etc/passwd"}),
        "messages[0].content[0].image_url",
        "invalid_image",
    ),
    (
        "sediment",
        part({"type": "input_image", "image_url": "sediment://file_1"}),
        "messages[0].content[0].image_url",
        "invalid_image",
    ),
    ("image by file id", part({"type": "input_image", "file_id": "f"}), "messages[0].content[0].file_id", CONTENT),
    ("file by id", part({"type": "file", "file": {"file_id": "f"}}), "messages[0].content[0].file.file_id", CONTENT),
    ("flat file by id", part({"type": "input_file", "file_id": "f"}), "messages[0].content[0].file_id", CONTENT),
    ("file without data", part({"type": "file", "file": {}}), "messages[0].content[0].file.file_data", MISSING),
    (
        "image of the assistant",
        said(USER, {"role": "assistant", "content": [{"type": "image_url", "image_url": PNG}]}),
        "messages[1].content[0].type",
        INVALID,
    ),
    (
        "refusal part without text",
        said(USER, {"role": "assistant", "content": [{"type": "refusal"}]}),
        "messages[1].content[0].refusal",
        MISSING,
    ),
    (
        "image in the instructions",
        said({"role": "system", "content": [{"type": "image_url", "image_url": PNG}]}, USER),
        "messages[0].content",
        CONTENT,
    ),
    ("audio of the assistant", said(USER, {"role": "assistant", "audio": {"id": "a"}}), "messages[1].audio", CONTENT),
    # Calls and results
    (
        "call without id",
        said(USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}),
        "messages[1].tool_calls[0].id",
        MISSING,
    ),
    ("call with empty id", called(id=""), "messages[1].tool_calls[0].id", MISSING),
    ("call without function", called(function=None), "messages[1].tool_calls[0].function", MISSING),
    ("call without name", called(function={"arguments": "{}"}), "messages[1].tool_calls[0].function.name", MISSING),
    ("call with empty name", called(function={"name": ""}), "messages[1].tool_calls[0].function.name", MISSING),
    ("custom call with empty name", called(custom={"name": ""}), "messages[1].tool_calls[0].custom.name", MISSING),
    (
        "arguments as number",
        called(function={"name": "f", "arguments": 5}),
        "messages[1].tool_calls[0].function.arguments",
        INVALID,
    ),
    ("calls as object", said(USER, {"role": "assistant", "tool_calls": {}}), "messages[1].tool_calls", INVALID),
    (
        "legacy call with empty name",
        said(USER, {"role": "assistant", "function_call": {"name": ""}}),
        "messages[1].function_call.name",
        MISSING,
    ),
    ("a call without output", called(), "messages", INVALID),
    (
        "a result without call",
        said(USER, {"role": "tool", "tool_call_id": "c9", "content": "x"}),
        "messages[1].tool_call_id",
        INVALID,
    ),
    ("a result without id", said(USER, {"role": "tool", "content": "x"}), "messages[1].tool_call_id", MISSING),
    (
        "a result before its call",
        said({"role": "tool", "tool_call_id": "c1", "content": "x"}, USER),
        "messages[0].tool_call_id",
        INVALID,
    ),
    ("a function result without name", said(USER, {"role": "function", "content": "x"}), "messages[1].name", MISSING),
    (
        "a function result without call",
        said(USER, {"role": "function", "name": "f", "content": "x"}),
        "messages[1].name",
        INVALID,
    ),
    # Tools
    ("tools as object", with_user(tools={}), "tools", INVALID),
    ("tool as string", with_user(tools=["f"]), "tools[0]", INVALID),
    ("tool without type", with_user(tools=[{}]), "tools[0].type", MISSING),
    ("tool type as list", with_user(tools=[{"type": ["function"]}]), "tools[0].type", MISSING),
    ("unknown tool", with_user(tools=[TOOL, {"type": "banana"}]), "tools[1].type", "unsupported_tool"),
    ("file search", with_user(tools=[{"type": "file_search"}]), "tools[0].type", "unsupported_tool"),
    ("code interpreter", with_user(tools=[{"type": "code_interpreter"}]), "tools[0].type", "unsupported_tool"),
    ("mcp", with_user(tools=[{"type": "mcp"}]), "tools[0].type", "unsupported_tool"),
    ("computer", with_user(tools=[{"type": "computer_use_preview"}]), "tools[0].type", "unsupported_tool"),
    (
        "function without name",
        with_user(tools=[{"type": "function", "function": {}}]),
        "tools[0].function.name",
        MISSING,
    ),
    (
        "function with empty name",
        with_user(tools=[{"type": "function", "function": {"name": ""}}]),
        "tools[0].function.name",
        MISSING,
    ),
    ("flat function without name", with_user(tools=[{"type": "function"}]), "tools[0].name", MISSING),
    (
        "name as number",
        with_user(tools=[{"type": "function", "function": {"name": 5}}]),
        "tools[0].function.name",
        INVALID,
    ),
    (
        "parameters as string",
        with_user(tools=[{"type": "function", "function": {"name": "f", "parameters": "{}"}}]),
        "tools[0].function.parameters",
        INVALID,
    ),
    (
        "strict as string",
        with_user(tools=[{"type": "function", "function": {"name": "f", "strict": "yes"}}]),
        "tools[0].function.strict",
        INVALID,
    ),
    ("custom without name", with_user(tools=[{"type": "custom", "custom": {}}]), "tools[0].custom.name", MISSING),
    (
        "custom with empty name",
        with_user(tools=[{"type": "custom", "custom": {"name": ""}}]),
        "tools[0].custom.name",
        MISSING,
    ),
    ("functions as object", with_user(functions={}), "functions", INVALID),
    ("function definition without name", with_user(functions=[{}]), "functions[0].name", MISSING),
    # Tool choice
    ("choice as number", with_user(tools=[TOOL], tool_choice=5), "tool_choice", INVALID),
    ("unknown word", with_user(tools=[TOOL], tool_choice="maybe"), "tool_choice", INVALID),
    ("required without tools", with_user(tool_choice="required"), "tool_choice", INVALID),
    (
        "named without tools",
        with_user(tool_choice={"type": "function", "function": {"name": "f"}}),
        "tool_choice",
        INVALID,
    ),
    (
        "unknown name",
        with_user(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "g"}}),
        "tool_choice",
        INVALID,
    ),
    (
        "name of another kind",
        with_user(tools=[TOOL], tool_choice={"type": "custom", "custom": {"name": "f"}}),
        "tool_choice",
        INVALID,
    ),
    (
        "choice without name",
        with_user(tools=[TOOL], tool_choice={"type": "function"}),
        "tool_choice.function.name",
        MISSING,
    ),
    ("choice without type", with_user(tools=[TOOL], tool_choice={}), "tool_choice.type", MISSING),
    ("type as object", with_user(tools=[TOOL], tool_choice={"type": {}}), "tool_choice.type", MISSING),
    ("type of no tool", with_user(tools=[TOOL], tool_choice={"type": "web_search"}), "tool_choice", INVALID),
    (
        "allowed without mode",
        with_user(tools=[TOOL], tool_choice={"type": "allowed_tools", "allowed_tools": {"tools": [TOOL]}}),
        "tool_choice.allowed_tools",
        INVALID,
    ),
    (
        "allowed with a list as mode",
        with_user(tools=[TOOL], tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": [], "tools": [TOOL]}}),
        "tool_choice.allowed_tools",
        INVALID,
    ),
    (
        "allowed without tools",
        with_user(tools=[TOOL], tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}),
        "tool_choice.allowed_tools",
        INVALID,
    ),
    (
        "allowed of an unknown name",
        with_user(
            tools=[TOOL],
            tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]},
        ),
        "tool_choice.allowed_tools.tools[0]",
        INVALID,
    ),
    (
        "allowed of an absent type",
        with_user(
            tools=[TOOL], tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [{"type": "image_generation"}]}
        ),
        "tool_choice.allowed_tools.tools[0]",
        INVALID,
    ),
    (
        "allowed as strings",
        with_user(tools=[TOOL], tool_choice={"type": "allowed_tools", "mode": "auto", "tools": ["f"]}),
        "tool_choice.allowed_tools.tools[0].type",
        MISSING,
    ),
    (
        "legacy choice unknown",
        with_user(functions=[{"name": "f"}], function_call={"name": "g"}),
        "function_call",
        INVALID,
    ),
    (
        "legacy choice without name",
        with_user(functions=[{"name": "f"}], function_call={}),
        "function_call.name",
        MISSING,
    ),
    (
        "legacy choice as another word",
        with_user(functions=[{"name": "f"}], function_call="required"),
        "function_call",
        INVALID,
    ),
    ("legacy choice without functions", with_user(function_call={"name": "f"}), "function_call", INVALID),
    ("parallel as string", with_user(tools=[TOOL], parallel_tool_calls="false"), "parallel_tool_calls", INVALID),
    # Everything else
    ("model as number", with_user(model=5), "model", INVALID),
    ("stream as string", with_user(stream="true"), "stream", INVALID),
    ("stream as number", with_user(stream=1), "stream", INVALID),
    ("stream options as bool", with_user(stream_options=True), "stream_options", INVALID),
    (
        "include_usage as string",
        with_user(stream_options={"include_usage": "yes"}),
        "stream_options.include_usage",
        INVALID,
    ),
    ("n is 2", with_user(n=2), "n", UNSUPPORTED),
    ("n is 0", with_user(n=0), "n", UNSUPPORTED),
    ("n as string", with_user(n="1"), "n", INVALID),
    ("audio modality", with_user(modalities=["text", "audio"]), "modalities", UNSUPPORTED),
    ("modalities as string", with_user(modalities="text"), "modalities", INVALID),
    ("max_tokens 0", with_user(max_tokens=0), "max_tokens", INVALID),
    ("max_tokens negative", with_user(max_completion_tokens=-1), "max_completion_tokens", INVALID),
    ("max_tokens fraction", with_user(max_tokens=1.5), "max_tokens", INVALID),
    ("max_tokens as string", with_user(max_tokens="10"), "max_tokens", INVALID),
    ("max_tokens as bool", with_user(max_tokens=True), "max_tokens", INVALID),
    ("temperature as string", with_user(temperature="hot"), "temperature", INVALID),
    ("top_p as list", with_user(top_p=[1]), "top_p", INVALID),
    ("logit_bias as list", with_user(logit_bias=[1]), "logit_bias", INVALID),
    ("logprobs as number", with_user(logprobs=1), "logprobs", INVALID),
    ("seed as fraction", with_user(seed=1.5), "seed", INVALID),
    ("metadata as string", with_user(metadata="x"), "metadata", INVALID),
    ("user as number", with_user(user=5), "user", INVALID),
    ("stop as number", with_user(stop=5), "stop", INVALID),
    ("five stops", with_user(stop=["a", "b", "c", "d", "e"]), "stop", INVALID),
    ("stop with a number", with_user(stop=["a", 5]), "stop[1]", INVALID),
    ("format as string", with_user(response_format="json"), "response_format", INVALID),
    ("format without type", with_user(response_format={}), "response_format.type", MISSING),
    ("unknown format", with_user(response_format={"type": "grammar"}), "response_format.type", INVALID),
    (
        "json_schema without itself",
        with_user(response_format={"type": "json_schema"}),
        "response_format.json_schema",
        MISSING,
    ),
    (
        "json_schema without name",
        with_user(response_format={"type": "json_schema", "json_schema": {"schema": {}}}),
        "response_format.json_schema.name",
        MISSING,
    ),
    (
        "json_schema without schema",
        with_user(response_format={"type": "json_schema", "json_schema": {"name": "n"}}),
        "response_format.json_schema.schema",
        MISSING,
    ),
    (
        "schema as string",
        with_user(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": "{}"}}),
        "response_format.json_schema.schema",
        INVALID,
    ),
    ("unknown effort", with_user(reasoning_effort="extreme"), "reasoning_effort", INVALID),
    ("effort as number", with_user(reasoning_effort=1), "reasoning_effort", INVALID),
    ("unknown nested effort", with_user(reasoning={"effort": "extreme"}), "reasoning.effort", INVALID),
    ("unknown camel effort", with_user(reasoningEffort="extreme"), "reasoningEffort", INVALID),
    ("reasoning as string", with_user(reasoning="high"), "reasoning", INVALID),
    ("unknown summary", with_user(reasoning={"summary": "epic"}), "reasoning.summary", INVALID),
    ("thinking as string", with_user(thinking="off"), "thinking", INVALID),
    ("unknown verbosity", with_user(verbosity="chatty"), "verbosity", INVALID),
    ("unknown tier", with_user(service_tier="Ultra fast"), "service_tier", INVALID),
    ("cache key as number", with_user(prompt_cache_key=5), "prompt_cache_key", INVALID),
    ("search options as bool", with_user(web_search_options=True), "web_search_options", INVALID),
    (
        "foreign responses tool",
        with_user(responses_tools=[{"type": "function", "name": "f"}]),
        "responses_tools[0].type",
        "unsupported_tool",
    ),
    (
        "large responses tools",
        with_user(responses_tools=[{"type": "web_search", "x": "y" * 40_000}]),
        "responses_tools",
        "responses_tools_too_large",
    ),
    ("responses tool choice", with_user(responses_tool_choice="required"), "responses_tool_choice", INVALID),
    # A Responses body on the chat route
    ("empty input", {"input": ""}, "input", INVALID),
    ("no input items", {"input": []}, "input", INVALID),
    ("input as number", {"input": 5}, "input", INVALID),
    ("input of strings", {"input": ["hi"]}, "input[0]", INVALID),
    ("item type as list", {"input": [{"type": ["message"]}]}, "input[0].type", INVALID),
    ("unknown item", {"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type", INVALID),
    ("item without role", {"input": [{"content": "x"}]}, "input[0].role", MISSING),
    ("item with role tool", {"input": [{"role": "tool", "content": "x"}]}, "input[0].role", INVALID),
    ("call item without id", {"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id", MISSING),
    ("call item without name", {"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name", MISSING),
    (
        "output item without id",
        {"input": [{"type": "function_call_output", "output": "x"}]},
        "input[0].call_id",
        MISSING,
    ),
    ("only reasoning without its content", {"input": [{"type": "reasoning"}]}, "input", INVALID),
]


@pytest.mark.check(84)
@pytest.mark.parametrize(("body", "param", "code"), [pytest.param(*row[1:], id=row[0]) for row in BODIES])
def test_a_bad_body_is_one_clear_400(body, param, code):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(BadRequest) as caught:
        CHAT.decode(Call(data), terms())
    error = caught.value
    assert (error.param, error.code, error.status_hint) == (param, code, 400)
    assert 10 < len(error.message) < 500
    reply = json.loads(CHAT.error(error).body)["error"]
    assert reply == {"message": error.message, "type": "invalid_request_error", "param": param, "code": code}


@pytest.mark.check(104)
def test_the_messages_of_orphans_are_the_well_known_ones():
    with pytest.raises(BadRequest, match="messages with role 'tool' must be a response to a preceding message"):
        CHAT.decode(
            Call(json.dumps(said(USER, {"role": "tool", "tool_call_id": "x", "content": ""})).encode()), terms()
        )
    with pytest.raises(BadRequest, match=r"must be followed by tool messages responding to each 'tool_call_id'.* c1"):
        CHAT.decode(Call(json.dumps(called()).encode()), terms())


def test_a_mistake_names_the_field_and_not_the_value():
    with pytest.raises(BadRequest) as caught:
        CHAT.decode(Call(json.dumps(with_user(temperature="swordfish")).encode()), terms())
    assert "swordfish" not in caught.value.message


# --- What is odd and yet decodes must also be sendable ---------------------------------------------

ODD = {
    "an int beyond 64 bits in a schema": with_user(
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"maximum": 10**40, "minimum": -(10**40)}}}]
    ),
    "an int beyond 64 bits as seed": with_user(seed=10**40),
    "100 levels of schema": BEFORE_SCHEMA
    + deep_schema(100)
    + b"}}]}",
    "a quarter million brackets in a string": with_user(user="[{" * 125_000),
    "a name of unprintable characters": with_user(tools=[{"type": "custom", "name": "\u2028\x00🙂"}]),
    "a hundred thousand think blocks": said(USER, {"role": "assistant", "content": "<think></think>" * 100_000 + "x"}),
    "a hundred thousand open thoughts": said(USER, {"role": "assistant", "content": "<think>" * 100_000 + "x"}),
    "a model of many suffixes": with_user(model="gpt-5.5" + "-max" * 40),
    "ten thousand empty objects": with_user(foo=[{}] * 10_000),
    "everything null": {"messages": [{**dict.fromkeys(("name", "tool_calls", "refusal", "audio")), **USER}]}
    | dict.fromkeys(("model", "tools", "tool_choice", "stop", "n", "stream", "response_format", "reasoning")),
    "a tool with a null type": with_user(tools=[{**TOOL, "type": None}]),
    "a hosted tool with odd members": with_user(tools=[{"type": "web_search", "filters": {"a": [None, 1e300]}}]),
    "half an emoji in a model": rb'{"model":"\udfff","messages":[{"role":"user","content":"x"}]}',
    "half an emoji in a tool name": rb'{"messages":[{"role":"user","content":"x"}],'
    rb'"tools":[{"type":"custom","name":"\ud800"}]}',
    "half an emoji in a key of a schema": BEFORE_SCHEMA + rb'{"\udc00":1}' + b"}}]}",
    "an emoji as a pair of escapes": rb'{"messages":[{"role":"user","content":"\ud83d\ude00"}]}',
}  # fmt: skip


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in ODD.items()])
@pytest.mark.timeout(20)
def test_an_odd_body_decodes_and_is_sendable(body):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    turn = CHAT.decode(Call(data), terms())
    assert json.loads(turn.request.to_json())["stream"] is True


# --- Any body ------------------------------------------------------------------------------------------

FIELDS = [
    "model",
    "messages",
    "input",
    "instructions",
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "response_format",
    "reasoning_effort",
    "reasoning",
    "thinking",
    "verbosity",
    "service_tier",
    "prompt_cache_key",
    "web_search_options",
    "responses_tools",
    "responses_tool_choice",
    "stop",
    "n",
    "metadata",
]
WORDS = [
    "user",
    "assistant",
    "tool",
    "function",
    "system",
    "text",
    "image_url",
    "file",
    "c1",
    "f",
    "auto",
    "none",
    "required",
    "custom",
    "web_search",
    "message",
    "function_call",
    "function_call_output",
    "reasoning",
    "json_schema",
    "allowed_tools",
]
KEYS = [
    "role",
    "content",
    "type",
    "text",
    "image_url",
    "url",
    "file",
    "file_data",
    "tool_calls",
    "tool_call_id",
    "id",
    "name",
    "function",
    "custom",
    "arguments",
    "parameters",
    "call_id",
    "output",
    "mode",
    "tools",
    "allowed_tools",
    "json_schema",
    "schema",
    "effort",
    "summary",
    "encrypted_content",
    "user_location",
    "approximate",
    "format",
    "grammar",
    "function_call",
]
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8),
    st.sampled_from(WORDS),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda some: st.one_of(st.lists(some, max_size=4), st.dictionaries(st.sampled_from(KEYS), some, max_size=5)),
    max_leaves=12,
)
VALID = {
    "model": "gpt-5.5-high",
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "t"}, {"type": "image_url", "image_url": {"url": PNG}}]},
        {"role": "assistant", "content": "a", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ],
    "tools": [TOOL, {"type": "custom", "custom": {"name": "c", "format": {"type": "grammar", "grammar": {}}}}],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    "reasoning": {"effort": "low"},
    "web_search_options": {"user_location": {"approximate": {"country": "DE"}}},
    "stop": ["x"],
}  # fmt: skip


def survives(body):
    data = json.dumps(body).encode()
    with contextlib.suppress(ClientError):
        turn = CHAT.decode(Call(data), terms())
        assert isinstance(json.loads(turn.request.to_json())["input"], list)


@given(st.dictionaries(st.sampled_from(FIELDS), values, max_size=5))
def test_any_body_is_a_turn_or_a_400(body):
    survives(body)
    survives({**body, "messages": [USER]})


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), values, max_size=5), max_size=4))
def test_any_messages_are_a_turn_or_a_400(messages):
    survives({"messages": [USER, *messages]})
    survives({"input": messages})


@given(st.data())
def test_any_change_of_a_good_body_is_a_turn_or_a_400(data):
    body = json.loads(json.dumps(VALID))
    for _ in range(data.draw(st.integers(1, 3))):
        container = body
        while True:
            keys = list(container) if isinstance(container, dict) else list(range(len(container)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            child = container[key]
            if not isinstance(child, dict | list) or data.draw(st.booleans()):
                container[key] = data.draw(values)
                break
            container = child
    survives(body)


def test_the_good_body_is_good():
    turn = CHAT.decode(Call(json.dumps(VALID).encode()), terms())
    assert len(json.loads(turn.request.to_json())["input"]) == 4


@given(st.binary(max_size=60))
def test_any_bytes_are_a_turn_or_a_400(data):
    with contextlib.suppress(ClientError):
        CHAT.decode(Call(data), terms())
