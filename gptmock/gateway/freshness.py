"""
Keeps a worker's caches fresh: accounts, tokens, limits and client keys are loaded before it serves, and reloaded in the
background when the store's change counter moves. If the store becomes unavailable later, requests use the caches.

    at the start            load everything; if the store does not answer, ``run`` tries again
    every LOOK_SECONDS      one read of the change counter; if it is unchanged, all caches count as fresh
    the counter has changed reload everything
    every RELOAD_SECONDS    reload everything, for changes that were not counted

Knows contracts, no store.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from gptmock.errors import GptmockError

LOOK_SECONDS = 0.7
"""Below the caches' ``CACHE_SECONDS`` of 0.8: while this runs, requests read nothing but limits from the store."""
LOOK_JITTER = 0.1
RELOAD_SECONDS = 30.0


class KnownAccounts(Protocol):
    """Which accounts may serve, and how they stand (``gateway.account_selection.AccountSelector``)."""

    async def reload(self) -> Sequence[str]:
        """Look now; the accounts that may serve."""

    def confirm(self, seen_at: float) -> None:
        """Nothing has changed up to this moment, in Unix seconds."""


class KnownKeys(Protocol):
    """The client keys (``stores.client_keys.StoreClientKeys``)."""

    async def reload(self) -> Sequence[str]:
        """Look now; the accounts that keys are bound to."""

    def confirm(self, seen_at: float) -> None:
        """Nothing has changed up to this moment, in Unix seconds."""


class KnownTokens(Protocol):
    """The tokens (``gateway.credentials.CredentialKeeper``)."""

    async def reload(self, account_ids: Sequence[str]) -> None:
        """Look now at these accounts, and at all others that are known."""

    def confirm(self, seen_at: float) -> None:
        """Nothing has changed up to this moment, in Unix seconds."""


class FreshnessWatch:
    """
    Loads, and keeps fresh.

    Args:
        revision: reads the change counter (``TokenVault.revision``).
        accounts: looks at the accounts that may serve.
        keys: looks at the client keys.
        tokens: looks at tokens.
        clock: Unix seconds, the same as that of the three.
        also: loads what else a change may concern.
    """

    def __init__(  # noqa: PLR0913 - one contract for each thing it keeps fresh
        self,
        revision: Callable[[], Awaitable[int]],
        accounts: KnownAccounts,
        keys: KnownKeys,
        tokens: KnownTokens,
        *,
        clock: Callable[[], float],
        also: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._revision = revision
        self._accounts = accounts
        self._keys = keys
        self._tokens = tokens
        self._clock = clock
        self._also = also
        self._loaded: int | None = None
        """The revision that was loaded; ``None`` until all has been."""
        self._loaded_at = float("-inf")

    async def look(self) -> None:
        """
        One read, and a reload where it is due.

        Raises:
            StoreError: the store does not answer; what is known stays.
        """
        now = self._clock()
        revision = await self._revision()
        # A clock that was set back makes nothing younger.
        if revision != self._loaded or not 0 <= now - self._loaded_at < RELOAD_SECONDS:
            self._loaded = None
            serving = await self._accounts.reload()
            bound = await self._keys.reload()
            await self._tokens.reload(tuple(dict.fromkeys((*serving, *bound))))
            if self._also is not None:
                await self._also()
            # Of the revision from before: what changed meanwhile is loaded once more.
            self._loaded, self._loaded_at = revision, now
        for known in (self._accounts, self._keys, self._tokens):
            known.confirm(now)

    async def load(self) -> None:
        """Look once, before the worker serves; trouble is left to ``run`` and to the requests."""
        with suppress(GptmockError):
            await self.look()

    async def run(self) -> None:
        """Look until cancelled, beside the server."""
        while True:
            await asyncio.sleep(LOOK_SECONDS * random.uniform(1 - LOOK_JITTER, 1 + LOOK_JITTER))  # noqa: S311
            await self.load()
