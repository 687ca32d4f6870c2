"""``POST /v1/messages``: the Anthropic Messages dialect."""

from __future__ import annotations

from gptmock.dialects.dialect import Call, ErrorReply, Terms, Turn
from gptmock.dialects.messages.errors import error_reply
from gptmock.dialects.messages.request import decode
from gptmock.errors import GptmockError


class Messages:
    """The ``Dialect`` of ``POST /v1/messages``."""

    content_type = "text/event-stream; charset=utf-8"

    def decode(self, call: Call, terms: Terms) -> Turn:
        """See ``Dialect.decode``."""
        return decode(call, terms)

    def error(self, error: GptmockError) -> ErrorReply:
        """Anthropic's error envelope."""
        return error_reply(error)
