"""Valid schemas that the backend refuses, and the tool lists of published MCP servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gptmock.dialects.dialect import Call, Turn
from gptmock.dialects.table import DIALECTS
from gptmock.dialects.tool_schemas import completed_parameters
from tests.dialects.responses.asked import refusal
from tests.playbook import terms

EMPTY = {"type": "object", "properties": {}}
SERVERS: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "mcp_tools.json").read_text())
"""By hand from the servers' documentation; ``inputSchema`` as MCP has it."""


def sent(route: str, tool: dict[str, Any]) -> dict[str, Any]:
    """The body that goes upstream for a function of MCP's shape, asked at one route."""
    definition = {"name": tool["name"], "description": tool.get("description", "")}
    if "inputSchema" in tool:
        definition["parameters"] = tool["inputSchema"]
    nested = {"type": "function", "function": definition}
    message = [{"role": "user", "content": "hi"}]
    bodies: dict[str, dict[str, Any]] = {
        "chat": {"messages": message, "tools": [nested]},
        "responses": {"input": "hi", "tools": [{"type": "function", **definition}]},
        "ollama_chat": {"messages": message, "tools": [nested]},
    }
    (dialect,) = (one.dialect for one in DIALECTS if one.name == route)
    turn = dialect.decode(Call(json.dumps({"model": "gpt-5.5", **bodies[route]}).encode()), terms())
    assert isinstance(turn, Turn)
    body: dict[str, Any] = json.loads(turn.request.to_json())
    return body


routes = pytest.mark.parametrize("route", ["chat", "responses", "ollama_chat"])


@routes
@pytest.mark.parametrize(
    "tool",
    [
        {},
        {"inputSchema": None},
        {"inputSchema": {}},
        {"inputSchema": {"type": None}},
        {"inputSchema": {"type": "object"}},
        {"inputSchema": {"properties": {}}},
        {"inputSchema": {"type": "object", "properties": None}},
    ],
    ids=["absent", "null", "empty", "type null", "object", "no type", "properties null"],
)
def test_a_tool_without_parameters_takes_an_empty_object(route: str, tool: dict[str, Any]):
    body = sent(route, {"name": "f", **tool})
    assert body["tools"][0]["parameters"] == EMPTY
    assert refusal(body) is None


@routes
@pytest.mark.parametrize("server", SERVERS)
def test_the_tools_of_published_mcp_servers_are_taken(route: str, server: str):
    for tool in SERVERS[server]:
        assert refusal(sent(route, tool)) is None, tool["name"]


def test_there_are_a_dozen_servers_and_some_tools_of_the_refused_kind():
    assert len(SERVERS) >= 12
    bare = [tool for tools in SERVERS.values() for tool in tools if "properties" not in tool["inputSchema"]]
    assert len(bare) >= 3


def test_an_array_without_items_holds_anything_at_any_depth():
    bare, whole = {"type": "array"}, {"type": "array", "items": {}}
    deep = {
        "type": "object",
        "properties": {
            "a": bare,
            "b": {"type": ["array", "null"]},
            "c": {"type": "array", "items": bare},
            "d": {"anyOf": [bare, {"type": "string"}]},
            "e": {"type": "object", "additionalProperties": bare},
            "f": {"type": "array", "items": None},
            "items": bare,
            "type": {"type": "string"},
        },
        "$defs": {"g": {"type": "object", "properties": {"h": bare}}},
    }
    assert completed_parameters(deep) == {
        "type": "object",
        "properties": {
            "a": whole,
            "b": {"type": ["array", "null"], "items": {}},
            "c": {"type": "array", "items": whole},
            "d": {"anyOf": [whole, {"type": "string"}]},
            "e": {"type": "object", "additionalProperties": whole},
            "f": whole,
            "items": whole,
            "type": {"type": "string"},
        },
        "$defs": {"g": {"type": "object", "properties": {"h": whole}}},
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"x": {"type": "object"}}, "required": ["x"]},
        {"type": "object", "properties": {"x": {"enum": [{"type": "array"}], "default": {"type": "array"}}}},
        {"type": "object", "properties": {"x": {"type": "array", "items": {"type": "string"}}}},
        {"type": "object", "properties": {"x": True}},
    ],
)
def test_what_needs_nothing_stays_as_it_is(schema: dict[str, Any]):
    assert completed_parameters(schema) == schema


def test_the_functions_of_a_namespace_are_completed_and_strict_ones_are_not():
    inner = [{"type": "function", "name": "f", "parameters": {"type": "object"}}, {"type": "custom", "name": "g"}]
    strict = {"type": "function", "name": "h", "strict": True, "parameters": {"type": "object"}}
    (dialect,) = (one.dialect for one in DIALECTS if one.name == "responses")
    asked = {"model": "gpt-5.5", "input": "hi", "tools": [{"type": "namespace", "name": "n", "tools": inner}, strict]}
    turn = dialect.decode(Call(json.dumps(asked).encode()), terms())
    assert isinstance(turn, Turn)
    namespace, other = json.loads(turn.request.to_json())["tools"]
    assert [one.get("parameters") for one in namespace["tools"]] == [EMPTY, None]
    assert other["parameters"] == {"type": "object"}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"type": "object"}, "In context=(), object schema missing properties."),
        (
            {"type": "object", "properties": {"x": {"type": "array"}}},
            "In context=('properties', 'x'), array schema missing items.",
        ),
    ],
)
def test_the_simulator_refuses_them_in_the_backends_words(parameters: dict[str, Any], words: str):
    body = sent("responses", {"name": "f"})
    body["tools"][0]["parameters"] = parameters
    found = refusal(body)
    assert found is not None
    error = json.loads(found.body)["error"]
    assert (error["message"], error["code"]) == (
        f"Invalid schema for function 'f': {words}",
        "invalid_function_parameters",
    )
    assert error["param"] == "tools[0].parameters"
