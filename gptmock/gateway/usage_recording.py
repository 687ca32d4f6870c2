"""
What is written down of every turn: counters, limits, who serves a conversation. Knows contracts.

Only one thing is waited for, since the next request of any worker depends on it: that an exhausted account is parked.
All else is written beside the turns, and may fail without anybody noticing but the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from gptmock.errors import GptmockError, StoreError
from gptmock.limits import LimitStore, RateLimitSnapshot
from gptmock.protocol.items import InputTokensDetails, OutputTokensDetails, ResponseObject, ResponseUsage
from gptmock.usage import TurnUsage, UsageLedger

log = logging.getLogger("gptmock.usage")

POST_SECONDS = 1.0
"""Windows move slowly: an account's are posted by each worker once in this time."""
UNKNOWN_RESET_SECONDS = 300.0
"""When the upstream says that a window is used up and not until when."""
_QUOTA_CODES = frozenset({"usage_limit_reached", "usage_not_included", "insufficient_quota", "quota_exceeded"})


def is_quota(error: GptmockError) -> bool:
    """Whether another account may do what this one has used up; a burst is waited out instead."""
    return error.code in _QUOTA_CODES


class TurnRecorder:
    """
    Writes down.

    Args:
        board: limits and conversations, for all workers.
        ledger: counters.
        clock: Unix seconds.
    """

    def __init__(self, board: LimitStore, ledger: UsageLedger, *, clock: Callable[[], float]) -> None:
        self._board = board
        self._ledger = ledger
        self._clock = clock
        self._posted: dict[str, float] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def began(self, account_id: str) -> None:
        """A turn of this account is under way."""
        self._ledger.began(account_id)

    def ended(
        self, account_id: str, model: str, response: ResponseObject | None, *, failed: bool, tenant: str = ""
    ) -> None:
        """It is over, with what it used if it said so."""
        usage = (response.usage if response is not None else None) or ResponseUsage()
        self._ledger.ended(
            TurnUsage(
                account_id,
                model,
                tenant,
                failed=failed,
                input_tokens=usage.input_tokens,
                cached_tokens=(usage.input_tokens_details or InputTokensDetails()).cached_tokens,
                output_tokens=usage.output_tokens,
                reasoning_tokens=(usage.output_tokens_details or OutputTokensDetails()).reasoning_tokens,
            )
        )

    def served(self, conversation: str, account_id: str, limits: RateLimitSnapshot | None, *, shared: bool) -> None:
        """An account has accepted a turn; ``shared`` when others could have."""
        now = self._clock()
        if limits is not None and now - self._posted.get(account_id, float("-inf")) >= POST_SECONDS:
            self._posted[account_id] = now
            self._write(self._board.post(account_id, limits))
        if shared:
            self._write(self._board.stick(conversation, account_id, now=now))

    async def limited(self, account_id: str, model: str, error: GptmockError, *, tenant: str = "") -> None:
        """The upstream answered 429: a window that is used up parks the account for every worker, a burst does not."""
        self._ledger.began(account_id)
        self._ledger.ended(TurnUsage(account_id, model, tenant, failed=True, rate_limited=True))
        if error.code != "usage_limit_reached":
            return
        now = self._clock()
        seconds = error.retry_after_seconds or UNKNOWN_RESET_SECONDS
        log.warning("account.parked", extra={"account": account_id, "seconds": round(seconds)})
        try:
            await self._board.park(account_id, until=now + seconds, now=now)
        except StoreError as trouble:
            log.warning("account.not_parked", extra={"account": account_id, "reason": trouble.message})

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._writing:
            await asyncio.wait(self._writing)

    def _write(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(_quietly(work), name="books")
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except StoreError:
        # The breaker has said so once; an observation is made again with the next turn.
        return
