"""
Tools as a model reads them: a function becomes a type with its description as a comment, which is a third shorter than
its JSON. Recorded counts show that the upstream counts them in this form. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

MAX_DEPTH = 16
"""Of a schema; what lies deeper is shown as JSON."""
_SHOWN = frozenset(
    {"type", "properties", "required", "items", "enum", "const", "anyOf", "oneOf", "description", "$schema"}
    | {"additionalProperties", "strict", "$ref"}
)
"""The words of a schema that have a form of their own, or that the model is not told."""

_SILENT = frozenset({"type", "required", "additionalProperties", "$schema"})
"""A schema of no other words takes no arguments."""


def declaration(tool: Mapping[str, Any]) -> str:
    """
    The text that stands for a tool.

    Args:
        tool: as in a request of the Responses API; what is no function is shown as JSON.
    """
    name, schema = tool.get("name"), tool.get("parameters")
    if tool.get("type") != "function" or not isinstance(name, str):
        return _json(tool)
    described = "".join(_comment(tool.get("description")))
    if not isinstance(schema, dict) or not any(schema.get(word) for word in schema if word not in _SILENT):
        return f"{described}type {name} = () => any;\n\n"
    return f"{described}type {name} = (_: {_kind(schema, MAX_DEPTH)}) => any;\n\n"


def _kind(schema: Any, depth: int) -> str:
    """A type for a schema, with comments for what types cannot say."""
    if not isinstance(schema, dict) or depth == 0:
        return _json(schema)
    rest = {word: value for word, value in schema.items() if word not in _SHOWN}
    note = f" // {_json(rest)}\n" if rest else ""
    if "$ref" in schema:
        return f"{schema['$ref']}{note}"
    if isinstance(properties := schema.get("properties"), dict):
        return "{\n" + "".join(_members(properties, schema.get("required"), depth)) + "}" + note
    if "items" in schema:
        return f"{_kind(schema['items'], depth - 1)}[]{note}"
    return " | ".join(_choices(schema, depth)) + note


def _members(properties: Mapping[str, Any], required: Any, depth: int) -> Iterator[str]:
    needed = required if isinstance(required, list) else []
    for name, schema in properties.items():
        if isinstance(schema, dict):
            yield from _comment(schema.get("description"))
        yield f"{name}{'' if name in needed else '?'}: {_kind(schema, depth - 1)},\n"


def _choices(schema: Mapping[str, Any], depth: int) -> Iterator[str]:
    if isinstance(values := schema.get("enum"), list):
        yield from map(_json, values)
        return
    if "const" in schema:
        yield _json(schema["const"])
        return
    for word in ("anyOf", "oneOf"):
        if isinstance(several := schema.get(word), list):
            for one in several:
                if isinstance(one, dict):
                    yield "".join(_comment(one.get("description"))) + _kind(one, depth - 1)
            return
    kinds = schema.get("type", "any")
    yield from map(str, kinds if isinstance(kinds, list) else [kinds])


def _comment(description: Any) -> Iterator[str]:
    if isinstance(description, str) and description:
        yield "".join(f"// {line}\n" for line in description.split("\n"))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
