"""
Renders errors in Anthropic's envelope, as response bodies and as the last event of a stream, with the retry headers
that its clients obey.

Source: next doors A.2 and A.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from gptmock.dialects.dialect import ErrorReply
from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.openai_errors import retry_headers
from gptmock.errors import (
    AccountError,
    CredentialRefused,
    Forbidden,
    ForeignLogin,
    GptmockError,
    KeyExpired,
    Unauthorized,
    UnknownModel,
)

OVERLOADED = 529
_OVERLOADED_CODES = frozenset({"server_is_overloaded", "slow_down"})
_LONG_WAIT_SECONDS = 60.0
_EXPIRED = "Your API key has expired. The administrator of this server can issue another one."
_TYPES: Mapping[int, str] = MappingProxyType(
    {
        401: "authentication_error",
        402: "billing_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        504: "timeout_error",
        OVERLOADED: "overloaded_error",
    }
)


def error_reply(error: GptmockError) -> ErrorReply:
    """The error as an HTTP response."""
    error = _distinguished(error)
    status = _status_of(error)
    headers = retry_headers(error) | _no_retry(error, status)
    return ErrorReply(status, _body(error, ""), headers, with_request_id=partial(_body, error))


def error_frame(error: GptmockError, *, request_id: str) -> bytes:
    """The error as the last event of a stream."""
    return b"event: error\ndata: " + _body(_distinguished(error), request_id) + b"\n\n"


def _distinguished(error: GptmockError) -> GptmockError:
    """An expired key is no wrong one in this API."""
    return Forbidden(_EXPIRED) if isinstance(error, KeyExpired) else error


def _body(error: GptmockError, request_id: str) -> bytes:
    said: dict[str, Any] = {"type": _type_of(error), "message": error.message or error.code}
    if error.param == "thread":
        # The SDK's tool runner then sends the whole history with every turn.
        said["details"] = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
    return json_bytes({"type": "error", "error": said, "request_id": request_id or None})


def _status_of(error: GptmockError) -> int:
    return OVERLOADED if error.code in _OVERLOADED_CODES else error.status_hint


def _type_of(error: GptmockError) -> str:
    status = _status_of(error)
    return _TYPES.get(status) or ("api_error" if status >= 500 else "invalid_request_error")


def _no_retry(error: GptmockError, status: int) -> dict[str, str]:
    """``x-should-retry: false`` where only a person can help; Claude Code repeats a 401 for minutes without it."""
    waits = (error.retry_after_seconds or 0) > _LONG_WAIT_SECONDS
    if isinstance(error, Unauthorized | ForeignLogin | UnknownModel | CredentialRefused) or (status == 429 and waits):
        return {"x-should-retry": "false"}
    if isinstance(error, AccountError) and status == 503:
        return {"x-should-retry": "false"}
    return {"x-should-retry": "false"} if status in (401, 403, 404) else {}


ERROR_SCHEMA: Mapping[str, Any] = MappingProxyType(
    {
        "type": "object",
        "required": ["type", "error", "request_id"],
        "additionalProperties": False,
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "additionalProperties": False,
                "properties": {
                    "type": {"type": "string", "minLength": 1},
                    "message": {"type": "string", "minLength": 1},
                    "details": {"type": "object"},
                },
            },
            "request_id": {"type": ["string", "null"]},
        },
    }
)
"""The JSON schema of an error body."""
