"""``POST /v1/responses``: the OpenAI Responses dialect, which is the upstream's own language made regular."""

from __future__ import annotations

from gptmock.conversations import Wanted
from gptmock.dialects.dialect import Call, ErrorReply, Terms, Turn
from gptmock.dialects.openai_errors import error_reply
from gptmock.dialects.responses.previous_response import wanted_of
from gptmock.dialects.responses.request import decode
from gptmock.errors import GptmockError


class Responses:
    """The dialect as the table has it."""

    content_type = "text/event-stream; charset=utf-8"

    def wanted(self, call: Call) -> Wanted:
        """``previous_response_id``, and items by reference."""
        return wanted_of(call.body)

    def decode(self, call: Call, terms: Terms) -> Turn:
        """A body to a turn."""
        return decode(call, terms)

    def error(self, error: GptmockError) -> ErrorReply:
        """The OpenAI family's envelope."""
        return error_reply(error)
