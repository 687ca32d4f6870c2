"""What both Ollama dialects share besides ``decode``: lines out, strings for errors."""

from __future__ import annotations

from gptmock.dialects.dialect import ErrorReply
from gptmock.dialects.ollama_errors import error_reply
from gptmock.errors import GptmockError
from gptmock.protocol.ndjson import NDJSON


class OllamaDialect:
    """All of a ``Dialect`` but ``decode``."""

    content_type = NDJSON

    def error(self, error: GptmockError) -> ErrorReply:
        """One string."""
        return error_reply(error)
