"""The port to the other side: who can open a turn, and what then comes out of it. Knows no library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from gptmock.accounts import Credential
from gptmock.limits import RateLimitSnapshot
from gptmock.protocol.reader import Received
from gptmock.protocol.request import ResponsesRequest


class EventStream(Protocol):
    """An accepted turn, status already judged."""

    @property
    def limits(self) -> RateLimitSnapshot | None:
        """What the answer's headers said of the account's windows."""

    @property
    def models_etag(self) -> str | None:
        """The entity tag that the account's catalogue has now, as far as the answer's headers say."""

    def batches(self) -> AsyncIterator[list[Received]]:
        """
        The events, one list for each read from the network; ends when the body does.

        Raises:
            UpstreamBroken: the connection broke, or the body cannot be read.
            UpstreamTimeout: nothing came for too long, or the turn took too long in all.
        """


class Upstream(Protocol):
    """The backend."""

    def open(self, request: ResponsesRequest, credential: Credential) -> AbstractAsyncContextManager[EventStream]:
        """
        Send the request and judge the status; leaving the context closes the connection.

        Raises:
            CredentialRefused: a 401.
            UnknownModel: the account has no such model.
            UpstreamRefused: any other 4xx.
            UpstreamUnavailable: no connection, or 5xx; may be tried again.
            UpstreamTimeout: no response head in time.
            AccountUnusable: a 402, or a 403 with a reason.
        """
