"""Fetches an account's usage windows from ``/wham/usage``, without a model call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import msgspec

from gptmock.accounts import Credential
from gptmock.errors import UpstreamTimeout, UpstreamUnavailable
from gptmock.limits import RateLimitSnapshot, RateLimitWindow
from gptmock.protocol.failures import document_failure
from gptmock.upstream.engine import location_of
from gptmock.upstream.identity import ClientIdentity, account_headers
from gptmock.upstream.refusals import RefusalReader, as_upstream_error

ANSWER_SECONDS = 8.0


class _Window(msgspec.Struct, frozen=True):
    used_percent: float
    limit_window_seconds: float = 0
    reset_at: float | None = None
    reset_after_seconds: float | None = None


class _RateLimit(msgspec.Struct, frozen=True):
    primary_window: _Window | None = None
    secondary_window: _Window | None = None


class _Usage(msgspec.Struct, frozen=True):
    plan_type: str | None = None
    rate_limit: _RateLimit | None = None
    rate_limit_reached_type: str | None = None


class CodexUsage:
    """
    Client of ``/wham/usage``.

    Args:
        client: the HTTP client.
        base_url: such as ``https://chatgpt.com/backend-api``.
        identity: headers that identify the client program.
        clock: Unix seconds.
    """

    def __init__(
        self, client: httpx.AsyncClient, base_url: str, *, identity: ClientIdentity, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._url = f"{base_url.rstrip('/')}/wham/usage"
        self._identity = identity
        self._clock = clock

    async def windows(self, credential: Credential) -> RateLimitSnapshot:
        """
        Fetch the account's current usage windows.

        Raises:
            CredentialRefused: a 401.
            UpstreamError: any other error status, no connection, or no response in time.

        Source: upstream protocol 7.2.
        """
        refusals = RefusalReader(credential, self._clock)
        headers = {"accept": "application/json", **self._identity.headers, **account_headers(credential)}
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                response = await self._client.get(self._url, headers=headers)
        except TimeoutError as error:
            raise UpstreamTimeout("The upstream did not tell the usage in time.") from error
        except httpx.HTTPError as error:
            raise as_upstream_error(error) from error
        if response.status_code != 200:
            raise refusals.refusal(response.status_code, response.content, location=location_of(response))
        return self._snapshot(response.content, refusals)

    def _snapshot(self, body: bytes, refusals: RefusalReader) -> RateLimitSnapshot:
        try:
            usage = msgspec.json.decode(body, type=_Usage)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UpstreamUnavailable("The upstream's answer on usage cannot be read.") from error
        if usage.rate_limit is None and (failure := refusals.read(document_failure, body)) is not None:
            raise failure
        now = self._clock()
        limit = usage.rate_limit or _RateLimit()
        windows = (limit.primary_window, limit.secondary_window)
        return RateLimitSnapshot(
            taken_at=now,
            windows=tuple(_window(one, now=now) for one in windows if one is not None and one.limit_window_seconds),
            plan=usage.plan_type,
            reached_type=usage.rate_limit_reached_type,
        )


def _window(window: _Window, *, now: float) -> RateLimitWindow:
    after = None if window.reset_after_seconds is None else now + window.reset_after_seconds
    return RateLimitWindow(
        used_percent=window.used_percent,
        window_minutes=round(window.limit_window_seconds / 60),
        resets_at=window.reset_at if window.reset_at is not None else after,
    )
