"""
Polls the usage limits of accounts that have no snapshot yet, once each; later snapshots come with turns' response
headers. Knows contracts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from gptmock.accounts import Credential
from gptmock.errors import GptmockError
from gptmock.gateway.contracts import Keeper
from gptmock.limits import LimitStore, RateLimitSnapshot

log = logging.getLogger("gptmock.usage")

POLL_SECONDS = 30.0


class UsageSource(Protocol):
    """The upstream's usage endpoint (``upstream.usage.CodexUsage``)."""

    async def windows(self, credential: Credential) -> RateLimitSnapshot:
        """The usage of each rate limit window now."""


class LimitPoller:
    """
    Stores the first limit snapshot of each account.

    Args:
        limits: the snapshots that all workers share.
        keeper: provides credentials.
        usage: the upstream's usage endpoint.
        account_ids: the accounts that may serve.
    """

    def __init__(
        self,
        limits: LimitStore,
        keeper: Keeper,
        usage: UsageSource,
        account_ids: Callable[[], Awaitable[Sequence[str]]],
    ) -> None:
        self._limits = limits
        self._keeper = keeper
        self._usage = usage
        self._account_ids = account_ids
        self._asked: set[str] = set()

    async def run(self) -> None:
        """Background task: ``fill`` all accounts every ``POLL_SECONDS`` until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                for account_id in await self._account_ids():
                    await self.fill(account_id)
            except GptmockError as error:
                log.info("usage.unknown", extra={"code": error.code})

    async def fill(self, account_id: str) -> None:
        """
        Ask for the limits of an account without a snapshot; only once in the life of this process.

        Raises:
            GptmockError: store, login or upstream failed.
        """
        if account_id in self._asked or await self._limits.snapshot(account_id) is not None:
            return
        self._asked.add(account_id)
        await self._limits.post(account_id, await self._usage.windows(await self._keeper.lease(account_id)))
