"""Decodes chat request bodies, for the tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gptmock.dialects.chat import ChatCompletions
from gptmock.dialects.chat.reply import ChatReply
from gptmock.dialects.chat.wire import ChatOptions
from gptmock.dialects.dialect import Call, Turn
from tests.playbook import terms

USER: Mapping[str, Any] = {"role": "user", "content": "hi"}
USER_ITEM: Mapping[str, Any] = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "hi"}],
}


def understood(
    body: Mapping[str, Any], *, headers: Mapping[str, str] | None = None, tenant: str = "", **defaults: Any
) -> Turn:
    data = json.dumps({"messages": [USER], **body} if "input" not in body else body).encode()
    return ChatCompletions().decode(Call(data, headers or {}, tenant), terms(**defaults))


def options_of(turn: Turn) -> ChatOptions:
    """What the request asks of its reply."""
    assert isinstance(turn.reply, ChatReply)
    return turn.reply.options


def upstream_body(body: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What goes upstream."""
    sent: dict[str, Any] = json.loads(understood(body, **more).request.to_json())
    return sent


def items(*messages: Mapping[str, Any]) -> list[Any]:
    sent: list[Any] = upstream_body({"messages": list(messages)})["input"]
    return sent
