"""``POST /api/chat``: Ollama's chat completion."""

from __future__ import annotations

from gptmock.dialects.dialect import Call, ReadyReply, Terms, Turn
from gptmock.dialects.ollama.base import OllamaDialect
from gptmock.dialects.ollama_chat.request import decode


class OllamaChat(OllamaDialect):
    """The ``Dialect`` of ``POST /api/chat``."""

    def decode(self, call: Call, terms: Terms) -> Turn | ReadyReply:
        """See ``Dialect.decode``; a load or unload request needs no turn."""
        return decode(call, terms)
