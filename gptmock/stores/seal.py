"""
Sealing: AES-256-GCM over what rests in a store, bound to the name and version it rests under. Knows no store.

    sealed = "gm1" | key id (4 bytes) | nonce (12 bytes) | ciphertext and tag

The associated data is everything that must not be exchanged behind our back: header, kind of record, id, version. A
record copied to another account, or an older version put back under a newer number, does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gptmock.errors import SealBroken, UnusableKey

KEY_BYTES = 32
_MAGIC = b"gm1"
_KEY_ID_BYTES = 4
_NONCE_BYTES = 12
_HEADER_BYTES = len(_MAGIC) + _KEY_ID_BYTES
MIN_DISTINCT_BYTES = 8
"""A random key of 32 bytes has about 30 different ones; one typed by hand or all zeros has few."""


@dataclass(frozen=True, slots=True)
class SealingKey:
    """One key of the ring; its id travels with every record."""

    id: bytes
    _cipher: AESGCM = field(repr=False)

    @classmethod
    def from_bytes(cls, key: bytes) -> SealingKey:
        """
        A key from its 32 bytes.

        Raises:
            UnusableKey: wrong length, or plainly not random.
        """
        if len(key) != KEY_BYTES:
            raise UnusableKey(f"an encryption key has {len(key)} bytes; it must have {KEY_BYTES}")
        if len(set(key)) < MIN_DISTINCT_BYTES:
            raise UnusableKey("an encryption key is not random; make one with: openssl rand -base64 32")
        return cls(hashlib.sha256(b"gptmock key id" + key).digest()[:_KEY_ID_BYTES], AESGCM(key))

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """Sealed bytes under a fresh random nonce."""
        header, nonce = _MAGIC + self.id, os.urandom(_NONCE_BYTES)
        return header + nonce + self._cipher.encrypt(nonce, plain, header + associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """
        The plain bytes.

        Raises:
            InvalidTag: tampered with, or sealed for another place.
        """
        header, nonce = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
        return self._cipher.decrypt(nonce, sealed[_HEADER_BYTES + _NONCE_BYTES :], header + associated)


class Sealer:
    """A ring of keys: the first writes, all read."""

    def __init__(self, keys: Iterable[SealingKey]) -> None:
        self._ring = {key.id: key for key in reversed(tuple(keys))}
        if not self._ring:
            raise UnusableKey("there is no encryption key")
        self._first = tuple(self._ring.values())[-1]

    def seal(self, plain: bytes, *, kind: str, name: str, version: int) -> bytes:
        """Seal a record for the place it will rest in."""
        return self._first.seal(plain, _associated(kind, name, version))

    def open(self, sealed: bytes, *, kind: str, name: str, version: int) -> bytes:
        """
        Open a record as found in its place.

        Raises:
            SealBroken: no key of the ring fits, or the record was changed or moved.
        """
        if not sealed.startswith(_MAGIC) or len(sealed) <= _HEADER_BYTES + _NONCE_BYTES:
            raise SealBroken(f"A stored {kind} record is not one that this program sealed.")
        key = self._ring.get(sealed[len(_MAGIC) : _HEADER_BYTES])
        if key is None:
            raise SealBroken(
                f"A stored {kind} record was sealed with a key that is not in GPTMOCK_ENCRYPTION_KEYS.",
                code="encryption_key_unknown",
            )
        try:
            return key.open(sealed, _associated(kind, name, version))
        except InvalidTag as error:
            raise SealBroken(f"A stored {kind} record was changed or moved by somebody else.") from error

    def is_current(self, sealed: bytes) -> bool:
        """Whether the record is sealed with the first key; others are sealed anew in the background."""
        return sealed[len(_MAGIC) : _HEADER_BYTES] == self._first.id


def parse_keys(text: str) -> tuple[SealingKey, ...]:
    """
    The ring from ``GPTMOCK_ENCRYPTION_KEYS``: base64 (standard or URL-safe), separated by commas or line ends.

    Raises:
        UnusableKey: which of them, and why; never the key itself.
    """
    words = text.replace(",", " ").split()
    keys: list[SealingKey] = []
    for number, word in enumerate(words, start=1):
        padded = word.rstrip("=").translate(str.maketrans("-_", "+/"))
        try:
            key = base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise UnusableKey(f"encryption key {number} is not base64") from error
        keys.append(SealingKey.from_bytes(key))
    return tuple(keys)


def _associated(kind: str, name: str, version: int) -> bytes:
    return b"\0".join((kind.encode(), name.encode(), str(version).encode()))
