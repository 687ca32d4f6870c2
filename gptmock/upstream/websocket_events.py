"""
What the upstream's WebSocket says beside the events of a response: usage windows, headers, refusals. Pure.

Source: openai/codex ``codex-api/src/endpoint/responses_websocket.rs`` and ``rate_limits.rs``; upstream protocol 9.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gptmock.limits import snapshot_from_headers
from gptmock.protocol.items import type_of

NOT_FOUND = "previous_response_not_found"
TOO_OLD = "websocket_connection_limit_reached"
TERMINAL = frozenset(
    {"response.completed", "response.done", "response.incomplete", "response.failed", "response.cancelled", "error"}
)
_TYPE_FIRST = b'{"type":"'
_OWN = ("codex.", "responsesapi.")
_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_WINDOW = {
    "used_percent": "used-percent",
    "window_minutes": "window-minutes",
    "reset_at": "reset-at",
    "reset_after_seconds": "reset-after-seconds",
}


class _Error(msgspec.Struct):
    code: Any = None


class _ErrorEvent(msgspec.Struct):
    code: Any = None
    error: _Error | None = None


class _Metadata(msgspec.Struct):
    headers: dict[str, Any] | None = None


class _Window(msgspec.Struct):
    used_percent: float | None = None
    window_minutes: float | None = None
    reset_at: float | None = None
    reset_after_seconds: float | None = None


class _Windows(msgspec.Struct):
    primary: _Window | None = None
    secondary: _Window | None = None


class _RateLimits(msgspec.Struct):
    plan_type: str | None = None
    rate_limits: _Windows | None = None


def kind_of(message: bytes) -> str | None:
    """The ``type`` of a message; ``None`` for what is no event."""
    if message.startswith(_TYPE_FIRST):
        end = message.find(b'"', len(_TYPE_FIRST))
        kind = message[len(_TYPE_FIRST) : end]
        if end > 0 and kind.isascii() and b"\\" not in kind:
            return kind.decode("ascii")
    return type_of(message)


def is_about_the_connection(kind: str) -> bool:
    """Whether a message stands for headers of a response over HTTP, or for nothing there."""
    return kind.startswith(_OWN) or kind == "response.metadata"


def headers_in(kind: str, message: bytes) -> Mapping[str, str]:
    """The headers that a message stands for, names in lower case; none where it cannot be read."""
    try:
        if kind in ("response.metadata", "error"):
            given = msgspec.json.decode(message, type=_Metadata).headers or {}
            return {name.lower(): str(value) for name, value in given.items() if isinstance(value, str | int | float)}
        if kind == "codex.rate_limits":
            return _limit_headers(msgspec.json.decode(message, type=_RateLimits))
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    return {}


def _limit_headers(said: _RateLimits) -> dict[str, str]:
    found = {"x-codex-plan-type": said.plan_type} if said.plan_type else {}
    windows = said.rate_limits or _Windows()
    for name, window in (("primary", windows.primary), ("secondary", windows.secondary)):
        for member, header in _WINDOW.items():
            value = getattr(window, member, None)
            if value is not None:
                found[f"x-codex-{name}-{header}"] = f"{value:.15g}"
    return found


def has_limits(headers: Mapping[str, str]) -> bool:
    """Whether these headers tell the account's usage windows."""
    return snapshot_from_headers(headers, now=0.0) is not None


def error_code(message: bytes) -> str | None:
    """The code of an ``error`` event."""
    try:
        event = msgspec.json.decode(message, type=_ErrorEvent)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    code = event.error.code if event.error is not None else event.code
    return code if isinstance(code, str) else None


def framed(kind: str, message: bytes) -> bytes:
    """A message as the event of an event stream, as the same response over HTTP has it."""
    if kind == "response.done":
        message, kind = _with_type(message, "response.completed"), "response.completed"
    elif kind == "error" and b'"headers"' in message:
        message = _without_headers(message)
    if b"\n" in message or b"\r" in message:
        # Between the members of a JSON text; within a string they are escapes.
        message = message.translate(_BREAKS)
    return b"event: %b\ndata: %b\n\n" % (kind.encode("utf-8", "replace"), message)


def _with_type(message: bytes, kind: str) -> bytes:
    return _changed(message, lambda event: {**event, "type": kind})


def _without_headers(message: bytes) -> bytes:
    # They are those of a response over HTTP, and of the account.
    return _changed(message, lambda event: {name: event[name] for name in event if name != "headers"})


def _changed(message: bytes, change: Any) -> bytes:
    try:
        event = msgspec.json.decode(message)
        return msgspec.json.encode(change(event)) if isinstance(event, dict) else message
    except (msgspec.DecodeError, UnicodeDecodeError, UnicodeEncodeError):
        return message
