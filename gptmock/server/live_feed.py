"""
What the page shows, and its stream of differences. Each worker reads the shared state once for all its open pages, and
only while there are any; each page gets the sections that have changed, at most once a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from gptmock.clients import Client
from gptmock.errors import GptmockError
from gptmock.gateway.readings import ReadsTeam, SharedReadings
from gptmock.overview import invitation_document
from gptmock.server import admin_views as views
from gptmock.server.context import Services

log = logging.getLogger("gptmock.server")

TICK_SECONDS = 1.0
READING_SECONDS = 0.9 * TICK_SECONDS
"""For how long a reading of the store is used, by all pages of a worker."""
DAYS = 14
PROBLEMS = 20
EVERY_TICKS: Mapping[str, int] = {
    "now": 1,
    "status": 1,
    "accounts": 2,
    "problems": 2,
    "keys": 3,
    "invitations": 3,
    "workers": 3,
    "usage": 5,
    "models": 5,
}
"""How often each section is read."""


@dataclass(eq=False, slots=True)
class Watcher:
    """One open page."""

    client: Client
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: dict[str, bytes] = field(default_factory=dict)
    """Sections that the page has not got, as JSON."""
    ended: bool = False
    """The caller's key is no longer valid."""


class LiveFeed:
    """
    Feeds the open pages of a worker.

    Args:
        services: of the worker.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._views: dict[Client, _View] = {}
        self._task: asyncio.Task[None] | None = None
        self._shared: SharedReadings | None = None

    async def state(self, client: Client) -> dict[str, bytes]:
        """All sections as a caller sees them now, as JSON."""
        return {name: await self._read(name, client) for name in EVERY_TICKS}

    @asynccontextmanager
    async def watching(self, client: Client) -> AsyncIterator[Watcher]:
        """Feed a page while the context lasts; all sections wait for it at first."""
        # Not by tenant: operators and guests without a key share one, and a key's terms change.
        view = self._views.setdefault(client, _View(client))
        watcher = Watcher(client)
        view.watchers.add(watcher)
        try:
            await self._complete(view)
            watcher.waiting = dict(view.sections)
            watcher.wake.set()
            if self._task is None or self._task.done():
                self._task = asyncio.get_running_loop().create_task(self._run(), name="live feed")
            yield watcher
        finally:
            view.watchers.discard(watcher)
            if not view.watchers:
                self._views.pop(client, None)
            if not self._views and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _complete(self, view: _View) -> None:
        """Read the sections that a view has not got yet: each is read for itself only every some ticks."""
        for name in EVERY_TICKS:
            if name not in view.sections:
                section = await self._read(name, view.client)
                # What another page or the feed has offered meanwhile is newer.
                if name not in view.sections:
                    view.offer(name, section)

    async def _run(self) -> None:
        tick = 0
        while True:
            await asyncio.sleep(TICK_SECONDS)
            tick += 1
            for view in list(self._views.values()):
                await self._check(view)
                for name, every in EVERY_TICKS.items():
                    if tick % every == 0:
                        view.offer(name, await self._read(name, view.client))

    async def _check(self, view: _View) -> None:
        """End the pages of a caller whose key was revoked or changed, and all at a stop; pages connect again."""
        if self._services.draining:
            view.end()
        if not view.client.tenant:
            return
        try:
            known = await self._known(view.client)
        except GptmockError:
            return
        if known != view.client:
            view.end()

    async def _known(self, client: Client) -> Client | None:
        if client.key is None:
            return await self._services.admission.known(client.tenant)
        readings, ends_at = self._readings(), client.key.text_ends_at
        key, now = (await readings.keys_by_id()).get(client.key.id), readings.clock()
        if key is None or not key.is_living(now) or (ends_at is not None and now >= ends_at):
            return None
        # The end of a replaced text is known only to who has found the key by that text.
        return Client(key.id, replace(key, text_ends_at=ends_at))

    def _readings(self) -> SharedReadings:
        if self._shared is None:
            assert self._services.team is not None  # noqa: S101 - a server has it
            self._shared = SharedReadings(self._services.team, age_seconds=READING_SECONDS)
        return self._shared

    async def _read(self, name: str, client: Client) -> bytes:
        read = _SECTIONS[name]
        try:
            return msgspec.json.encode(await read(self._services, self._readings(), client))
        except GptmockError as error:
            # The page says so, and shows what it had.
            return msgspec.json.encode({"error": error.code, "message": error.message})


@dataclass(eq=False, slots=True)
class _View:
    """What equal callers see: of one key with the same terms, or without a key and of the same role."""

    client: Client
    sections: dict[str, bytes] = field(default_factory=dict)
    watchers: set[Watcher] = field(default_factory=set)

    def offer(self, name: str, section: bytes) -> None:
        if self.sections.get(name) == section:
            return
        self.sections[name] = section
        for watcher in self.watchers:
            watcher.waiting[name] = section
            watcher.wake.set()

    def end(self) -> None:
        for watcher in self.watchers:
            watcher.ended = True
            watcher.wake.set()


async def _status(services: Services, _team: ReadsTeam, client: Client) -> dict[str, Any]:
    reasons = ["draining"] if services.draining else await services.readiness()
    return {"ready": not reasons, "reasons": reasons if client.may("viewer") else []}


async def _accounts(_: Services, team: ReadsTeam, client: Client) -> dict[str, Any]:
    shown = await team.overview()
    return views.accounts(client, shown, await team.broken()) | {"any": bool(shown)}


async def _invitations(_: Services, team: ReadsTeam, client: Client) -> list[dict[str, Any]]:
    return [invitation_document(one) for one in await team.open_invitations()] if client.may("viewer") else []


async def _workers(_: Services, team: ReadsTeam, client: Client) -> list[dict[str, Any]]:
    if not client.may("viewer"):
        return []
    # Without what changes all the time: that is in ``now``.
    return [
        {name: value for name, value in views.worker(one).items() if name != "seen_at"} for one in await team.workers()
    ]


async def _models(services: Services, _team: ReadsTeam, client: Client) -> list[dict[str, Any]]:
    return [one for one in views.models(client, services.terms.catalog) if one["listed"]]


_SECTIONS: Mapping[str, Callable[[Services, ReadsTeam, Client], Awaitable[Any]]] = {
    "now": lambda _, team, client: views.now(client, team),
    "status": _status,
    "accounts": _accounts,
    "problems": lambda _, team, client: views.problems(client, team, count=PROBLEMS),
    "keys": lambda _, team, client: views.keys(client, team),
    "invitations": _invitations,
    "workers": _workers,
    "usage": lambda _, team, client: views.usage(client, team, days=DAYS, by=("day",)),
    "models": _models,
}
