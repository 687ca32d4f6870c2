"""
Renders errors in OpenAI's envelope, as response bodies and SSE frames, with the retry headers that SDKs obey.

Source: client contracts 4.3 to 4.5; openai/openai-python ``_base_client.py`` for the retry rules.
"""

from __future__ import annotations

import math

import msgspec

from gptmock.dialects.dialect import ErrorReply
from gptmock.dialects.json_text import json_bytes
from gptmock.errors import (
    AccountUnusable,
    GptmockError,
    MethodNotAllowed,
    NotLoggedIn,
    RefreshRejected,
    UnknownRoute,
    UnsupportedEncoding,
)
from gptmock.protocol.sse import sse_frame

USAGE_LIMIT_REACHED = "usage_limit_reached"
_QUOTA_CODES = frozenset({"insufficient_quota", "usage_not_included", USAGE_LIMIT_REACHED, "quota_exceeded"})


class _Error(msgspec.Struct, frozen=True):
    message: str
    type: str
    param: str | None
    code: str | None


class _Envelope(msgspec.Struct, frozen=True):
    error: _Error


def error_body(error: GptmockError) -> bytes:
    """``{"error": {message, type, param, code}}``, all four keys present."""
    return json_bytes(_Envelope(_members(error)))


def error_members(error: GptmockError) -> dict[str, str | None]:
    """The members of ``error``, for frames with further members."""
    return msgspec.structs.asdict(_members(error))


def _members(error: GptmockError) -> _Error:
    return _Error(message=error.message, type=_type_of(error), param=error.param, code=error.code)


def error_frame(error: GptmockError) -> bytes:
    """The error as the last frame of a stream."""
    return sse_frame(error_body(error))


def error_reply(error: GptmockError) -> ErrorReply:
    """The error as an HTTP response."""
    return ErrorReply(error.status_hint, error_body(error), retry_headers(error))


def retry_headers(error: GptmockError) -> dict[str, str]:
    """``Retry-After``, ``x-should-retry``, and the headers that the status requires."""
    headers: dict[str, str] = {}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_seconds)))
        if error.code not in _QUOTA_CODES:
            headers["retry-after-ms"] = str(max(1, math.ceil(error.retry_after_seconds * 1000)))
    should_retry = error.should_retry
    if should_retry is None and isinstance(error, NotLoggedIn | RefreshRejected | AccountUnusable | UnknownRoute):
        # SDKs would retry twice, but only the operator can fix these errors.
        should_retry = False
    if should_retry is not None:
        headers["x-should-retry"] = "true" if should_retry else "false"
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(error.allowed)
    if error.status_hint == 426:
        headers["upgrade"] = "HTTP/1.1"
    if isinstance(error, UnsupportedEncoding):
        headers["accept-encoding"] = ", ".join(error.known)
    if error.status_hint == 401:
        headers["www-authenticate"] = "Bearer"
    return headers


def _type_of(error: GptmockError) -> str:
    if error.code == USAGE_LIMIT_REACHED:
        # Codex recognises the usage limit by this type only; ``insufficient_quota`` makes it suggest another plan.
        return USAGE_LIMIT_REACHED
    if error.code in _QUOTA_CODES:
        return "insufficient_quota"
    if error.status_hint == 429:
        return "rate_limit_error"
    return "server_error" if error.status_hint >= 500 else "invalid_request_error"
