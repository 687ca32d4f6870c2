"""The model catalogue cache in any store: the catalogue document, and a small head record that is read often."""

from __future__ import annotations

import asyncio
import hashlib
import secrets

import msgspec

from gptmock.catalog import CatalogSnapshot
from gptmock.errors import StoreUnavailable
from gptmock.stores.store import Record, Store

KEPT_SECONDS = 30 * 24 * 3600.0
"""A catalogue that was not refreshed for so long belongs to a removed account."""
CLAIM_SECONDS = 60.0
"""A worker that could not reach the upstream keeps its claim, so that no other worker tries before this has passed."""


class _Head(msgspec.Struct, frozen=True):
    digest: str
    etag: str | None
    checked_at: float
    heard: tuple[str, ...] = ()


class StoreCatalogCache:
    """
    ``CatalogCache`` over a store.

    Args:
        store: holds the cache.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._owner = secrets.token_hex(16)

    async def load(
        self, account_id: str, version: str, *, known: CatalogSnapshot | None = None
    ) -> CatalogSnapshot | None:
        """See ``CatalogCache.load``."""
        record = await self._store.read(_name(account_id, version, "head"))
        head = _head(record)
        if head is None:
            return None
        if known is not None and _digest(known.document) == head.digest:
            return CatalogSnapshot(known.document, head.etag, head.checked_at, head.heard, version)
        document = await self._store.read(_name(account_id, version, "document"))
        if document is None or _digest(document.value) != head.digest:
            # Two concurrent writers have mixed their head and document; the next write repairs it.
            return None
        return CatalogSnapshot(document.value, head.etag, head.checked_at, head.heard, version)

    async def save(self, account_id: str, snapshot: CatalogSnapshot) -> None:
        """See ``CatalogCache.save``."""
        digest = _digest(snapshot.document)
        head = msgspec.json.encode(_Head(digest, snapshot.etag, snapshot.checked_at, snapshot.heard))
        names = [_name(account_id, snapshot.version, kind) for kind in ("document", "head")]
        standing = await self._store.read_many(names)
        # The document first, so that a head never names a document that is not there yet.
        for name, value, record in zip(names, (snapshot.document, head), standing, strict=True):
            expected = 0 if record is None else record.version
            await self._store.write(name, value, expected=expected, ttl_seconds=KEPT_SECONDS)

    async def claim(self, account_id: str) -> bool:
        """See ``CatalogCache.claim``."""
        return await self._store.acquire(_claim(account_id), self._owner, ttl_seconds=CLAIM_SECONDS)

    async def release(self, account_id: str) -> None:
        """See ``CatalogCache.release``."""
        try:
            await asyncio.shield(self._store.release(_claim(account_id), self._owner))
        except StoreUnavailable:
            return


def _name(account_id: str, version: str, kind: str) -> str:
    return f"catalogue:{{{account_id}}}:{version}:{kind}"


def _claim(account_id: str) -> str:
    return f"catalogue:{{{account_id}}}:claim"


def _head(record: Record | None) -> _Head | None:
    if record is None:
        return None
    try:
        return msgspec.json.decode(record.value, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Written by another version of this program; it is overwritten.
        return None


def _digest(document: bytes) -> str:
    return hashlib.sha256(document).hexdigest()
