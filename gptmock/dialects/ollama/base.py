"""Base class of the two Ollama dialects: NDJSON replies and Ollama's error format."""

from __future__ import annotations

from gptmock.dialects.dialect import ErrorReply
from gptmock.dialects.ollama_errors import error_reply
from gptmock.errors import GptmockError
from gptmock.protocol.ndjson import NDJSON


class OllamaDialect:
    """A ``Dialect`` without ``decode``."""

    content_type = NDJSON

    def error(self, error: GptmockError) -> ErrorReply:
        """``{"error": "message"}``."""
        return error_reply(error)
