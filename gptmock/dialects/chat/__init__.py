"""``POST /v1/chat/completions``: the OpenAI Chat Completions dialect."""

from __future__ import annotations

from gptmock.dialects.chat.request import decode
from gptmock.dialects.dialect import Call, ErrorReply, Terms, Turn
from gptmock.dialects.openai_errors import error_reply
from gptmock.errors import GptmockError


class ChatCompletions:
    """The ``Dialect`` of ``POST /v1/chat/completions``."""

    content_type = "text/event-stream; charset=utf-8"

    def decode(self, call: Call, terms: Terms) -> Turn:
        """See ``Dialect.decode``."""
        return decode(call, terms)

    def error(self, error: GptmockError) -> ErrorReply:
        """The OpenAI error envelope."""
        return error_reply(error)
