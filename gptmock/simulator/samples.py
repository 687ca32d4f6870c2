"""Generates a minimal instance of a JSON Schema, as a model would for structured output. Pure and deterministic."""

import math
from typing import Any

from gptmock.simulator.steps import Json

_DEPTH_LIMIT = 8
_BY_NAME = (
    (("city", "location", "place", "town"), "Paris"),
    (("country",), "France"),
    (("url", "link"), "https://example.test/"),
    (("mail",), "ada@example.test"),
    (("date", "day"), "2026-11-23"),
    (("name", "author", "person"), "Ada Lovelace"),
    (("query", "question"), "gptmock"),
    (("path", "file"), "README.md"),
    (("unit",), "celsius"),
)
_BY_FORMAT = {
    "date": "2026-11-23",
    "date-time": "2026-11-23T09:00:00Z",
    "time": "09:00:00Z",
    "duration": "PT1H",
    "email": "ada@example.test",
    "uri": "https://example.test/",
    "uuid": "00000000-0000-4000-8000-000000000001",
    "hostname": "example.test",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
}


def sample(schema: Json) -> Any:
    """
    A minimal instance of ``schema``: required properties only, one element per array, the first of an enum.

    ``$ref`` into the same document is followed; a schema that refers to itself ends in null or an empty array where it
    allows one.
    """
    return _Sampler(schema).value(schema, name="", depth=0)


class _Sampler:
    def __init__(self, root: Json) -> None:
        self._root = root

    def value(self, schema: Any, *, name: str, depth: int) -> Any:
        if not isinstance(schema, dict) or depth > _DEPTH_LIMIT:
            return None if isinstance(schema, dict) else "Paris"
        resolved = self._resolve(schema)
        if "const" in resolved:
            return resolved["const"]
        if resolved.get("enum"):
            return resolved["enum"][0]
        if resolved.get("default") is not None:
            return resolved["default"]
        for key in ("anyOf", "oneOf"):
            if resolved.get(key):
                return self.value(self._branch(resolved[key], depth), name=name, depth=depth + 1)
        return self._typed(resolved, name, depth)

    def _typed(self, schema: Json, name: str, depth: int) -> Any:
        match _kind(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "integer":
                return int(_number(schema, whole=True))
            case "number":
                return _number(schema, whole=False)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return _string(schema, name)

    def _object(self, schema: Json, depth: int) -> Json:
        properties = schema.get("properties") or {}
        wanted = schema.get("required")
        names = list(properties) if wanted is None and depth == 0 else wanted or []
        return {each: self.value(properties.get(each, {}), name=each, depth=depth + 1) for each in names}

    def _array(self, schema: Json, name: str, depth: int) -> list[Any]:
        least = int(schema.get("minItems", 0))
        shallow = depth < _DEPTH_LIMIT // 2
        count = min(max(least, 1 if shallow else 0), int(schema.get("maxItems", 1000)))
        singular = name.removesuffix("s")
        prefix = schema.get("prefixItems") or []
        kinds = [*prefix, *[schema.get("items", {"type": "string"})] * count][: max(count, len(prefix))]
        return [self.value(each, name=singular, depth=depth + 1) for each in kinds]

    def _resolve(self, schema: Json) -> Json:
        seen = 0
        while "$ref" in schema and seen < _DEPTH_LIMIT:
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**self._pointed(str(schema["$ref"])), **rest}
            seen += 1
        merged = dict(schema)
        for part in merged.pop("allOf", None) or []:
            other = self._resolve(part)
            merged["properties"] = {**merged.get("properties", {}), **other.get("properties", {})}
            merged["required"] = [*merged.get("required", []), *other.get("required", [])]
            merged = {**other, **{key: value for key, value in merged.items() if value}}
        return merged

    def _pointed(self, reference: str) -> Json:
        target: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step and isinstance(target, dict):
                target = target.get(step.replace("~1", "/").replace("~0", "~"), {})
        return target if isinstance(target, dict) else {}

    def _branch(self, options: list[Any], depth: int) -> Any:
        empty = [option for option in options if isinstance(option, dict) and option.get("type") == "null"]
        rest = [option for option in options if option not in empty]
        deep = depth >= _DEPTH_LIMIT // 2
        return (empty if deep and empty else rest or empty)[0]


def _kind(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _number(schema: Json, *, whole: bool) -> float:
    step = schema.get("multipleOf") or (1 if whole else 0.5)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    start = 21.5 if not whole else 3
    if low is not None and start <= low:
        start = low + (step if "exclusiveMinimum" in schema else 0)
    if high is not None and start >= high:
        start = high - (step if "exclusiveMaximum" in schema else 0)
    if "multipleOf" in schema:
        start = math.floor(start / step) * step
        start += step if low is not None and start < low else 0
    return math.ceil(start) if whole else float(start)


def _string(schema: Json, name: str) -> str:
    if schema.get("format") in _BY_FORMAT:
        return _BY_FORMAT[schema["format"]]
    low = name.lower()
    text = next((value for keys, value in _BY_NAME if any(key in low for key in keys)), "Paris")
    text += "x" * (int(schema.get("minLength", 0)) - len(text))
    return text[: int(schema.get("maxLength", len(text)))]
