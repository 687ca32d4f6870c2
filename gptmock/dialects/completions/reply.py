"""The reply plan of ``POST /v1/completions``: one choice and one upstream turn per prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gptmock.dialects.completions.document import document
from gptmock.dialects.completions.stream import CompletionTranslator
from gptmock.dialects.completions.wire import CompletionOptions
from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.plans import SseReply
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.request import ResponsesRequest


@dataclass(frozen=True, slots=True)
class CompletionReply(SseReply):
    """A text completion, streamed or whole; a ``SeveralTurns``."""

    options: CompletionOptions

    @property
    def further(self) -> tuple[ResponsesRequest, ...]:
        """The requests of all prompts but the first."""
        return self.options.further

    def translator(self, head: ReplyHead) -> CompletionTranslator:
        """See ``ReplyPlan.translator``."""
        return CompletionTranslator(self.options, head)

    def document(self, head: ReplyHead, folded: FoldedResponse) -> bytes:
        """The ``text_completion`` object of one prompt."""
        return document(self.options, head, [folded])

    def documents(self, head: ReplyHead, answers: Sequence[FoldedResponse]) -> bytes:
        """The ``text_completion`` object of all prompts."""
        return document(self.options, head, answers)
