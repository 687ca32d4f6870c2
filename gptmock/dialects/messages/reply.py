"""The reply plan of ``POST /v1/messages``."""

from __future__ import annotations

from dataclasses import dataclass

from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.messages.document import document, rendered
from gptmock.dialects.messages.stream import MessagesTranslator
from gptmock.dialects.messages.too_long import reworded
from gptmock.dialects.messages.wire import MessagesOptions, ending_of
from gptmock.dialects.plans import PlainFold
from gptmock.errors import GptmockError
from gptmock.protocol.fold import FoldedResponse

PING = b'event: ping\ndata: {"type":"ping"}\n\n'


@dataclass(frozen=True, slots=True)
class MessagesReply(PlainFold):
    """A message, streamed or whole; an ``ExplainsFailures``."""

    options: MessagesOptions

    def translator(self, head: ReplyHead) -> MessagesTranslator:
        """See ``ReplyPlan.translator``."""
        return MessagesTranslator(self.options, head)

    def heartbeat(self, head: ReplyHead) -> bytes:  # noqa: ARG002 - the same for every reply
        """A ``ping`` event."""
        return PING

    def document(self, head: ReplyHead, folded: FoldedResponse) -> bytes:
        """The ``message`` object."""
        return document(self.options, head, folded)

    def reworded(self, error: GptmockError) -> GptmockError:
        """A prompt that is too long, in the words by which clients know it."""
        return reworded(error, self.options)

    def answer(self, head: ReplyHead, error: GptmockError) -> bytes | None:
        """A refusal by policy is a message, not an error: a client would send the same request again."""
        ending = ending_of(error, has_content=False)
        if ending is None:
            return None
        if self.options.stream:
            return b"".join(MessagesTranslator(self.options, head).finish(error))
        return rendered(self.options, head, [ending])
