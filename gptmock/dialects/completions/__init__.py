"""``POST /v1/completions``: the OpenAI text completions dialect, for clients older than chat."""

from __future__ import annotations

from gptmock.dialects.completions.request import decode
from gptmock.dialects.dialect import Call, ErrorReply, Terms, Turn
from gptmock.dialects.openai_errors import error_reply
from gptmock.errors import GptmockError


class TextCompletions:
    """The ``Dialect`` of ``POST /v1/completions``."""

    content_type = "text/event-stream; charset=utf-8"

    def decode(self, call: Call, terms: Terms) -> Turn:
        """See ``Dialect.decode``; each further prompt is a request in ``SeveralTurns.further``."""
        return decode(call, terms)

    def error(self, error: GptmockError) -> ErrorReply:
        """The OpenAI error envelope."""
        return error_reply(error)
