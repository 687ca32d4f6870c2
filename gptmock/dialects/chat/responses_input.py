"""A Responses body on the chat route, as Cursor sends it: understood as Responses input, answered as chat."""

from __future__ import annotations

from typing import Any

from gptmock.dialects.bodies import missing, validate
from gptmock.dialects.chat.content import decode_parts
from gptmock.dialects.chat.messages import Conversation
from gptmock.dialects.chat.types import ChatMessage
from gptmock.dialects.identifiers import upstream_call_id, upstream_name
from gptmock.errors import BadRequest
from gptmock.protocol.request import InputItem, InputText, Message

_CALLS = frozenset({"function_call", "custom_tool_call"})
_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
_OWN_KEYS = frozenset(
    {"type", "call_id", "name", "arguments", "output", "input", "summary", "content", "encrypted_content"}
)
"""What the backend takes on these items; ids and statuses of stored responses mean nothing to it."""


def decode_input(given: str | list[dict[str, Any]], instructions: str | None) -> Conversation:
    """
    Translate ``input`` and ``instructions``.

    Raises:
        BadRequest: nothing to answer to, an unknown item or role.
    """
    if isinstance(given, str):
        if not given:
            raise BadRequest("'input' is empty.", param="input")
        return Conversation(instructions or "", [Message("user", [InputText(given)])])
    items: list[InputItem] = []
    for index, item in enumerate(given):
        decoded = _item(item, f"input[{index}]")
        if decoded is not None:
            items.append(decoded)
    if not items:
        raise BadRequest("'input' holds nothing to answer.", param="input")
    return Conversation(instructions or "", items)


def _item(item: dict[str, Any], within: str) -> InputItem | None:
    kind = item.get("type") or "message"
    if not isinstance(kind, str):
        raise BadRequest(f"Invalid value for '{within}.type': expected a string.", param=f"{within}.type")
    if kind == "reasoning":
        return _own(item) if item.get("encrypted_content") else None
    if kind in _CALLS or kind in _OUTPUTS:
        return _paired(item, kind, within)
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


def _paired(item: dict[str, Any], kind: str, within: str) -> InputItem:
    """A call or its output, under the id and the name that the upstream takes."""
    call_id, name = item.get("call_id"), item.get("name")
    if not isinstance(call_id, str) or not call_id:
        raise missing(f"{within}.call_id")
    if kind in _OUTPUTS:
        return {**_own(item), "call_id": upstream_call_id(call_id)}
    if not isinstance(name, str) or not name:
        raise missing(f"{within}.name")
    return {**_own(item), "call_id": upstream_call_id(call_id), "name": upstream_name(name)}


def _own(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key in _OWN_KEYS and value is not None}
