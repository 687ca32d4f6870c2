"""
A body in which any one member has the wrong type, in any dialect and at any depth, is decoded or refused by an error of
our own; never by an exception that is a 500.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from gptmock.dialects.dialect import Call, Terms, Turn, UsesStoredContext, supports
from gptmock.dialects.messages.request import decode_count
from gptmock.dialects.responses.side_calls import decode_side_call
from gptmock.dialects.table import DIALECTS, IMAGE_DIALECTS
from gptmock.dialects.token_estimate import estimated_tokens
from gptmock.errors import GptmockError
from gptmock.protocol.request import ResponsesRequest
from gptmock.simulator.pictures import PIXEL
from tests.playbook import terms

ODD: tuple[Any, ...] = (5, True, None, [], {}, "x", [[1]], 1.5, -1, {"type": 5}, {"id": 5})
IMAGE = f"data:image/png;base64,{PIXEL}"
CODEX = {"originator": "codex_cli_rs", "user-agent": "codex_cli_rs/0.171.0"}
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["a", "b", "c"],
    "additionalProperties": False,
    "$defs": {"d": {"type": "string"}},
    "definitions": {"e": {"type": "array", "items": {"type": "array"}}},
    "properties": {
        "a": {"anyOf": [{"type": "string"}, {"type": ["array", "null"]}]},
        "b": {"type": "object", "properties": {"x": {}}, "required": ["x"], "additionalProperties": False},
        "c": {"$ref": "#/$defs/d", "enum": ["p", "q"]},
    },
}
"""Strict mode takes it, so each of its members is looked at."""
LOCATION = {"type": "approximate", "approximate": {"country": "DE"}}
SEARCHES = {"responses_tools": [{"type": "web_search"}], "responses_tool_choice": "auto"}
TOOLS = [
    {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": False}},
    {"type": "function", "name": "g", "parameters": SCHEMA},
    {"type": "custom", "custom": {"name": "c", "format": {"grammar": {"syntax": "lark", "definition": "x"}}}},
    {"type": "web_search_preview", "user_location": LOCATION},
]
ALLOWED = {
    "type": "allowed_tools",
    "allowed_tools": {
        "mode": "auto",
        "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "web_search"}],
    },
}
CHAT = {
    "model": "gpt-5.5",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "t"}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "t"},
                {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk=", "filename": "f.pdf"}},
            ],
        },
        {
            "role": "assistant",
            "content": "t",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}},
                {"id": "2", "type": "custom", "custom": {"name": "c", "input": "x"}},
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "t"}]},
        {"role": "tool", "tool_call_id": "2", "content": "t"},
    ],
    "tools": TOOLS,
    "tool_choice": ALLOWED,
    "parallel_tool_calls": False,
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
    "stream_options": {"include_usage": True},
    "reasoning": {"effort": "high", "summary": "auto", "enabled": True},
    "thinking": {"type": "disabled"},
    "web_search_options": {"search_context_size": "low", "user_location": LOCATION},
    "logit_bias": {"1": 1},
    "modalities": ["text"],
    "prediction": {"type": "content"},
    "stop": ["a"],
    "metadata": {"a": "b"},
    "service_tier": "priority",
    **SEARCHES,
}
FLAT_TOOLS = [
    {"type": "function", "name": "f", "parameters": SCHEMA, "strict": True},
    {"type": "custom", "name": "c", "format": {"type": "grammar"}},
    {"type": "web_search", "filters": {"allowed_domains": ["a.de"]}},
    {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g", "parameters": SCHEMA}]},
]
RESPONSES = {
    "model": "gpt-5.5",
    "instructions": "i",
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "t"}]},
        {"role": "user", "content": [{"type": "input_image", "image_url": {"url": IMAGE, "detail": "low"}}]},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "t"}],
            "encrypted_content": "e",
        },
        {"type": "function_call", "id": "fc_1", "call_id": "1", "name": "f", "arguments": {"a": 1}},
        {"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "t"}]},
        {"type": "custom_tool_call", "call_id": "2", "name": "c", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "2", "output": "x"},
        {"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": "t"}]},
    ],
    "tools": FLAT_TOOLS,
    "tool_choice": ALLOWED,
    "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}, "verbosity": "low"},
    "reasoning": {"effort": "high", "summary": "auto", "context": "all_turns"},
    "include": ["reasoning.encrypted_content"],
    "client_metadata": {"a": "b"},
    "metadata": {"a": "b"},
    "stream_options": {"include_obfuscation": False},
    "context_management": [{"type": "compaction"}],
    "prompt_cache_options": {"mode": "implicit"},
    "store": False,
    **SEARCHES,
}
TEXT_AND_IMAGE = [
    {"type": "text", "text": "t"},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
]
SERVER_BLOCKS = [
    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "s1",
        "content": [{"type": "web_search_result", "url": "https://a.de", "title": "t"}],
    },
    {"type": "server_tool_use", "id": "s2", "name": "code_execution", "input": {"code": "1+1"}},
    {
        "type": "code_execution_tool_result",
        "tool_use_id": "s2",
        "content": {
            "type": "code_execution_result",
            "stdout": "2",
            "stderr": "",
            "content": [{"type": "x", "url": "u"}],
        },
    },
]
MESSAGES = {
    "model": "claude-opus-5-5",
    "max_tokens": 64,
    "system": [{"type": "text", "text": "t"}],
    "messages": [
        {"role": "user", "content": TEXT_AND_IMAGE},
        {
            "role": "system",
            "content": [
                {"type": "tool_addition", "tool": {"type": "t", "definition": {"name": "z", "input_schema": SCHEMA}}}
            ],
            "output_config": {"effort": "low"},
            "clear_at": "next_user_message",
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "t", "signature": "s"},
                {"type": "text", "text": "t"},
                {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}},
                *SERVER_BLOCKS,
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": TEXT_AND_IMAGE, "is_error": True},
                {
                    "type": "document",
                    "source": {"type": "content", "content": TEXT_AND_IMAGE},
                    "title": "t",
                    "context": "c",
                },
                {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "t"}]},
                {"type": "tool_reference", "tool_name": "f"},
                *SERVER_BLOCKS,
            ],
        },
    ],
    "tools": [
        {"name": "f", "description": "d", "input_schema": SCHEMA, "strict": True, "input_examples": [{"a": 1}]},
        {
            "type": "web_search_20250305",
            "name": "w",
            "max_uses": 5,
            "allowed_domains": ["a"],
            "user_location": LOCATION,
        },
        {"type": "bash_20250124", "name": "bash"},
    ],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "metadata": {"user_id": '{"session_id":"s"}'},
    "stop_sequences": ["a"],
    "mcp_servers": [],
    "cache_control": {"type": "ephemeral"},
}
OLLAMA = {"model": "gpt-5.5", "think": True, "format": SCHEMA, "options": {"stop": ["a"], "num_ctx": 1}, **SEARCHES}
OLLAMA_CHAT = {
    **OLLAMA,
    "messages": [
        {"role": "user", "content": "t", "images": [PIXEL]},
        {
            "role": "assistant",
            "content": "t",
            "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "tool_name": "f", "tool_call_id": "1", "content": "t"},
    ],
    "tools": TOOLS,
}
DRAWN = {"model": "gpt-image-2", "prompt": "p", "size": "1024x1024", "quality": "low", "output_format": "jpeg"}
BODIES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "chat": CHAT,
        "chat_input": {**RESPONSES, "tools": TOOLS},
        "chat_functions": {
            "messages": [{"role": "user", "content": "hi"}],
            "functions": [{"name": "f", "parameters": SCHEMA}],
            "function_call": {"name": "f"},
        },
        "completions": {"model": "gpt-5.5", "prompt": ["a"], "suffix": "s", "logit_bias": {"1": 1}, **SEARCHES},
        "responses": RESPONSES,
        "responses_codex": RESPONSES,
        "messages": MESSAGES,
        "count_tokens": MESSAGES,
        "ollama_chat": OLLAMA_CHAT,
        "ollama_generate": {**OLLAMA, "prompt": "p", "images": [PIXEL], "context": [1]},
        "images": {**DRAWN, "output_compression": 5, "stream": True, "partial_images": 1},
        "image_edits": {**DRAWN, "images": [{"image_url": IMAGE}]},
        "side_call": {"model": "gpt-5.5", "query": ["q"]},
    }
)
"""By route; what follows a route's name says which of its bodies."""
DECODERS: Mapping[str, Callable[[Call, Terms], Any]] = MappingProxyType(
    {
        **{route.name: route.dialect.decode for route in (*DIALECTS, *IMAGE_DIALECTS)},
        "chat_input": next(route.dialect.decode for route in DIALECTS if route.name == "chat"),
        "chat_functions": next(route.dialect.decode for route in DIALECTS if route.name == "chat"),
        "responses_codex": next(route.dialect.decode for route in DIALECTS if route.name == "responses"),
        "count_tokens": decode_count,
        "side_call": lambda call, said: decode_side_call("alpha/search", call, said),
    }
)


