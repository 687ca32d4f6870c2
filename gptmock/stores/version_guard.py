"""
Records whose newest version a process remembers, so that a store that was emptied or restored from a copy is healed by
whoever knows better. Nobody deletes such a record: its end is a version too. Knows no meaning of any record.
"""

from __future__ import annotations

from gptmock.stores.changes import OwedCount
from gptmock.stores.store import Record, Store


class VersionGuard:
    """The newest of what a store shows and what this process has seen of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._count = OwedCount(store)
        self._seen: dict[str, Record] = {}

    async def settle(self, name: str, found: Record | None) -> Record | None:
        """
        The newest version of a record that was just read; an older one in the store is replaced by it, which is counted
        as a change.

        Raises:
            StoreUnavailable: there is one to replace, and it could not be.
        """
        known = self._seen.get(name)
        if known is None or (found is not None and found.version >= known.version):
            if found is not None:
                self._seen[name] = found
            await self._count.settle()
            return found
        expected = found.version if found is not None else 0
        self._count.owe()
        # Whoever was faster knows as much or more; the next look tells.
        await self._store.write(name, known.value, expected=expected, version=known.version)
        await self._count.settle()
        return known

    async def put(self, name: str, value: bytes, *, expected: int) -> bool:
        """Write the version after ``expected``. Returns whether that was what stood there."""
        written = await self._store.write(name, value, expected=expected) is None
        if written:
            self._seen[name] = Record(expected + 1, value)
        return written
