"""JSON Schemas of tools and structured output: whether the upstream's strict mode takes them. Pure."""

from __future__ import annotations

from typing import Any

from gptmock.protocol.request import JsonObject

_LISTS = ("anyOf",)
_MAPS = ("properties", "$defs", "definitions")
_UNSUPPORTED = frozenset({"oneOf", "allOf", "not", "if", "then", "else", "patternProperties", "dependentSchemas"})


def without_dialect(schema: JsonObject) -> JsonObject:
    """The schema without ``$schema``, which says nothing about the value."""
    return {name: value for name, value in schema.items() if name != "$schema"}


def is_strict(schema: JsonObject) -> bool:
    """
    Whether the strict mode takes the schema: every object is closed and requires all of its properties.

    Source: OpenAI's structured outputs, "Supported schemas"; upstream protocol 4.6.
    """
    return schema.get("type") == "object" and _takes(schema)


def _takes(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    if _UNSUPPORTED & schema.keys():
        return False
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, dict):
        if schema.get("additionalProperties") is not False:
            return False
        if set(properties or ()) - set(schema.get("required") or ()):
            return False
    below = [one for name in _MAPS for one in (schema.get(name) or {}).values()]
    below += [one for name in _LISTS for one in schema.get(name) or ()]
    if "items" in schema:
        below.append(schema["items"])
    return all(_takes(one) for one in below)
