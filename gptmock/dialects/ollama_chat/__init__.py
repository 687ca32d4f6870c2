"""``POST /api/chat``: Ollama's conversation."""

from __future__ import annotations

from gptmock.dialects.dialect import Call, ReadyReply, Terms, Turn
from gptmock.dialects.ollama.base import OllamaDialect
from gptmock.dialects.ollama_chat.request import decode


class OllamaChat(OllamaDialect):
    """The dialect as the table has it."""

    def decode(self, call: Call, terms: Terms) -> Turn | ReadyReply:
        """A body to a turn, or to the answer of a load request."""
        return decode(call, terms)
