"""
Requests that take several upstream turns, such as a text completion with several prompts. Each turn has its own
account, retries and usage record; together they give one reply. Must not know why there are several.

    streamed     one after another; the next is opened when the previous one has succeeded
    at once      collected, where the plan says so (``SeveralTurnsAtOnce``): a few at a time from the beginning
    collected    the first alone, which shows whether the account and the model exist; then all others concurrently

The request has one place of the concurrent turns of its client key: with such a limit its turns run one after another
in any case (``Outcome.turns_at_once``). For all other limits it counts as one request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeAlias

from gptmock.dialects.dialect import (
    ReplyHead,
    SeveralTurns,
    SeveralTurnsAtOnce,
    Turn,
    supports,
)
from gptmock.errors import GptmockError, InternalError
from gptmock.gateway.reply import EventConsumer, FrameSink, Outcome, Reply
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.upstream import Compacted, Relayed


class AnyReply(Protocol):
    """The reply to a request, of one turn or several."""

    @property
    def model(self) -> str | None:
        """The model that the upstream reports, if it has reported one yet."""

    async def stream(self, sink: FrameSink, /) -> None:
        """The streamed reply; it always ends with the dialect's last frame, also after an error."""

    def cut(self, error: GptmockError) -> None:
        """End the stream now; see ``Reply.cut``."""

    async def document(self) -> bytes:
        """
        The whole reply.

        Raises:
            GptmockError: it failed; a partial reply is never returned.
        """


class OpensOneTurn(Protocol):
    """Opens single turns (``gateway.gateway.Gateway``)."""

    def open(
        self, turn: Turn, head: ReplyHead, outcome: Outcome, *, account_id: str | None = None
    ) -> AbstractAsyncContextManager[Reply]:
        """Send one turn upstream until it is accepted."""

    async def compact(self, turn: Turn, outcome: Outcome, *, account_id: str | None = None) -> Compacted:
        """Compact a conversation."""

    async def relay(self, turn: Turn, outcome: Outcome, *, account_id: str | None = None) -> Relayed:
        """Pass on a side call."""


_OpensOne: TypeAlias = Callable[[Turn, Outcome], AbstractAsyncContextManager[Reply]]
_Document: TypeAlias = Callable[[Sequence[FoldedResponse]], bytes]


class BatchGateway:
    """
    Opens requests of one turn or of several.

    Args:
        gateway: opens each turn.
    """

    def __init__(self, gateway: OpensOneTurn) -> None:
        self._gateway = gateway

    def open(
        self, turn: Turn, head: ReplyHead, outcome: Outcome, *, account_id: str | None = None
    ) -> AbstractAsyncContextManager[AnyReply]:
        """
        Open a request; leaving the context closes all of its turns. A single turn is passed to the gateway as it is.

        Args:
            turn: its reply plan may be a ``SeveralTurns``.
            head: of the reply.
            outcome: filled in; it is that of the first turn, with the others in ``further``.
            account_id: the only account allowed, if the client key is bound to one.

        Raises:
            GptmockError: before anything was sent to the client.
        """

        def open_one(one: Turn, its_outcome: Outcome) -> AbstractAsyncContextManager[Reply]:
            return self._gateway.open(one, head, its_outcome, account_id=account_id)

        plan = turn.reply
        if supports(plan, SeveralTurns) and plan.further:
            # Not as streams: each may be retried until its own first event, whatever the client got of the others.
            further = [replace(turn, request=request, stream=False) for request in plan.further]
            outcome.turns = 1 + len(further)
            if supports(plan, SeveralTurnsAtOnce) and not turn.stream:
                render = partial(plan.documents, head)
                at_once = min(plan.turns_at_once, outcome.turns_at_once or plan.turns_at_once)
                return nullcontext(
                    ReplyOfTurnsAtOnce([turn, *further], outcome, open_one=open_one, document=render, at_once=at_once)
                )
            return _several(turn, further, outcome, open_one, partial(plan.documents, head))
        return open_one(turn, outcome)

    async def compact(self, turn: Turn, outcome: Outcome, *, account_id: str | None = None) -> Compacted:
        """See ``Gateway.compact``."""
        return await self._gateway.compact(turn, outcome, account_id=account_id)

    async def relay(self, turn: Turn, outcome: Outcome, *, account_id: str | None = None) -> Relayed:
        """See ``Gateway.relay``."""
        return await self._gateway.relay(turn, outcome, account_id=account_id)


@asynccontextmanager
async def _several(
    turn: Turn, further: Sequence[Turn], outcome: Outcome, open_one: _OpensOne, document: _Document
) -> AsyncIterator[AnyReply]:
    # The stack belongs to the handler: an abandoned generator of frames would not close its turns in time.
    async with AsyncExitStack() as stack, open_one(turn, outcome) as first:
        yield MultiTurnReply(first, further, open_one=open_one, document=document, stack=stack)


