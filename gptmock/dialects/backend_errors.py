"""Renders errors in the format of the ChatGPT backend, ``{"detail": "message"}``. Source: next doors D.3."""

from __future__ import annotations

from gptmock.dialects.dialect import ErrorReply
from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.openai_errors import retry_headers
from gptmock.errors import GptmockError


def error_reply(error: GptmockError) -> ErrorReply:
    """The error as an HTTP response."""
    return ErrorReply(error.status_hint, json_bytes({"detail": error.message or error.code}), retry_headers(error))
