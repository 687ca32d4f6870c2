"""Reads what the pages show from the store once for all of them, however many are open. Knows the clock of its loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from gptmock.accounts import BrokenLogin
from gptmock.clients import ClientKey, Invitation, LimitState
from gptmock.live import Problem, WorkerReport
from gptmock.overview import AccountOverview
from gptmock.usage import UsageRow

_T = TypeVar("_T")


class ReadsTeam(Protocol):
    """What the views of the admin API read (``gateway.team.Team``); every method may raise ``StoreError``."""

    clock: Callable[[], float]

    async def overview(self) -> list[AccountOverview]:
        """See ``Team.overview``."""

    async def broken(self) -> list[BrokenLogin]:
        """See ``Team.broken``."""

    async def labels(self) -> dict[str, str]:
        """See ``Team.labels``."""

    async def all_keys(self) -> Sequence[ClientKey]:
        """See ``Team.all_keys``."""

    async def open_invitations(self) -> Sequence[Invitation]:
        """See ``Team.open_invitations``."""

    async def key_names(self) -> dict[str, str]:
        """See ``Team.key_names``."""

    async def states(self, key: ClientKey) -> Sequence[LimitState]:
        """See ``Team.states``."""

    async def used(self, days: int) -> list[UsageRow]:
        """See ``Team.used``."""

    async def workers(self) -> Sequence[WorkerReport]:
        """See ``Team.workers``."""

    async def problems(self, count: int) -> Sequence[Problem]:
        """See ``Team.problems``."""


class SharedReadings:
    """
    ``ReadsTeam`` whose readings are used again for a while, by whoever asks meanwhile. An error is one, too.

    Args:
        team: reads the store.
        age_seconds: for how long a reading is used.
    """

    def __init__(self, team: ReadsTeam, *, age_seconds: float) -> None:
        self._team = team
        self.clock = team.clock
        self._age_seconds = age_seconds
        self._kept: dict[tuple[object, ...], tuple[float, asyncio.Task[Any]]] = {}

    async def overview(self) -> list[AccountOverview]:
        """See ``Team.overview``."""
        return await self._once(("overview",), self._team.overview)

    async def broken(self) -> list[BrokenLogin]:
        """See ``Team.broken``."""
        return await self._once(("broken",), self._team.broken)

    async def labels(self) -> dict[str, str]:
        """See ``Team.labels``."""
        return await self._once(("labels",), self._team.labels)

    async def all_keys(self) -> Sequence[ClientKey]:
        """See ``Team.all_keys``."""
        return await self._once(("all_keys",), self._team.all_keys)

    async def keys_by_id(self) -> dict[str, ClientKey]:
        """All client keys by id."""

        async def read() -> dict[str, ClientKey]:
            return {key.id: key for key in await self.all_keys()}

        return await self._once(("keys_by_id",), read)

    async def open_invitations(self) -> Sequence[Invitation]:
        """See ``Team.open_invitations``."""
        return await self._once(("open_invitations",), self._team.open_invitations)

    async def key_names(self) -> dict[str, str]:
        """See ``Team.key_names``."""
        return await self._once(("key_names",), self._team.key_names)

    async def states(self, key: ClientKey) -> Sequence[LimitState]:
        """See ``Team.states``."""
        return await self._once(("states", key), lambda: self._team.states(key))

    async def used(self, days: int) -> list[UsageRow]:
        """See ``Team.used``."""
        return await self._once(("used", days), lambda: self._team.used(days))

    async def workers(self) -> Sequence[WorkerReport]:
        """See ``Team.workers``."""
        return await self._once(("workers",), self._team.workers)

    async def problems(self, count: int) -> Sequence[Problem]:
        """See ``Team.problems``."""
        return await self._once(("problems", count), lambda: self._team.problems(count))

    async def _once(self, what: tuple[object, ...], read: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._age_seconds
        kept = self._kept.get(what)
        if kept is None or kept[0] <= oldest:
            self._kept = {name: one for name, one in self._kept.items() if one[0] > oldest or not one[1].done()}
            kept = self._kept[what] = (loop.time(), loop.create_task(read(), name="reading"))
        # The reading goes on for the others if this page is closed.
        found: _T = await asyncio.shield(kept[1])
        return found
