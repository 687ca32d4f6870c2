"""Validation of the body of a model call, in the backend's order. Pure.

Each check yields refusals lazily and only the first one is used, so a check may rely on the ones before it.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from gptmock.simulator.catalogue import Model
from gptmock.simulator.refusals import (
    Refusal,
    api_error,
    detail,
    invalid_type,
    invalid_value,
    missing_parameter,
    too_long,
    unknown_parameter,
    unsupported_effort,
    unsupported_parameter,
)
from gptmock.simulator.rules_input import check_input
from gptmock.simulator.rules_tools import check_name, check_schema, check_tools
from gptmock.simulator.steps import Json

ALLOWED_FIELDS = frozenset(
    {
        "model",
        "instructions",
        "input",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
        "store",
        "stream",
        "stream_options",
        "include",
        "service_tier",
        "prompt_cache_key",
        "text",
        "client_metadata",
    }
)
INCLUDABLE = (
    "reasoning.encrypted_content",
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "web_search_call.action.sources",
)
SUMMARIES = ("auto", "concise", "detailed")
VERBOSITIES = ("low", "medium", "high")
FORMATS = ("text", "json_object", "json_schema")
LITE_HEADER = "X-OpenAI-Internal-Codex-Responses-Lite"
PROMPT_CACHE_KEY_LIMIT = 64

_TYPES: tuple[tuple[str, type, str], ...] = (
    ("instructions", str, "a string"),
    ("tools", list, "an array"),
    ("parallel_tool_calls", bool, "a boolean"),
    ("reasoning", dict, "an object"),
    ("include", list, "an array"),
    ("prompt_cache_key", str, "a string"),
    ("text", dict, "an object"),
    ("client_metadata", dict, "an object"),
    ("stream_options", dict, "an object"),
)


def first_refusal(body: Json, *, model: Model, lite: bool, account_id: str) -> Refusal | None:
    """The first refusal of this body; None if it is valid."""
    return next(_all(body, model, lite=lite, account_id=account_id), None)


def compact_refusal(body: Json, *, account_id: str) -> Refusal | None:
    """The same for ``/responses/compact``, which accepts fewer fields."""
    fields = ALLOWED_FIELDS - {"store", "stream", "include", "client_metadata", "tool_choice", "stream_options"}
    unknown = (unsupported_parameter(key) for key in body if key not in fields)
    shape = (detail("Input must be a list") for _ in range(not isinstance(body.get("input"), list)))
    found = next(shape, None) or next(unknown, None)
    return found or next(check_input(body["input"], lite=False, account_id=account_id), None)


def _all(body: Json, model: Model, *, lite: bool, account_id: str) -> Iterator[Refusal]:
    yield from _frame(body)
    yield from _fields(body)
    yield from _types(body)
    yield from _settings(body, model)
    if lite:
        yield from _lite(body)
    yield from check_tools(body, lite=lite)
    yield from check_input(body["input"], lite=lite, account_id=account_id)
    yield from _format(body)


def _frame(body: Json) -> Iterator[Refusal]:
    if body.get("store") is not False:
        yield detail("Store must be set to false")
    if body.get("stream") is not True:
        yield detail("Stream must be set to true")
    items = body.get("input")
    if not isinstance(items, list):
        yield detail("Input must be a list")
    elif any(isinstance(item, dict) and item.get("role") == "system" for item in items):
        yield detail("System messages are not allowed")


def _fields(body: Json) -> Iterator[Refusal]:
    for key in body:
        if key in {"prompt_cache_breakpoint", "prompt_cache_options"}:
            yield api_error(f"{key} is not supported on this model", param=key)
        if key not in ALLOWED_FIELDS:
            yield unsupported_parameter(key)


def _types(body: Json) -> Iterator[Refusal]:
    for key, kind, name in _TYPES:
        if body.get(key) is not None and not isinstance(body[key], kind):
            yield invalid_type(key, name, body[key])
    for key, value in (body.get("client_metadata") or {}).items():
        if not isinstance(value, str):
            yield invalid_type(f"client_metadata.{key}", "a string", value)


def _settings(body: Json, model: Model) -> Iterator[Refusal]:
    yield from _reasoning(body.get("reasoning") or {}, model)
    yield from _unknown_keys(body.get("text") or {}, {"format", "verbosity"}, "text")
    yield from _one_of((body.get("text") or {}).get("verbosity"), VERBOSITIES, "text.verbosity")
    yield from _unknown_keys(body.get("stream_options") or {}, {"reasoning_summary_delivery"}, "stream_options")
    tier = body.get("service_tier")
    if tier is not None and str(tier) not in model.tiers:
        yield detail(f"Unsupported service_tier: {tier}")
    for number, name in enumerate(body.get("include") or []):
        yield from _one_of(name, INCLUDABLE, f"include[{number}]")
    key = body.get("prompt_cache_key")
    if key is not None and len(key) > PROMPT_CACHE_KEY_LIMIT:
        yield too_long("prompt_cache_key", key, PROMPT_CACHE_KEY_LIMIT)


def _reasoning(given: Json, model: Model) -> Iterator[Refusal]:
    yield from _unknown_keys(given, {"effort", "summary", "context"}, "reasoning")
    effort = given.get("effort")
    if effort is not None and effort not in model.efforts:
        yield unsupported_effort(effort, model.slug, model.efforts)
    yield from _one_of(given.get("summary"), SUMMARIES, "reasoning.summary")
    yield from _one_of(given.get("context"), ("auto", "current_turn", "all_turns"), "reasoning.context")


def _lite(body: Json) -> Iterator[Refusal]:
    """The rules of Responses-Lite; the message on parallel calls was seen live, the others follow its form."""
    demands: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("`parallel_tool_calls` to be false", lambda: body.get("parallel_tool_calls") is False),
        ("`tools` to be absent", lambda: not body.get("tools")),
        ("`instructions` to be absent", lambda: not body.get("instructions")),
        ("`reasoning.context` to be all_turns", lambda: (body.get("reasoning") or {}).get("context") == "all_turns"),
        ("image `detail` to be absent", lambda: not _has_detail(body["input"])),
    )
    for demand, is_met in demands:
        if not is_met():
            yield api_error(f"{LITE_HEADER} requires {demand}.")


def _has_detail(items: list[Any]) -> bool:
    lists = [item.get("content") for item in items if isinstance(item, dict)]
    parts = [part for content in lists if isinstance(content, list) for part in content]
    return any(isinstance(part, dict) and part.get("type") == "input_image" and part.get("detail") for part in parts)


def _format(body: Json) -> Iterator[Refusal]:
    given = (body.get("text") or {}).get("format")
    if given is None:
        return
    if not isinstance(given, dict):
        yield invalid_type("text.format", "an object", given)
    yield from _one_of(given.get("type"), FORMATS, "text.format.type", required=True)
    if given["type"] == "json_schema":
        yield from _schema_format(given)
        return
    yield from _unknown_keys(given, {"type"}, "text.format")
    if given["type"] == "json_object" and not _says_json(body["input"]):
        yield api_error(
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
            "'json_object'.",
            param="input",
        )


def _schema_format(given: Json) -> Iterator[Refusal]:
    yield from _unknown_keys(given, {"type", "name", "schema", "strict", "description"}, "text.format")
    yield from check_name(given.get("name"), "text.format.name")
    if "schema" not in given:
        yield missing_parameter("text.format.schema")
    where = f"Invalid schema for response_format '{given['name']}'"
    for reason in check_schema(given["schema"], strict=given.get("strict") is True):
        yield api_error(f"{where}: {reason}", code="invalid_json_schema", param="text.format.schema")


def _says_json(items: list[Any]) -> bool:
    said = [item.get("content") for item in items if isinstance(item, dict) and "role" in item]
    return re.search(rb"json", msgspec.json.encode(said), re.IGNORECASE) is not None


def _unknown_keys(given: Json, known: set[str], path: str) -> Iterator[Refusal]:
    for key in given:
        if key not in known:
            yield unknown_parameter(f"{path}.{key}")


def _one_of(value: object, known: tuple[str, ...], path: str, *, required: bool = False) -> Iterator[Refusal]:
    if value is None and required:
        yield missing_parameter(path)
    elif value is not None and value not in known:
        yield invalid_value(path, value, known)
