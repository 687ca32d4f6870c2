"""The reply plan of ``POST /v1/chat/completions``."""

from __future__ import annotations

from dataclasses import dataclass

from gptmock.dialects.chat.document import document
from gptmock.dialects.chat.stream import ChatTranslator
from gptmock.dialects.chat.wire import ChatOptions
from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.plans import SseReply
from gptmock.protocol.fold import FoldedResponse


@dataclass(frozen=True, slots=True)
class ChatReply(SseReply):
    """A chat completion, streamed or whole."""

    options: ChatOptions

    def translator(self, head: ReplyHead) -> ChatTranslator:
        """See ``ReplyPlan.translator``."""
        return ChatTranslator(self.options, head)

    def document(self, head: ReplyHead, folded: FoldedResponse) -> bytes:
        """The ``chat.completion`` object."""
        return document(self.options, head, folded)
