"""
Stored responses in any store, as compressed and encrypted records. Knows encryption and record names, not what a
snapshot is for.

    response:{tenant}:{id}   record       the snapshot, compressed and sealed; expires
    item:{tenant}:{id}       observation  the id of the newest response that has the item

Names hold digests of tenants and ids, since ids may hold characters that names may not. The index holds no content, so
it is not sealed: a forged entry leads at most to another snapshot of the same tenant, where the item is not found.
Entries of a deleted response lead nowhere, and expire.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import zlib
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Raw, Struct

from gptmock.conversations import Snapshot
from gptmock.errors import SealBroken, StoreUnavailable
from gptmock.stores.seal import Sealer
from gptmock.stores.store import Store

log = logging.getLogger("gptmock.conversation")

_PREFIX = "response:"
_KIND = "response"
_TENANT_CHARACTERS = 16
_ID_CHARACTERS = 40
_AT_ONCE = 250
"""How many index entries are written or read in one round trip: some 5 ms of work, then others have their turn."""
_MAX_RACES = 10
_LARGE_BYTES = 64 * 1024
"""From this size on, sealing runs in a thread; zlib and AES release the GIL."""


class _Stored(Struct, frozen=True):
    response_id: str
    account_id: str
    input: list[Raw]
    inherited: int
    response: Raw
    expires_at: float
    """Unix seconds; ``reseal`` needs it, since a store does not tell when a record expires."""


_DECODE = msgspec.json.Decoder(_Stored)


class SealedConversations:
    """
    ``Conversations`` in a store.

    Args:
        store: holds the records.
        sealer: encrypts and decrypts them.
        ttl_seconds: how long a response is kept.
        clock: Unix seconds.
    """

    def __init__(
        self, store: Store, sealer: Sealer, *, ttl_seconds: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._current: set[str] = set()
        """Names of records that ``reseal`` has checked already."""

    async def save(self, tenant: str, snapshot: Snapshot) -> None:
        """See ``Conversations.save``. The index is written after the snapshot, so that it never leads nowhere."""
        name = _response_name(tenant, snapshot.response_id)
        plain = _encode(snapshot, expires_at=self._clock() + self._ttl_seconds)
        await self._write(name, plain)
        ids = list(dict.fromkeys(one for one, _ in snapshot.named(since=snapshot.inherited)))
        value = snapshot.response_id.encode()
        for start in range(0, len(ids), _AT_ONCE):
            entries = {_item_name(tenant, one): value for one in ids[start : start + _AT_ONCE]}
            await self._store.observe_all(entries, stamp=self._clock(), ttl_seconds=self._ttl_seconds)

    async def load(self, tenant: str, response_id: str) -> Snapshot | None:
        """See ``Conversations.load``."""
        name = _response_name(tenant, response_id)
        record = await self._store.read(name)
        if record is None:
            return None
        plain = await _in_thread_if_large(len(record.value), self._open, name, record.value, record.version)
        return _decode(plain)

    async def delete(self, tenant: str, response_id: str) -> bool:
        """See ``Conversations.delete``. A record that cannot be decrypted any more can be deleted too."""
        return await self._store.delete(_response_name(tenant, response_id))

    async def find(self, tenant: str, item_ids: Sequence[str]) -> dict[str, Raw]:
        """
        See ``Conversations.find``.

        One round trip for the index of 250 items, and one for each response that holds some of the items: mostly one,
        since the newest response of a conversation has all its items.
        """
        missing = list(dict.fromkeys(item_ids))
        entries: list[bytes | None] = []
        for start in range(0, len(missing), _AT_ONCE):
            names = [_item_name(tenant, one) for one in missing[start : start + _AT_ONCE]]
            entries += await self._store.observed(names)
        led = {one: entry.decode() for one, entry in zip(missing, entries, strict=True) if entry is not None}
        found: dict[str, Raw] = {}
        for response_id in dict.fromkeys(led.values()):
            snapshot = await self.load(tenant, response_id)
            items = dict(snapshot.named()) if snapshot is not None else {}
            found |= {one: items[one] for one, where in led.items() if where == response_id and one in items}
        return found

    async def reseal(self) -> int:
        """
        Re-encrypt, with the first key of the ring, what an older key has encrypted. Returns how many snapshots were.

        One after the other, since they are large; each process reads each of them once, and none while the ring has
        only one key.
        """
        if not self._sealer.has_older_keys:
            return 0
        names = set(await self._store.names(_PREFIX))
        self._current &= names
        count = 0
        for name in sorted(names - self._current):
            count += await self._resealed(name)
            self._current.add(name)
        return count

    async def _resealed(self, name: str) -> bool:
        record = await self._store.read(name)
        if record is None or self._sealer.is_current(record.value):
            return False
        try:
            plain = await _in_thread_if_large(len(record.value), self._open, name, record.value, record.version)
        except SealBroken as error:
            log.warning("conversation.not_resealed", extra={"code": error.code, "reason": error.message})
            return False
        version = record.version + 1
        sealed = await _in_thread_if_large(len(plain), self._seal, name, plain, version)
        left = _DECODE.decode(plain).expires_at - self._clock()
        return await self._store.write(name, sealed, expected=record.version, ttl_seconds=left) is None

    async def _write(self, name: str, plain: bytes) -> None:
        """Write, also over an existing record: if the upstream uses an id twice, the later response replaces it."""
        held = 0
        for _ in range(_MAX_RACES):
            sealed = await _in_thread_if_large(len(plain), self._seal, name, plain, held + 1)
            standing = await self._store.write(name, sealed, expected=held, ttl_seconds=self._ttl_seconds)
            if standing is None:
                return
            held = standing.version
        raise StoreUnavailable("The response could not be stored: too many concurrent writes.", retry_after_seconds=1.0)

    def _seal(self, name: str, plain: bytes, version: int) -> bytes:
        # Level 1: text shrinks to a third; encrypted reasoning does not compress better at higher levels.
        return self._sealer.seal(zlib.compress(plain, 1), kind=_KIND, name=name, version=version)

    def _open(self, name: str, sealed: bytes, version: int) -> bytes:
        return zlib.decompress(self._sealer.open(sealed, kind=_KIND, name=name, version=version))


async def _in_thread_if_large(
    size_bytes: int, work: Callable[[str, bytes, int], bytes], name: str, data: bytes, version: int
) -> bytes:
    if size_bytes < _LARGE_BYTES:
        return work(name, data, version)
    return await asyncio.to_thread(work, name, data, version)


def _encode(snapshot: Snapshot, *, expires_at: float) -> bytes:
    return msgspec.json.encode(
        _Stored(
            response_id=snapshot.response_id,
            account_id=snapshot.account_id,
            input=list(snapshot.input),
            inherited=snapshot.inherited,
            response=snapshot.response,
            expires_at=expires_at,
        )
    )


def _decode(plain: bytes) -> Snapshot:
    stored = _DECODE.decode(plain)
    return Snapshot(
        response_id=stored.response_id,
        account_id=stored.account_id,
        input=tuple(stored.input),
        inherited=stored.inherited,
        response=stored.response,
    )


def _response_name(tenant: str, response_id: str) -> str:
    return f"{_PREFIX}{_digest(tenant, _TENANT_CHARACTERS)}:{_digest(response_id, _ID_CHARACTERS)}"


def _item_name(tenant: str, item_id: str) -> str:
    return f"item:{_digest(tenant, _TENANT_CHARACTERS)}:{_digest(item_id, _ID_CHARACTERS)}"


def _digest(text: str, characters: int) -> str:
    # A client may send lone surrogates: they are hashed like any other id.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:characters]
