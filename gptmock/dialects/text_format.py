"""The upstream's own rule for JSON answers without a schema."""

from __future__ import annotations

from collections.abc import Iterator

from gptmock.protocol.request import InputItem, InputText, Message, OutputText


def with_json_mentioned(items: list[InputItem]) -> list[InputItem]:
    """The input of a ``json_object`` request: the word has to be in it somewhere, instructions do not count."""
    if _mentions_json(items):
        return items
    return [*items, Message("developer", [InputText("Answer with one JSON object.")])]


def _mentions_json(items: list[InputItem]) -> bool:
    return any("json" in text.lower() for item in items for text in _texts(item))


def _texts(item: InputItem) -> Iterator[str]:
    if isinstance(item, Message):
        yield from (part.text for part in item.content if isinstance(part, InputText | OutputText))
    elif isinstance(item, dict) and isinstance(parts := item.get("content"), list):
        yield from (part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))
