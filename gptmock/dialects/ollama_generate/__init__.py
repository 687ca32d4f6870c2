"""``POST /api/generate``: Ollama's completion of a single prompt."""

from __future__ import annotations

from gptmock.dialects.dialect import Call, ReadyReply, Terms, Turn
from gptmock.dialects.ollama.base import OllamaDialect
from gptmock.dialects.ollama_generate.request import decode


class OllamaGenerate(OllamaDialect):
    """The ``Dialect`` of ``POST /api/generate``."""

    def decode(self, call: Call, terms: Terms) -> Turn | ReadyReply:
        """See ``Dialect.decode``; a load or unload request needs no turn."""
        return decode(call, terms)
