"""
What the operator's webhook was told last, in any store.

    notices    record    JSON: subject to level; see ``gateway.notices``
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gptmock.stores.store import Store

NAME = "notices"
_DECODE = msgspec.json.Decoder(dict[str, str]).decode


class StoreToldRecord:
    """``gptmock.notices.ToldRecord`` in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def load(self) -> tuple[dict[str, str], int]:
        """See ``ToldRecord.load``."""
        record = await self._store.read(NAME)
        if record is None:
            return {}, 0
        try:
            return _DECODE(record.value), record.version
        except msgspec.DecodeError:
            # Of another version of this program: told anew.
            return {}, record.version

    async def replace(self, told: Mapping[str, str], *, version: int) -> bool:
        """See ``ToldRecord.replace``."""
        return await self._store.write(NAME, msgspec.json.encode(told), expected=version) is None
