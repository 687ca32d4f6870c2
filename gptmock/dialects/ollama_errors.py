"""
Renders errors in Ollama's format, ``{"error": "message"}``, as response bodies and as lines of a stream.

Source: client contracts 4.3 and 4.6; ollama/ollama ``api/client.go``, which reads ``error`` and nothing else.
"""

from __future__ import annotations

from gptmock.dialects.dialect import ErrorReply
from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.listings import shown_name
from gptmock.dialects.openai_errors import retry_headers
from gptmock.errors import GptmockError, Unauthorized, UnknownModel
from gptmock.protocol.ndjson import ndjson_line


def error_body(error: GptmockError) -> bytes:
    """``{"error": "message"}``."""
    return json_bytes({"error": _text(error)})


def error_line(error: GptmockError) -> bytes:
    """The error as the last line of a stream."""
    return ndjson_line(error_body(error))


def _text(error: GptmockError) -> str:
    # Clients compare these messages with Ollama's.
    if isinstance(error, Unauthorized):
        return "unauthorized"
    if isinstance(error, UnknownModel) and error.model is not None:
        return f"model '{shown_name(error.model)}' not found: {error.message}"
    return error.message or error.code


def error_reply(error: GptmockError) -> ErrorReply:
    """The error as an HTTP response, with the same status and retry headers as for OpenAI clients."""
    return ErrorReply(error.status_hint, error_body(error), retry_headers(error))
