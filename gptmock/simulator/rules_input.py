"""Validation of ``input``: item fields, content parts, ids, and pairs of calls and outputs. Pure."""

from collections.abc import Iterator
from typing import Any

from gptmock.simulator.events import sealed_for_another
from gptmock.simulator.refusals import (
    ITEM_NOT_FOUND,
    Refusal,
    api_error,
    invalid_type,
    invalid_value,
    missing_parameter,
    too_long,
    unknown_parameter,
)
from gptmock.simulator.rules_tools import check_name, check_tool_list
from gptmock.simulator.steps import Json

CALL_ID_LIMIT = 64
ROLES = ("assistant", "developer", "user")
PARTS: dict[str, frozenset[str]] = {
    "input_text": frozenset({"text"}),
    "input_image": frozenset({"image_url", "detail", "file_id"}),
    "output_text": frozenset({"text", "annotations", "logprobs"}),
    "refusal": frozenset({"refusal"}),
    "input_file": frozenset({"file_data", "file_id", "file_url", "filename", "detail"}),
    "computer_screenshot": frozenset({"image_url", "file_id", "detail"}),
    "summary_text": frozenset({"text"}),
}
"""Type of content part to its allowed fields besides ``type``."""

_ASSISTANT_PARTS = ("output_text", "refusal")
_CALL = frozenset({"call_id", "name", "namespace"})
ITEM_FIELDS: dict[str, frozenset[str]] = {
    "message": frozenset({"role", "content", "phase"}),
    "reasoning": frozenset({"summary", "content", "encrypted_content"}),
    "function_call": _CALL | {"arguments"},
    "function_call_output": frozenset({"call_id", "output"}),
    "custom_tool_call": _CALL | {"input"},
    "custom_tool_call_output": frozenset({"call_id", "output", "name"}),
    "web_search_call": frozenset({"action"}),
    "image_generation_call": frozenset(
        {"result", "revised_prompt", "output_format", "size", "background", "quality", "action"}
    ),
    "local_shell_call": frozenset({"call_id", "action"}),
    "local_shell_call_output": frozenset({"call_id", "output"}),
    "tool_search_call": frozenset({"call_id", "arguments", "execution"}),
    "tool_search_output": frozenset({"call_id", "tools", "execution", "output"}),
    "compaction": frozenset({"encrypted_content"}),
    "compaction_trigger": frozenset(),
    "agent_message": frozenset({"role", "content", "author", "recipient"}),
}
"""Item type to its allowed fields besides ``type``, ``id`` and ``status``."""

_COMMON = frozenset({"type", "id", "status", "internal_chat_message_metadata_passthrough"})
"""The last one is what the Codex CLI 0.171.0 adds with its own provider; measured with a signed-in client."""
_ID_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fc",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctc",
    "web_search_call": "ws",
    "image_generation_call": "ig",
}
_PAIRS = {
    "function_call": ("function_call_output", "function call"),
    "custom_tool_call": ("custom_tool_call_output", "custom tool call"),
}


def check_input(items: list[Any], *, lite: bool, account_id: str) -> Iterator[Refusal]:
    """Refusals of the input list, item by item, then of calls without output and outputs without call."""
    if not items:
        message = "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided."
        yield api_error(message, code="missing_required_parameter")
    for number, item in enumerate(items):
        path = f"input[{number}]"
        if not isinstance(item, dict):
            yield invalid_type(path, "an object", item)
        yield from _item(item, path, lite=lite, account_id=account_id)
    yield from _pairs(items)


def _item(item: Json, path: str, *, lite: bool, account_id: str) -> Iterator[Refusal]:
    kind = item.get("type", "message" if "role" in item else None)
    if kind == "item_reference" or (kind is None and set(item) == {"id"}):
        yield _not_found(item)
    if kind == "additional_tools" and lite:
        yield from _additional_tools(item, path)
        return
    if kind is None:
        yield missing_parameter(f"{path}.type")
    if not isinstance(kind, str) or kind not in ITEM_FIELDS:
        yield invalid_value(f"{path}.type", kind, sorted(ITEM_FIELDS))
    known = ITEM_FIELDS[str(kind)] | _COMMON
    for key in item:
        if key not in known or (key == "namespace" and not lite):
            yield unknown_parameter(f"{path}.{key}")
    yield from _item_id(item, str(kind), path)
    yield from _by_kind(item, str(kind), path, account_id)


def _by_kind(item: Json, kind: str, path: str, account_id: str) -> Iterator[Refusal]:
    match kind:
        case "message":
            yield from _message(item, path)
        case "reasoning" | "compaction":
            yield from _sealed(item, path, account_id)
        case "image_generation_call":
            if item.get("result") is None:
                # It would be looked up, and nothing is stored.
                yield _not_found(item) if item.get("id") else missing_parameter(f"{path}.result")
        case "function_call" | "custom_tool_call":
            yield from _call_id(item, path)
            yield from check_name(item.get("name"), f"{path}.name")
            yield from _text(item, "arguments" if kind == "function_call" else "input", path)
        case "function_call_output" | "custom_tool_call_output":
            yield from _call_id(item, path)
            yield from _output(item, path)


