"""What is the same at both routes: lines out, strings for errors. The shape of a line is the route's own."""

from __future__ import annotations

from typing import ClassVar

from gptmock.dialects.dialect import ErrorReply, ReplyHead, Translator, Turn
from gptmock.dialects.ollama.document import document
from gptmock.dialects.ollama.line_encoder import Lines, Shape
from gptmock.dialects.ollama.stream import OllamaTranslator
from gptmock.dialects.ollama_errors import error_reply
from gptmock.errors import GptmockError
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.ndjson import NDJSON


class OllamaDialect:
    """All of a ``Dialect`` but ``decode``."""

    content_type = NDJSON
    shape: ClassVar[Shape]

    def translator(self, turn: Turn, head: ReplyHead) -> Translator:
        """The machine of a streamed reply."""
        return OllamaTranslator(self.shape, turn, head)

    def heartbeat(self, turn: Turn, head: ReplyHead) -> bytes:
        """A line that says nothing: an empty one would break every client."""
        return Lines(self.shape, turn.model, head).text("")

    def document(self, turn: Turn, head: ReplyHead, folded: FoldedResponse) -> bytes:
        """The whole reply."""
        return document(self.shape, turn, head, folded)

    def error(self, error: GptmockError) -> ErrorReply:
        """One string."""
        return error_reply(error)
