"""
Encryption at rest: "sealing" is AES-256-GCM over a record, bound to its name and version. Knows no store.

    sealed = "gm1" | key id (4 bytes) | nonce (12 bytes) | ciphertext and tag

The associated data is header, kind of record, name and version. A record that was copied to another account, or an
older version put back under a newer number, therefore fails authentication.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

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
    """One key of the ring; its id is a part of every record that it has sealed."""

    id: bytes
    _cipher: AESGCM = field(repr=False)

    @classmethod
    def from_bytes(cls, key: bytes) -> SealingKey:
        """
        A key from its 32 bytes.

        Raises:
            UnusableKey: wrong length, or obviously not random.
        """
        if len(key) != KEY_BYTES:
            raise UnusableKey(f"an encryption key has {len(key)} bytes; it must have {KEY_BYTES}")
        if len(set(key)) < MIN_DISTINCT_BYTES:
            raise UnusableKey("an encryption key is not random; make one with: openssl rand -base64 32")
        return cls(hashlib.sha256(b"gptmock key id" + key).digest()[:_KEY_ID_BYTES], AESGCM(key))

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """Encrypt with a fresh random nonce."""
        header, nonce = _MAGIC + self.id, os.urandom(_NONCE_BYTES)
        return header + nonce + self._cipher.encrypt(nonce, plain, header + associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """
        Decrypt and authenticate.

        Raises:
            InvalidTag: tampered with, or sealed with other associated data.
        """
        header, nonce = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
        return self._cipher.decrypt(nonce, sealed[_HEADER_BYTES + _NONCE_BYTES :], header + associated)


class Sealer:
    """A key ring: the first key encrypts, all keys decrypt."""

    def __init__(self, keys: Iterable[SealingKey]) -> None:
        ring = tuple(keys)
        if not ring:
            raise UnusableKey("there is no encryption key")
        self._first = ring[0]
        self._ring = {key.id: key for key in ring}

    @property
    def has_older_keys(self) -> bool:
        """Whether there may be records to re-encrypt; with a single key there are none that it could decrypt."""
        return len(self._ring) > 1

    def seal(self, plain: bytes, *, kind: str, name: str, version: int) -> bytes:
        """Encrypt a record; ``kind``, ``name`` and ``version`` are authenticated with it."""
        return self._first.seal(plain, _associated(kind, name, version))

    def open(self, sealed: bytes, *, kind: str, name: str, version: int) -> bytes:
        """
        Decrypt a record with the kind, name and version it was read under.

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
        """Whether the record is encrypted with the first key; others are re-encrypted in the background."""
        return sealed[len(_MAGIC) : _HEADER_BYTES] == self._first.id


def parse_keys(text: str) -> tuple[SealingKey, ...]:
    """
    The key ring from ``GPTMOCK_ENCRYPTION_KEYS``: base64 (standard or URL-safe), separated by commas or white space.

    Raises:
        UnusableKey: the message says which key and why; it never holds the key.
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


def key_file(path: Path) -> tuple[SealingKey, ...]:
    """
    The key ring in a file, which is created with a random key and mode 0600 if it does not exist.

    Raises:
        UnusableKey: the file cannot be read or created, or holds no usable key.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            _make_key(path)
        return parse_keys(path.read_text())
    except OSError as error:
        raise UnusableKey(f"{path.name} cannot be read or made: {error.strerror or type(error).__name__}") from error


def _make_key(path: Path) -> None:
    # Written to a draft and then hard-linked: of several processes that start at once, one wins and all read its key.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)
    finally:
        draft.unlink()


def _associated(kind: str, name: str, version: int) -> bytes:
    return b"\0".join((kind.encode(), name.encode(), str(version).encode()))
