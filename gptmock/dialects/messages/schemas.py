"""JSON Schemas of tools and structured output: whether the upstream's strict mode takes them. Pure."""

from __future__ import annotations

from typing import Any

from gptmock.errors import BadRequest
from gptmock.protocol.request import JsonObject

_LISTS = ("anyOf",)
_MAPS = ("properties", "$defs", "definitions")
_SHOWN_CHARACTERS = 64
"""Of a property's name, in the path of an error."""
_UNSUPPORTED = frozenset({"oneOf", "allOf", "not", "if", "then", "else", "patternProperties", "dependentSchemas"})


def without_dialect(schema: JsonObject) -> JsonObject:
    """The schema without ``$schema``, which says nothing about the value."""
    return {name: value for name, value in schema.items() if name != "$schema"}


def is_strict(schema: JsonObject, *, within: str) -> bool:
    """
    Whether the strict mode takes the schema: every object is closed and requires all of its properties.

    Args:
        schema: as the client sent it.
        within: the path to it.

    Raises:
        BadRequest: a keyword has a value of a wrong type, so that it is no schema.

    Source: OpenAI's structured outputs, "Supported schemas"; upstream protocol 4.6.
    """
    _check(schema, within)
    return schema.get("type") == "object" and _takes(schema)


def _check(schema: Any, within: str) -> None:
    """Every keyword that ``_takes`` reads has its type; an empty value of another type means absent."""
    if not isinstance(schema, dict):
        return
    required = schema.get("required") or []
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise BadRequest("Input should be a list of strings", param=f"{within}.required")
    for keyword in _MAPS:
        below = schema.get(keyword) or {}
        if not isinstance(below, dict):
            raise BadRequest("Input should be an object", param=f"{within}.{keyword}")
        for name, one in below.items():
            _check(one, f"{within}.{keyword}.{name[:_SHOWN_CHARACTERS]}")
    for keyword in _LISTS:
        branches = schema.get(keyword) or []
        if not isinstance(branches, list):
            raise BadRequest("Input should be a list of schemas", param=f"{within}.{keyword}")
        for place, one in enumerate(branches):
            _check(one, f"{within}.{keyword}[{place}]")
    _check(schema.get("items"), f"{within}.items")


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
