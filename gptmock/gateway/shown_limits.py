"""The usage windows that a Codex shows its user: those of the account that would serve it. Knows contracts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gptmock.errors import AccountsExhausted
from gptmock.gateway.contracts import Keeper, Selector
from gptmock.gateway.limit_polling import UsageSource
from gptmock.limits import LimitStore, RateLimitSnapshot

ASK_SECONDS = 60.0
"""The upstream is asked once in this time for each account, also if it fails."""


class ShownLimits:
    """
    Reads the board; an account without a snapshot is asked for at the upstream.

    Args:
        selector: says which account would serve.
        account_ids: the accounts that may serve.
        limits: the board.
        keeper: leases credentials.
        usage: the upstream's usage endpoint.
        clock: seconds that only grow.
    """

    def __init__(  # noqa: PLR0913 - contracts
        self,
        selector: Selector,
        account_ids: Callable[[], Awaitable[Sequence[str]]],
        limits: LimitStore,
        keeper: Keeper,
        usage: UsageSource,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._selector = selector
        self._account_ids = account_ids
        self._limits = limits
        self._keeper = keeper
        self._usage = usage
        self._clock = clock
        self._asked_at: dict[str, float] = {}
        self._one = asyncio.Lock()

    async def of(self, conversation: str, *, account_id: str | None = None) -> RateLimitSnapshot | None:
        """
        The usage of the account that would serve a conversation; ``None`` while it is unknown.

        Args:
            conversation: a key of it; empty for a new one.
            account_id: the only account allowed, if the client key is bound to one.

        Raises:
            GptmockError: store, login or upstream failed.
        """
        chosen = await self._chosen(conversation, account_id)
        async with self._one:
            now = self._clock()
            snapshot = await self._limits.snapshot(chosen)
            if snapshot is not None or now - self._asked_at.get(chosen, float("-inf")) < ASK_SECONDS:
                return snapshot
            self._asked_at[chosen] = now
            snapshot = await self._usage.windows(await self._keeper.lease(chosen))
            await self._limits.post(chosen, snapshot)
            return snapshot

    async def _chosen(self, conversation: str, account_id: str | None) -> str:
        try:
            return (await self._selector.candidates(conversation, account_id=account_id))[0]
        except AccountsExhausted:
            # Then that is what the client has to see.
            return account_id or (await self._account_ids())[0]
