"""The reply plan of images: one upstream turn for each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.images.document import document
from gptmock.dialects.images.stream import ImageTranslator
from gptmock.dialects.images.wire import ImageOptions, reworded
from gptmock.dialects.plans import SseReply
from gptmock.errors import GptmockError
from gptmock.protocol.fold import FoldedResponse, ResponseFold
from gptmock.protocol.request import ResponsesRequest

TURNS_AT_ONCE = 2
"""Images are made at the same time; more would look like a burst, which the backend refuses."""


@dataclass(frozen=True, slots=True)
class ImageReply(SseReply):
    """Images, streamed or whole; a ``SeveralTurnsAtOnce`` and an ``ExplainsFailures``."""

    options: ImageOptions

    @property
    def further(self) -> tuple[ResponsesRequest, ...]:
        """The requests of all images but the first."""
        return self.options.further

    @property
    def turns_at_once(self) -> int:
        """See ``SeveralTurnsAtOnce``."""
        return TURNS_AT_ONCE

    def translator(self, head: ReplyHead) -> ImageTranslator:
        """See ``ReplyPlan.translator``."""
        return ImageTranslator(self.options, head)

    def fold(self) -> ResponseFold:
        """Keeps the events: the usage of the tool is in none of the pieces."""
        return ResponseFold(keep_events=True)

    def document(self, head: ReplyHead, folded: FoldedResponse) -> bytes:
        """The object with one image."""
        return document(self.options, head, [folded])

    def documents(self, head: ReplyHead, answers: Sequence[FoldedResponse]) -> bytes:
        """The object with all images."""
        return document(self.options, head, answers)

    def reworded(self, error: GptmockError) -> GptmockError:
        """See ``ExplainsFailures``."""
        return reworded(error)

    def answer(self, head: ReplyHead, error: GptmockError) -> bytes | None:  # noqa: ARG002 - none is an answer here
        """``None``: every failure is an error."""
        return None
