"""Says which turns go by WebSocket where the operator leaves that to us (``GPTMOCK_UPSTREAM_TRANSPORT=auto``). Pure."""

from __future__ import annotations

import functools

import msgspec

from gptmock.protocol.request import InputItem, Message, ResponsesRequest

_INPUT_TYPES = ("message", "additional_tools")
"""Types of items that stand in a first turn."""


class _Entry(msgspec.Struct):
    prefer_websockets: bool | None = None


def has_history(request: ResponsesRequest) -> bool:
    """Whether a turn is not the first one of its conversation: a single one gains nothing by a WebSocket."""
    return any(map(_is_history, request.input))


@functools.lru_cache(maxsize=64)
def prefers_websockets(entry: bytes | None) -> bool:
    """
    What the catalogue's entry of a model says; every current model does, so silence is a yes.

    Args:
        entry: ``ModelSpec.entry``.
    """
    if entry is None:
        return True
    try:
        return msgspec.json.decode(entry, type=_Entry).prefer_websockets is not False
    except (msgspec.DecodeError, UnicodeDecodeError):
        return True


def _is_history(item: InputItem) -> bool:
    if isinstance(item, Message):
        return item.role == "assistant"
    if isinstance(item, dict):
        return item.get("role") == "assistant" or item.get("type", "message") not in _INPUT_TYPES
    return True
