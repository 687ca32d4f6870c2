"""
One turn, in order: credential, upstream, first event, reply. Knows contracts only.

Up to the first event that means something, any failure is raised and becomes an HTTP status; there the turn may be
sent again, at most twice. After it a failure is the dialect's own farewell inside the reply, and nothing is repeated.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Protocol, TypeAlias, TypeVar

from gptmock.accounts import Credential
from gptmock.catalog import explain_unknown
from gptmock.dialects.dialect import ReplyHead, Turn
from gptmock.errors import (
    AccountError,
    CredentialRefused,
    GptmockError,
    InternalError,
    SealBroken,
    UnknownModel,
    UpstreamError,
    UpstreamRefused,
)
from gptmock.gateway.contracts import Catalogs, Keeper, Selector
from gptmock.gateway.first_event import Opened, first_event
from gptmock.gateway.reply import Outcome, Reply
from gptmock.gateway.stored_responses import ConversationKeeper
from gptmock.gateway.usage_recording import TurnRecorder, is_quota
from gptmock.interruption import Interrupted, Interruption
from gptmock.live import UpstreamTry
from gptmock.protocol.items import ResponseObject
from gptmock.protocol.request import ResponsesRequest
from gptmock.protocol.upstream import Compacted, Relayed, Upstream

log = logging.getLogger("gptmock.turn")

COMMIT_SECONDS = 5.0
"""A streaming client gets its 200 after this long, whether an event has come or not."""
RETRY_SECONDS = 0.3
"""The pause before the second try; doubled before the third, jittered by half."""

FOREIGN_REASONING = "invalid_encrypted_content"
"""The upstream's code for thinking that it cannot decrypt."""

_Got = TypeVar("_Got")
_Whole = TypeVar("_Whole", Compacted, Relayed)
_Answered = TypeVar("_Answered", covariant=True)
_Attempt: TypeAlias = Callable[[ResponsesRequest, Credential, AsyncExitStack], Awaitable[_Got]]
"""One try: what it opens goes on the stack."""


class _Asks(Protocol[_Answered]):
    """A call of the upstream whose answer is no stream."""

    async def __call__(
        self, request: ResponsesRequest, credential: Credential, *, headers: Mapping[str, str] | None = None
    ) -> _Answered: ...


