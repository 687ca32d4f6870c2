"""Validation of ``tools``, ``tool_choice`` and the JSON Schemas in them. Pure."""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from gptmock.simulator.refusals import (
    Refusal,
    api_error,
    bad_pattern,
    detail,
    invalid_type,
    invalid_value,
    json_type,
    missing_parameter,
    too_long,
    unknown_parameter,
)
from gptmock.simulator.steps import Json

NAME_LIMIT = 64
NAME_PATTERN = "^[a-zA-Z0-9_-]+$"
CHOICES = ("none", "auto", "required")

_SCHEMA_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")

_WEB_SEARCH_OPTIONS = frozenset(
    {
        "external_web_access",
        "filters",
        "user_location",
        "search_context_size",
        "search_content_types",
        "indexed_web_access",
    }
)
_IMAGE_OPTIONS = frozenset(
    {
        "output_format",
        "size",
        "background",
        "moderation",
        "partial_images",
        "output_compression",
        "model",
        "quality",
    }
)
TOOL_FIELDS: dict[str, frozenset[str]] = {
    "function": frozenset({"name", "description", "strict", "parameters", "defer_loading"}),
    "custom": frozenset({"name", "description", "format", "defer_loading"}),
    "namespace": frozenset({"name", "description", "tools"}),
    "tool_search": frozenset({"execution", "description", "parameters"}),
    "web_search": _WEB_SEARCH_OPTIONS,
    "image_generation": frozenset(_IMAGE_OPTIONS),
    "local_shell": frozenset(),
}
"""Tool type to its allowed fields besides ``type``; the backend refuses other types."""


def check_tools(body: Json, *, lite: bool) -> Iterator[Refusal]:
    """Refusals of ``tools`` and ``tool_choice``; Responses Lite bodies have their tools in ``input``."""
    tools = list(body.get("tools") or [])
    yield from check_tool_list(tools, "tools")
    if lite:
        extra = [item for item in body["input"] if isinstance(item, dict) and item.get("type") == "additional_tools"]
        tools += [tool for item in extra for tool in item.get("tools") or []]
    yield from _choice(body.get("tool_choice"), tools)


def check_tool_list(tools: list[Any], path: str) -> Iterator[Refusal]:
    """Refusals of a list of tools at ``path``."""
    for number, tool in enumerate(tools):
        yield from _tool(tool, f"{path}[{number}]")


def check_name(name: object, path: str) -> Iterator[Refusal]:
    """Refusals of a tool's or schema's name."""
    if name is None:
        yield missing_parameter(path)
    elif not isinstance(name, str):
        yield invalid_type(path, "a string", name)
    elif len(name) > NAME_LIMIT:
        yield too_long(path, name, NAME_LIMIT)
    elif not re.fullmatch(NAME_PATTERN, name):
        yield bad_pattern(path, NAME_PATTERN)


