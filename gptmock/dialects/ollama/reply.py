"""The reply plan of ``/api/chat`` and ``/api/generate``: lines of JSON, or one object."""

from __future__ import annotations

from dataclasses import dataclass

from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.ollama.document import document
from gptmock.dialects.ollama.line_encoder import Lines
from gptmock.dialects.ollama.reply_content import OllamaOptions
from gptmock.dialects.ollama.stream import OllamaTranslator
from gptmock.dialects.plans import PlainFold
from gptmock.protocol.fold import FoldedResponse


@dataclass(frozen=True, slots=True)
class OllamaReply(PlainFold):
    """An answer of either route, streamed or whole."""

    options: OllamaOptions

    def translator(self, head: ReplyHead) -> OllamaTranslator:
        """The machine of a streamed reply."""
        return OllamaTranslator(self.options, head)

    def heartbeat(self, head: ReplyHead) -> bytes:
        """A line with no text: an empty line would break every client."""
        return Lines(self.options.shape, self.options.model, head).text("")

    def document(self, head: ReplyHead, folded: FoldedResponse) -> bytes:
        """The one object of ``stream: false``."""
        return document(self.options, head, folded)
