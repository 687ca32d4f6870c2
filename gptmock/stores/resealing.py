"""
Which records are sealed, as what, and how a ring that has changed reaches them all. Knows names and seals, not what a
record holds.

    seal:canary           canary   tells whether a ring opens what is stored
    acct:{id}:tokens      tokens
    acct:{id}:about       about    label, paused
    key:{id}:terms        key      a client key, its secret as a hash
"""

from __future__ import annotations

import logging

from gptmock.errors import SealBroken
from gptmock.stores.seal import Sealer
from gptmock.stores.store import Record, Store

log = logging.getLogger("gptmock.account")

CANARY = "seal:canary"
_KINDS = (("acct:", ":tokens", "tokens"), ("acct:", ":about", "about"), ("key:", ":terms", "key"))
CHUNK = 100
"""So many records are read in one round trip."""


def kind_of(name: str) -> str | None:
    """As what a record of that name is sealed; ``None`` for one that is not."""
    if name == CANARY:
        return "canary"
    return next((kind for begin, end, kind in _KINDS if name.startswith(begin) and name.endswith(end)), None)


async def sealed_records(store: Store) -> list[tuple[str, Record]]:
    """All sealed records that stand, with their names; the canary first."""
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
    What a sealed record holds.

    Raises:
        SealBroken: it does not open, or is none.
    """
    kind = kind_of(name)
    if kind is None:
        raise SealBroken("A stored record has a name that no sealed one has.")
    return sealer.open(record.value, kind=kind, name=name, version=record.version)


async def reseal(store: Store, sealer: Sealer) -> int:
    """
    Seal anew, by the first key of the ring, what an older one has sealed. Returns how many records were.

    The version grows by one: a change that comes between wins, and a rotation under way outranks this.
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
            # Left as it is: whoever needs the record says so, and the others are sealed all the same.
            log.warning("account.not_resealed", extra={"code": error.code, "reason": error.message})
            continue
        version = record.version + 1
        sealed = sealer.seal(plain, kind=str(kind_of(name)), name=name, version=version)
        count += await store.write(name, sealed, expected=record.version) is None
    return count
