"""Usage windows of accounts that nobody has used yet: asked for once, until a turn tells them. Knows contracts."""

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

LOOK_SECONDS = 30.0


class UsageSource(Protocol):
    """The upstream's usage endpoint (``upstream.usage.CodexUsage``)."""

    async def windows(self, credential: Credential) -> RateLimitSnapshot:
        """How full the windows are now."""


class LimitPoller:
    """
    Fills the board where it is empty.

    Args:
        board: what all workers see.
        keeper: leases credentials.
        usage: who is asked.
        account_ids: the accounts that may serve.
    """

    def __init__(
        self,
        board: LimitStore,
        keeper: Keeper,
        usage: UsageSource,
        account_ids: Callable[[], Awaitable[Sequence[str]]],
    ) -> None:
        self._board = board
        self._keeper = keeper
        self._usage = usage
        self._account_ids = account_ids
        self._asked: set[str] = set()

    async def run(self) -> None:
        """Look now and then until cancelled, beside the server."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                for account_id in await self._account_ids():
                    await self.fill(account_id)
            except GptmockError as error:
                log.info("usage.unknown", extra={"code": error.code})

    async def fill(self, account_id: str) -> None:
        """
        Ask once for an account of which the board knows nothing.

        Raises:
            GptmockError: store, login or upstream are in trouble; there is no hurry.
        """
        if account_id in self._asked or await self._board.snapshot(account_id) is not None:
            return
        self._asked.add(account_id)
        await self._board.post(account_id, await self._usage.windows(await self._keeper.lease(account_id)))
