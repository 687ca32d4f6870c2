"""
Key rotation: which records are sealed (encrypted) and as which kind, and their re-encryption after the key ring has
changed. Knows record names and encryption, not what a record holds.

    record name           kind
    seal:canary           canary   a known plaintext: shows whether the ring fits the stored records
    acct:{id}:tokens      tokens
    acct:{id}:about       about    label, paused
    key:{id}:terms        key      a client key, its secret as a hash
    pepper:{id}           pepper   a part of that hash
"""

from __future__ import annotations

import logging

from gptmock.errors import SealBroken
from gptmock.stores.seal import Sealer
from gptmock.stores.store import Record, Store

log = logging.getLogger("gptmock.account")

CANARY = "seal:canary"
PEPPERS = "pepper:"
"""The prefix of the records of peppers."""
_KINDS = (
    ("acct:", ":tokens", "tokens"),
    ("acct:", ":about", "about"),
    ("key:", ":terms", "key"),
    (PEPPERS, "", "pepper"),
)
CHUNK = 100
"""How many records are read in one round trip."""


def kind_of(name: str) -> str | None:
    """The kind (part of the associated data) that a record of this name is sealed as; ``None`` if it is not sealed."""
    if name == CANARY:
        return "canary"
    return next((kind for begin, end, kind in _KINDS if name.startswith(begin) and name.endswith(end)), None)


async def sealed_records(store: Store) -> list[tuple[str, Record]]:
    """All sealed records with their names; the canary first."""
    names = [CANARY]
    for begin in dict.fromkeys(begin for begin, _, _ in _KINDS):
        names += [name for name in await store.names(begin) if kind_of(name) is not None]
    found: list[tuple[str, Record]] = []
    for start in range(0, len(names), CHUNK):
        chunk = names[start : start + CHUNK]
        records = await store.read_many(chunk)
        found += [(name, record) for name, record in zip(chunk, records, strict=True) if record is not None]
    return found


def opened(sealer: Sealer, name: str, record: Record) -> bytes:
    """
    Decrypt a sealed record.

    Raises:
        SealBroken: it cannot be decrypted, or no record of this name is sealed.
    """
    kind = kind_of(name)
    if kind is None:
        raise SealBroken("A stored record has a name that no sealed record has.")
    return sealer.open(record.value, kind=kind, name=name, version=record.version)


async def reseal(store: Store, sealer: Sealer) -> int:
    """
    Re-encrypt, with the first key of the ring, what an older key has encrypted. Returns how many records were.

    The version grows by one: a concurrent change wins, and so does a token rotation that is in progress.
    """
    if not sealer.has_older_keys:
        return 0
    count = 0
    for name, record in await sealed_records(store):
        if sealer.is_current(record.value):
            continue
        try:
            plain = opened(sealer, name, record)
        except SealBroken as error:
            # Left as it is: whatever needs the record reports it, and the other records are still re-encrypted.
            log.warning("account.not_resealed", extra={"code": error.code, "reason": error.message})
            continue
        version = record.version + 1
        sealed = sealer.seal(plain, kind=str(kind_of(name)), name=name, version=version)
        count += await store.write(name, sealed, expected=record.version) is None
    return count
