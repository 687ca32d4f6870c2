"""
``POST /v1/messages``, outward and streamed.

    state      event                      frames                                              next
    new        created, in progress, ...  none: the upstream may still refuse                 new
    new        anything else              message_start                                       open
    open       something shown            content_block_start, _delta, _stop                  open
    open       completed, incomplete      message_delta, message_stop                         ended
    new, open  refused by policy          message_delta with ``refusal``, message_stop        ended
    new, open  failed, error              error                                               ended
    new, open  end of the upstream        error                                               ended
    ended      anything                   none                                                ended

Each event has an ``event:`` line: both SDKs drop events without one. Source: next doors A.5.
"""

from __future__ import annotations

from typing import assert_never

from gptmock.dialects.copying import Around, CopyingTranslator, Encode
from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.messages.blocks import Blocks
from gptmock.dialects.messages.errors import error_frame
from gptmock.dialects.messages.shown import (
    BlockClosed,
    BlockOpened,
    CitationDelta,
    InputDelta,
    Shown,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
)
from gptmock.dialects.messages.too_long import reworded
from gptmock.dialects.messages.wire import Ending, MessagesOptions, ending_of, message, usage_members
from gptmock.errors import GptmockError
from gptmock.protocol.events import (
    OtherEvent,
    ResponseCreated,
    ResponseEvent,
    ResponseInProgress,
    ResponseMetadata,
    ResponseQueued,
)
from gptmock.protocol.failures import truncated

_PREAMBLE = ResponseCreated | ResponseInProgress | ResponseQueued | ResponseMetadata | OtherEvent


class MessagesTranslator(CopyingTranslator[TextDelta | ThinkingDelta | InputDelta, Shown]):
    """One streamed message."""

    __slots__ = ("_blocks", "_head", "_index", "_options", "_started")

    def __init__(self, options: MessagesOptions, head: ReplyHead) -> None:
        self._options = options
        self._head = head
        self._blocks = Blocks(options, head.id, lambda: head.progress.account_id)
        self._index = -1
        """Of the block that was opened last."""
        self._started = False
        super().__init__(self._blocks)

    def finish(self, cause: GptmockError | None = None) -> list[bytes]:
        """One error event, or the ending that the cause amounts to, unless the reply has ended."""
        if self._ended:
            return []
        ending = None if cause is None else ending_of(cause, has_content=self._blocks.has_content)
        if ending is not None:
            shown = [*self._blocks.close(), ending]
            return [*self._message_start(), *(frame for one in shown for frame in self._frames(one))]
        return super().finish(reworded(cause or truncated(), self._options))

    # --- Events -----------------------------------------------------------------

    def _error_frame(self, failure: GptmockError, /) -> bytes:
        return error_frame(failure, request_id=self._head.request_id)

    def _opening(self, event: ResponseEvent, /) -> list[bytes]:
        return [] if isinstance(event, _PREAMBLE) else self._message_start()

    def _message_start(self) -> list[bytes]:
        if self._started:
            return []
        self._started = True
        members = {"stop_reason": None, "stop_sequence": None}
        begun = message(self._head.id, self._options.model, [], members, usage_members(None))
        return [_frame(b"message_start", b'"message":' + begun)]

    def _frames(self, shown: Shown, /) -> list[bytes]:
        match shown:
            case TextDelta(text=text):
                return [self._delta(b'"type":"text_delta","text":' + json_bytes(text))]
            case BlockOpened(block=block):
                self._index += 1
                return [
                    _frame(b"content_block_start", b'"index":%d,"content_block":%b' % (self._index, json_bytes(block)))
                ]
            case ThinkingDelta(text=text):
                return [self._delta(b'"type":"thinking_delta","thinking":' + json_bytes(text))]
            case SignatureDelta(signature=signature):
                return [self._delta(b'"type":"signature_delta","signature":' + json_bytes(signature))]
            case InputDelta(text=text):
                return [self._delta(b'"type":"input_json_delta","partial_json":' + json_bytes(text))]
            case CitationDelta(citation=citation):
                return [self._delta(b'"type":"citations_delta","citation":' + json_bytes(citation))]
            case BlockClosed():
                return [_frame(b"content_block_stop", b'"index":%d' % self._index)]
            case Ending():
                return self._ending(shown)
            case _:
                assert_never(shown)

    def _encoder(self, shown: TextDelta | ThinkingDelta | InputDelta, /) -> Encode:
        (frame,) = self._frames(shown)
        return Around(frame)

    def _delta(self, members: bytes) -> bytes:
        return _frame(b"content_block_delta", b'"index":%d,"delta":{%b}' % (self._index, members))

    def _ending(self, end: Ending) -> list[bytes]:
        self._ended = True
        usage = usage_members(end.usage, searches=end.searches)
        said = b'"delta":%b,"usage":%b' % (json_bytes(end.members()), json_bytes(usage))
        return [_frame(b"message_delta", said), b'event: message_stop\ndata: {"type":"message_stop"}\n\n']


def _frame(kind: bytes, members: bytes) -> bytes:
    return b'event: %b\ndata: {"type":"%b",%b}\n\n' % (kind, kind, members)
