"""What reply plans have in common. Knows no dialect."""

from __future__ import annotations

from gptmock.dialects.dialect import ReplyHead
from gptmock.protocol.fold import ResponseFold
from gptmock.protocol.sse import SSE_HEARTBEAT


class PlainFold:
    """A reply plan that needs the output of a turn and not its events."""

    __slots__ = ()

    def fold(self) -> ResponseFold:
        """Collects output parts."""
        return ResponseFold()


class SseReply(PlainFold):
    """A reply plan of a dialect that streams Server-Sent Events."""

    __slots__ = ()

    def heartbeat(self, head: ReplyHead) -> bytes:  # noqa: ARG002 - the same for every reply
        """A comment."""
        return SSE_HEARTBEAT
