"""
A reply under way: the events of an accepted turn, told in a dialect, streamed or whole. Must not know how the turn was
accepted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from gptmock.conversations import PendingSnapshot
from gptmock.dialects.dialect import Progress, ReplyHead, SaysWhetherStored, Translator, Turn, WithholdsItsEnd
from gptmock.errors import GptmockError, InternalError
from gptmock.gateway.first_event import Opened
from gptmock.gateway.stored_responses import ConversationKeeper
from gptmock.limits import RateLimitSnapshot
from gptmock.protocol.events import ErrorEvent, ResponseCompleted, ResponseCreated, ResponseFailed, ResponseIncomplete
from gptmock.protocol.failures import failure_of
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.items import ResponseObject, ResponseUsage, total_usage
from gptmock.protocol.reader import Received

log = logging.getLogger("gptmock.turn")

MAX_TRIES = 3
"""The first one, and two more before anything has come."""

_TERMINAL = ResponseCompleted | ResponseIncomplete | ResponseFailed | ErrorEvent


@dataclass(slots=True)
class Outcome:
    """How a turn went, for the log; filled in while it goes."""

    tenant: str = ""
    """Whose call it is; filled in by whoever admitted it."""
    tries: int = 0
    account_id: str | None = None
    """Who served, or was tried last."""
    accepted: bool = False
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
    turns: int = 1
    """How many upstream turns the call takes, if all of them go well."""
    told: bool = False
    """The streamed reply has made its last block: once that was sent, the client has all of it."""

    @property
    def usage(self) -> ResponseUsage | None:
        """What the call cost, all of its turns together; ``None`` unless all have said it."""
        outcomes = (self, *self.further)
        return total_usage([one.response.usage if one.response is not None else None for one in outcomes])

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


class Reply:
    """An answer under way. Use one of ``frames`` and ``document``, once, inside the gateway's context."""

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

    @property
    def model(self) -> str | None:
        """What the upstream says it answers with, if it has said so; it may differ from what was asked for."""
        if not self._accepting.done():
            return None
        for received in self._accepting.result().held:
            if isinstance(received.event, ResponseCreated):
                return received.event.response.model
        return None

    async def frames(self, events: AsyncIterator[list[Received]] | None = None) -> AsyncIterator[bytes]:
        """
        The streamed reply, one block for each read; raises nothing of ours, but ends with the dialect's farewell.
        ``outcome.told`` is set before the last block is given.

        Args:
            events: those of the whole call, where this reply is only its beginning (``gateway.several_turns``).
        """
        translator = self._turn.reply.translator(self._head)
        cause: GptmockError | None = None
        last = b""
        try:
            async for batch in events or self.events():
                block = b"".join([frame for received in batch for frame in translator.feed(received)])
                if self._withholds(translator):
                    if block:
                        yield block
                    block = await self._ending(translator)
                if self.outcome.over:
                    # Whether anything follows is known only when the events have ended, as they do now.
                    last = block
                elif block:
                    yield block
        except GptmockError as error:
            cause = error
        except Exception:
            log.exception("turn.broken")
            cause = InternalError("An internal error ended this answer.")
        last += b"".join(translator.finish(cause))
        self.outcome.error = self.outcome.error or translator.failure
        self.outcome.told = True
        if last:
            yield last

    async def document(self) -> bytes:
        """
        The whole reply.

        Raises:
            GptmockError: the turn failed; half an answer is never given.
        """
        folded = await self.folded()
        plan, pending = self._turn.reply, self._turn.pending_snapshot
        body = plan.document(self._head, folded)
        if pending is None or not isinstance(plan, SaysWhetherStored) or await self._remember(pending, body):
            return body
        return plan.not_stored().document(self._head, folded)

    async def folded(self) -> FoldedResponse:
        """
        The whole turn, for whoever renders it.

        Raises:
            GptmockError: the turn failed.
        """
        fold = self._turn.reply.fold()
        async for batch in self.events():
            for received in batch:
                fold.feed(received)
        return fold.finish()

    def _withholds(self, translator: Translator) -> bool:
        """Whether the translator waits to be told that the response is stored."""
        return (
            self._turn.pending_snapshot is not None
            and isinstance(translator, WithholdsItsEnd)
            and translator.answer is not None
        )

    async def _ending(self, translator: Translator) -> bytes:
        """What the translator says when it knows whether the response is stored; nothing before its end."""
        pending = self._turn.pending_snapshot
        if pending is None or not isinstance(translator, WithholdsItsEnd) or (answer := translator.answer) is None:
            return b""
        return b"".join(translator.settle(stored=await self._remember(pending, answer)))

    async def _remember(self, pending: PendingSnapshot, response: bytes) -> bool:
        snapshot = pending.snapshot(response, account_id=self.outcome.account_id or "")
        stored = self.outcome.stored = await self._conversations.remember(pending.tenant, snapshot)
        return stored

    async def events(self) -> AsyncIterator[list[Received]]:
        """All events up to the terminal one; the only read loop there is."""
        opened = await self._accepting
        async for batch in opened.rest():
            ended = self._watch(batch)
            yield batch
            if ended:
                return

    def _watch(self, batch: list[Received]) -> bool:
        for received in batch:
            event = received.event
            if isinstance(event, _TERMINAL):
                if isinstance(event, ResponseFailed | ErrorEvent):
                    self.outcome.error = failure_of(event)
                else:
                    self.outcome.response = event.response
                return True
        return False
