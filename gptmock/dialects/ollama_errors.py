"""
Errors as the Ollama family has them: one string, for bodies and for lines in a stream.

Source: client contracts 4.3 and 4.6; ollama/ollama ``api/client.go``, which reads ``error`` and nothing else.
"""

from __future__ import annotations

from gptmock.dialects.dialect import ErrorReply
from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.openai_errors import retry_headers
from gptmock.errors import GptmockError, Unauthorized


def error_body(error: GptmockError) -> bytes:
    """``{"error": "what happened"}``."""
    # Ollama's own word; its clients compare it.
    return json_bytes({"error": "unauthorized" if isinstance(error, Unauthorized) else error.message})


def error_reply(error: GptmockError) -> ErrorReply:
    """The error as an HTTP answer, with the same status and retry headers as in every family."""
    return ErrorReply(error.status_hint, error_body(error), retry_headers(error))
