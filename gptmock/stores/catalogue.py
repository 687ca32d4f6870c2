"""The catalogue cache over any store: a small head that is looked at often, and the document that it names."""

from __future__ import annotations

import asyncio
import hashlib
import secrets

import msgspec

from gptmock.catalog import CatalogSnapshot
from gptmock.errors import StoreUnavailable
from gptmock.stores.store import Record, Store

KEPT_SECONDS = 30 * 24 * 3600.0
"""A catalogue that nobody has looked after for so long belongs to an account that has gone."""
CLAIM_SECONDS = 60.0
"""Who could not reach the upstream keeps the claim: nobody else tries before this has passed."""


class _Head(msgspec.Struct, frozen=True):
    digest: str
    etag: str | None
    checked_at: float
    heard: tuple[str, ...] = ()


class StoreCatalogCache:
    """
    ``CatalogCache`` over a store.

    Args:
        store: where it rests.
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
            # Two writers have met; the next one puts it right.
            return None
        return CatalogSnapshot(document.value, head.etag, head.checked_at, head.heard, version)

    async def save(self, account_id: str, snapshot: CatalogSnapshot) -> None:
        """See ``CatalogCache.save``."""
        digest = _digest(snapshot.document)
        head = msgspec.json.encode(_Head(digest, snapshot.etag, snapshot.checked_at, snapshot.heard))
        names = [_name(account_id, snapshot.version, kind) for kind in ("document", "head")]
        standing = await self._store.read_many(names)
        # The document first: a head never names what is not there.
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
        # Of another version of this program; it is written anew.
        return None


def _digest(document: bytes) -> str:
    return hashlib.sha256(document).hexdigest()
