"""
A reply under way: the events of an accepted turn, told in a dialect, streamed or whole. Must not know how the turn was
accepted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Protocol, TypeAlias

from gptmock.conversations import PendingSnapshot
from gptmock.dialects.copying import batch_translator, lane_of
from gptmock.dialects.dialect import (
    Fold,
    Progress,
    ReplyHead,
    SaysWhetherStored,
    Translator,
    Turn,
    WithholdsItsEnd,
    supports,
)
from gptmock.errors import GptmockError, InternalError
from gptmock.gateway.first_event import Opened
from gptmock.gateway.stored_responses import ConversationKeeper
from gptmock.interruption import Interrupted, Interruption
from gptmock.limits import RateLimitSnapshot
from gptmock.live import UpstreamTry
from gptmock.protocol.delta_runs import DeltaPlace, DeltaRun
from gptmock.protocol.events import ErrorEvent, ResponseCompleted, ResponseFailed, ResponseIncomplete
from gptmock.protocol.failures import failure_of
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.items import ResponseObject, ResponseUsage, total_usage
from gptmock.protocol.reader import Batch, Received, joined
from gptmock.protocol.upstream import TakesDelta

log = logging.getLogger("gptmock.turn")

MAX_TRIES = 3
"""The first one, and two more before anything has come."""

_TERMINAL = ResponseCompleted | ResponseIncomplete | ResponseFailed | ErrorEvent


async def _admitted() -> None:
    """The call needs no admission."""


@dataclass(slots=True)
class Outcome:
    """How a turn went, for the log; filled in while it goes."""

    tenant: str = ""
    """Whose call it is; filled in by whoever admitted it."""
    tries: int = 0
    account_id: str | None = None
    """Who served, or was tried last."""
    accepted: bool = False
    opened: bool = False
    """The upstream has begun to answer the last try."""
    output_bytes: int = 0
    """Of the deltas that have come, if ``counts_output``."""
    counts_output: bool = False
    """Somebody wants to know what came, should the usage not come any more."""
    committed: bool = False
    """The client has its status: nothing is tried again."""
    response: ResponseObject | None = None
    error: GptmockError | None = None
    limits: RateLimitSnapshot | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the upstream's answer, those that a Codex client reads."""
    pooled: bool = False
    """Other accounts could have served."""
    reasoning_dropped: bool = False
    """The thinking of earlier turns was not this account's, and was left out."""
    stored: bool | None = None
    """Whether the response is stored; ``None`` when it was not to be."""
    progress: Progress = field(default_factory=Progress)
    """The reply's own, which tells durations."""
    further: list[Outcome] = field(default_factory=list)
    """Of the further requests of a call that has several."""
    traced: list[UpstreamTry] | None = None
    """Each request to the upstream, of all turns; ``None`` if nobody wants to know."""
    admitted: Callable[[], Awaitable[None]] = _admitted
    """Waits until the limits of the client key have admitted the call; filled in by whoever began that."""
    reworded: Callable[[GptmockError], Awaitable[GptmockError]] | None = None
    """Finds the words for a failure without blocking; filled in by whoever knows how. ``None``: it has them."""
    turns: int = 1
    """How many upstream turns the call takes, if all of them go well."""
    turns_at_once: int | None = None
    """How many of them the limits of the client key let run at the same time; ``None`` for any number."""

    def sent_again(self) -> None:
        """The upstream client sends the turn once more, within one try of the gateway."""
        self.tries += 1

    @property
    def tokens(self) -> int:
        """The tokens of all turns that have said their usage, in and out."""
        responses = [one.response for one in (self, *self.further)]
        usages = [spent for response in responses if response is not None and (spent := response.spent) is not None]
        return sum(usage.input_tokens + usage.output_tokens for usage in usages)

    @property
    def usage(self) -> ResponseUsage | None:
        """What the call cost, all of its turns together; ``None`` unless all have said it."""
        outcomes = (self, *self.further)
        return total_usage([one.response.spent if one.response is not None else None for one in outcomes])

    @property
    def over(self) -> bool:
        """Whether the last event of the whole call has been read."""
        outcomes = (self, *self.further)
        last = outcomes[-1]
        return last.error is not None or (last.response is not None and len(outcomes) == self.turns)

    @property
    def spent(self) -> bool:
        """Whether the turn must not be sent once more."""
        return self.committed or self.tries >= MAX_TRIES


