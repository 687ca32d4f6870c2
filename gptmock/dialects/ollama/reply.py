"""The reply plan of ``/api/chat`` and ``/api/generate``: NDJSON, or one object."""

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
        """See ``ReplyPlan.translator``."""
        return OllamaTranslator(self.options, head)

    def heartbeat(self, head: ReplyHead) -> bytes:
        """A line with an empty text; an empty line would break clients (see ``protocol.ndjson``)."""
        return Lines(self.options.shape, self.options.model, head).text("")

    def document(self, head: ReplyHead, folded: FoldedResponse) -> bytes:
        """See ``ReplyPlan.document``."""
        return document(self.options, head, folded)
