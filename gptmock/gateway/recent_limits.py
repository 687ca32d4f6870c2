"""How accounts stand, looked at a few times a second and not for each turn. Knows contracts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gptmock.limits import LimitStore, RateLimitSnapshot, Standings

LOOK_SECONDS = 0.1
"""How old the standings may be that a turn is served by. What this process writes is seen at once."""


class RecentLimits:
    """
    ``LimitStore`` over another: looks that ask for no conversation are answered from memory for ``LOOK_SECONDS``.

    Args:
        limits: the store's.
        clock: seconds that only grow.
    """

    def __init__(self, limits: LimitStore, *, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._seen: dict[tuple[str, ...], tuple[float, Standings]] = {}
        self._looking: dict[tuple[str, ...], asyncio.Task[Standings]] = {}
        """One look serves all turns that come while it is under way."""

    async def look(self, account_ids: Sequence[str], *, conversation: str | None) -> Standings:
        """See ``LimitStore.look``."""
        if conversation is not None:
            return await self._limits.look(account_ids, conversation=conversation)
        ids, now = tuple(account_ids), self._clock()
        seen = self._seen.get(ids)
        if seen is not None and now - seen[0] < LOOK_SECONDS:
            return seen[1]
        looking = self._looking.get(ids)
        if looking is None:
            looking = self._looking[ids] = asyncio.get_running_loop().create_task(self._look(ids, now))
            # If all who wait are given up, nobody asks how it ended.
            looking.add_done_callback(lambda task: task.cancelled() or task.exception())
        # A turn that is given up takes the look from nobody else.
        return await asyncio.shield(looking)

    async def _look(self, ids: tuple[str, ...], now: float) -> Standings:
        looking = asyncio.current_task()
        try:
            standings = await self._limits.look(ids, conversation=None)
            if self._looking.get(ids) is looking:
                self._seen = {ids: (now, standings)}
            return standings
        finally:
            if self._looking.get(ids) is looking:
                del self._looking[ids]

    def _forget(self) -> None:
        """What was seen, or is being looked at, may be of before a change."""
        self._seen, self._looking = {}, {}

    async def post(self, account_id: str, snapshot: RateLimitSnapshot) -> None:
        """See ``LimitStore.post``."""
        await self._limits.post(account_id, snapshot)

    async def park(self, account_id: str, *, until: float, now: float) -> None:
        """See ``LimitStore.park``."""
        try:
            await self._limits.park(account_id, until=until, now=now)
        finally:
            self._forget()

    async def unpark(self, account_id: str, *, now: float) -> None:
        """See ``LimitStore.unpark``."""
        try:
            await self._limits.unpark(account_id, now=now)
        finally:
            self._forget()

    async def stick(self, conversation: str, account_id: str, *, now: float) -> None:
        """See ``LimitStore.stick``."""
        await self._limits.stick(conversation, account_id, now=now)

    async def snapshot(self, account_id: str) -> RateLimitSnapshot | None:
        """See ``LimitStore.snapshot``."""
        return await self._limits.snapshot(account_id)
