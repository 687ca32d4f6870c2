"""An upstream turn that was accepted, read as far as it takes to see that it works. Must not know who asked for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
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
from gptmock.protocol.reader import Received


@dataclass(slots=True)
class Opened:
    """An accepted upstream turn and what was read of it."""

    batches: AsyncIterator[list[Received]]
    held: list[Received] = field(default_factory=list)

    async def rest(self) -> AsyncIterator[list[Received]]:
        """Everything, from the first event on."""
        yield self.held
        async for batch in self.batches:
            yield batch


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
    while (batch := await anext(opened.batches, None)) is not None:
        opened.held += batch
        for received in batch:
            event = received.event
            if isinstance(event, ResponseFailed | ErrorEvent):
                raise failure_of(event)
            if not is_preamble(event):
                return
    raise truncated()
