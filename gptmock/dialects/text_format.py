"""``text.format`` of an upstream request: JSON mode and JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator

from gptmock.protocol.request import InputItem, InputText, JsonObject, Message, OutputText

_WORD = "json"
_PIECE_CHARACTERS = 256 * 1024
"""Of a long text at a time: one step over many megabytes would hold up the whole process."""


def json_schema_format(name: str, schema: JsonObject, *, strict: bool | None, description: str | None) -> JsonObject:
    """``text.format`` of type ``json_schema``; ``None`` leaves a member out."""
    shape: JsonObject = {"type": "json_schema", "name": name, "schema": schema}
    if strict is not None:
        shape["strict"] = strict
    if description is not None:
        shape["description"] = description
    return shape


def with_json_mentioned(items: list[InputItem]) -> list[InputItem]:
    """The input of a ``json_object`` request: the upstream requires the word JSON in it, outside ``instructions``."""
    if _mentions_json(items):
        return items
    return [*items, Message("developer", [InputText("Answer with one JSON object.")])]


def _mentions_json(items: list[InputItem]) -> bool:
    return any(_WORD in piece.lower() for item in items for text in _texts(item) for piece in _pieces(text))


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces that overlap, so that the word is whole in one of them."""
    if len(text) <= _PIECE_CHARACTERS:
        yield text
        return
    for begin in range(0, len(text), _PIECE_CHARACTERS):
        yield text[begin : begin + _PIECE_CHARACTERS + len(_WORD) - 1]


def _texts(item: InputItem) -> Iterator[str]:
    if isinstance(item, Message):
        yield from (part.text for part in item.content if isinstance(part, InputText | OutputText))
    elif isinstance(item, dict) and isinstance(parts := item.get("content"), list):
        yield from (part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))
