"""
Copies state from one store to another. Idempotent: a run may be interrupted and repeated, in either direction. Knows
record names and versions; sealed records are copied as they are, after a check that the keys can decrypt them.

    records    the sealed bytes with their version, which the encryption is bound to; an older version never replaces a
               newer one
    counters   beside its totals each store keeps how much of them was copied from which store of origin:
               ``brought:{origin}:NAME``. A run adds what is missing to both, in one atomic addition

What one origin has counted can only grow, so of two values for an origin the larger one is right. That holds however
often, in which direction and through how many stores state is copied, and wherever a run was interrupted.

The windows of the limits of keys, the audit log and the protocol version of Codex clients are copied by
``stores.migrate_current``. Not copied: leases, slots, parked accounts and rate limit snapshots, which are made again in
use, stored responses, which expire within a day, and open invitations, which are counted: one that was redeemed at the
target would be open again after another run.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from gptmock.errors import LockBusy, SealBroken, StoreUnavailable, UnusableKey, WrongPlace
from gptmock.stores.auth_import import TAKEN, TAKEN_PREFIX
from gptmock.stores.changes import count_change
from gptmock.stores.invitations import INVITATIONS
from gptmock.stores.locations import Place
from gptmock.stores.memory import MemoryStore
from gptmock.stores.migrate_current import Tally, carry_audit, carry_version, carry_windows
from gptmock.stores.resealing import CANARY, CHUNK, PEPPERS, kind_of, opened, sealed_records
from gptmock.stores.seal import Sealer, SealingKey, parse_keys
from gptmock.stores.store import Addition, Record, Store
from gptmock.stores.vault import DEFAULT

Progress: TypeAlias = Callable[[str, int, int], None]
"""Receives what is copied ("records" or "counters"), how many are done, and how many there are."""

CALL_TIMEOUT_SECONDS = 5.0
"""Timeout of each call to Redis; longer than in a server, since no request waits for it."""
LEASE_SECONDS = 60.0
MAX_RACES = 50
_LEASE = "store:migration"
_IDENTITY = "store:id"
_BROUGHT = "brought:"
_USAGE = ":usage"
_REPORT = "usage:"
USAGE_SECONDS = 400 * 24 * 3600.0
"""How long copied usage is kept at most; a server that adds to it says again for how long."""


@dataclass(slots=True)
class Migration:
    """The result of a run or a dry run."""

    source: str
    """The location without secrets, as ``target``."""
    target: str
    key_file: Path | None
    """The file that the keys were read from, if no setting gave them."""
    accounts: Tally = field(default_factory=Tally)
    labels: Tally = field(default_factory=Tally)
    """Label and pause of each account, and which of them is the default."""
    keys: Tally = field(default_factory=Tally)
    imports: Tally = field(default_factory=Tally)
    """Which logins of ``auth.json`` were imported and must not be imported again."""
    usage: Tally = field(default_factory=Tally)
    """Counter names: an account, or a day, or an account or a key and a day."""
    windows: Tally = field(default_factory=Tally)
    """Of the limits of keys, those that have begun."""
    audit: Tally = field(default_factory=Tally)
    version: Tally = field(default_factory=Tally)
    """The protocol version of Codex clients."""
    invitations_left: int = 0
    """How many open invitations the source has."""


async def carry(
    source: Place, target: Place, ring: Sequence[SealingKey] | None, *, dry_run: bool, progress: Progress
) -> Migration:
    """
    Copy accounts, client keys, usage, what is used of limits, the audit log and the Codex version.

    Args:
        source: read; only a random id and a lease are written to it.
        target: written, unless ``dry_run``.
        ring: the encryption keys of both; ``None`` for the key file beside the embedded state.
        dry_run: only find out what would be copied.
        progress: called now and then.

    Raises:
        WrongPlace: ``source`` does not exist, or both are the same store.
        UnusableKey: there is no key, or it cannot decrypt a record; nothing was changed.
        LockBusy: another migration uses one of these stores.
        StoreUnavailable: a store fails; what was copied until then is complete, and another run copies the rest.
    """
    if source.file is not None and not source.file.is_file():
        raise WrongPlace(f"there is no state file at {source.file}")
    key_file = _key_file(source, target) if ring is None else None
    sealer = Sealer(ring if ring is not None else _read(key_file))
    async with AsyncExitStack() as stack:
        old = source.open(timeout_seconds=CALL_TIMEOUT_SECONDS)
        stack.push_async_callback(old.close)
        await _check(sealer, source, old)
        # Opening a state file that does not exist would create it.
        unmade = dry_run and target.file is not None and not target.file.exists()
        new = MemoryStore() if unmade else target.open(timeout_seconds=CALL_TIMEOUT_SECONDS)
        stack.push_async_callback(new.close)
        lease = _Lease(old, new)
        await lease.acquire()
        stack.push_async_callback(lease.release)
        await _check(sealer, target, new)
        found = Migration(source.shown, target.shown, key_file)
        await _Run(lease, found, progress, writes=not dry_run).carry()
        return found


def _key_file(source: Place, target: Place) -> Path:
    """The existing key file; a new key could not decrypt anything."""
    path = source.key_file or target.key_file
    if path is None or not path.exists():
        raise UnusableKey("is needed; set it to the keys that the records were sealed with")
    return path


def _read(path: Path | None) -> Sequence[SealingKey]:
    try:
        return parse_keys(path.read_text()) if path is not None else ()
    except OSError as error:
        raise UnusableKey(f"{path} cannot be read: {error.strerror}") from error


async def _check(sealer: Sealer, place: Place, store: Store) -> None:
    for name, record in await sealed_records(store):
        try:
            opened(sealer, name, record)
        except SealBroken as error:
            raise UnusableKey(f"{place.shown}: {error.message} Nothing was changed.") from error


class _Lease:
    """A lease in both stores, so that one migration runs at a time; detects that both are the same store."""

    def __init__(self, source: Store, target: Store) -> None:
        self.source = source
        self.target = target
        self._owner = secrets.token_hex(16)

    async def acquire(self) -> None:
        if not await self.target.acquire(_LEASE, self._owner, ttl_seconds=LEASE_SECONDS):
            raise _busy()
        if not await self.source.acquire(_LEASE, self._owner, ttl_seconds=LEASE_SECONDS):
            same = await self.source.lease_left(_LEASE, self._owner) > 0
            await self.target.release(_LEASE, self._owner)
            raise WrongPlace("both are the same place") if same else _busy()

    async def renew(self) -> None:
        for store in (self.target, self.source):
            if not await store.renew(_LEASE, self._owner, ttl_seconds=LEASE_SECONDS):
                raise _busy()

    async def release(self) -> None:
        for store in (self.target, self.source):
            try:
                await store.release(_LEASE, self._owner)
            except StoreUnavailable:
                continue  # expires by itself


class _Run:
    """One migration, after both leases were acquired."""

    def __init__(self, lease: _Lease, found: Migration, progress: Progress, *, writes: bool) -> None:
        self._source = lease.source
        self._target = lease.target
        self._lease = lease
        self._progress = progress
        self._writes = writes
        self._found = found

    async def carry(self) -> None:
        await self._records()
        if self._writes:
            # Also when nothing was copied: an earlier run may have been interrupted here.
            await count_change(self._target)
        await self._counters()
        await self._lease.renew()
        source, target, writes = self._source, self._target, self._writes
        key_ids = [name.partition("{")[2].partition("}")[0] for name in await source.names("key:") if kind_of(name)]
        self._found.windows = await carry_windows(source, target, key_ids, writes=writes)
        await self._lease.renew()
        self._found.audit = await carry_audit(source, target, writes=writes)
        self._found.version = await carry_version(source, target, writes=writes)
        self._found.invitations_left = len(await source.names(INVITATIONS))

    # --- Records -----------------------------------------------------------------------

    async def _records(self) -> None:
        # The canary first: a server that starts on the target meanwhile with another key then fails at once.
        names = [name for name, _ in await sealed_records(self._source)]
        names += [DEFAULT, *await self._source.names(TAKEN_PREFIX)]
        for start in range(0, len(names), CHUNK):
            await self._lease.renew()
            chunk = names[start : start + CHUNK]
            records = await self._source.read_many(chunk)
            standing = await self._target.read_many(chunk)
            for name, record, stands in zip(chunk, records, standing, strict=True):
                if record is not None and _is_settled(name, record):
                    await self._record(name, record, stands)
            self._progress("records", min(start + CHUNK, len(names)), len(names))

    async def _record(self, name: str, record: Record, stands: Record | None) -> None:
        tally = self._tally(name)
        for _ in range(MAX_RACES):
            if stands is not None and stands.version >= record.version:
                tally.same += stands == record
                tally.kept += stands != record
                return
            expected = stands.version if stands is not None else 0
            if self._writes:
                stands = await self._target.write(name, record.value, expected=expected, version=record.version)
            if not self._writes or stands is None:
                tally.carried += 1
                return
        raise StoreUnavailable("A record could not be written: too many concurrent writes.")

    def _tally(self, name: str) -> Tally:
        if name == CANARY or name.startswith(PEPPERS):
            return Tally()
        if name.startswith(TAKEN_PREFIX):
            return self._found.imports
        if name.startswith("key:"):
            return self._found.keys
        return self._found.accounts if name.endswith(":tokens") else self._found.labels

    # --- Counters ------------------------------------------------------------------------

    async def _counters(self) -> None:
        here, there = await self._identity(self._source), await self._identity(self._target)
        counted = await self._source.counter_names("")
        names = [name for name in counted if _is_usage(name)]
        origins: dict[str, list[str]] = {name: [] for name in names}
        for brought in counted:
            origin, _, name = brought.removeprefix(_BROUGHT).partition(":")
            if brought.startswith(_BROUGHT) and name in origins:
                origins[name].append(origin)
        for number, name in enumerate(names, start=1):
            if number % CHUNK == 1:
                await self._lease.renew()
            await self._counter(name, await self._shares(name, here, origins[name]), there)
            self._progress("counters", number, len(names))

    async def _shares(self, name: str, here: str, origins: list[str]) -> dict[str, Counter[str]]:
        """What each store of origin has added to the counters under a name, as far as the source knows."""
        shares = {origin: Counter(await self._source.totals(_brought(origin, name))) for origin in origins}
        own = Counter(await self._source.totals(name))
        for share in shares.values():
            own.subtract(share)
        return {here: own, **shares}

    async def _counter(self, name: str, shares: dict[str, Counter[str]], there: str) -> None:
        additions, together = [], Counter[str]()
        for origin, share in shares.items():
            if origin == there:
                continue  # the target's own counts; also if one store is a backup of the other
            unknown = Counter(share)
            unknown.subtract(await self._target.totals(_brought(origin, name)))
            missing = {counter: amount for counter, amount in unknown.items() if amount > 0}
            together.update(missing)
            additions.append(Addition(_brought(origin, name), missing))
        if together and self._writes:
            await self._target.add([Addition(name, together, USAGE_SECONDS), *additions])
        self._found.usage.carried += bool(together)
        self._found.usage.same += not together

    async def _identity(self, store: Store) -> str:
        """The permanent random id of a store, created if missing; in a dry run an id that is not stored."""
        made = secrets.token_hex(8)
        if not self._writes:
            record = await store.read(_IDENTITY)
            return record.value.decode() if record is not None else made
        stands = await store.write(_IDENTITY, made.encode(), expected=0)
        return stands.value.decode() if stands is not None else made


def _is_settled(name: str, record: Record) -> bool:
    """Whether to copy the record: an import claim that expires within seconds must not become permanent."""
    return not name.startswith(TAKEN_PREFIX) or record.value == TAKEN


def _is_usage(name: str) -> bool:
    return (_USAGE in name or name.startswith(_REPORT)) and not name.startswith(_BROUGHT)


def _brought(origin: str, name: str) -> str:
    return f"{_BROUGHT}{origin}:{name}"


def _busy() -> LockBusy:
    return LockBusy("Another migration from or to one of these stores is running; try again when it has ended.")
