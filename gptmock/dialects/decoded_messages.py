"""What chat and Ollama messages decode to: ``instructions`` and ``input`` of a Responses request. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from gptmock.protocol.request import InputItem, InputText, Message


@dataclass(frozen=True, slots=True)
class DecodedMessages:
    """The messages of a request as the upstream takes them."""

    instructions: str
    items: list[InputItem]


def decoded_messages(leading_texts: list[str], items: list[InputItem]) -> DecodedMessages:
    """
    Instructions and items of a conversation.

    Args:
        leading_texts: the system messages before any other message; they become the instructions. Without items they
            become developer messages, since the upstream needs a non-empty ``input``.
        items: the input items of the other messages.
    """
    texts = [text for text in leading_texts if text]
    if not items and texts:
        return DecodedMessages("", [Message("developer", [InputText(text)]) for text in texts])
    return DecodedMessages("\n\n".join(texts), items)


def arguments_text(arguments: str | dict[str, Any] | None) -> str:
    """``arguments`` of a function call as JSON text: some clients send an object, or nothing."""
    if isinstance(arguments, dict):
        return msgspec.json.encode(arguments).decode()
    return arguments or "{}"
