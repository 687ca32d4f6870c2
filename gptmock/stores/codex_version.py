"""
The highest protocol version that a Codex client has sent, in any store.

    codex:version    an observation whose stamp is the version: a lower one never replaces a higher one
"""

from __future__ import annotations

from gptmock.protocol.codex_version import is_plausible, release_numbers
from gptmock.stores.changes import count_change
from gptmock.stores.store import Store

NAME = "codex:version"
KEPT_SECONDS = 100 * 365 * 24 * 3600.0
"""Practically for ever: an observation needs a TTL."""


class SharedVersion:
    """``VersionRecord`` in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def load(self) -> str | None:
        """See ``VersionRecord.load``."""
        (value,) = await self._store.observed([NAME])
        version = value.decode("utf-8", "replace") if value is not None else ""
        # What a newer program has written may be too new for this one.
        return version if is_plausible(version) else None

    async def save(self, version: str) -> None:
        """See ``VersionRecord.save``."""
        if await self._store.observe(NAME, version.encode(), stamp=_stamp(version), ttl_seconds=KEPT_SECONDS):
            await count_change(self._store)


def is_higher(version: str, other: str | None) -> bool:
    """Whether a version is higher than another one, or there is no other."""
    return other is None or _stamp(version) > _stamp(other)


def _stamp(version: str) -> float:
    """Grows with the version; exact, since each number has at most four digits."""
    major, minor, patch = release_numbers(version) or (0, 0, 0)
    return float((major * 10_000 + minor) * 10_000 + patch)
