"""
Sessions of the page in a store.

    session/<digest>    record    the tenant; expires with the session
    signin/<digest>     slots     with the quota ``attempts`` of a source
"""

from __future__ import annotations

import hashlib
import secrets

from gptmock.stores.store import Quota, Store


class StoreSessions:
    """``SessionRecords`` in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def save(self, digest: str, tenant: str, *, ttl_seconds: float) -> None:
        """See ``SessionRecords.save``."""
        await self._store.write(_name(digest), tenant.encode(), expected=0, ttl_seconds=ttl_seconds)

    async def load(self, digest: str) -> str | None:
        """See ``SessionRecords.load``."""
        record = await self._store.read(_name(digest))
        return record.value.decode() if record is not None else None

    async def delete(self, digest: str) -> None:
        """See ``SessionRecords.delete``."""
        await self._store.delete(_name(digest))

    async def attempt(self, source: str, *, limit: int, window_seconds: float) -> float | None:
        """See ``SessionRecords.attempt``."""
        name = f"signin/{hashlib.sha256(source.encode()).hexdigest()[:32]}"
        quota = Quota("attempts", limit=limit, window_seconds=window_seconds, amount=1)
        taken = await self._store.take_slot(name, secrets.token_hex(8), limit=None, ttl_seconds=1.0, quotas=[quota])
        return None if taken else taken.uses[0].left_seconds


def _name(digest: str) -> str:
    return f"session/{digest}"