def check_schema(schema: object, *, strict: bool) -> Iterator[str]:
    """The API's error messages for the JSON Schema of an object, with the additional rules of ``strict``."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        found = schema.get("type") if isinstance(schema, dict) else schema
        yield f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{found}\"'."
    elif strict:
        yield from _strict(schema, ())


def _tool(tool: object, path: str) -> Iterator[Refusal]:
    if not isinstance(tool, dict):
        yield invalid_type(path, "an object", tool)
        return
    kind = tool.get("type")
    if kind is None:
        yield missing_parameter(f"{path}.type")
    if not isinstance(kind, str) or kind not in TOOL_FIELDS:
        yield detail(f"Unsupported tool type: {kind}")
    if "name" in TOOL_FIELDS[str(kind)]:
        yield from check_name(tool.get("name"), f"{path}.name")
    for key in tool:
        if key != "type" and key not in TOOL_FIELDS[str(kind)]:
            yield unknown_parameter(f"{path}.{key}")
    yield from _details(tool, path)


def _details(tool: Json, path: str) -> Iterator[Refusal]:
    if tool["type"] == "namespace":
        yield from check_tool_list(tool.get("tools") or [], f"{path}.tools")
    if tool["type"] == "function" and tool.get("parameters") is not None:
        given = tool["parameters"]
        # Lazily: the later checks rely on what the first has found well formed.
        for reason in chain(
            _malformed(given), check_schema(given, strict=tool.get("strict") is True), _unfinished(given, ())
        ):
            where = f"Invalid schema for function '{tool['name']}'"
            yield api_error(f"{where}: {reason}", code="invalid_function_parameters", param=f"{path}.parameters")
    if tool["type"] == "custom" and tool.get("format") is not None:
        shape = tool["format"]
        kind = shape.get("type") if isinstance(shape, dict) else None
        if kind not in ("text", "grammar"):
            yield invalid_value(f"{path}.format.type", kind, ("text", "grammar"))


def _malformed(schema: object) -> Iterator[str]:
    """Error messages for keywords whose value has a wrong type; ``None`` is left to the other checks."""
    if not isinstance(schema, dict):
        return
    for keywords, kind, name in (
        (_SCHEMA_MAPS, dict, "object"),
        ((*_SCHEMA_LISTS, "required"), list, "array"),
    ):
        for key in keywords:
            value = schema.get(key)
            if value is not None and not isinstance(value, kind):
                yield f"{value!r} is not of type '{name}'."
                return
            parts = value.values() if isinstance(value, dict) else value or ()
            for part in parts:
                yield from _malformed(part)
    for key in ("items", "additionalProperties", "not"):
        yield from _malformed(schema.get(key))


def _unfinished(schema: object, context: tuple[str, ...]) -> Iterator[str]:
    """Error messages for a root object without ``properties`` and for any array without ``items``."""
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind == "object" and not context and not isinstance(schema.get("properties"), dict):
        yield f"In context={context}, object schema missing properties."
    if (kind == "array" or (isinstance(kind, list) and "array" in kind)) and schema.get("items") is None:
        yield f"In context={context}, array schema missing items."
    for key in _SCHEMA_MAPS:
        for name, part in (schema.get(key) or {}).items():
            yield from _unfinished(part, (*context, key, name))
    for key in ("items", "additionalProperties", "not"):
        yield from _unfinished(schema.get(key), (*context, key))
    for key in _SCHEMA_LISTS:
        for number, part in enumerate(schema.get(key) or []):
            yield from _unfinished(part, (*context, key, str(number)))


def _strict(schema: Json, context: tuple[str, ...]) -> Iterator[str]:
    where = f"In context={context}"
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties") or {}
        if schema.get("additionalProperties") is not False:
            yield f"{where}, 'additionalProperties' is required to be supplied and to be false."
        missing = [name for name in properties if name not in (schema.get("required") or [])]
        if missing:
            yield (
                f"{where}, 'required' is required to be supplied and to be an array including every key in "
                f"properties. Missing '{missing[0]}'."
            )
    yield from _strict_below(schema, context)


def _strict_below(schema: Json, context: tuple[str, ...]) -> Iterator[str]:
    for key in ("properties", "$defs", "definitions"):
        for name, part in (schema.get(key) or {}).items():
            if isinstance(part, dict):
                yield from _strict(part, (*context, key, name))
    if isinstance(schema.get("items"), dict):
        yield from _strict(schema["items"], (*context, "items"))
    for number, part in enumerate(schema.get("anyOf") or []):
        if isinstance(part, dict):
            yield from _strict(part, (*context, "anyOf", str(number)))


def _choice(choice: object, tools: list[Json]) -> Iterator[Refusal]:
    if choice is None or (choice in CHOICES and (tools or choice != "required")):
        return
    if choice == "required":
        yield api_error("Tool choice 'required' must be specified with 'tools' parameter.", param="tool_choice")
    if isinstance(choice, str):
        yield invalid_value("tool_choice", choice, CHOICES)
    if not isinstance(choice, dict):
        yield api_error(f"Invalid type for 'tool_choice': got {json_type(choice)}.", param="tool_choice")
        return
    yield from _chosen(choice, tools)


def _chosen(choice: Json, tools: list[Json]) -> Iterator[Refusal]:
    kind = choice.get("type")
    if "function" in choice:
        # The chat form: {"type": "function", "function": {"name": ...}}.
        yield missing_parameter("tool_choice.name")
    if kind in ("function", "custom"):
        yield from check_name(choice.get("name"), "tool_choice.name")
        if choice["name"] not in set(_names(tools)):
            yield api_error(f"Tool choice '{choice['name']}' not found in 'tools' parameter.", param="tool_choice")
    elif kind == "allowed_tools":
        for spec in choice.get("tools") or []:
            if spec.get("name") is not None and spec["name"] not in set(_names(tools)):
                yield api_error(f"Tool choice '{spec['name']}' not found in 'tools' parameter.", param="tool_choice")
    elif kind not in [tool.get("type") for tool in tools]:
        yield api_error(f"Tool choice '{kind}' not found in 'tools' parameter.", param="tool_choice")


def _names(tools: list[Json]) -> Iterator[str]:
    for tool in tools:
        if tool.get("type") == "namespace":
            yield from _names(tool.get("tools") or [])
        elif "name" in tool:
            yield str(tool["name"])
