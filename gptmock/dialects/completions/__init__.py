"""``POST /v1/completions``: the OpenAI text completions dialect, for clients older than chat."""

from __future__ import annotations

from gptmock.dialects.completions.request import decode
from gptmock.dialects.dialect import Call, ErrorReply, Terms, Turn
from gptmock.dialects.openai_errors import error_reply
from gptmock.errors import GptmockError


class TextCompletions:
    """The dialect as the table has it."""

    content_type = "text/event-stream; charset=utf-8"

    def decode(self, call: Call, terms: Terms) -> Turn:
        """A body to a turn, whose reply plan has a request for each further prompt."""
        return decode(call, terms)

    def error(self, error: GptmockError) -> ErrorReply:
        """The OpenAI family's envelope."""
        return error_reply(error)
