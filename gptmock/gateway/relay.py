"""
One turn, in order: credential, upstream, first event, reply. Knows contracts only.

Up to the first event that means something, any failure is raised and becomes an HTTP status; there the turn may be
sent again, at most twice. After it a failure is the dialect's own farewell inside the reply, and nothing is repeated.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeAlias, TypeVar

from gptmock.accounts import Credential
from gptmock.catalog import ModelCatalog, explain_unknown
from gptmock.conversations import Memo
from gptmock.dialects.dialect import Dialect, ReplyHead, Translator, Turn, WithholdsItsEnd
from gptmock.errors import (
    AccountError,
    CredentialRefused,
    GptmockError,
    InternalError,
    UnknownModel,
    UpstreamError,
    UpstreamRefused,
)
from gptmock.gateway.books import Bookkeeper, is_quota
from gptmock.gateway.recall import ConversationKeeper
from gptmock.limits import RateLimitSnapshot
from gptmock.protocol.events import (
    ErrorEvent,
    OtherEvent,
    ResponseCompleted,
    ResponseCreated,
    ResponseEvent,
    ResponseFailed,
    ResponseIncomplete,
    ResponseInProgress,
    ResponseMetadata,
    ResponseQueued,
)
from gptmock.protocol.failures import failure_of, truncated
from gptmock.protocol.fold import FoldedResponse, ResponseFold
from gptmock.protocol.items import ResponseObject, ResponseUsage, total_usage
from gptmock.protocol.reader import Received
from gptmock.protocol.request import ResponsesRequest
from gptmock.protocol.upstream import Compacted, Upstream

log = logging.getLogger("gptmock.turn")

MAX_TRIES = 3
"""The first one, and two more before anything has come."""
COMMIT_SECONDS = 5.0
"""A streaming client gets its 200 after this long, whether an event has come or not."""
RETRY_SECONDS = 0.3
"""The pause before the second try; doubled before the third, jittered by half."""

FOREIGN_REASONING = "invalid_encrypted_content"
"""The upstream's code for thinking that it cannot decrypt."""

_TERMINAL = ResponseCompleted | ResponseIncomplete | ResponseFailed | ErrorEvent

_Got = TypeVar("_Got")
_Attempt: TypeAlias = Callable[[ResponsesRequest, Credential, AsyncExitStack], Awaitable[_Got]]
"""One try: what it opens goes on the stack."""


class Keeper(Protocol):
    """Who leases credentials (``gateway.credentials.CredentialKeeper``)."""

    async def lease(self, account_id: str) -> Credential:
        """A living credential."""

    async def renew(self, refused: Credential) -> Credential:
        """Another one in the place of a refused one."""


class Chooser(Protocol):
    """Who knows which account serves (``gateway.choice.AccountChooser``)."""

    async def candidates(self, conversation: str, *, account_id: str | None = None) -> list[str]:
        """Account ids, the first to be tried first; none but ``account_id``, if it is given."""


class Catalogs(Protocol):
    """What is known of the accounts' models (``gateway.catalogue.CatalogWatch``)."""

    @property
    def current(self) -> ModelCatalog:
        """The models of all accounts that may serve."""

    def offers(self, account_id: str, slug: str) -> bool:
        """Whether an account has a model, as far as is known."""

    def heard(self, account_id: str, etag: str | None) -> None:
        """An answer named the entity tag of the account's catalogue."""


@dataclass(slots=True)
class Outcome:
    """How a turn went, for the log; filled in while it goes."""

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
    further: list[Outcome] = field(default_factory=list)
    """Of the further requests of a call that has several."""

    @property
    def usage(self) -> ResponseUsage | None:
        """What the call cost, all of its turns together; ``None`` unless all have said it."""
        outcomes = (self, *self.further)
        return total_usage([one.response.usage if one.response is not None else None for one in outcomes])

    @property
    def spent(self) -> bool:
        """Whether the turn must not be sent once more."""
        return self.committed or self.tries >= MAX_TRIES


def is_preamble(event: ResponseEvent) -> bool:
    """Whether an event says nothing yet: after it the upstream may still turn out to be overloaded."""
    if isinstance(event, OtherEvent):
        return event.type.startswith("codex.")
    return isinstance(event, ResponseCreated | ResponseInProgress | ResponseQueued | ResponseMetadata)


@dataclass(slots=True)
class _Opened:
    """An accepted upstream turn and what was read of it to see that it works."""

    batches: AsyncIterator[list[Received]]
    held: list[Received] = field(default_factory=list)

    async def rest(self) -> AsyncIterator[list[Received]]:
        """Everything, from the first event on."""
        yield self.held
        async for batch in self.batches:
            yield batch