class MultiTurnReply:
    """The reply of several turns; call ``stream`` or ``document`` once, inside the context of ``open``."""

    def __init__(
        self,
        first: Reply,
        further: Sequence[Turn],
        *,
        open_one: _OpensOne,
        document: _Document,
        stack: AsyncExitStack,
    ) -> None:
        self._first = first
        self._further = further
        self._open_one = open_one
        self._document = document
        self._stack = stack
        self._room = asyncio.Semaphore(first.outcome.turns_at_once or 1 + len(further))

    @property
    def model(self) -> str | None:
        """That of the first turn."""
        return self._first.model

    async def stream(self, sink: FrameSink) -> None:
        """The streamed reply."""
        await self._first.stream(sink, self._drive)

    def cut(self, error: GptmockError) -> None:
        """See ``Reply.cut``."""
        self._first.cut(error)

    async def document(self) -> bytes:
        """
        The whole reply.

        Raises:
            GptmockError: one of the turns failed; the others were cancelled.
        """
        try:
            async with asyncio.TaskGroup() as group:
                waiting = [
                    group.create_task(self._first_folded()),
                    *(group.create_task(self._folded(turn)) for turn in self._further),
                ]
        except BaseExceptionGroup as several:
            # The client gets one error only.
            raise several.exceptions[0] from several
        return self._document([one.result() for one in waiting])

    async def _drive(self, consumer: EventConsumer) -> None:
        await self._first.drive(consumer)
        outcome = self._first.outcome
        for turn in self._further:
            if outcome.response is None:
                # Truncated or failed: the translator reports it.
                return
            await consumer.ready()
            async with AsyncExitStack() as closing:
                self._stack.push_async_callback(closing.aclose)
                outcome = self._further_outcome()
                reply = await closing.enter_async_context(self._open_one(turn, outcome))
                await reply.drive(consumer)
            self._first.outcome.error = outcome.error

    async def _first_folded(self) -> FoldedResponse:
        async with self._room:
            return await self._first.folded()

    async def _folded(self, turn: Turn) -> FoldedResponse:
        async with self._room, self._open_one(turn, self._further_outcome()) as reply:
            return await reply.folded()

    def _further_outcome(self) -> Outcome:
        # Usage is counted by client key, so each turn's outcome has the tenant.
        first = self._first.outcome
        outcome = Outcome(tenant=first.tenant, counts_output=first.counts_output, traced=first.traced)
        self._first.outcome.further.append(outcome)
        return outcome


class ReplyOfTurnsAtOnce:
    """
    The collected reply of several turns, a few of which run at the same time; none is opened before ``document``.

    Args:
        turns: all of them.
        outcome: that of the first; it is given the others.
        open_one: opens a turn.
        document: renders all of them, in their order.
        at_once: how many run at the same time.
    """

    def __init__(
        self, turns: Sequence[Turn], outcome: Outcome, *, open_one: _OpensOne, document: _Document, at_once: int
    ) -> None:
        self._turns = turns
        self._outcome = outcome
        self._open_one = open_one
        self._document = document
        self._room = asyncio.Semaphore(at_once)
        self.model: str | None = None
        """What the upstream said last that it answers with."""

    async def stream(self, sink: FrameSink) -> None:  # noqa: ARG002 - a protocol's method
        """
        Refuses: turns that are streamed come one after another (``MultiTurnReply``).

        Raises:
            InternalError: always.
        """
        raise InternalError("Turns that run at once cannot be streamed.")

    def cut(self, error: GptmockError) -> None:
        """Nothing is streamed."""

    async def document(self) -> bytes:
        """
        The whole reply.

        Raises:
            GptmockError: one of the turns failed; the others were cancelled.
        """
        # Only the first turn waits for the limits of the client key.
        await self._outcome.admitted()
        self._outcome.further += [Outcome(tenant=self._outcome.tenant) for _ in self._turns[1:]]
        outcomes = [self._outcome, *self._outcome.further]
        try:
            async with asyncio.TaskGroup() as group:
                waiting = [
                    group.create_task(self._folded(turn, outcome))
                    for turn, outcome in zip(self._turns, outcomes, strict=True)
                ]
        except BaseExceptionGroup as several:
            # The client gets one error only.
            raise several.exceptions[0] from several
        return self._document([one.result() for one in waiting])

    async def _folded(self, turn: Turn, outcome: Outcome) -> FoldedResponse:
        async with self._room, self._open_one(turn, outcome) as reply:
            folded = await reply.folded()
            self.model = reply.model
            return folded