class FrameSink(Protocol):
    """Where the frames of a streamed reply go: a client's connection."""

    def write(self, frames: bytes, /) -> bool:
        """Hand frames to the transport. ``False``: the client has to read before there is more."""

    async def ready(self) -> None:
        """Wait until ``write`` may be called: at first until the head of the response has gone."""

    async def end(self, frames: bytes, /) -> None:
        """Send the last frames and the end of the response."""


class EventConsumer(Protocol):
    """Who takes the events of a call."""

    def take(self, batch: Batch, /) -> bool:
        """Take a batch. ``False``: no more before ``ready`` has returned."""

    def lane(self, place: DeltaPlace, /) -> TakesDelta | None:
        """See ``protocol.upstream.OpensLane``."""

    async def ready(self) -> None:
        """Wait until more can be taken."""


Drive: TypeAlias = Callable[[EventConsumer], Awaitable[None]]
"""Hands all events of a call to a consumer."""


class Reply:
    """An answer under way. Use one of ``stream`` and ``document``, once, inside the gateway's context."""

    def __init__(
        self,
        turn: Turn,
        head: ReplyHead,
        accepting: asyncio.Task[Opened],
        outcome: Outcome,
        *,
        conversations: ConversationKeeper,
    ) -> None:
        self._turn = turn
        self._head = head
        self._accepting = accepting
        self._conversations = conversations
        self.outcome = outcome
        self._interruption = Interruption()
        """While a stream is under way."""
        self._cut_by: GptmockError | None = None

    @property
    def model(self) -> str | None:
        """What the upstream says it answers with, if it has said so; it may differ from what was asked for."""
        return self._accepting.result().model if self._accepting.done() else None

    async def stream(self, sink: FrameSink, drive: Drive | None = None) -> None:
        """
        The streamed reply, one block for each read; raises nothing of ours, but ends with the dialect's farewell.

        Args:
            sink: the client.
            drive: gives the events of the whole call, where this reply is only its beginning
                (``gateway.several_turns``).
        """
        streamed = _StreamedReply(self._turn.reply.translator(self._head), self.outcome, sink, self._ending)
        cause: GptmockError | None = None
        try:
            with self._interruption:
                await (drive or self.drive)(streamed)
        except GptmockError as error:
            cause = error
        except Interrupted:
            cause = self._cut_by
        except Exception:
            log.exception("turn.broken")
            cause = InternalError("An internal error ended this answer.")
        await streamed.finish(cause)

    def cut(self, error: GptmockError) -> None:
        """End a stream now, with the dialect's farewell for this error; nothing happens if it has ended."""
        if self._interruption.interrupt():
            self._cut_by = error

    async def document(self) -> bytes:
        """
        The whole reply.

        Raises:
            GptmockError: the turn failed; half an answer is never given.
        """
        folded = await self.folded()
        plan, pending = self._turn.reply, self._turn.pending_snapshot
        body = plan.document(self._head, folded)
        if pending is None or not supports(plan, SaysWhetherStored) or await self._remember(pending, body):
            return body
        return plan.not_stored().document(self._head, folded)

    async def folded(self) -> FoldedResponse:
        """
        The whole turn, for whoever renders it.

        Raises:
            GptmockError: the turn failed.
        """
        collected = _CollectedReply(self._turn.reply.fold())
        await self.drive(collected)
        return collected.fold.finish()

    async def drive(self, consumer: EventConsumer) -> None:
        """
        Hand over all events up to the terminal one; nothing else reads the upstream.

        Raises:
            GptmockError: the upstream failed, or the turn was not accepted.
        """
        ended = False

        def take(batch: Batch) -> bool:
            nonlocal ended
            ended = self._watch(batch)
            go_on = consumer.take(batch)
            return go_on and not ended

        opened = await self._accepting
        await consumer.ready()
        # No terminal event comes through the lane, so nothing of it has to be watched.
        while not await opened.deliver(take, consumer.lane) and not ended:
            await consumer.ready()

    async def _ending(self, translator: Translator) -> bytes:
        """What the translator says when it knows whether the response is stored; nothing before its end."""
        pending = self._turn.pending_snapshot
        if pending is None or not supports(translator, WithholdsItsEnd) or (answer := translator.answer) is None:
            return b""
        return b"".join(translator.settle(stored=await self._remember(pending, answer)))

    async def _remember(self, pending: PendingSnapshot, response: bytes) -> bool:
        snapshot = pending.snapshot(response, account_id=self.outcome.account_id or "")
        stored = self.outcome.stored = await self._conversations.remember(pending.tenant, snapshot)
        return stored

    def _watch(self, batch: Batch) -> bool:
        for one in batch:
            if self.outcome.counts_output:
                self.outcome.output_bytes += _delta_bytes(one)
            if isinstance(one, Received) and isinstance(one.event, _TERMINAL):
                event = one.event
                if isinstance(event, ResponseFailed | ErrorEvent):
                    self.outcome.error = failure_of(event)
                else:
                    self.outcome.response = event.response
                return True
        return False