def odd_bodies(body: Any) -> Iterator[tuple[str, Any]]:
    """The body with one member replaced at a time, and the path to that member."""
    members = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for name, value in members:
        for path, changed in (("", odd) for odd in ODD):
            yield f"{name}{path}={json.dumps(changed)}", _with(body, name, changed)
        for path, changed in odd_bodies(value):
            yield f"{name}.{path}", _with(body, name, changed)


def _with(container: Any, name: Any, value: Any) -> Any:
    changed = container.copy()
    changed[name] = value
    return changed


def understand(name: str, body: Any) -> None:
    """All that is done with a body before the upstream is asked."""
    call = Call(json.dumps(body).encode(), CODEX if name == "responses_codex" else {})
    if name.startswith("responses"):
        dialect = next(route.dialect for route in DIALECTS if route.name == "responses")
        assert supports(dialect, UsesStoredContext)
        dialect.context_references(call)
    asked = DECODERS[name](call, terms())
    request = asked.request if isinstance(asked, Turn) else asked
    if isinstance(request, ResponsesRequest):
        request.to_json()
        if name in ("count_tokens", "responses"):
            estimated_tokens(request)


@pytest.mark.parametrize("name", BODIES)
def test_the_body_is_understood_as_it_stands(name: str):
    understand(name, BODIES[name])


@pytest.mark.parametrize("name", BODIES)
def test_no_member_of_a_wrong_type_is_an_internal_error(name: str):
    failed: list[str] = []
    for place, body in odd_bodies(BODIES[name]):
        try:
            understand(name, body)
        except GptmockError:
            continue
        except Exception as error:  # noqa: BLE001 - whatever it is
            failed.append(f"{place}: {error!r}")
    assert failed == []
