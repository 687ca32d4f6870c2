"""The upstream's own rule for JSON answers without a schema."""

from __future__ import annotations

from gptmock.protocol.request import InputItem, InputText, Message, OutputText


def with_json_mentioned(items: list[InputItem]) -> list[InputItem]:
    """The input of a ``json_object`` request: the word has to be in it somewhere, instructions do not count."""
    if _mentions_json(items):
        return items
    return [*items, Message("developer", [InputText("Answer with one JSON object.")])]


def _mentions_json(items: list[InputItem]) -> bool:
    return any(
        "json" in part.text.lower()
        for item in items
        if isinstance(item, Message)
        for part in item.content
        if isinstance(part, InputText | OutputText)
    )