def _is_no_failure(one: Received | DeltaRun) -> bool:
    return not (isinstance(one, Received) and isinstance(one.event, ResponseFailed | ErrorEvent))


def _delta_bytes(one: Received | DeltaRun) -> int:
    if isinstance(one, DeltaRun):
        return sum(map(len, one.literals))
    delta = getattr(one.event, "delta", None)
    return len(delta.encode("utf-8", "surrogatepass")) if isinstance(delta, str) else 0


class _StreamedReply:
    """
    Translates the events of a call and writes their frames (``EventConsumer``).

    Args:
        translator: of the reply.
        outcome: says when the call is over.
        sink: the client.
        ending: what a translator says that withholds its end.
    """

    def __init__(
        self,
        translator: Translator,
        outcome: Outcome,
        sink: FrameSink,
        ending: Callable[[Translator], Awaitable[bytes]],
    ) -> None:
        self._translator = translator
        self._translate = batch_translator(translator)
        self._lane = lane_of(translator)
        self._outcome = outcome
        self._sink = sink
        self._ending = ending
        self._failed: GptmockError | None = None
        """What the turn failed with, if the translator is not told before ``finish`` has the words for it."""
        self._last = b""
        """Frames that may be the last ones, which ``finish`` writes."""

    def take(self, batch: Batch) -> bool:
        if self._outcome.error is not None and self._outcome.reworded is not None:
            self._failed = self._outcome.error
            batch = list(takewhile(_is_no_failure, batch))
        frames = self._translate(batch)
        if self._outcome.over:
            # Whether anything follows is known only when the events have ended, as they do now.
            self._last = frames
            return False
        return not frames or self._sink.write(frames)

    def lane(self, place: DeltaPlace) -> TakesDelta | None:
        copy, write = self._lane(place), self._sink.write
        if copy is None:
            return None
        outcome = self._outcome

        def take_counted(literal: bytes, padding: bytes) -> bool:
            outcome.output_bytes += len(literal)
            return take(literal, padding)

        def take(literal: bytes, padding: bytes) -> bool:
            frames = copy(literal, padding)
            return not frames or write(frames)

        return take_counted if outcome.counts_output else take

    async def ready(self) -> None:
        await self._sink.ready()

    async def finish(self, cause: GptmockError | None) -> None:
        """The events have ended: write what is left to say."""
        translator, outcome = self._translator, self._outcome
        last = self._last
        cause = cause or self._failed
        try:
            if cause is not None:
                cause = await outcome.reworded(cause) if outcome.reworded is not None else cause
            elif supports(translator, WithholdsItsEnd) and translator.answer is not None:
                # What came before does not wait for the store.
                written, last = last, b""
                if written and not self._sink.write(written):
                    await self._sink.ready()
                last = await self._ending(self._translator)
        except GptmockError as error:
            cause = error
        except Exception:
            log.exception("turn.broken")
            cause = InternalError("An internal error ended this answer.")
        last += b"".join(translator.finish(cause))
        outcome.error = outcome.error or translator.failure
        await self._sink.end(last)


class _CollectedReply:
    """Collects the events of a turn (``EventConsumer``)."""

    def __init__(self, fold: Fold) -> None:
        self.fold = fold

    def take(self, batch: Batch) -> bool:
        for one in batch:
            # Nobody sees the deltas: those of a run count as one.
            self.fold.feed(one if isinstance(one, Received) else joined(one))
        return True

    def lane(self, place: DeltaPlace) -> TakesDelta | None:  # noqa: ARG002 - a protocol's method
        return None

    async def ready(self) -> None:
        pass
