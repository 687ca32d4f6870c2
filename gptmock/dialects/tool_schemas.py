"""
Completes JSON Schemas of function parameters to what the upstream accepts. Pure.

The upstream refuses an object schema without ``properties`` and an array schema without ``items``. Both are valid JSON
Schema and common in MCP servers: ``{"type": "object"}`` is a tool without parameters. Schemas of strict tools are not
changed.
"""

from __future__ import annotations

from typing import Any

from gptmock.protocol.request import JsonObject

_SCHEMAS = frozenset(
    {
        "additionalItems",
        "additionalProperties",
        "contains",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
"""Keywords whose value is a schema, or a list of schemas."""
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
"""Keywords whose value maps property names or the like to schemas."""


def completed_parameters(parameters: JsonObject | None) -> JsonObject:
    """The schema of a non-strict function, as an object with ``properties``, and with ``items`` in every array."""
    known = _completed(parameters or {})
    if known.get("type") is None:
        known = {**known, "type": "object"} if "type" in known else {"type": "object", **known}
    if known["type"] == "object" and known.get("properties") is None:
        known["properties"] = {}
    return known


def _completed(schema: JsonObject) -> JsonObject:
    whole = {keyword: _within(keyword, value) for keyword, value in schema.items()}
    kind = whole.get("type")
    is_array = kind == "array" or (isinstance(kind, list) and "array" in kind)
    if is_array and whole.get("items") is None:
        whole["items"] = {}
    return whole


def _within(keyword: str, value: Any) -> Any:
    if isinstance(value, dict):
        if keyword in _SCHEMAS:
            return _completed(value)
        if keyword in _MAPS:
            return {name: _completed(one) if isinstance(one, dict) else one for name, one in value.items()}
    if isinstance(value, list) and (keyword in _LISTS or keyword in _SCHEMAS):
        return [_completed(one) if isinstance(one, dict) else one for one in value]
    return value
