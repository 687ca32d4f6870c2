"""
Client keys in a store: sealed records that a dump of the store neither tells nor lets anybody change. Knows what a key
is, not what it is asked for.

    key:{id}:terms    name, terms and the hash of the text, sealed; once revoked, without the hash

The hash is a plain SHA-256: the text has 256 random bits, which no dictionary has, and it is checked for every request.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
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
from gptmock.errors import LockBusy, NameTaken, SealBroken, StoreUnavailable, UnknownClientKey
from gptmock.stores.changes import OwedCount
from gptmock.stores.resealing import kind_of, opened
from gptmock.stores.seal import Sealer
from gptmock.stores.store import Record, Store
from gptmock.stores.version_guard import VersionGuard

KNOWN_SECONDS = 0.8
"""How old a look at the store may be: a revoked key is refused by all workers within a second."""
MAX_UNKNOWN = 1024
"""So many ids that nobody has are remembered as such."""
_PREFIX = "key:"
_KIND = "key"
_LEASE = "keys:create"
_LEASE_SECONDS = 5.0
_WAIT_SECONDS = 2.0
_POLL_SECONDS = 0.05


class _Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    key: ClientKey
    digest: str | None = None
    former_digest: str | None = None
    former_until: float = 0.0
    """Unix seconds: until then the text before the last rotation lets in too."""


@dataclass(slots=True)
class _Known:
    stored: _Stored | None
    looked_at: float
    """Unix seconds; when the store last told."""


_DECODE = msgspec.json.Decoder(_Stored)


class StoreClientKeys:
    """
    ``ClientKeys`` over a store and a seal.

    Args:
        store: where the records rest.
        sealer: seals and opens them.
        clock: Unix seconds.
    """

    def __init__(self, store: Store, sealer: Sealer, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._count = OwedCount(store)
        self._records = VersionGuard(store)
        self._known: dict[str, _Known] = {}
        self._looks: dict[str, asyncio.Task[_Stored | None]] = {}

    async def find(self, text: Secret) -> ClientKey | None:
        """See ``ClientKeys.find``. Asks the store about once a second for each key, whoever uses it how often."""
        key_id = key_id_of(text.reveal())
        if key_id is None:
            return None
        stored = await self._current(key_id)
        now = self._clock()
        return stored.key if stored is not None and _fits(stored, text, now) and stored.key.is_living(now) else None

    async def reload(self) -> tuple[str, ...]:
        """
        Look now at all keys, also at those that nobody has shown yet. Returns the ids of accounts that living ones are
        bound to.

        Raises:
            StoreUnavailable: the store does not answer; what is known stays.
        """
        now = self._clock()
        listed = {name for name in await self._store.names(_PREFIX) if kind_of(name) == _KIND}
        # What is known and not listed was lost by the store: it is put back.
        seen = {_name(key_id) for key_id, known in self._known.items() if known.stored is not None}
        names = sorted(listed | seen)
        records = await self._store.read_many(names)
        for name, found in zip(names, records, strict=True):
            record = await self._records.settle(name, found)
            if record is None:
                continue
            try:
                stored = self._opened(name, record)
            except SealBroken:
                # Whoever shows it is told.
                self._known.pop(_id_in(name), None)
            else:
                self._known[stored.key.id] = _Known(stored, now)
        keys = [known.stored.key for known in self._known.values() if known.stored is not None]
        bound = (key.terms.account_id for key in keys if key.is_living(now))
        return tuple(dict.fromkeys(one for one in bound if one is not None))

    def confirm(self, seen_at: float) -> None:
        """Nothing has changed in the store up to this moment (Unix seconds): what is known counts as looked at then."""
        for known in self._known.values():
            if known.stored is not None:
                known.looked_at = max(known.looked_at, seen_at)

    async def create(self, name: str, terms: KeyTerms) -> IssuedKey:
        """See ``ClientKeys.create``."""
        owner = secrets.token_hex(16)
        await self._begin(owner)
        try:
            if any(one.name == name and one.revoked_at is None for one in await self.all()):
                raise NameTaken(f"There is a key named {name!r} already; choose another name, or revoke that one.")
            key_id, text = _new_text()
            key = ClientKey(key_id, name, self._clock(), terms)
            if not await self._write(_Stored(key, _digest(text)), expected=0):
                raise StoreUnavailable("A key of the same id came between; try again.")
        finally:
            with suppress(StoreUnavailable):
                # It ends by itself; the text of a key that was written must reach whoever asked for it.
                await self._store.release(_LEASE, owner)
        return IssuedKey(key, text)

    async def all(self) -> list[ClientKey]:
        """See ``ClientKeys.all``. Two round trips, for people."""
        return sorted((stored.key for _, stored in await self._every()), key=lambda key: (key.name, key.created_at))

    async def show(self, name_or_id: str) -> ClientKey:
        """See ``ClientKeys.show``."""
        return (await self._one(name_or_id))[1].key

    async def rotate(self, name_or_id: str, *, overlap_seconds: float = 0.0) -> IssuedKey:
        """See ``ClientKeys.rotate``."""
        version, stored = await self._one(name_or_id)
        now = self._clock()
        if stored.key.revoked_at is not None:
            raise UnknownClientKey(f"The key {stored.key.name!r} was revoked; create another one.")
        _, text = _new_text(stored.key.id)
        key = replace(stored.key, rotated_at=now)
        await self._replace(_Stored(key, _digest(text), stored.digest, now + overlap_seconds), expected=version)
        return IssuedKey(key, text)

    async def revoke(self, name_or_id: str) -> ClientKey:
        """See ``ClientKeys.revoke``."""
        version, stored = await self._one(name_or_id)
        if stored.key.revoked_at is not None:
            return stored.key
        key = replace(stored.key, revoked_at=self._clock())
        await self._replace(_Stored(key), expected=version)
        return key

    # --- What is known -----------------------------------------------------------------

    async def _current(self, key_id: str) -> _Stored | None:
        known = self._known.get(key_id)
        # A clock that was set back makes nothing younger.
        if known is not None and 0 <= self._clock() - known.looked_at < KNOWN_SECONDS:
            return known.stored
        try:
            return await self._look(key_id)
        except StoreUnavailable:
            if known is None or known.stored is None:
                raise
            # Until its own end: without the store no tokens are renewed, and none serve for longer than they live.
            return known.stored

    async def _look(self, key_id: str) -> _Stored | None:
        """One look for all requests that want one now."""
        look = self._looks.get(key_id)
        if look is None:
            look = asyncio.get_running_loop().create_task(self._load(key_id), name="client key")
            self._looks[key_id] = look
            look.add_done_callback(lambda _: self._looks.pop(key_id, None))
        return await asyncio.shield(look)

    async def _load(self, key_id: str) -> _Stored | None:
        name = _name(key_id)
        record = await self._records.settle(name, await self._store.read(name))
        stored = None if record is None else self._opened(name, record)
        self._known.pop(key_id, None)
        if stored is None:
            self._forget_unknown()
        self._known[key_id] = _Known(stored, self._clock())
        return stored

    def _forget_unknown(self) -> None:
        unknown = [key_id for key_id, known in self._known.items() if known.stored is None]
        if len(unknown) >= MAX_UNKNOWN:
            del self._known[unknown[0]]

    # --- Records -----------------------------------------------------------------------

    async def _every(self) -> list[tuple[int, _Stored]]:
        names = [name for name in await self._store.names(_PREFIX) if kind_of(name) == _KIND]
        records = await self._store.read_many(names)
        settled = [(name, await self._records.settle(name, one)) for name, one in zip(names, records, strict=True)]
        return [(record.version, self._opened(name, record)) for name, record in settled if record is not None]

    async def _one(self, name_or_id: str) -> tuple[int, _Stored]:
        """A key and the version of its record."""
        found = [one for one in await self._every() if name_or_id in (one[1].key.id, one[1].key.name)]
        if not found:
            raise UnknownClientKey(f"There is no key with the name or id {name_or_id!r}.")
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
            raise StoreUnavailable("Somebody else has changed this key just now; look at it and try again.")
        self._known.pop(stored.key.id, None)

    async def _begin(self, owner: str) -> None:
        """Alone over all processes: two that create one name at once must not both find it free."""
        deadline = asyncio.get_running_loop().time() + _WAIT_SECONDS
        while not await self._store.acquire(_LEASE, owner, ttl_seconds=_LEASE_SECONDS):
            if asyncio.get_running_loop().time() > deadline:
                raise LockBusy("Somebody else is creating a key; try again.")
            await asyncio.sleep(_POLL_SECONDS)


def _fits(stored: _Stored, text: Secret, now: float) -> bool:
    given = _digest(text)
    former = stored.former_digest if now < stored.former_until else None
    return any(hmac.compare_digest(given, one) for one in (stored.digest, former) if one is not None)


def _rank(key: ClientKey, name_or_id: str) -> tuple[bool, bool, float]:
    return key.id == name_or_id, key.revoked_at is None, key.created_at


def _new_text(key_id: str | None = None) -> tuple[str, Secret]:
    made = key_id or _random(ID_CHARACTERS)
    return made, key_text(made, _random(SECRET_CHARACTERS))


def _random(characters: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(characters))


def _digest(text: Secret) -> str:
    return hashlib.sha256(text.reveal().encode("utf-8", "surrogatepass")).hexdigest()


def _id_in(name: str) -> str:
    return name.partition("{")[2].partition("}")[0]


def _name(key_id: str) -> str:
    return f"{_PREFIX}{{{key_id}}}:terms"
