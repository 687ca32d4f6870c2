"""``POST /v1/completions``: the OpenAI text completions dialect, for clients older than chat."""

from __future__ import annotations

from gptmock.dialects.completions.document import document
from gptmock.dialects.completions.request import decode
from gptmock.dialects.completions.stream import CompletionTranslator
from gptmock.dialects.dialect import Call, ErrorReply, ReplyHead, Terms, Translator, Turn
from gptmock.dialects.openai_errors import error_reply
from gptmock.errors import GptmockError
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.sse import SSE_HEARTBEAT


class TextCompletions:
    """The dialect as the table has it."""

    content_type = "text/event-stream; charset=utf-8"

    def decode(self, call: Call, terms: Terms) -> Turn:
        """A body to a turn, which has a request for each prompt."""
        return decode(call, terms)

    def translator(self, turn: Turn, head: ReplyHead) -> Translator:
        """The machine of a streamed reply."""
        return CompletionTranslator(turn, head)

    def heartbeat(self, turn: Turn, head: ReplyHead) -> bytes:  # noqa: ARG002 - a comment is the same for all turns
        """A comment."""
        return SSE_HEARTBEAT

    def document(self, turn: Turn, head: ReplyHead, folded: FoldedResponse) -> bytes:
        """The whole reply."""
        return document(turn, head, folded)

    def error(self, error: GptmockError) -> ErrorReply:
        """The OpenAI family's envelope."""
        return error_reply(error)