def _message(item: Json, path: str) -> Iterator[Refusal]:
    role = item.get("role")
    if role not in ROLES:
        yield invalid_value(f"{path}.role", role, ROLES)
    content = item.get("content")
    if content is None:
        yield missing_parameter(f"{path}.content")
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        yield invalid_type(f"{path}.content", "one of an array of objects or string", content)
        return
    supported = _ASSISTANT_PARTS if role == "assistant" else tuple(n for n in PARTS if n not in _ASSISTANT_PARTS)
    for number, part in enumerate(content):
        yield from _part(part, f"{path}.content[{number}]", supported)


def _part(part: object, path: str, supported: tuple[str, ...]) -> Iterator[Refusal]:
    if not isinstance(part, dict):
        yield invalid_type(path, "an object", part)
        return
    kind = part.get("type")
    if kind is None:
        yield missing_parameter(f"{path}.type")
    if kind not in supported:
        yield invalid_value(f"{path}.type", kind, supported)
    for key in part:
        if key == "prompt_cache_breakpoint":
            yield api_error("prompt_cache_breakpoint is not supported on this model", param=f"{path}.{key}")
        if key != "type" and key not in PARTS[str(kind)]:
            yield unknown_parameter(f"{path}.{key}")
    if "text" in PARTS[str(kind)]:
        yield from _text(part, "text", path)
    if kind == "input_image":
        yield from _image(part, path)


def _image(part: Json, path: str) -> Iterator[Refusal]:
    url = part.get("image_url")
    if part.get("file_id") is not None:
        yield api_error("Image files are not supported; send the image inline.", param=f"{path}.file_id")
    if url is None:
        yield missing_parameter(f"{path}.image_url")
    if not isinstance(url, str):
        yield invalid_type(f"{path}.image_url", "an image URL", url)
        return
    inline = url.startswith("data:image/") and ";base64," in url
    if not inline and not url.startswith(("https://", "http://")):
        message = "The image data you provided does not represent a valid image. Please check your input and try again."
        yield api_error(message, code="invalid_image", param=f"{path}.image_url")
    if part.get("detail") not in (None, "low", "high", "auto", "original"):
        yield invalid_value(f"{path}.detail", part["detail"], ("low", "high", "auto", "original"))


def _output(item: Json, path: str) -> Iterator[Refusal]:
    output = item.get("output")
    if output is None:
        yield missing_parameter(f"{path}.output")
    if isinstance(output, list):
        for number, part in enumerate(output):
            yield from _part(part, f"{path}.output[{number}]", ("input_text", "input_image", "input_file"))
    elif not isinstance(output, str):
        yield invalid_type(f"{path}.output", "one of an array of objects or string", output)


def _sealed(item: Json, path: str, account_id: str) -> Iterator[Refusal]:
    """Refusals of ``encrypted_content``: it is required, since nothing is stored, and bound to one account."""
    blob = item.get("encrypted_content")
    if not blob:
        yield _not_found(item)
        return
    if not str(blob).startswith("gAAAA") or sealed_for_another(str(blob), account_id):
        message = "The encrypted content could not be verified. Reason: Encrypted content could not be decrypted."
        yield api_error(message, code="invalid_encrypted_content", param=f"{path}.encrypted_content")
    if item.get("type") == "reasoning" and not isinstance(item.get("summary"), list):
        yield missing_parameter(f"{path}.summary")


def _additional_tools(item: Json, path: str) -> Iterator[Refusal]:
    if item.get("role") != "developer":
        yield invalid_value(f"{path}.role", item.get("role"), ("developer",))
    yield from check_tool_list(item.get("tools") or [], f"{path}.tools")


def _item_id(item: Json, kind: str, path: str) -> Iterator[Refusal]:
    prefix, given = _ID_PREFIXES.get(kind), item.get("id")
    if given is not None and prefix and not str(given).startswith(prefix):
        message = f"Invalid '{path}.id': '{given}'. Expected an ID that begins with '{prefix}'."
        yield api_error(message, code="invalid_value", param=f"{path}.id")


def _call_id(item: Json, path: str) -> Iterator[Refusal]:
    value = item.get("call_id")
    if not value:
        yield missing_parameter(f"{path}.call_id")
    if not isinstance(value, str):
        yield invalid_type(f"{path}.call_id", "a string", value)
    elif len(value) > CALL_ID_LIMIT:
        yield too_long(f"{path}.call_id", value, CALL_ID_LIMIT)


def _text(given: Json, key: str, path: str) -> Iterator[Refusal]:
    if given.get(key) is None:
        yield missing_parameter(f"{path}.{key}")
    if not isinstance(given[key], str):
        yield invalid_type(f"{path}.{key}", "a string", given[key])


def _pairs(items: list[Json]) -> Iterator[Refusal]:
    """A call needs its output later in the list, an output its call earlier."""
    for call_kind, (output_kind, words) in _PAIRS.items():
        open_calls: dict[str, None] = {}
        seen: set[str] = set()
        for item in items:
            if item.get("type") == call_kind:
                open_calls[item["call_id"]] = None
                seen.add(item["call_id"])
            elif item.get("type") == output_kind:
                if item["call_id"] not in seen:
                    message = f"No tool call found for {words} output with call_id {item['call_id']}."
                    yield api_error(message, param="input")
                open_calls.pop(item["call_id"], None)
        for call_id in open_calls:
            yield api_error(f"No tool output found for {words} {call_id}.", param="input")


def _not_found(item: Json) -> Refusal:
    return api_error(ITEM_NOT_FOUND.format(item.get("id", "")), status=404)
