"""``AuditLog`` in a store: a list of the newest events. Knows their format, not when they happen."""

from __future__ import annotations

import msgspec

from gptmock.audit import AuditEvent
from gptmock.stores.store import Store

MAX_EVENTS = 10_000
_NAME = "audit"


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
        await self._store.append(_NAME, msgspec.json.encode(event), keep=MAX_EVENTS)

    async def latest(self, count: int) -> list[AuditEvent]:
        """See ``AuditLog.latest``."""
        return [msgspec.json.decode(value, type=AuditEvent) for value in await self._store.entries(_NAME, count)]
