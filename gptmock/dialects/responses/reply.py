"""The reply plan of ``POST /v1/responses``: a stream of normalised events, or the final Response object."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.plans import SseReply
from gptmock.dialects.responses.document import document
from gptmock.dialects.responses.response_object import ResponsesOptions
from gptmock.dialects.responses.stream import ResponsesTranslator
from gptmock.protocol.fold import FoldedResponse, ResponseFold

CODEX_KEEPALIVE = b'event: codex.keepalive\ndata: {"type":"codex.keepalive"}\n\n'


@dataclass(frozen=True, slots=True)
class ResponsesReply(SseReply):
    """A Response, streamed or whole; a ``SaysWhetherStored`` and a ``KeepsAlive``."""

    options: ResponsesOptions

    def translator(self, head: ReplyHead) -> ResponsesTranslator:
        """See ``ReplyPlan.translator``."""
        return ResponsesTranslator(self.options, head)

    def keepalive(self) -> bytes | None:
        """An event that Codex ignores: SSE comments do not reset its idle timeout. ``None`` for other clients."""
        return CODEX_KEEPALIVE if self.options.codex else None

    def fold(self) -> ResponseFold:
        """Keeps the events: the document repeats the upstream's items, unknown members included."""
        return ResponseFold(keep_events=True)

    def document(self, head: ReplyHead, folded: FoldedResponse) -> bytes:
        """The Response object."""
        return document(self.options, head, folded)

    def not_stored(self) -> ResponsesReply:
        """The same reply with ``store: false``."""
        return ResponsesReply(replace(self.options, stored=False))
