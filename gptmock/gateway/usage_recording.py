"""
Records usage, rate limits and conversation affinity after each turn. Knows contracts.

Only the parking of an exhausted account is awaited, since the next request of any worker depends on it. Everything else
is written in the background, and a failure affects no request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from gptmock.errors import GptmockError, StoreError
from gptmock.limits import LimitStore, RateLimitSnapshot, snapshot_from_headers
from gptmock.protocol.items import ResponseObject, ResponseUsage
from gptmock.usage import TurnUsage, UsageLedger

log = logging.getLogger("gptmock.usage")

POST_SECONDS = 1.0
"""Each worker posts an account's rate limit snapshot at most once in this time; it changes slowly."""
UNKNOWN_RESET_SECONDS = 300.0
"""How long an account is parked if the upstream does not say when its limit resets."""
_QUOTA_CODES = frozenset({"usage_limit_reached", "usage_not_included", "insufficient_quota", "quota_exceeded"})


def is_quota(error: GptmockError) -> bool:
    """Whether a 429 means a used-up quota, so that another account may serve; other 429s are bursts."""
    return error.code in _QUOTA_CODES


class TurnRecorder:
    """
    Records turns.

    Args:
        limits: rate limits and conversation affinity, shared by all workers.
        ledger: usage counters.
        clock: Unix seconds.
    """

    def __init__(self, limits: LimitStore, ledger: UsageLedger, *, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._ledger = ledger
        self._clock = clock
        self._posted: dict[str, float] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def began(self, account_id: str) -> None:
        """Count a turn of this account as in flight."""
        self._ledger.began(account_id)

    def ended(
        self, account_id: str, model: str, response: ResponseObject | None, *, failed: bool, tenant: str = ""
    ) -> None:
        """Count a turn as ended, with its usage if ``response`` has one; images count too."""
        usage = (response.spent if response is not None else None) or ResponseUsage()
        self._ledger.ended(
            TurnUsage(
                account_id,
                model,
                tenant,
                failed=failed,
                input_tokens=usage.input_tokens,
                cached_tokens=usage.cached_tokens or 0,
                output_tokens=usage.output_tokens,
                reasoning_tokens=usage.reasoning_tokens or 0,
            )
        )

    def served(self, conversation: str, account_id: str, limits: RateLimitSnapshot | None, *, shared: bool) -> None:
        """Record that an account has accepted a turn; ``shared`` if the pool has other accounts."""
        now = self._clock()
        if limits is not None and now - self._posted.get(account_id, float("-inf")) >= POST_SECONDS:
            self._posted[account_id] = now
            self._write(self._limits.post(account_id, limits))
        if shared:
            self._write(self._limits.stick(conversation, account_id, now=now))

    def refused(self, account_id: str, headers: Mapping[str, str]) -> None:
        """Record the usage windows that the headers of a refusal tell, if they tell any."""
        now = self._clock()
        limits = snapshot_from_headers(headers, now=now)
        if limits is not None:
            self._posted[account_id] = now
            self._write(self._limits.post(account_id, limits))

    async def limited(self, account_id: str, model: str, error: GptmockError, *, tenant: str = "") -> None:
        """Record a 429 of the upstream; if its code is ``usage_limit_reached``, park the account for all workers."""
        self._ledger.began(account_id)
        self._ledger.ended(TurnUsage(account_id, model, tenant, failed=True, rate_limited=True))
        if error.code != "usage_limit_reached":
            return
        now = self._clock()
        seconds = error.retry_after_seconds or UNKNOWN_RESET_SECONDS
        log.warning("account.parked", extra={"account": account_id, "seconds": round(seconds)})
        try:
            await self._limits.park(account_id, until=now + seconds, now=now)
        except StoreError as trouble:
            log.warning("account.not_parked", extra={"account": account_id, "reason": trouble.message})

    async def close(self) -> None:
        """Wait for background writes."""
        if self._writing:
            await asyncio.wait(self._writing)

    def _write(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(_quietly(work), name="usage")
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except StoreError:
        # The circuit breaker has logged it; the next turn writes the value again.
        return
