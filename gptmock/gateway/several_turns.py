"""
Calls that take several upstream turns, as a text completion with several prompts does. Each turn is opened by itself,
with its own account, retries and usage record; together they are one reply. Must not know why there are several.

    streamed     one after another; the next is opened when the one before has ended well
    collected    the first, which shows whether the account and the model exist; then all others at once
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeAlias

from gptmock.dialects.dialect import (
    ReplyHead,
    SeveralTurns,
    Turn,
    supports,
)
from gptmock.gateway.reply import EventConsumer, FrameSink, Outcome, Reply
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.upstream import Compacted


class AnyReply(Protocol):
    """What a call is answered with, whether it takes one turn or several."""

    @property
    def model(self) -> str | None:
        """What the upstream says it answers with, if it has said so."""

    async def stream(self, sink: FrameSink, /) -> None:
        """The streamed reply; it ends with the dialect's farewell, whatever happens."""

    async def document(self) -> bytes:
        """
        The whole reply.

        Raises:
            GptmockError: it failed; half an answer is never given.
        """


class OpensOneTurn(Protocol):
    """``gateway.gateway.Gateway``."""

    def open(
        self, turn: Turn, head: ReplyHead, outcome: Outcome, *, account_id: str | None = None
    ) -> AbstractAsyncContextManager[Reply]:
        """Have one turn accepted."""

    async def compact(self, turn: Turn, outcome: Outcome, *, account_id: str | None = None) -> Compacted:
        """Have a conversation compacted."""


_OpensOne: TypeAlias = Callable[[Turn, Outcome], AbstractAsyncContextManager[Reply]]
_Document: TypeAlias = Callable[[Sequence[FoldedResponse]], bytes]


class BatchGateway:
    """
    Opens calls of one turn or of several.

    Args:
        gateway: opens each turn.
    """

    def __init__(self, gateway: OpensOneTurn) -> None:
        self._gateway = gateway

    def open(
        self, turn: Turn, head: ReplyHead, outcome: Outcome, *, account_id: str | None = None
    ) -> AbstractAsyncContextManager[AnyReply]:
        """
        Have a call accepted; leaving the context closes all of its turns. A call of one turn goes straight through.

        Args:
            turn: whose reply plan may be a ``SeveralTurns``.
            head: of the one reply.
            outcome: filled in on the way; of the first turn, with those of the others in ``further``.
            account_id: the only one that may serve, if somebody has said so.

        Raises:
            GptmockError: before anything was sent to the client.
        """

        def open_one(one: Turn, its_outcome: Outcome) -> AbstractAsyncContextManager[Reply]:
            return self._gateway.open(one, head, its_outcome, account_id=account_id)

        plan = turn.reply
        if supports(plan, SeveralTurns) and plan.further:
            # Not as streams: each may be tried again until its own first event, whatever the client has seen of others.
            further = [replace(turn, request=request, stream=False) for request in plan.further]
            outcome.turns = 1 + len(further)
            return _several(turn, further, outcome, open_one, partial(plan.documents, head))
        return open_one(turn, outcome)

    async def compact(self, turn: Turn, outcome: Outcome, *, account_id: str | None = None) -> Compacted:
        """As the one gateway does."""
        return await self._gateway.compact(turn, outcome, account_id=account_id)


@asynccontextmanager
async def _several(
    turn: Turn, further: Sequence[Turn], outcome: Outcome, open_one: _OpensOne, document: _Document
) -> AsyncIterator[AnyReply]:
    # The stack belongs to the handler: a generator of frames that nobody finishes would close nothing in time.
    async with AsyncExitStack() as stack, open_one(turn, outcome) as first:
        yield BatchReply(first, further, open_one=open_one, document=document, stack=stack)


class BatchReply:
    """An answer of several turns under way; use one of ``stream`` and ``document``, once, inside its context."""

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

    @property
    def model(self) -> str | None:
        """As the first turn says."""
        return self._first.model

    async def stream(self, sink: FrameSink) -> None:
        """The streamed reply."""
        await self._first.stream(sink, self._drive)

    async def document(self) -> bytes:
        """
        The whole reply.

        Raises:
            GptmockError: one of the turns failed, and the others were given up.
        """
        try:
            async with asyncio.TaskGroup() as group:
                waiting = [
                    group.create_task(self._first.folded()),
                    *(group.create_task(self._folded(turn)) for turn in self._further),
                ]
        except BaseExceptionGroup as several:
            # One reason is enough, and no client knows groups.
            raise several.exceptions[0] from several
        return self._document([one.result() for one in waiting])

    async def _drive(self, consumer: EventConsumer) -> None:
        await self._first.drive(consumer)
        outcome = self._first.outcome
        for turn in self._further:
            if outcome.response is None:
                # Cut or failed: the translator has said so, or will.
                return
            await consumer.ready()
            async with AsyncExitStack() as closing:
                self._stack.push_async_callback(closing.aclose)
                outcome = self._note()
                reply = await closing.enter_async_context(self._open_one(turn, outcome))
                await reply.drive(consumer)
            self._first.outcome.error = outcome.error

    async def _folded(self, turn: Turn) -> FoldedResponse:
        async with self._open_one(turn, self._note()) as reply:
            return await reply.folded()

    def _note(self) -> Outcome:
        # The books count by client key: whose call it is belongs to each of its turns.
        outcome = Outcome(tenant=self._first.outcome.tenant)
        self._first.outcome.further.append(outcome)
        return outcome
