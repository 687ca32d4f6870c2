"""``POST /v1/images/generations`` and ``POST /v1/images/edits``: OpenAI's images dialect."""

from __future__ import annotations

from gptmock.dialects.dialect import Call, ErrorReply, Terms, Turn
from gptmock.dialects.images.request import decode_edit, decode_generation
from gptmock.dialects.openai_errors import error_reply
from gptmock.errors import GptmockError


class Images:
    """
    The ``Dialect`` of either route.

    Args:
        edits: of ``/v1/images/edits``.
    """

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, *, edits: bool) -> None:
        self._edits = edits

    def decode(self, call: Call, terms: Terms) -> Turn:
        """See ``Dialect.decode``; each further image is a request in ``SeveralTurns.further``."""
        return decode_edit(call, terms) if self._edits else decode_generation(call, terms)

    def error(self, error: GptmockError) -> ErrorReply:
        """The OpenAI error envelope."""
        return error_reply(error)
