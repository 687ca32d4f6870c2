"""Base classes of reply plans. Knows no dialect."""

from __future__ import annotations

from gptmock.dialects.dialect import ReplyHead
from gptmock.protocol.fold import ResponseFold
from gptmock.protocol.sse import SSE_HEARTBEAT


class PlainFold:
    """A reply plan whose document is made of output parts and needs no raw events."""

    __slots__ = ()

    def fold(self) -> ResponseFold:
        """See ``ReplyPlan.fold``."""
        return ResponseFold()


class SseReply(PlainFold):
    """A reply plan of a dialect that streams Server-Sent Events."""

    __slots__ = ()

    def heartbeat(self, head: ReplyHead) -> bytes:  # noqa: ARG002 - the same for every reply
        """An SSE comment."""
        return SSE_HEARTBEAT