class Gateway:
    """
    Opens turns.

    Args:
        selector: says which account serves.
        keeper: leases credentials.
        upstream: the backend.
        recorder: counts every turn.
        catalogs: name the models that exist, when one does not, and the accounts that have one.
        conversations: stores what is to be stored; nobody does, unless given.
        commit_seconds: how long a streaming client waits for its status at most.
    """

    def __init__(  # noqa: PLR0913 - the gateway is where the contracts meet
        self,
        selector: Selector,
        keeper: Keeper,
        upstream: Upstream,
        recorder: TurnRecorder,
        catalogs: Catalogs,
        *,
        conversations: ConversationKeeper | None = None,
        commit_seconds: float = COMMIT_SECONDS,
    ) -> None:
        self._selector = selector
        self._keeper = keeper
        self._upstream = upstream
        self._recorder = recorder
        self._catalogs = catalogs
        self._conversations = conversations or ConversationKeeper(None)
        self._commit_seconds = commit_seconds

    async def compact(self, turn: Turn, outcome: Outcome, *, account_id: str | None = None) -> Compacted:
        """
        Have the conversation of a turn compacted: no stream, but accounts and tries as for any turn.

        Raises:
            GptmockError: the conversation stays as it is.
        """
        return await self._whole(
            turn, outcome, account_id, self._upstream.compact, lambda compacted: ResponseObject(usage=compacted.usage)
        )

    async def relay(self, turn: Turn, outcome: Outcome, *, account_id: str | None = None) -> Relayed:
        """
        Pass on the side call of a turn: accounts and tries as for any turn.

        Raises:
            GptmockError: there is no answer.
        """
        return await self._whole(turn, outcome, account_id, self._upstream.relay, lambda _: ResponseObject())

    async def _whole(
        self,
        turn: Turn,
        outcome: Outcome,
        bound: str | None,
        ask: _Asks[_Whole],
        counted: Callable[[_Whole], ResponseObject],
    ) -> _Whole:
        """An answer that is no stream; ``counted`` says what of it counts as usage."""

        async def attempt(request: ResponsesRequest, credential: Credential, _: AsyncExitStack) -> _Whole:
            answer = await ask(request, credential, headers=turn.headers)
            outcome.limits, outcome.headers = answer.limits, answer.headers
            return answer

        async with AsyncExitStack() as stack:
            answer = await self._accepted(turn, attempt, stack, outcome, bound)
            outcome.response = counted(answer)
            self._ended(turn, outcome)
            return answer

    @asynccontextmanager
    async def open(
        self, turn: Turn, head: ReplyHead, outcome: Outcome, *, account_id: str | None = None
    ) -> AsyncIterator[Reply]:
        """
        Have the turn accepted; leaving the context closes the upstream. ``outcome`` is filled in on the way.

        Args:
            turn: what is asked for.
            head: the reply's fixed parts.
            outcome: filled in.
            account_id: the one account that may serve; ``None`` for whichever is chosen.

        Raises:
            GptmockError: before anything was sent to the client, so it can be an HTTP status.
        """
        outcome.progress = head.progress
        async with AsyncExitStack() as stack:
            attempt = partial(self._try, turn.headers, outcome)
            accepting = asyncio.get_running_loop().create_task(
                self._accepted(turn, attempt, stack, outcome, account_id), name="accept"
            )
            try:
                await _settled(accepting, self._commit_seconds if turn.stream else None)
                # From here on a stream has its 200; what goes wrong later is said in it, and nothing is repeated.
                outcome.committed = True
                yield Reply(turn, head, accepting, outcome, conversations=self._conversations)
            finally:
                try:
                    if accepting.cancel():
                        # Gathered, so that a failure which nobody waits for any more is nobody's any more.
                        await asyncio.gather(accepting, return_exceptions=True)
                    elif not accepting.cancelled():
                        # Likewise.
                        accepting.exception()
                finally:
                    # Also when the client leaves just now, as many do with the last byte.
                    self._ended(turn, outcome)

    def _ended(self, turn: Turn, outcome: Outcome) -> None:
        if not outcome.accepted or outcome.account_id is None:
            return
        self._recorder.ended(
            outcome.account_id,
            turn.resolved.slug,
            outcome.response,
            failed=outcome.response is None,
            tenant=outcome.tenant,
        )

    async def _accepted(
        self, turn: Turn, attempt: _Attempt[_Got], stack: AsyncExitStack, outcome: Outcome, bound: str | None
    ) -> _Got:
        """By the first account that can: one that is exhausted or signed out hands over to the next."""
        conversation = turn.request.prompt_cache_key
        candidates = await self._selector.candidates(conversation, account_id=bound)
        # Begun before: both round trips, if there are two, are one wait.
        await outcome.admitted()
        # Plans differ: an account that lacks the model comes last, whatever its headroom. Of the others the one that
        # served the conversation before comes first; else the selector's order holds, for the sort is stable.
        slug = turn.resolved.slug
        candidates.sort(key=lambda one: (not self._catalogs.offers(one, slug), one != turn.account_id))
        outcome.pooled = len(candidates) > 1
        for place, account_id in enumerate(candidates, start=1):
            outcome.account_id = account_id
            try:
                got = await self._by_account(account_id, turn, attempt, stack, outcome)
            except (AccountError, CredentialRefused, SealBroken) as error:
                if place == len(candidates) or outcome.spent:
                    raise
                log.warning("turn.handed_over", extra={"account": account_id, "code": error.code})
            except UpstreamRefused as error:
                if error.status_hint == 429:
                    await self._recorder.limited(account_id, turn.resolved.slug, error, tenant=outcome.tenant)
                if not is_quota(error) or place == len(candidates) or outcome.spent:
                    raise
                log.warning("turn.handed_over", extra={"account": account_id, "code": error.code})
            else:
                outcome.accepted, outcome.progress.account_id = True, account_id
                self._recorder.began(account_id)
                self._recorder.served(conversation, account_id, outcome.limits, shared=outcome.pooled)
                return got
        raise InternalError("No account was tried.")

    async def _by_account(
        self, account_id: str, turn: Turn, attempt: _Attempt[_Got], stack: AsyncExitStack, outcome: Outcome
    ) -> _Got:
        credential = await self._keeper.lease(account_id)
        request, renewed = turn.request, False
        while True:
            outcome.tries += 1
            outcome.opened = False
            trial = AsyncExitStack()
            try:
                async with trial:
                    got = await self._heard(
                        _traced(attempt(request, credential, trial), outcome, account_id), account_id
                    )
                    stack.push_async_exit(trial.pop_all())
                    return got
            except CredentialRefused:
                if renewed or outcome.spent:
                    raise
                renewed = True
                credential = await self._keeper.renew(credential)
            except UnknownModel as error:
                raise UnknownModel(
                    explain_unknown(error.message, turn.resolved, self._catalogs.current),
                    param="model",
                    model=turn.model,
                ) from error
            except UpstreamError as error:
                if error.code == FOREIGN_REASONING and (lighter := request.without_reasoning()) and not outcome.spent:
                    # Another account made it, or it is too old. Without it there is nothing to strip a second time.
                    request, outcome.reasoning_dropped = lighter, True
                elif error.retryable and not outcome.spent:
                    await _pause(outcome.tries)
                else:
                    raise
                log.info("turn.retried", extra={"code": error.code, "try": outcome.tries})

    async def _heard(self, attempt: Awaitable[_Got], account_id: str) -> _Got:
        """Record the usage windows that a refusal tells."""
        try:
            return await attempt
        except GptmockError as error:
            self._recorder.refused(account_id, error.limit_headers)
            raise

    async def _try(
        self,
        headers: Mapping[str, str],
        outcome: Outcome,
        request: ResponsesRequest,
        credential: Credential,
        stack: AsyncExitStack,
    ) -> Opened:
        stream = await stack.enter_async_context(
            self._upstream.open(request, credential, headers=headers, sent_again=outcome.sent_again)
        )
        outcome.limits, outcome.headers = stream.limits, stream.headers
        self._catalogs.heard(credential.account.id, stream.models_etag)
        outcome.progress.accepted()
        outcome.opened = True
        opened = Opened(stream)
        await first_event(opened)
        outcome.progress.begun()
        return opened


async def _settled(accepting: asyncio.Task[Opened], seconds: float | None) -> None:
    """Wait until a turn is accepted, or for so long; raises why it was refused."""
    try:
        with Interruption(seconds):
            await asyncio.shield(accepting)
    except Interrupted:
        if accepting.done():
            # Refused at the same moment: by its status.
            accepting.result()


async def _pause(tries: int) -> None:
    # Jitter keeps the waiting requests of all workers from coming back as one.
    await asyncio.sleep(RETRY_SECONDS * 2 ** (tries - 1) * random.uniform(0.5, 1.0))  # noqa: S311


async def _traced(attempt: Awaitable[_Got], outcome: Outcome, account_id: str) -> _Got:
    """Note a try, if somebody wants to know; one that is accepted ends with its turn."""
    if outcome.traced is None:
        return await attempt
    one = UpstreamTry(account_id, time.time_ns())
    outcome.traced.append(one)
    try:
        return await attempt
    except GptmockError as error:
        one.failed, one.ended_ns = error.code, time.time_ns()
        raise
