"""
Carrying state from one place to another, as often as one likes: what is there already stays as it is. Knows names and
versions; of what is sealed only that it opens.

    records    the sealed bytes and their version, which the seal is bound to; never an older one over a newer one
    counters   each place keeps beside its totals how much of them it was brought, and from where it first came:
               ``brought:{origin}:NAME``. What is unknown there is added, to both in one go

A counter of which one origin adds up alone can only grow, so whoever knows more of an origin knows better. That holds
however often, in which direction and through how many places state is carried, and where a run was cut off.

Not carried: leases, slots, parked accounts, windows and the protocol version that clients have shown, all of which come
again by themselves, and stored responses, which last a day.
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
from gptmock.stores.limits_and_usage import USAGE_SECONDS
from gptmock.stores.locations import Place
from gptmock.stores.memory import MemoryStore
from gptmock.stores.resealing import CANARY, CHUNK, opened, sealed_records
from gptmock.stores.seal import Sealer, SealingKey, parse_keys
from gptmock.stores.store import Addition, Record, Store
from gptmock.stores.vault import DEFAULT

Progress: TypeAlias = Callable[[str, int, int], None]
"""What is carried, how many of these are done, and how many there are."""

PATIENCE_SECONDS = 5.0
"""For each call to Redis: nobody waits behind this one."""
LEASE_SECONDS = 60.0
MAX_RACES = 50
_LEASE = "store:migration"
_IDENTITY = "store:id"
_BROUGHT = "brought:"
_USAGE = ":usage"


@dataclass(slots=True)
class Tally:
    """What became of the things of one kind."""

    carried: int = 0
    same: int = 0
    """The other place had exactly this."""
    kept: int = 0
    """The other place had something of its own that is as new or newer, and it stays."""


@dataclass(slots=True)
class Migration:
    """What a run has carried, or would have."""

    source: str
    """In words without secrets, as ``target``."""
    target: str
    key_file: Path | None
    """Where the keys were read from, if no setting gave them."""
    accounts: Tally = field(default_factory=Tally)
    labels: Tally = field(default_factory=Tally)
    """Label and pause of each account, and which of them is the default."""
    keys: Tally = field(default_factory=Tally)
    imports: Tally = field(default_factory=Tally)
    """Which logins of ``auth.json`` were taken over and must not be again."""
    usage: Tally = field(default_factory=Tally)
    """Names that counters rest under: an account, or an account and a day."""


async def carry(
    source: Place, target: Place, ring: Sequence[SealingKey] | None, *, dry_run: bool, progress: Progress
) -> Migration:
    """
    Carry accounts, client keys and usage.

    Args:
        source: read; it only learns its own name.
        target: written, unless ``dry_run``.
        ring: opens the sealed records of both; ``None`` for the keys beside the embedded state.
        dry_run: find out what would be carried.
        progress: is told now and then.

    Raises:
        WrongPlace: there is nothing at ``source``, or both are the same.
        UnusableKey: there is none, or a record does not open; nothing was changed.
        LockBusy: somebody else carries state from or to one of these.
        StoreUnavailable: a place fails; what was carried until then is whole, and another run carries the rest.
    """
    if source.file is not None and not source.file.is_file():
        raise WrongPlace(f"there is no state file at {source.file}")
    key_file = _key_file(source, target) if ring is None else None
    sealer = Sealer(ring if ring is not None else _read(key_file))
    async with AsyncExitStack() as stack:
        old = source.open(timeout_seconds=PATIENCE_SECONDS)
        stack.push_async_callback(old.close)
        await _check(sealer, source, old)
        # To look at a file that is not there would make it.
        unmade = dry_run and target.file is not None and not target.file.exists()
        new = MemoryStore() if unmade else target.open(timeout_seconds=PATIENCE_SECONDS)
        stack.push_async_callback(new.close)
        lease = _Lease(old, new)
        await lease.take()
        stack.push_async_callback(lease.give_back)
        await _check(sealer, target, new)
        found = Migration(source.shown, target.shown, key_file)
        await _Carrier(lease, found, progress, writes=not dry_run).carry()
        return found


def _key_file(source: Place, target: Place) -> Path:
    """The one that is there already: a new key opens nothing."""
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
    """One migration at a time at both ends, whatever they are called; finds out when they are one."""

    def __init__(self, source: Store, target: Store) -> None:
        self.source = source
        self.target = target
        self._owner = secrets.token_hex(16)

    async def take(self) -> None:
        if not await self.target.acquire(_LEASE, self._owner, ttl_seconds=LEASE_SECONDS):
            raise _busy()
        if not await self.source.acquire(_LEASE, self._owner, ttl_seconds=LEASE_SECONDS):
            same = await self.source.lease_left(_LEASE, self._owner) > 0
            await self.target.release(_LEASE, self._owner)
            raise WrongPlace("both are the same place") if same else _busy()

    async def keep(self) -> None:
        for store in (self.target, self.source):
            if not await store.renew(_LEASE, self._owner, ttl_seconds=LEASE_SECONDS):
                raise _busy()

    async def give_back(self) -> None:
        for store in (self.target, self.source):
            try:
                await store.release(_LEASE, self._owner)
            except StoreUnavailable:
                continue  # ends by itself


class _Carrier:
    """One run."""

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
            # Also when nothing was carried: the run before may have been cut off here.
            await count_change(self._target)
        await self._counters()

    # --- Records -----------------------------------------------------------------------

    async def _records(self) -> None:
        # The canary first: whoever starts at the new place meanwhile, with another key, is told at once.
        names = [name for name, _ in await sealed_records(self._source)]
        names += [DEFAULT, *await self._source.names(TAKEN_PREFIX)]
        for start in range(0, len(names), CHUNK):
            await self._lease.keep()
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
        raise StoreUnavailable("The store did not let a change through.")

    def _tally(self, name: str) -> Tally:
        if name == CANARY:
            return Tally()
        if name.startswith(TAKEN_PREFIX):
            return self._found.imports
        if name.startswith("key:"):
            return self._found.keys
        return self._found.accounts if name.endswith(":tokens") else self._found.labels

    # --- Counters ------------------------------------------------------------------------

    async def _counters(self) -> None:
        here, there = await self._identity(self._source), await self._identity(self._target)
        counted = await self._source.counted("")
        names = [name for name in counted if _USAGE in name and not name.startswith(_BROUGHT)]
        origins: dict[str, list[str]] = {name: [] for name in names}
        for brought in counted:
            origin, _, name = brought.removeprefix(_BROUGHT).partition(":")
            if brought.startswith(_BROUGHT) and name in origins:
                origins[name].append(origin)
        for number, name in enumerate(names, start=1):
            if number % CHUNK == 1:
                await self._lease.keep()
            await self._counter(name, await self._shares(name, here, origins[name]), there)
            self._progress("counters", number, len(names))

    async def _shares(self, name: str, here: str, origins: list[str]) -> dict[str, Counter[str]]:
        """What each origin has added to the counters under a name, as far as the source knows."""
        shares = {origin: Counter(await self._source.totals(_brought(origin, name))) for origin in origins}
        own = Counter(await self._source.totals(name))
        for share in shares.values():
            own.subtract(share)
        return {here: own, **shares}

    async def _counter(self, name: str, shares: dict[str, Counter[str]], there: str) -> None:
        additions, together = [], Counter[str]()
        for origin, share in shares.items():
            if origin == there:
                continue  # its own, of which it knows best; also where one place is a copy of the other
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
        """A name that a place has for good, wherever it is reached; a run that writes nothing may find none."""
        made = secrets.token_hex(8)
        if not self._writes:
            record = await store.read(_IDENTITY)
            return record.value.decode() if record is not None else made
        stands = await store.write(_IDENTITY, made.encode(), expected=0)
        return stands.value.decode() if stands is not None else made


def _is_settled(name: str, record: Record) -> bool:
    """A claim that lasts for seconds is not made to last for ever."""
    return not name.startswith(TAKEN_PREFIX) or record.value == TAKEN


def _brought(origin: str, name: str) -> str:
    return f"{_BROUGHT}{origin}:{name}"


def _busy() -> LockBusy:
    return LockBusy("Another migration from or to one of these places is under way; try again when it has ended.")
