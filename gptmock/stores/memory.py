"""
The store contract in dicts, for tests. Several ``MemoryStore`` on one ``MemoryPlace`` stand for several workers; the
place counts round trips and can simulate outages. Nothing outlives the process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gptmock.errors import StoreUnavailable
from gptmock.stores.keys import checked, milliseconds, successor
from gptmock.stores.store import Addition, Record

_NEVER = float("inf")


@dataclass(slots=True)
class _Observation:
    stamp: float
    value: bytes


@dataclass(slots=True)
class MemoryPlace:
    """
    The state that several ``MemoryStore`` share.

    ``clock`` gives seconds; all expiries follow it. ``calls`` counts round trips, failed ones too.
    """

    clock: Callable[[], float] = time.monotonic
    calls: int = 0
    records: dict[str, tuple[Record, float]] = field(default_factory=dict)
    leases: dict[str, tuple[str, float]] = field(default_factory=dict)
    counters: dict[str, tuple[dict[str, int], float]] = field(default_factory=dict)
    slots: dict[str, dict[str, float]] = field(default_factory=dict)
    observations: dict[str, tuple[_Observation, float]] = field(default_factory=dict)
    _available: asyncio.Event = field(default_factory=asyncio.Event)
    _hang_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._available.set()

    def fail(self) -> None:
        """From now on every call raises ``StoreUnavailable`` at once."""
        self.hang(seconds=0.0)

    def hang(self, *, seconds: float = 0.4) -> None:
        """From now on every call waits ``seconds``, then raises ``StoreUnavailable`` unless ``recover`` was called."""
        self._hang_seconds = seconds
        self._available.clear()

    def recover(self) -> None:
        """End an outage; calls that still wait go through."""
        self._available.set()

    def forget(self) -> None:
        """Delete everything, like a Redis that was restarted without persistence."""
        for kind in (self.records, self.leases, self.counters, self.slots, self.observations):
            kind.clear()

    async def enter(self) -> float:
        """
        Count a round trip and yield to the event loop. Returns the time.

        Raises:
            StoreUnavailable: an outage is simulated.
        """
        self.calls += 1
        await asyncio.sleep(0)
        if not self._available.is_set():
            try:
                async with asyncio.timeout(self._hang_seconds):
                    await self._available.wait()
            except TimeoutError as error:
                raise StoreUnavailable("The store plays dead.", retry_after_seconds=1.0) from error
        return self.clock()


def _end(now: float, ttl_seconds: float | None) -> float:
    return _NEVER if ttl_seconds is None else now + milliseconds(ttl_seconds) / 1000


class MemoryStore:
    """``Store`` in a ``MemoryPlace``."""

    def __init__(self, place: MemoryPlace | None = None) -> None:
        self.place = place or MemoryPlace()

    async def read(self, name: str) -> Record | None:
        """See ``Store.read``."""
        return (await self.read_many([name]))[0]

    async def read_many(self, names: Sequence[str]) -> list[Record | None]:
        """See ``Store.read_many``."""
        checked_names = [checked(name) for name in names]
        if not checked_names:
            return []
        now = await self.place.enter()
        return [self._record(name, now) for name in checked_names]

    async def write(
        self, name: str, value: bytes, *, expected: int, version: int | None = None, ttl_seconds: float | None = None
    ) -> Record | None:
        """See ``Store.write``."""
        record = Record(successor(expected, version), value)
        checked(name)
        now = await self.place.enter()
        stands = self._record(name, now)
        if (stands.version if stands else 0) != expected:
            return stands or Record(0, b"")
        self.place.records[name] = (record, _end(now, ttl_seconds))
        return None

    async def delete(self, name: str, *, expected: int | None = None) -> bool:
        """See ``Store.delete``."""
        checked(name)
        stands = self._record(name, await self.place.enter())
        if stands is None or (expected is not None and stands.version != expected):
            return False
        del self.place.records[name]
        return True

    async def names(self, prefix: str) -> list[str]:
        """See ``Store.names``."""
        now = await self.place.enter()
        return sorted(name for name in self.place.records if name.startswith(prefix) and self._record(name, now))

    async def acquire(self, name: str, owner: str, *, ttl_seconds: float) -> bool:
        """See ``Store.acquire``."""
        checked(name)
        now = await self.place.enter()
        if self._lease_end(name, None, now) > now:
            return False
        self.place.leases[name] = (owner, _end(now, ttl_seconds))
        return True

    async def renew(self, name: str, owner: str, *, ttl_seconds: float) -> bool:
        """See ``Store.renew``."""
        checked(name)
        now = await self.place.enter()
        if self._lease_end(name, owner, now) <= now:
            return False
        self.place.leases[name] = (owner, _end(now, ttl_seconds))
        return True

    async def release(self, name: str, owner: str) -> bool:
        """See ``Store.release``."""
        checked(name)
        now = await self.place.enter()
        if self._lease_end(name, owner, now) <= now:
            return False
        del self.place.leases[name]
        return True

    async def lease_left(self, name: str, owner: str) -> float:
        """See ``Store.lease_left``."""
        checked(name)
        now = await self.place.enter()
        return max(0.0, self._lease_end(name, owner, now) - now)

    async def add(self, additions: Sequence[Addition]) -> None:
        """See ``Store.add``."""
        for addition in additions:
            checked(addition.name)
        if not any(addition.amounts for addition in additions):
            return
        now = await self.place.enter()
        for addition in additions:
            if not addition.amounts:
                continue
            totals = self._totals(addition.name, now)
            for counter, amount in addition.amounts.items():
                totals[counter] = totals.get(counter, 0) + amount
            self.place.counters[addition.name] = (totals, _end(now, addition.ttl_seconds))

    async def totals(self, name: str) -> dict[str, int]:
        """See ``Store.totals``."""
        checked(name)
        return self._totals(name, await self.place.enter())

    async def counter_names(self, prefix: str) -> list[str]:
        """See ``Store.counter_names``."""
        now = await self.place.enter()
        return sorted(name for name in self.place.counters if name.startswith(prefix) and self._totals(name, now))

    async def take_slot(self, name: str, owner: str, *, limit: int | None, ttl_seconds: float) -> bool:
        """See ``Store.take_slot``."""
        checked(name)
        now = await self.place.enter()
        living = self._slots(name, now)
        if owner not in living and limit is not None and len(living) >= limit:
            return False
        living[owner] = _end(now, ttl_seconds)
        self.place.slots[name] = living
        return True

    async def free_slot(self, name: str, owner: str) -> None:
        """See ``Store.free_slot``."""
        checked(name)
        await self.place.enter()
        self.place.slots.get(name, {}).pop(owner, None)

    async def slots_taken(self, name: str) -> int:
        """See ``Store.slots_taken``."""
        checked(name)
        return len(self._slots(name, await self.place.enter()))

    async def observe(self, name: str, value: bytes, *, stamp: float, ttl_seconds: float) -> bool:
        """See ``Store.observe``."""
        checked(name)
        now = await self.place.enter()
        kept = self._observation(name, now)
        if kept is not None and kept.stamp > stamp:
            return False
        self.place.observations[name] = (_Observation(stamp, value), _end(now, ttl_seconds))
        return True

    async def observed(self, names: Sequence[str]) -> list[bytes | None]:
        """See ``Store.observed``."""
        checked_names = [checked(name) for name in names]
        if not checked_names:
            return []
        now = await self.place.enter()
        kept = [self._observation(name, now) for name in checked_names]
        return [None if observation is None else observation.value for observation in kept]

    async def probe(self) -> None:
        """See ``Store.probe``."""
        await self.place.enter()

    async def close(self) -> None:
        """Nothing to close; the place stays for the other stores on it."""

    def _record(self, name: str, now: float) -> Record | None:
        record, end = self.place.records.get(name, (None, now))
        return record if end > now else None

    def _lease_end(self, name: str, owner: str | None, now: float) -> float:
        """When the lease ends that ``owner`` holds (anybody, for ``None``); ``now`` if there is none."""
        holder, end = self.place.leases.get(name, ("", now))
        return end if owner is None or holder == owner else now

    def _totals(self, name: str, now: float) -> dict[str, int]:
        totals, end = self.place.counters.get(name, ({}, now))
        return dict(totals) if end > now else {}

    def _slots(self, name: str, now: float) -> dict[str, float]:
        return {owner: end for owner, end in self.place.slots.get(name, {}).items() if end > now}

    def _observation(self, name: str, now: float) -> _Observation | None:
        observation, end = self.place.observations.get(name, (None, now))
        return observation if end > now else None
