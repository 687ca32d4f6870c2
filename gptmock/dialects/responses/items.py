"""
Converts the input items of a Responses request to those that the upstream accepts (client contracts 3.3). Unknown items
and unknown members are sent unchanged.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gptmock.conversations import ITEM_ID_PREFIXES
from gptmock.dialects.bodies import missing
from gptmock.dialects.call_items import CALL_TYPES, OUTPUT_TYPES, with_upstream_ids
from gptmock.dialects.image_urls import image_address
from gptmock.dialects.responses.previous_response import Continued
from gptmock.errors import BadRequest
from gptmock.protocol.request import InputItem, JsonObject

_ROLES = {"user": "user", "assistant": "assistant", "system": "developer", "developer": "developer"}
"""Role in the request to role sent upstream, which refuses ``system``."""
_ID_PREFIXES = {kind: prefix for kind, prefix in ITEM_ID_PREFIXES.items() if kind != "local_shell_call"}
"""Item type to the prefix that the upstream requires of an id; an id without it is dropped, since ids are optional."""
_REFUSED_MEMBERS = frozenset({"caller", "created_by", "parsed_arguments", "namespace"})
"""Members that SDKs or replies add to calls and outputs, and that the upstream refuses."""


def decode_input(given: Continued) -> list[InputItem]:
    """
    The input items to send upstream, beginning with the conversation that the request continues.

    Raises:
        BadRequest: there is no item to send, or an item lacks a required member.
    """
    items: list[InputItem] = [
        decoded for place, item in enumerate(given.items) if (decoded := _item(item, given.where(place))) is not None
    ]
    if not items:
        raise BadRequest("'input' holds nothing to answer.", param="input")
    return items


def user_message(text: str) -> JsonObject:
    """The message item that a plain string as ``input`` stands for."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def refuse_reference(item: JsonObject, within: str) -> None:
    """
    Refuse an ``item_reference`` that was not resolved before.

    Raises:
        BadRequest: the item is a reference.
    """
    if item.get("type") == "item_reference" or set(item) == {"id"}:
        raise BadRequest(
            f"Item with id '{str(item.get('id'))[:64]}' not found. Items are not kept here: send the item itself, "
            "as clients do with 'store' set to false.",
            param=f"{within}.id",
        )


def _item(item: JsonObject, within: str) -> JsonObject | None:
    refuse_reference(item, within)
    kind = item.get("type") or ("message" if "role" in item else None)
    if not isinstance(kind, str):
        raise missing(f"{within}.type")
    given = {key: value for key, value in item.items() if not _is_null_default(key, value)}
    if kind == "message":
        return _message(given, within)
    if kind == "reasoning":
        return _reasoning(given)
    prefix, item_id = _ID_PREFIXES.get(kind), given.get("id")
    if prefix is not None and not (isinstance(item_id, str) and item_id.startswith(prefix)):
        given.pop("id", None)
    if kind in CALL_TYPES or kind in OUTPUT_TYPES:
        sent = {name: value for name, value in given.items() if name not in _REFUSED_MEMBERS}
        return _with_content(with_upstream_ids(sent, kind, within), kind, within)
    return {name: value for name, value in given.items() if name not in ("caller", "created_by")}


def _is_null_default(key: str, value: Any) -> bool:
    return value is None and key in ("id", "status", "phase", "caller", "created_by", "content", "encrypted_content")


def _reasoning(item: JsonObject) -> JsonObject | None:
    # The upstream stores nothing, so it can use a reasoning item only with its encrypted content.
    if not item.get("encrypted_content"):
        return None
    kept = {name: value for name, value in item.items() if name != "status"}
    if not str(item.get("id", "")).startswith(_ID_PREFIXES["reasoning"]):
        kept.pop("id", None)
    return {**kept, "summary": item.get("summary") or []}


def _with_content(item: JsonObject, kind: str, within: str) -> JsonObject:
    """A call with its arguments as text, or an output with its parts converted."""
    if kind in OUTPUT_TYPES and isinstance(item.get("output"), list):
        return {**item, "output": _parts(item["output"], "user", f"{within}.output")}
    if kind in CALL_TYPES and isinstance(item.get("arguments"), dict):
        return {**item, "arguments": msgspec.json.encode(item["arguments"]).decode()}
    return item


# --- Messages ---------------------------------------------------------------------------


def _message(item: JsonObject, within: str) -> JsonObject:
    role = item.get("role")
    if role is None:
        raise missing(f"{within}.role")
    if not isinstance(role, str) or role not in _ROLES:
        raise BadRequest(
            f"Invalid value for '{within}.role': '{str(role)[:40]}'. Supported values are 'assistant', 'developer', "
            "'system' and 'user'.",
            param=f"{within}.role",
        )
    content = item.get("content")
    if isinstance(content, str):
        content = [{"type": "output_text" if role == "assistant" else "input_text", "text": content}]
    elif isinstance(content, list):
        content = _parts(content, role, f"{within}.content")
    else:
        raise missing(f"{within}.content")
    sent = {**item, "type": "message", "role": _ROLES[role], "content": content}
    if not str(item.get("id", "")).startswith(_ID_PREFIXES["message"]):
        sent.pop("id", None)
        sent.pop("status", None)
    return sent


def _parts(parts: list[Any], role: str, within: str) -> list[JsonObject]:
    return [_part(part, role, f"{within}[{index}]") for index, part in enumerate(parts)]


def _part(part: Any, role: str, within: str) -> JsonObject:
    if not isinstance(part, dict):
        raise BadRequest(f"Invalid type for '{within}': expected an object.", param=within)
    given = {name: value for name, value in part.items() if value is not None}
    kind = given.get("type")
    if not isinstance(kind, str):
        raise missing(f"{within}.type")
    if kind in ("text", "input_text", "output_text"):
        # The upstream requires ``output_text`` for the assistant and ``input_text`` for all others.
        return {**given, "type": "output_text" if role == "assistant" else "input_text"}
    if kind == "input_audio":
        raise BadRequest(
            "Audio input is not available to ChatGPT accounts.", code="unsupported_content_type", param=within
        )
    if kind in ("input_image", "input_file") and "file_id" in given:
        raise BadRequest(
            "There is no files API here: send the data itself, as a data URL.",
            code="unsupported_content_type",
            param=f"{within}.file_id",
        )
    return _image(given, within) if kind in ("input_image", "image_url") else given


def _image(part: JsonObject, within: str) -> JsonObject:
    url = part.get("image_url")
    nested = url if isinstance(url, dict) else {"url": url}
    address = nested.get("url")
    if not isinstance(address, str):
        raise missing(f"{within}.image_url")
    detail = part.get("detail") or nested.get("detail")
    return {
        **part,
        "type": "input_image",
        "image_url": image_address(address, within=f"{within}.image_url"),
        **({"detail": detail} if detail is not None else {}),
    }
