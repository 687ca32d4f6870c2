"""
Guesses at client keys in a store.

    guess/<source>          slots     one for each guess, with the quota ``guesses`` of the source
    guess-burst/<source>    record    empty; while a burst that was recorded lasts

A source is stored as a hash.
"""

from __future__ import annotations

import hashlib

from gptmock.stores.store import Quota, Store


class StoreGuesses:
    """``GuessRecords`` in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def count(self, source: str, digest: str, *, limit: int, window_seconds: float) -> float | None:
        """See ``GuessRecords.count``. One round trip."""
        quota = Quota("guesses", limit=limit, window_seconds=window_seconds, amount=1)
        # Whoever has or had a slot is not counted again: that is a guess which is repeated.
        answer = await self._store.take_slot(
            f"guess/{_hash(source)}", digest, limit=None, ttl_seconds=1.0, quotas=[quota]
        )
        return None if answer else answer.uses[0].left_seconds

    async def begin_burst(self, source: str, *, ttl_seconds: float) -> bool:
        """See ``GuessRecords.begin_burst``."""
        name = f"guess-burst/{_hash(source)}"
        return await self._store.write(name, b"", expected=0, ttl_seconds=ttl_seconds) is None


def _hash(source: str) -> str:
    return hashlib.sha256(source.encode("utf-8", "replace")).hexdigest()[:32]
