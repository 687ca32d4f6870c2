"""``AuditLog`` in a store: a list of the newest events. Knows their format, not when they happen."""

from __future__ import annotations

import hashlib

import msgspec

from gptmock.audit import AuditEvent
from gptmock.stores.store import Store

MAX_EVENTS = 10_000
LOG = "audit"


class StoreAuditLog:
    """
    ``AuditLog`` in a store.

    Args:
        store: holds the list.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(self, event: AuditEvent) -> None:
        """See ``AuditLog.record``."""
        await self._store.append(LOG, msgspec.json.encode(event), keep=MAX_EVENTS)

    async def is_first(self, subject: str, *, seconds: float) -> bool:
        """See ``AuditLog.is_first``."""
        name = f"audit-seen/{hashlib.sha256(subject.encode('utf-8', 'replace')).hexdigest()[:32]}"
        return await self._store.write(name, b"", expected=0, ttl_seconds=seconds) is None

    async def latest(self, count: int) -> list[AuditEvent]:
        """See ``AuditLog.latest``. Reads all of them: what a migration has added is older than what came before it."""
        entries = await self._store.entries(LOG, MAX_EVENTS)
        events = [msgspec.json.decode(value, type=AuditEvent) for value in entries]
        return sorted(events, key=lambda event: event.at, reverse=True)[:count]
