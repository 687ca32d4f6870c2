"""The contract of the upstream client: opens a turn and yields its events. Knows no HTTP library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from gptmock.accounts import Credential
from gptmock.limits import RateLimitSnapshot
from gptmock.protocol.delta_runs import DeltaPlace
from gptmock.protocol.items import ResponseUsage
from gptmock.protocol.reader import Batch
from gptmock.protocol.request import JsonObject, ResponsesRequest

TakesBatch: TypeAlias = Callable[[Batch], bool]
TakesDelta: TypeAlias = Callable[[bytes, bytes], bool]
"""
Takes one more delta at a known place: its literal and its padding (as in ``DeltaRun``). Returns as ``TakesBatch``.
"""
OpensLane: TypeAlias = Callable[[DeltaPlace], TakesDelta | None]
"""
Opens the fast lane (``dialects.copying``) at the place of the run that ended the last batch, if it has one there. It is
closed as soon as another batch is taken.
"""


class EventStream(Protocol):
    """The event stream of a response with status 200."""

    @property
    def limits(self) -> RateLimitSnapshot | None:
        """The account's usage windows from the response headers."""

    @property
    def models_etag(self) -> str | None:
        """The current entity tag of the account's model catalogue from the response headers."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The response headers that are forwarded to a Codex client; names in lower case."""

    async def deliver(self, take: TakesBatch, lane: OpensLane | None = None, /) -> bool:
        """
        Hand over the events, one batch for each read from the network, within the callback of the read where the
        transport can: no task is switched for it.

        Args:
            take: returns whether it takes more now; after ``False`` nothing is read before the next call.
            lane: asked after a batch; what it returns may be called in place of ``take`` for single deltas.

        Returns whether the body has ended.

        Raises:
            UpstreamBroken: the connection broke, or the body cannot be read; after everything before it was taken.
            UpstreamTimeout: the idle or the total deadline passed.
            Exception: whatever ``take`` raised.
        """


@dataclass(frozen=True, slots=True)
class Compacted:
    """The response of ``/responses/compact``: a conversation in fewer items."""

    document: JsonObject
    usage: ResponseUsage | None = None
    limits: RateLimitSnapshot | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """As ``EventStream.headers``."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """The answer to a ``SideCall``."""

    body: bytes
    limits: RateLimitSnapshot | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """As ``EventStream.headers``."""


class Upstream(Protocol):
    """The Codex backend."""

    def open(
        self,
        request: ResponsesRequest,
        credential: Credential,
        *,
        headers: Mapping[str, str] | None = None,
        sent_again: Callable[[], None] = lambda: None,
    ) -> AbstractAsyncContextManager[EventStream]:
        """
        Send the request and check the status; leaving the context closes the connection.

        Args:
            request: the turn.
            credential: the account's access token.
            headers: request headers of a Codex client, which replace ours; names in lower case.
            sent_again: called each time that the turn is sent once more before it is answered.

        Raises:
            CredentialRefused: a 401.
            UnknownModel: the account has no such model.
            UpstreamRefused: any other 4xx.
            UpstreamUnavailable: no connection, or 5xx; may be tried again.
            UpstreamTimeout: no response head in time.
            AccountUnusable: a 402, or a 403 with a reason.
        """

    async def compact(
        self, request: ResponsesRequest, credential: Credential, *, headers: Mapping[str, str] | None = None
    ) -> Compacted:
        """
        Have the conversation of this request compacted; the response is not streamed.

        Raises:
            UpstreamBroken: the answer cannot be read.
            GptmockError: as ``open``.
        """

    async def relay(
        self, request: ResponsesRequest, credential: Credential, *, headers: Mapping[str, str] | None = None
    ) -> Relayed:
        """
        Send the request's ``side`` call.

        Raises:
            UpstreamBroken: the answer is too large, or the connection broke.
            TranscriptionBlocked: the call is a transcription, and the provider's bot protection stands before it.
            GptmockError: as ``open``.
        """
