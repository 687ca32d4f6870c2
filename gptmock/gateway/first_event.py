"""An upstream turn that was accepted, read as far as it takes to see that it works. Must not know who asked for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gptmock.protocol.events import (
    ErrorEvent,
    OtherEvent,
    ResponseCreated,
    ResponseEvent,
    ResponseFailed,
    ResponseInProgress,
    ResponseMetadata,
    ResponseQueued,
)
from gptmock.protocol.failures import failure_of, truncated
from gptmock.protocol.reader import Batch, Received
from gptmock.protocol.upstream import EventStream, OpensLane, TakesBatch


@dataclass(slots=True)
class Opened:
    """An accepted upstream turn and what was read of it."""

    stream: EventStream
    held: Batch = field(default_factory=list)
    """Taken by ``deliver`` before anything else."""
    model: str | None = None
    """What the upstream says it answers with; it may differ from what was asked for."""

    async def deliver(self, take: TakesBatch, lane: OpensLane | None = None) -> bool:
        """See ``EventStream.deliver``; from the first event on."""
        if self.held:
            held, self.held = self.held, []
            if not take(held):
                return False
        return await self.stream.deliver(take, lane)


def is_preamble(event: ResponseEvent) -> bool:
    """Whether an event says nothing yet: after it the upstream may still turn out to be overloaded."""
    if isinstance(event, OtherEvent):
        return event.type.startswith("codex.")
    return isinstance(event, ResponseCreated | ResponseInProgress | ResponseQueued | ResponseMetadata)


async def first_event(opened: Opened) -> None:
    """
    Read until something is said.

    Raises:
        GptmockError: a failure is said first, as if it had been the status; or nothing is.
    """

    def take(batch: Batch) -> bool:
        opened.held += batch
        for one in batch:
            if not isinstance(one, Received):
                return False
            event = one.event
            if isinstance(event, ResponseCreated):
                opened.model = event.response.model
            if isinstance(event, ResponseFailed | ErrorEvent):
                raise failure_of(event)
            if not is_preamble(event):
                return False
        return True

    if await opened.stream.deliver(take):
        raise truncated()
