"""
Repairs records after a store was emptied or restored from a backup: this process remembers the newest version of each
record that it has seen, and writes it back. Such records are never deleted; their end is a version too. Knows nothing
of the records' contents.
"""

from __future__ import annotations

from gptmock.stores.store import Record, Store


class VersionGuard:
    """Reads and writes records so that an older version in the store never replaces a newer one seen before."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[str, Record] = {}

    async def settle(self, name: str, found: Record | None) -> Record | None:
        """
        Compare a record that was just read with the newest one seen; write the newer one back if the store is behind.

        Returns the newest version.

        Raises:
            StoreUnavailable: the store is behind, and the record could not be written back.
        """
        known = self._seen.get(name)
        if known is None or (found is not None and found.version >= known.version):
            if found is not None:
                self._seen[name] = found
            return found
        expected = found.version if found is not None else 0
        # A lost compare-and-set needs no retry: the winner's version is as new or newer, and the next read shows it.
        await self._store.write(name, known.value, expected=expected, version=known.version)
        return known

    async def put(self, name: str, value: bytes, *, expected: int) -> bool:
        """Compare-and-set: write version ``expected + 1``. Returns whether it was written."""
        written = await self._store.write(name, value, expected=expected) is None
        if written:
            self._seen[name] = Record(expected + 1, value)
        return written
