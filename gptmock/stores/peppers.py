"""
The peppers of client keys: secrets that the hash of a key's text is made with (HMAC-SHA-256), so that a copy of the
records, even an opened one, cannot be used to check guesses. Knows peppers and hashes, not keys.

    given           ``GPTMOCK_KEY_PEPPER``, current first; the former ones still check
    pepper:{id}     made once when none is given: 32 random bytes, sealed by the ring of encryption keys and kept in the
                    store, so that all servers and commands of a store have it, and a migration carries it

    hash            "{id of the pepper}:{hex of HMAC-SHA-256(pepper, SHA-256 of the text)}"

The id is the beginning of a hash of the pepper. The text is hashed first because older records have that hash alone:
they get a pepper without the text.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from gptmock.accounts import Secret
from gptmock.errors import SealBroken
from gptmock.stores.resealing import PEPPERS, opened
from gptmock.stores.seal import Sealer
from gptmock.stores.store import Store
from gptmock.stores.version_guard import VersionGuard

PEPPER_BYTES = 32
_ID_BYTES = 4


@dataclass(frozen=True, slots=True)
class Pepper:
    """One pepper and its id."""

    id: str
    _secret: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> Pepper:
        """A pepper from its bytes."""
        return cls(hashlib.sha256(b"gptmock pepper id" + secret).digest()[:_ID_BYTES].hex(), secret)

    def hash(self, plain: str) -> str:
        """The hash to store, of the hash without a pepper."""
        return f"{self.id}:{hmac.new(self._secret, plain.encode(), hashlib.sha256).hexdigest()}"


def parse_peppers(text: str) -> tuple[Pepper, ...]:
    """The peppers in ``GPTMOCK_KEY_PEPPER``, separated by commas or white space."""
    return tuple(Pepper.of(word.encode()) for word in text.replace(",", " ").split())


def plain_hash(text: Secret) -> str:
    """The hash of a key's text without a pepper, in hex."""
    return hashlib.sha256(text.reveal().encode("utf-8", "surrogatepass")).hexdigest()


def has_pepper(stored: str) -> bool:
    """Whether a stored hash was made with a pepper."""
    return ":" in stored


class Peppers:
    """
    The peppers of one store, cached in this process.

    Args:
        store: holds the peppers that nobody gave.
        sealer: encrypts and decrypts those.
        given: of the operator; the first one makes new hashes.
    """

    def __init__(self, store: Store, sealer: Sealer, given: Iterable[Pepper] = ()) -> None:
        self._store = store
        self._sealer = sealer
        self._given = tuple(given)
        self._records = VersionGuard(store)
        self._known = {one.id: one for one in self._given}
        self._kept: tuple[Pepper, ...] = ()
        self._loading = asyncio.Lock()

    async def load(self) -> None:
        """
        Read the peppers in the store.

        Raises:
            StoreUnavailable: the store does not answer.
            SealBroken: one of them cannot be decrypted.
        """
        # A pepper that was seen and is not listed was lost by the store: it is written back.
        names = sorted({*await self._store.names(PEPPERS), *(f"{PEPPERS}{one.id}" for one in self._kept)})
        records = await self._store.read_many(names)
        settled = [(name, await self._records.settle(name, one)) for name, one in zip(names, records, strict=True)]
        found = [opened(self._sealer, name, record) for name, record in settled if record is not None]
        self._kept = tuple(Pepper.of(secret) for secret in found)
        self._known = {one.id: one for one in (*self._kept, *self._given)}

    async def current(self) -> Pepper:
        """
        The pepper for new hashes; made if there is none.

        Raises:
            StoreUnavailable: it could not be read or made.
        """
        if self._given:
            return self._given[0]
        if not self._kept:
            await self.load()
        if not self._kept:
            await self._make()
        # Two processes may have made one each: both check, and all write with the same one.
        return min(self._kept, key=lambda one: one.id)

    async def matches(self, stored: str, plain: str) -> bool:
        """
        Whether a stored hash is that of the text with this plain hash; compared in constant time.

        Raises:
            StoreUnavailable: the pepper could not be read.
            SealBroken: the pepper is neither given nor in the store.
        """
        if not has_pepper(stored):
            return hmac.compare_digest(stored, plain)
        return hmac.compare_digest(stored, (await self._of(stored)).hash(plain))

    def has(self, stored: str | None) -> bool:
        """Whether this process can check a stored hash without a read."""
        return stored is None or not has_pepper(stored) or stored.partition(":")[0] in self._known

    async def knows(self, stored: str) -> bool:
        """Whether a stored hash can be checked; may raise ``StoreUnavailable``."""
        try:
            return not has_pepper(stored) or bool(await self._of(stored))
        except SealBroken:
            return False

    async def _of(self, stored: str) -> Pepper:
        its_id = stored.partition(":")[0]
        if its_id not in self._known:
            async with self._loading:
                # Of many requests at once, one reads.
                if its_id not in self._known:
                    await self.load()
        found = self._known.get(its_id)
        if found is None:
            raise SealBroken(
                "A client key was stored with a pepper that is not in GPTMOCK_KEY_PEPPER; add it behind the current "
                "one.",
                code="key_pepper_unknown",
            )
        return found

    async def _make(self) -> None:
        secret = secrets.token_bytes(PEPPER_BYTES)
        name = f"{PEPPERS}{Pepper.of(secret).id}"
        await self._records.put(name, self._sealer.seal(secret, kind="pepper", name=name, version=1), expected=0)
        await self.load()
