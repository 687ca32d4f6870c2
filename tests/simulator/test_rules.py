from typing import Any

import pytest

from gptmock.simulator.catalogue import load_catalogue
from gptmock.simulator.events import seal
from tests.simulator.wire import CLOCK, RESPONSES, WEATHER, body, user

CALL = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "18"}
LITE = {"x-openai-internal-codex-responses-lite": "true"}
LITE_TOOLS = {
    "type": "additional_tools",
    "id": "at_1",
    "role": "developer",
    "tools": [{"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}]}],
}
LITE_BODY: dict[str, Any] = {
    "model": "gpt-6.1-sol",
    "instructions": ...,
    "input": [LITE_TOOLS, {"type": "message", "role": "developer", "content": [user("x")["content"][0]]}, user("hi")],
    "parallel_tool_calls": False,
    "reasoning": {"effort": "low", "context": "all_turns"},
    "tool_choice": "auto",
}
OPEN_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}

REFUSED_PARAMETERS = (
    "max_output_tokens",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "top_logprobs",
    "logprobs",
    "n",
    "stop",
    "metadata",
    "user",
    "safety_identifier",
    "truncation",
    "prompt_cache_retention",
    "context_management",
    "response_format",
    "messages",
    "background",
    "max_tool_calls",
    "conversation",
    "prompt",
    "previous_response_id",
    "anything_else",
)
DETAILS: list[tuple[dict[str, Any], str]] = [
    ({"model": "gpt-5"}, "The 'gpt-5' model is not supported when using Codex with a ChatGPT account."),
    ({"model": ...}, "The 'None' model is not supported when using Codex with a ChatGPT account."),
    ({"store": True}, "Store must be set to false"),
    ({"store": ...}, "Store must be set to false"),
    ({"stream": False}, "Stream must be set to true"),
    ({"stream": ...}, "Stream must be set to true"),
    ({"input": "hello"}, "Input must be a list"),
    ({"input": ...}, "Input must be a list"),
    ({"input": [{"role": "system", "content": "be"}]}, "System messages are not allowed"),
    ({"service_tier": "fast"}, "Unsupported service_tier: fast"),
    ({"service_tier": "auto"}, "Unsupported service_tier: auto"),
    ({"tools": [{"type": "web_search_preview"}]}, "Unsupported tool type: web_search_preview"),
    ({"tools": [{"type": "file_search"}]}, "Unsupported tool type: file_search"),
    *[({name: 1}, f"Unsupported parameter: {name}") for name in REFUSED_PARAMETERS],
]


def one(item: dict[str, Any]) -> dict[str, Any]:
    return {"input": [item]}


def part(content: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return one({"role": role, "content": [content]})


def tool(**changes: Any) -> dict[str, Any]:
    return {"tools": [{key: value for key, value in {**WEATHER, **changes}.items() if value is not ...}]}


def schema_format(**changes: Any) -> dict[str, Any]:
    base = {"type": "json_schema", "name": "x", "schema": WEATHER["parameters"], "strict": True}
    return {"text": {"format": {key: value for key, value in {**base, **changes}.items() if value is not ...}}}


def closed(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


ERRORS: list[tuple[dict[str, Any], str, str | None]] = [
    # the top level
    ({"prompt_cache_options": {}}, "prompt_cache_options is not supported on this model", None),
    ({"instructions": 1}, "Invalid type for 'instructions': expected a string, but got an integer", "invalid_type"),
    ({"client_metadata": {"a": 1}}, "Invalid type for 'client_metadata.a'", "invalid_type"),
    ({"include": ["everything"]}, "Invalid value: 'everything'. Supported values are", "invalid_value"),
    ({"stream_options": {"include_usage": True}}, "Unknown parameter: 'stream_options.include_usage'", None),
    ({"prompt_cache_key": "k" * 65}, "Invalid 'prompt_cache_key': string too long", "string_above_max_length"),
    ({"reasoning": {"effort": "minimal"}}, "Unsupported value: 'minimal' is not supported", "unsupported_value"),
    ({"reasoning": {"effort": "none"}}, "Supported values are: 'low', 'medium', 'high', 'xhigh'", "unsupported_value"),
    ({"reasoning": {"effort": "max"}}, "with the 'gpt-5.5' model", "unsupported_value"),
    ({"model": "gpt-6-astra", "reasoning": {"effort": "ultra"}}, "'max'.", "unsupported_value"),
    ({"reasoning": {"summary": "none"}}, "Invalid value: 'none'", "invalid_value"),
    ({"reasoning": {"generate_summary": "auto"}}, "Unknown parameter: 'reasoning.generate_summary'", None),
    ({"text": {"verbosity": "loud"}}, "Supported values are: 'low', 'medium', and 'high'.", "invalid_value"),
    # formats
    ({"text": {"format": {"type": "json_object"}}}, "must contain the word 'json'", None),
    ({"text": {"format": {"type": "yaml"}}}, "Invalid value: 'yaml'", "invalid_value"),
    (schema_format(name=...), "Missing required parameter: 'text.format.name'", "missing_required_parameter"),
    (schema_format(schema=...), "Missing required parameter: 'text.format.schema'", "missing_required_parameter"),
    (schema_format(json_schema={}), "Unknown parameter: 'text.format.json_schema'", "unknown_parameter"),
    (schema_format(schema=OPEN_SCHEMA), "'additionalProperties' is required to be supplied", "invalid_json_schema"),
    (schema_format(schema={"type": "array"}), "got 'type: \"array\"'", "invalid_json_schema"),
    # tools
    (tool(name="a b"), "string does not match pattern", "invalid_value"),
    (tool(name="a" * 65), "Invalid 'tools[0].name': string too long", "string_above_max_length"),
    (tool(parameters=OPEN_SCHEMA), "Invalid schema for function 'get_weather'", "invalid_function_parameters"),
    (tool(function={}), "Unknown parameter: 'tools[0].function'", "unknown_parameter"),
    (
        {"tools": [{"type": "function", "function": {"name": "x"}}]},
        "Missing required parameter: 'tools[0].name'",
        "missing_required_parameter",
    ),
    ({"tool_choice": "required"}, "Tool choice 'required' must be specified with 'tools'", None),
    ({"tool_choice": "any"}, "Invalid value: 'any'", "invalid_value"),
    ({"tool_choice": {"type": "function", "name": "x"}}, "Tool choice 'x' not found in 'tools' parameter.", None),
    ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, "'tool_choice.name'", None),
    ({"tool_choice": {"type": "web_search"}}, "Tool choice 'web_search' not found", None),
    ({"tools": ["x"]}, "Invalid type for 'tools[0]': expected an object, but got a string", "invalid_type"),
    ({"tools": [{"name": "x"}]}, "Missing required parameter: 'tools[0].type'", "missing_required_parameter"),
    (tool(name=5), "Invalid type for 'tools[0].name'", "invalid_type"),
    (
        {"tools": [{"type": "custom", "name": "x", "format": {"type": "lark"}}]},
        "'text', and 'grammar'",
        "invalid_value",
    ),
    (
        {"tools": [{"type": "namespace", "name": "x", "tools": [{"type": "custom"}]}]},
        "Missing required parameter: 'tools[0].tools[0].name'",
        "missing_required_parameter",
    ),
    (tool(parameters=closed({"a": {}, "b": {}}, ["a"])), "Missing 'b'.", "invalid_function_parameters"),
    (
        tool(parameters=closed({"a": {"type": "array", "items": OPEN_SCHEMA}}, ["a"])),
        "In context=('properties', 'a', 'items')",
        "invalid_function_parameters",
    ),
    (
        tool(parameters=closed({"a": {"anyOf": [{"type": "null"}, OPEN_SCHEMA]}}, ["a"])),
        "In context=('properties', 'a', 'anyOf', '1')",
        "invalid_function_parameters",
    ),
    ({"tool_choice": 5}, "Invalid type for 'tool_choice': got an integer.", None),
    ({"tool_choice": {"type": "allowed_tools", "tools": [{"name": "x"}]}}, "Tool choice 'x' not found", None),
    # items
    (one({"content": "x"}), "Missing required parameter: 'input[0].type'", "missing_required_parameter"),
    (one({"role": "user"}), "Missing required parameter: 'input[0].content'", "missing_required_parameter"),
    (one({"role": "user", "content": 5}), "but got an integer instead", "invalid_type"),
    (one({"role": "user", "content": ["x"]}), "Invalid type for 'input[0].content[0]'", "invalid_type"),
    (part({"text": "x"}), "'input[0].content[0].type'", "missing_required_parameter"),
    (part({"type": "input_text"}), "'input[0].content[0].text'", "missing_required_parameter"),
    (part({"type": "input_text", "text": 1.5}), "but got a decimal instead", "invalid_type"),
    (part({"type": "input_image"}), "'input[0].content[0].image_url'", "missing_required_parameter"),
    (
        part({"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "sharp"}),
        "Invalid value: 'sharp'",
        "invalid_value",
    ),
    ({"input": [CALL, {**OUTPUT, "output": ...}]}, "'input[1].output'", "missing_required_parameter"),
    ({"input": [CALL, {**OUTPUT, "output": [{"type": "text"}]}]}, "Invalid value: 'text'", "invalid_value"),
    ({"input": [{**CALL, "call_id": True}]}, "but got a boolean instead", "invalid_type"),
    ({"input": [{**CALL, "arguments": ...}]}, "'input[0].arguments'", "missing_required_parameter"),
    (
        one({"type": "reasoning", "encrypted_content": "gAAAAx"}),
        "Missing required parameter: 'input[0].summary'",
        "missing_required_parameter",
    ),
    ({"input": []}, 'One of "input" or', "missing_required_parameter"),
    (one({"role": "user", "content": "x", "name": "ada"}), "Unknown parameter: 'input[0].name'.", "unknown_parameter"),
    (one({"role": "tool", "content": "x"}), "Invalid value: 'tool'", "invalid_value"),
    (one({"type": "hologram"}), "Invalid value: 'hologram'", "invalid_value"),
    (one({"role": "user", "content": "x", "id": "item_1"}), "Expected an ID that begins with 'msg'.", "invalid_value"),
    (one({**CALL, "id": "call_1"}), "Expected an ID that begins with 'fc'.", "invalid_value"),
    (one(LITE_TOOLS), "Invalid value: 'additional_tools'", "invalid_value"),
    (one({**CALL, "namespace": "x"}), "Unknown parameter: 'input[0].namespace'.", "unknown_parameter"),
    (part({"type": "text", "text": "x"}), "Invalid value: 'text'. Supported values are: 'input_text'", "invalid_value"),
    (part({"type": "output_text", "text": "x"}), "Invalid value: 'output_text'", "invalid_value"),
    (part({"type": "input_text", "text": "x"}, "assistant"), "'output_text', and 'refusal'", "invalid_value"),
    (part({"type": "input_text", "text": "x", "cache_control": {}}), "content[0].cache_control", "unknown_parameter"),
    (part({"type": "input_text", "text": "x", "prompt_cache_breakpoint": {}}), "prompt_cache_breakpoint is not", None),
    (part({"type": "input_image", "image_url": {"url": "x"}}), "expected an image URL, but got an object", None),
    (part({"type": "input_image", "image_url": "x"}), "does not represent a valid image", "invalid_image"),
    (part({"type": "input_image", "file_id": "file_1"}), "send the image inline", None),
    # pairs
    ({"input": [CALL]}, "No tool output found for function call call_1.", None),
    ({"input": [OUTPUT]}, "No tool call found for function call output with call_id call_1.", None),
    ({"input": [OUTPUT, CALL]}, "No tool call found", None),
    (
        {"input": [{"type": "custom_tool_call", "call_id": "c", "name": "x", "input": ""}]},
        "No tool output found for custom tool call c.",
        None,
    ),
    ({"input": [{**CALL, "call_id": "c" * 65}]}, "Invalid 'input[0].call_id': string too long", None),
    ({"input": [{**CALL, "call_id": ...}]}, "Missing required parameter: 'input[0].call_id'", None),
    ({"input": [{**CALL, "name": "a.b"}]}, "Invalid 'input[0].name': string does not match pattern", None),
    ({"input": [{**CALL, "arguments": {}}]}, "Invalid type for 'input[0].arguments'", "invalid_type"),
    ({"input": [CALL, {**OUTPUT, "output": {"a": 1}}]}, "Invalid type for 'input[1].output'", "invalid_type"),
    # reasoning
    (
        one({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "nonsense"}),
        "The encrypted content could not be verified",
        "invalid_encrypted_content",
    ),
    (
        one({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal("another", "rs_1")}),
        "The encrypted content could not be verified",
        "invalid_encrypted_content",
    ),
]
GOOD: list[dict[str, Any]] = [
    {},
    {"instructions": ...},
    {"tools": [WEATHER, CLOCK], "tool_choice": "auto", "parallel_tool_calls": True},
    {"tools": [{"type": "web_search", "search_context_size": "low"}], "tool_choice": {"type": "web_search"}},
    {"tools": [{"type": "image_generation", "output_format": "png"}]},
    tool(strict=False, parameters=OPEN_SCHEMA),
    tool(strict=..., parameters=...),
    {"service_tier": "priority", "prompt_cache_key": "k", "client_metadata": {"a": "b"}},
    {"reasoning": {"effort": "xhigh", "summary": "concise"}, "text": {"verbosity": "low"}},
    {"text": {"format": {"type": "json_object"}}, "input": [user("some JSON please")]},
    schema_format(),
    schema_format(schema=OPEN_SCHEMA, strict=False),
    {"stream_options": {"reasoning_summary_delivery": "sequential_cutoff"}},
    {"input": [user("x"), CALL, OUTPUT]},
    {"input": [user("x"), CALL, {**OUTPUT, "output": [{"type": "input_text", "text": "18"}]}]},
    {"input": [{"role": "developer", "content": "be brief"}, {"role": "assistant", "content": "yes"}, user("x")]},
    part({"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "high"}),
    part({"type": "input_image", "image_url": "https://example.test/x.png"}),
    {"input": [{"type": "reasoning", "id": "rs_1", "summary": [], "content": [], "encrypted_content": "gAAAAAx"}]},
]


def clean(request: dict[str, Any]) -> dict[str, Any]:
    items = request.get("input")
    if isinstance(items, list):
        request["input"] = [{key: value for key, value in item.items() if value is not ...} for item in items]
    return request


@pytest.mark.parametrize(("changes", "message"), DETAILS)
async def test_the_gateway_refuses(client, changes, message):
    response = await client.post(RESPONSES, json=body(**changes))
    assert (response.status_code, response.json()) == (400, {"detail": message})
    assert response.headers["content-type"] == "application/json"
    assert not [name for name in response.headers if name.startswith("x-codex-")]


@pytest.mark.parametrize(("changes", "message", "code"), ERRORS)
async def test_the_model_api_refuses(client, changes, message, code):
    response = await client.post(RESPONSES, json=clean(body(**changes)))
    error = response.json()["error"]
    assert response.status_code == 400
    assert message in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert code in {None, error["code"]}


@pytest.mark.parametrize("changes", GOOD)
async def test_good_bodies_pass(client, changes):
    response = await client.post(RESPONSES, json=body(**changes))
    assert (response.status_code, response.text[:5]) == (200, "event"), response.text


@pytest.mark.parametrize(
    "item",
    [
        {"type": "item_reference", "id": "rs_1"},
        {"id": "rs_1"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
    ],
)
async def test_nothing_was_stored(client, item):
    response = await client.post(RESPONSES, json=body(input=[item, user("x")]))
    assert response.status_code == 404
    assert "Item with id 'rs_1' not found" in response.json()["error"]["message"]


async def test_own_reasoning_may_come_back(client, login):
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal(login.account_id, "rs_1")}
    assert (await client.post(RESPONSES, json=body(input=[item, user("x")]))).status_code == 200


async def test_a_lite_body_passes(client):
    response = await client.post(RESPONSES, json=body(**LITE_BODY), headers=LITE)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("changes", "demand"),
    [
        ({"parallel_tool_calls": True}, "`parallel_tool_calls` to be false"),
        ({"tools": [WEATHER]}, "`tools` to be absent"),
        ({"instructions": "x"}, "`instructions` to be absent"),
        ({"reasoning": {"effort": "low"}}, "`reasoning.context` to be all_turns"),
        (
            part({"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"}),
            "image `detail` to be absent",
        ),
    ],
)
async def test_a_lite_body_keeps_its_rules(client, changes, demand):
    response = await client.post(RESPONSES, json=body(**{**LITE_BODY, **changes}), headers=LITE)
    assert response.status_code == 400
    assert response.json()["error"]["message"] == f"X-OpenAI-Internal-Codex-Responses-Lite requires {demand}."


async def test_lite_tools_belong_to_the_developer_and_may_be_chosen(client):
    chosen = {"tool_choice": {"type": "custom", "name": "exec"}}
    assert (await client.post(RESPONSES, json=body(**{**LITE_BODY, **chosen}), headers=LITE)).status_code == 200
    items = [{**LITE_TOOLS, "role": "user"}, user("hi")]
    response = await client.post(RESPONSES, json=body(**{**LITE_BODY, "input": items}), headers=LITE)
    assert "Supported values are: 'developer'." in response.json()["error"]["message"]


@pytest.mark.parametrize("slug", sorted(load_catalogue().models))
async def test_every_model_of_the_catalogue_answers(client, slug):
    response = await client.post(RESPONSES, json=body(model=slug))
    assert response.status_code == 200


@pytest.mark.parametrize(
    "broken", [[1], {"type": []}, {"role": {}, "content": 1}, {"type": "message", "content": 5}, 7]
)
async def test_odd_items_are_refused_and_break_nothing(client, broken):
    response = await client.post(RESPONSES, json=body(input=[broken]))
    assert response.status_code == 400
