"""Decodes Messages request bodies, for the tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gptmock.dialects.dialect import Call, Turn
from gptmock.dialects.messages import Messages
from tests.playbook import terms

USER: Mapping[str, Any] = {"role": "user", "content": "hi"}
USER_ITEM: Mapping[str, Any] = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "hi"}],
}
TOOL: Mapping[str, Any] = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}


def understood(
    body: Mapping[str, Any], *, headers: Mapping[str, str] | None = None, tenant: str = "", **defaults: Any
) -> Turn:
    data = json.dumps({"max_tokens": 64, "messages": [USER], **body}).encode()
    return Messages().decode(Call(data, headers or {}, tenant), terms(**defaults))


def upstream_body(body: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What goes upstream."""
    sent: dict[str, Any] = json.loads(understood(body, **more).request.to_json())
    return sent


def items(*messages: Mapping[str, Any], **more: Any) -> list[Any]:
    sent: list[Any] = upstream_body({"messages": list(messages)}, **more)["input"]
    return sent


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def call(call_id: str, name: str = "f", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def result(call_id: str, content: Any = None, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}
