"""
Client keys in a store, as encrypted and authenticated records: with access to the store alone nobody can read or
change one. Knows keys and their terms, not the requests that use them.

    key:{id}:terms    name, terms and the hash of the key text, sealed; without the hash once revoked

The hash is an HMAC-SHA-256 with a pepper (``stores.peppers``), without a slow key derivation: the text has 256 random
bits, so it cannot be guessed, and it is checked for every request. Older records have a plain SHA-256, which is
accepted too until ``add_peppers`` has replaced it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec

from gptmock.accounts import Secret
from gptmock.clients import (
    ALPHABET,
    ID_CHARACTERS,
    SECRET_CHARACTERS,
    ClientKey,
    IssuedKey,
    KeyTerms,
    key_id_of,
    key_text,
)
from gptmock.errors import KeyExpired, LockBusy, NameTaken, SealBroken, StoreUnavailable, UnknownClientKey
from gptmock.stores.changes import OwedCount
from gptmock.stores.peppers import Pepper, Peppers, has_pepper, plain_hash
from gptmock.stores.resealing import kind_of, opened
from gptmock.stores.seal import Sealer
from gptmock.stores.store import Record, Store
from gptmock.stores.version_guard import VersionGuard

CACHE_SECONDS = 0.8
"""How old a cached record may be: a revoked key is refused by all workers within a second."""
MAX_UNKNOWN = 1024
"""How many ids that do not exist are cached as such."""
_PREFIX = "key:"
_KIND = "key"
_LEASE = "keys:create"
_LEASE_SECONDS = 5.0
_WAIT_SECONDS = 6.0
"""Longer than the lease: a process that ended while it held it makes nobody fail."""
_POLL_SECONDS = 0.05


class _Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    key: ClientKey
    digest: str | None = None
    former_digest: str | None = None
    former_until: float = 0.0
    """Unix seconds: until then the key text before the last rotation is accepted too."""


@dataclass(slots=True)
class _CacheEntry:
    stored: _Stored | None
    read_at: float
    """Unix seconds; when it was last read from the store."""


_DECODE = msgspec.json.Decoder(_Stored)


class StoreClientKeys:
    """
    ``ClientKeys`` in a store, with a cache in this process.

    Args:
        store: holds the records.
        sealer: encrypts and decrypts them.
        clock: Unix seconds.
        peppers: of the operator, the current one first; none for one that the store keeps.
    """

    def __init__(
        self, store: Store, sealer: Sealer, *, clock: Callable[[], float], peppers: Iterable[Pepper] = ()
    ) -> None:
        self._store = store
        self._peppers = Peppers(store, sealer, peppers)
        self._sealer = sealer
        self._clock = clock
        self._count = OwedCount(store)
        self._records = VersionGuard(store)
        self._cache: dict[str, _CacheEntry] = {}
        self._loads: dict[str, asyncio.Task[_Stored | None]] = {}

    async def find(self, text: Secret) -> ClientKey | None:
        """See ``ClientKeys.find``. Reads a key from the store at most about once a second, however often it is used."""
        key_id = key_id_of(text.reveal())
        if key_id is None:
            return None
        stored = await self._current(key_id)
        now = self._clock()
        if stored is None or stored.key.revoked_at is not None:
            return None
        if stored.key.is_living(now):
            return await self._key_of(stored, text, now)
        # The pepper of a key that nobody can use any more may have been removed.
        with suppress(SealBroken):
            if await self._key_of(stored, text, now) is not None:
                raise KeyExpired("This key has expired.")
        return None

    async def reload(self) -> tuple[str, ...]:
        """
        Load all keys into the cache, also unused ones. Returns the ids of the accounts that active keys are bound to.

        Raises:
            StoreUnavailable: the store does not answer; the cache stays as it is.
        """
        now = self._clock()
        listed = {name for name in await self._store.names(_PREFIX) if kind_of(name) == _KIND}
        # A cached key that is not listed was lost by the store: it is written back.
        seen = {_name(key_id) for key_id, known in self._cache.items() if known.stored is not None}
        names = sorted(listed | seen)
        records = await self._store.read_many(names)
        is_behind = False
        for name, found in zip(names, records, strict=True):
            record = await self._records.settle(name, found)
            is_behind = is_behind or record is not found
            if record is None:
                continue
            try:
                stored = self._opened(name, record)
            except SealBroken:
                # A request that uses this key gets the error.
                self._cache.pop(_id_in(name), None)
            else:
                self._cache[stored.key.id] = _CacheEntry(stored, now)
        if is_behind or not all(
            self._peppers.has(known.stored.digest) for known in self._cache.values() if known.stored
        ):
            # Now, and not with the first request: the store may be away then.
            with suppress(SealBroken):
                await self._peppers.load()
        keys = [known.stored.key for known in self._cache.values() if known.stored is not None]
        bound = (key.terms.account_id for key in keys if key.is_living(now))
        return tuple(dict.fromkeys(one for one in bound if one is not None))

    def confirm(self, seen_at: float) -> None:
        """Mark the cache as fresh at ``seen_at`` (Unix seconds): the store had no change up to then."""
        for known in self._cache.values():
            if known.stored is not None:
                known.read_at = max(known.read_at, seen_at)

    async def create(self, name: str, terms: KeyTerms) -> IssuedKey:
        """See ``ClientKeys.create``."""
        owner = secrets.token_hex(16)
        await self._take_creation_lease(owner)
        try:
            if any(one.name == name and one.revoked_at is None for one in await self.all()):
                raise NameTaken(f"There is a key named {name!r} already; choose another name, or revoke that one.")
            key_id, text = _new_text()
            key = ClientKey(key_id, name, self._clock(), terms)
            if not await self._write(_Stored(key, await self._hash(text)), expected=0):
                raise StoreUnavailable("Another process has created a key with the same id; try again.")
        finally:
            with suppress(StoreUnavailable):
                # The lease expires by itself; the caller must get the text of a key that was written.
                await self._store.release(_LEASE, owner)
        return IssuedKey(key, text)

    async def all(self) -> list[ClientKey]:
        """See ``ClientKeys.all``. Two round trips, for commands."""
        return sorted(
            (stored.key for _, stored in await self._all_stored()), key=lambda key: (key.name, key.created_at)
        )

    async def show(self, name_or_id: str) -> ClientKey:
        """See ``ClientKeys.show``."""
        return (await self._find_stored(name_or_id))[1].key

    async def update(self, name_or_id: str, revise: Callable[[KeyTerms], KeyTerms]) -> ClientKey:
        """See ``ClientKeys.update``."""
        version, stored = await self._find_stored(name_or_id)
        _refuse_revoked(stored.key)
        key = replace(stored.key, terms=revise(stored.key.terms))
        await self._replace(msgspec.structs.replace(stored, key=key), expected=version)
        return key

    async def rotate(self, name_or_id: str, *, overlap_seconds: float = 0.0) -> IssuedKey:
        """See ``ClientKeys.rotate``."""
        version, stored = await self._find_stored(name_or_id)
        now = self._clock()
        _refuse_revoked(stored.key)
        _, text = _new_text(stored.key.id)
        key = replace(stored.key, rotated_at=now)
        rotated = _Stored(key, await self._hash(text), stored.digest, now + overlap_seconds)
        await self._replace(rotated, expected=version)
        return IssuedKey(key, text)

    async def revoke(self, name_or_id: str) -> ClientKey:
        """See ``ClientKeys.revoke``."""
        version, stored = await self._find_stored(name_or_id)
        if stored.key.revoked_at is not None:
            return stored.key
        key = replace(stored.key, revoked_at=self._clock())
        await self._replace(_Stored(key), expected=version)
        return key

    async def add_peppers(self) -> int:
        """
        Give every stored hash without a pepper the current one. Returns how many keys were changed.

        Raises:
            StoreError: a key could not be read or written; all others may have been changed.
        """
        count = 0
        for version, stored in await self._all_stored():
            if not all(one is None or has_pepper(one) for one in (stored.digest, stored.former_digest)):
                digest, former = await self._peppered(stored.digest), await self._peppered(stored.former_digest)
                peppered = msgspec.structs.replace(stored, digest=digest, former_digest=former)
                count += await self._write(peppered, expected=version)
                self._cache.pop(stored.key.id, None)
        return count

    async def unchecked(self) -> list[ClientKey]:
        """The valid keys that nobody can use, because their pepper is missing; may raise ``StoreError``."""
        now = self._clock()
        return [
            stored.key
            for _, stored in await self._all_stored()
            if stored.key.is_living(now) and stored.digest is not None and not await self._peppers.knows(stored.digest)
        ]

    # --- Hashes ------------------------------------------------------------------------

    async def _hash(self, text: Secret) -> str:
        return (await self._peppers.current()).hash(plain_hash(text))

    async def _peppered(self, digest: str | None) -> str | None:
        return digest if digest is None or has_pepper(digest) else (await self._peppers.current()).hash(digest)

    async def _key_of(self, stored: _Stored, text: Secret, now: float) -> ClientKey | None:
        """The key, if this is its text."""
        given = plain_hash(text)
        former = stored.former_digest if now < stored.former_until else None
        fits = [one is not None and await self._peppers.matches(one, given) for one in (stored.digest, former)]
        if fits[0]:
            return stored.key
        return replace(stored.key, text_ends_at=stored.former_until) if fits[1] else None

    # --- Cache -------------------------------------------------------------------------

    async def _current(self, key_id: str) -> _Stored | None:
        known = self._cache.get(key_id)
        # A negative age means that the clock was set back: the entry is not trusted.
        if known is not None and 0 <= self._clock() - known.read_at < CACHE_SECONDS:
            return known.stored
        try:
            return await self._load_shared(key_id)
        except StoreUnavailable:
            if known is None or known.stored is None:
                raise
            # Until its own end: without the store no tokens are renewed, and none serve for longer than they live.
            return known.stored

    async def _load_shared(self, key_id: str) -> _Stored | None:
        """Load a key; concurrent callers share one read."""
        look = self._loads.get(key_id)
        if look is None:
            look = asyncio.get_running_loop().create_task(self._load(key_id), name="client key")
            self._loads[key_id] = look
            look.add_done_callback(lambda _: self._loads.pop(key_id, None))
        return await asyncio.shield(look)

    async def _load(self, key_id: str) -> _Stored | None:
        name = _name(key_id)
        found = await self._store.read(name)
        record = await self._records.settle(name, found)
        if record is not found:
            # The store was emptied or is older than what was seen: it may lack the peppers too.
            await self._peppers.load()
        stored = None if record is None else self._opened(name, record)
        self._cache.pop(key_id, None)
        if stored is None:
            self._forget_unknown()
        self._cache[key_id] = _CacheEntry(stored, self._clock())
        return stored

    def _forget_unknown(self) -> None:
        unknown = [key_id for key_id, known in self._cache.items() if known.stored is None]
        if len(unknown) >= MAX_UNKNOWN:
            del self._cache[unknown[0]]

    # --- Records -----------------------------------------------------------------------

    async def _all_stored(self) -> list[tuple[int, _Stored]]:
        names = [name for name in await self._store.names(_PREFIX) if kind_of(name) == _KIND]
        records = await self._store.read_many(names)
        settled = [(name, await self._records.settle(name, one)) for name, one in zip(names, records, strict=True)]
        return [(record.version, self._opened(name, record)) for name, record in settled if record is not None]

    async def _find_stored(self, name_or_id: str) -> tuple[int, _Stored]:
        """A key and the version of its record."""
        found = [one for one in await self._all_stored() if name_or_id in (one[1].key.id, one[1].key.name)]
        if not found:
            raise UnknownClientKey(
                f"There is no key with the name or id {name_or_id!r}. All keys are in: gptmock keys list"
            )
        return max(found, key=lambda one: _rank(one[1].key, name_or_id))

    def _opened(self, name: str, record: Record) -> _Stored:
        return _DECODE.decode(opened(self._sealer, name, record))

    async def _write(self, stored: _Stored, *, expected: int) -> bool:
        name = _name(stored.key.id)
        plain = msgspec.json.encode(stored)
        sealed = self._sealer.seal(plain, kind=_KIND, name=name, version=expected + 1)
        written = await self._records.put(name, sealed, expected=expected)
        if written:
            # The key was changed, whether that can be counted now or only with the next change.
            self._count.owe()
            await self._count.settle()
        return written

    async def _replace(self, stored: _Stored, *, expected: int) -> None:
        if not await self._write(stored, expected=expected):
            raise StoreUnavailable("This key was changed by another process just now; check it and try again.")
        self._cache.pop(stored.key.id, None)

    async def _take_creation_lease(self, owner: str) -> None:
        """Take the creation lease: two processes that create the same name at once must not both find it free."""
        deadline = asyncio.get_running_loop().time() + _WAIT_SECONDS
        while not await self._store.acquire(_LEASE, owner, ttl_seconds=_LEASE_SECONDS):
            if asyncio.get_running_loop().time() > deadline:
                raise LockBusy("Another process is creating a key; try again.")
            await asyncio.sleep(_POLL_SECONDS)


def _refuse_revoked(key: ClientKey) -> None:
    if key.revoked_at is not None:
        raise UnknownClientKey(f"The key {key.name!r} was revoked; create another one.")


def _rank(key: ClientKey, name_or_id: str) -> tuple[bool, bool, float]:
    return key.id == name_or_id, key.revoked_at is None, key.created_at


def _new_text(key_id: str | None = None) -> tuple[str, Secret]:
    made = key_id or _random(ID_CHARACTERS)
    return made, key_text(made, _random(SECRET_CHARACTERS))


def _random(characters: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(characters))


def _id_in(name: str) -> str:
    return name.partition("{")[2].partition("}")[0]


def _name(key_id: str) -> str:
    return f"{_PREFIX}{{{key_id}}}:terms"
