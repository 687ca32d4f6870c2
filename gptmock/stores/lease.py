"""The refresh lease of one account in any store, and the refresh failures that its holders report. Knows no token."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec

from gptmock.accounts import Trouble
from gptmock.errors import StoreUnavailable
from gptmock.stores.store import Store

TROUBLE_SECONDS = 30 * 24 * 3600.0
"""Longer than the lifetime of any access token: a lost answer matters until then."""
_NOBODY = "nobody"
_DECODE_TROUBLE = msgspec.json.Decoder(Trouble)


class StoreLease:
    """
    ``RefreshLease`` in a store: each attempt has a random owner.

    The backoff after a failure is a second lease with a fixed owner, since a lease tells its remaining time by the
    store's clock.
    """

    def __init__(self, store: Store, account_id: str, *, owner: str, ttl_seconds: float) -> None:
        self._store = store
        self._trouble_name = _name(account_id, "trouble")
        self._backoff_name = _name(account_id, "pause")
        self._name = _name(account_id, "refresh")
        self._owner = owner
        self._ttl = ttl_seconds

    async def acquire(self) -> bool:
        """See ``RefreshLease.acquire``."""
        return await self._store.acquire(self._name, self._owner, ttl_seconds=self._ttl)

    async def renew(self) -> bool:
        """See ``RefreshLease.renew``."""
        return await self._store.renew(self._name, self._owner, ttl_seconds=self._ttl)

    async def left_seconds(self) -> float:
        """See ``RefreshLease.left_seconds``."""
        return await self._store.lease_left(self._name, self._owner)

    async def release(self) -> None:
        """See ``RefreshLease.release``; if the store is unavailable, the lease expires by itself."""
        try:
            await asyncio.shield(self._store.release(self._name, self._owner))
        except StoreUnavailable:
            return

    async def trouble(self) -> Trouble:
        """See ``RefreshLease.trouble``."""
        (found,) = await self._store.observed([self._trouble_name])
        if found is None:
            return Trouble()
        left_seconds = await self._store.lease_left(self._backoff_name, _NOBODY)
        return replace(_DECODE_TROUBLE.decode(found), left_seconds=left_seconds)

    async def report(self, trouble: Trouble) -> None:
        """See ``RefreshLease.report``."""
        # The stamp is always 0, so that the latest report wins: only the holder of the lease reports.
        value = msgspec.json.encode(trouble)
        await self._store.observe(self._trouble_name, value, stamp=0.0, ttl_seconds=TROUBLE_SECONDS)
        seconds = trouble.left_seconds
        if seconds <= 0:
            await self._store.release(self._backoff_name, _NOBODY)
        elif not await self._store.renew(self._backoff_name, _NOBODY, ttl_seconds=seconds):
            # renew before acquire: an earlier backoff may not have expired yet, and acquire would fail.
            await self._store.acquire(self._backoff_name, _NOBODY, ttl_seconds=seconds)


def _name(account_id: str, kind: str) -> str:
    # With the hash tag of the account's records, so that a Redis Cluster keeps them in one slot.
    return f"acct:{{{account_id}}}:{kind}"