class Reply:
    """An answer under way. Use one of ``frames`` and ``document``, once, inside the gateway's context."""

    def __init__(  # noqa: PLR0913 - what a turn has gathered on its way
        self,
        turn: Turn,
        dialect: Dialect,
        head: ReplyHead,
        accepting: asyncio.Task[_Opened],
        outcome: Outcome,
        *,
        conversations: ConversationKeeper,
    ) -> None:
        self._turn = turn
        self._dialect = dialect
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

        Args:
            events: those of the whole call, where this reply is only its beginning (``gateway.batch``).
        """
        translator = self._dialect.translator(self._turn, self._head)
        cause: GptmockError | None = None
        try:
            async for batch in events or self.events():
                block = b"".join([frame for received in batch for frame in translator.feed(received)])
                if block:
                    yield block
                if ending := await self._ending(translator):
                    yield ending
        except GptmockError as error:
            cause = error
        except Exception:
            log.exception("turn.broken")
            cause = InternalError("An internal error ended this answer.")
        farewell = b"".join(translator.finish(cause))
        if farewell:
            self.outcome.error = self.outcome.error or cause or truncated()
            yield farewell

    async def document(self) -> bytes:
        """
        The whole reply.

        Raises:
            GptmockError: the turn failed; half an answer is never given.
        """
        folded = await self.folded()
        body = self._dialect.document(self._turn, self._head, folded)
        if self._turn.memo is None or await self._remember(self._turn.memo, body):
            return body
        return self._dialect.document(replace(self._turn, memo=None), self._head, folded)

    async def folded(self) -> FoldedResponse:
        """
        The whole turn, for whoever renders it.

        Raises:
            GptmockError: the turn failed.
        """
        fold = ResponseFold(keep_events=self._turn.keeps_events)
        async for batch in self.events():
            for received in batch:
                fold.feed(received)
        return fold.finish()

    async def _ending(self, translator: Translator) -> bytes:
        """What the translator says when it knows whether the response is stored; nothing before its end."""
        memo = self._turn.memo
        if memo is None or not isinstance(translator, WithholdsItsEnd) or (answer := translator.answer) is None:
            return b""
        return b"".join(translator.settle(stored=await self._remember(memo, answer)))

    async def _remember(self, memo: Memo, response: bytes) -> bool:
        snapshot = memo.snapshot(response, account_id=self.outcome.account_id or "")
        stored = self.outcome.stored = await self._conversations.remember(memo.tenant, snapshot)
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


class Gateway:
    """
    Opens turns.

    Args:
        chooser: says whose turn it is.
        keeper: leases credentials.
        upstream: the backend.
        books: what is written down of every turn.
        catalogs: name the models that exist, when one does not, and the accounts that have one.
        conversations: stores what is to be stored; nobody does, unless given.
        commit_seconds: how long a streaming client waits for its status at most.
    """

    def __init__(  # noqa: PLR0913 - the gateway is where the contracts meet
        self,
        chooser: Chooser,
        keeper: Keeper,
        upstream: Upstream,
        books: Bookkeeper,
        catalogs: Catalogs,
        *,
        conversations: ConversationKeeper | None = None,
        commit_seconds: float = COMMIT_SECONDS,
    ) -> None:
        self._chooser = chooser
        self._keeper = keeper
        self._upstream = upstream
        self._books = books
        self._catalogs = catalogs
        self._conversations = conversations or ConversationKeeper(None)
        self._commit_seconds = commit_seconds

    async def compact(self, turn: Turn, outcome: Outcome, *, account_id: str | None = None) -> Compacted:
        """
        Have the conversation of a turn compacted: no stream, but accounts and tries as for any turn.

        Raises:
            GptmockError: the conversation stays as it is.
        """

        async def attempt(request: ResponsesRequest, credential: Credential, _: AsyncExitStack) -> Compacted:
            compacted = await self._upstream.compact(request, credential, headers=turn.headers)
            outcome.limits, outcome.headers = compacted.limits, compacted.headers
            return compacted

        async with AsyncExitStack() as stack:
            compacted = await self._accepted(turn, attempt, stack, outcome, account_id)
            outcome.response = ResponseObject(usage=compacted.usage)
            assert outcome.account_id is not None  # noqa: S101 - who served
            self._books.ended(outcome.account_id, turn.resolved.slug, outcome.response, failed=False)
            return compacted

    @asynccontextmanager
    async def open(
        self, turn: Turn, dialect: Dialect, head: ReplyHead, outcome: Outcome, *, account_id: str | None = None
    ) -> AsyncIterator[Reply]:
        """
        Have the turn accepted; leaving the context closes the upstream. ``outcome`` is filled in on the way.

        Args:
            turn: what is asked for.
            dialect: how the client speaks.
            head: the reply's fixed parts.
            outcome: filled in.
            account_id: the one account that may serve; ``None`` for whichever is chosen.

        Raises:
            GptmockError: before anything was sent to the client, so it can be an HTTP status.
        """
        async with AsyncExitStack() as stack:
            attempt = partial(self._try, turn.headers, outcome)
            accepting = asyncio.get_running_loop().create_task(
                self._accepted(turn, attempt, stack, outcome, account_id), name="accept"
            )
            try:
                await asyncio.wait({accepting}, timeout=self._commit_seconds if turn.stream else None)
                # From here on a stream has its 200; what goes wrong later is said in it, and nothing is repeated.
                outcome.committed = True
                if accepting.done():
                    accepting.result()
                yield Reply(turn, dialect, head, accepting, outcome, conversations=self._conversations)
            finally:
                accepting.cancel()
                # Gathered, so that a failure which nobody waits for any more is nobody's any more.
                await asyncio.gather(accepting, return_exceptions=True)
                if outcome.accepted and outcome.account_id is not None:
                    failed = outcome.response is None
                    self._books.ended(outcome.account_id, turn.resolved.slug, outcome.response, failed=failed)

    async def _accepted(
        self, turn: Turn, attempt: _Attempt[_Got], stack: AsyncExitStack, outcome: Outcome, bound: str | None
    ) -> _Got:
        """By the first account that can: one that is exhausted or signed out hands over to the next."""
        conversation = turn.request.prompt_cache_key
        candidates = await self._chooser.candidates(conversation, account_id=bound)
        # Plans differ: an account that lacks the model comes last, whatever its headroom.
        candidates.sort(key=lambda one: not self._catalogs.offers(one, turn.resolved.slug))
        outcome.pooled = len(candidates) > 1
        # The sort is stable: of all others the chooser's order holds.
        candidates.sort(key=lambda one: one != turn.account_id)
        for place, account_id in enumerate(candidates, start=1):
            outcome.account_id = account_id
            try:
                got = await self._by_account(account_id, turn, attempt, stack, outcome)
            except (AccountError, CredentialRefused) as error:
                if place == len(candidates) or outcome.spent:
                    raise
                log.warning("turn.handed_over", extra={"account": account_id, "code": error.code})
            except UpstreamRefused as error:
                if error.status_hint == 429:
                    await self._books.limited(account_id, turn.resolved.slug, error)
                if not is_quota(error) or place == len(candidates) or outcome.spent:
                    raise
                log.warning("turn.handed_over", extra={"account": account_id, "code": error.code})
            else:
                outcome.accepted = True
                self._books.began(account_id)
                self._books.served(conversation, account_id, outcome.limits, shared=outcome.pooled)
                return got
        raise InternalError("No account was tried.")

    async def _by_account(
        self, account_id: str, turn: Turn, attempt: _Attempt[_Got], stack: AsyncExitStack, outcome: Outcome
    ) -> _Got:
        credential = await self._keeper.lease(account_id)
        request, renewed = turn.request, False
        while True:
            outcome.tries += 1
            trial = AsyncExitStack()
            try:
                async with trial:
                    got = await attempt(request, credential, trial)
                    stack.push_async_exit(trial.pop_all())
                    return got
            except CredentialRefused:
                if renewed or outcome.spent:
                    raise
                renewed = True
                credential = await self._keeper.renew(credential)
            except UnknownModel as error:
                raise UnknownModel(
                    explain_unknown(error.message, turn.resolved, self._catalogs.current), param="model"
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

    async def _try(
        self,
        headers: Mapping[str, str],
        outcome: Outcome,
        request: ResponsesRequest,
        credential: Credential,
        stack: AsyncExitStack,
    ) -> _Opened:
        stream = await stack.enter_async_context(self._upstream.open(request, credential, headers=headers))
        outcome.limits, outcome.headers = stream.limits, stream.headers
        self._catalogs.heard(credential.account.id, stream.models_etag)
        opened = _Opened(stream.batches())
        await _first_event(opened)
        return opened


async def _first_event(opened: _Opened) -> None:
    """Read until something is said. A failure said first is raised, as if it had been the status."""
    while (batch := await anext(opened.batches, None)) is not None:
        opened.held += batch
        for received in batch:
            event = received.event
            if isinstance(event, ResponseFailed | ErrorEvent):
                raise failure_of(event)
            if not is_preamble(event):
                return
    raise truncated()


async def _pause(tries: int) -> None:
    # Jitter keeps the waiting requests of all workers from coming back as one.
    await asyncio.sleep(RETRY_SECONDS * 2 ** (tries - 1) * random.uniform(0.5, 1.0))  # noqa: S311
