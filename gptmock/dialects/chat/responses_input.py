"""Converts ``input`` of a Responses body sent to the chat route, as Cursor does; the reply is a chat completion."""

from __future__ import annotations

from typing import Any

from gptmock.dialects.bodies import validate
from gptmock.dialects.call_items import CALL_TYPES, OUTPUT_TYPES, with_upstream_ids
from gptmock.dialects.chat.content import decode_parts
from gptmock.dialects.chat.types import ChatMessage
from gptmock.dialects.decoded_messages import DecodedMessages
from gptmock.errors import BadRequest
from gptmock.protocol.request import InputItem, InputText, Message

_SENT_MEMBERS = frozenset(
    {"type", "call_id", "name", "arguments", "output", "input", "summary", "content", "encrypted_content"}
)
"""The members sent upstream; ``id`` and ``status`` are dropped, since the backend stores no items."""


def decode_input(given: str | list[dict[str, Any]], instructions: str | None) -> DecodedMessages:
    """
    Translate ``input`` and ``instructions``.

    Raises:
        BadRequest: there is no item to send, or an item type or role is unknown.
    """
    if isinstance(given, str):
        if not given:
            raise BadRequest("'input' is empty.", param="input")
        return DecodedMessages(instructions or "", [Message("user", [InputText(given)])])
    items: list[InputItem] = []
    for index, item in enumerate(given):
        decoded = _item(item, f"input[{index}]")
        if decoded is not None:
            items.append(decoded)
    if not items:
        raise BadRequest("'input' holds nothing to answer.", param="input")
    return DecodedMessages(instructions or "", items)


def _item(item: dict[str, Any], within: str) -> InputItem | None:
    kind = item.get("type") or "message"
    if not isinstance(kind, str):
        raise BadRequest(f"Invalid value for '{within}.type': expected a string.", param=f"{within}.type")
    if kind == "reasoning":
        return _sent(item) if item.get("encrypted_content") else None
    if kind in CALL_TYPES or kind in OUTPUT_TYPES:
        return with_upstream_ids(_sent(item), kind, within)
    if kind != "message":
        raise BadRequest(
            f"Invalid value for '{within}.type': items of type '{kind[:40]}' are not known here.",
            param=f"{within}.type",
        )
    message = validate(item, ChatMessage, within=within)
    if message.role not in ("user", "assistant", "system", "developer"):
        raise BadRequest(f"Invalid value for '{within}.role'.", param=f"{within}.role")
    content = decode_parts(message.content, assistant=message.role == "assistant", within=f"{within}.content")
    if not content:
        return None
    if message.role == "assistant":
        return Message("assistant", content)
    return Message("user" if message.role == "user" else "developer", content)


def _sent(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key in _SENT_MEMBERS and value is not None}
