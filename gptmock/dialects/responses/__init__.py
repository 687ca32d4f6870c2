"""``POST /v1/responses``: the OpenAI Responses dialect; upstream events are normalised and forwarded."""

from __future__ import annotations

from gptmock.conversations import ContextReferences
from gptmock.dialects.dialect import Call, ErrorReply, Terms, Turn
from gptmock.dialects.openai_errors import error_reply
from gptmock.dialects.responses.previous_response import context_references
from gptmock.dialects.responses.request import decode
from gptmock.errors import GptmockError


class Responses:
    """The ``Dialect`` of ``POST /v1/responses``; it ``UsesStoredContext``."""

    content_type = "text/event-stream; charset=utf-8"

    def context_references(self, call: Call) -> ContextReferences:
        """``previous_response_id`` and ``item_reference`` items of the body."""
        return context_references(call.body)

    def decode(self, call: Call, terms: Terms) -> Turn:
        """See ``Dialect.decode``."""
        return decode(call, terms)

    def error(self, error: GptmockError) -> ErrorReply:
        """The OpenAI error envelope."""
        return error_reply(error)
