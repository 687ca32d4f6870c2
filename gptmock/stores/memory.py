"""
The store contract in dicts, for tests and for a copy of a store. Several ``MemoryStore`` on one ``MemoryPlace`` stand
for several workers; the place counts round trips and can simulate outages. Nothing outlives the process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gptmock.errors import StoreUnavailable
from gptmock.stores.keys import checked, milliseconds, successor
from gptmock.stores.store import SETTLED_SECONDS, Addition, FreedSlot, Quota, QuotaUse, Record, SlotAnswer, WantedSlot

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
    quotas: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    logs: dict[str, list[bytes]] = field(default_factory=dict)
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
        kinds = (
            self.records, self.leases, self.counters, self.slots, self.quotas, self.logs, self.observations
        )  # fmt: skip
        for kind in kinds:
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

    async def take_slot(
        self, name: str, owner: str, *, limit: int | None, ttl_seconds: float, quotas: Sequence[Quota] = ()
    ) -> SlotAnswer:
        """See ``Store.take_slot``."""
        return self._take(WantedSlot(checked(name), owner, limit, quotas), ttl_seconds, await self.place.enter())

    def _take(self, slot: WantedSlot, ttl_seconds: float, now: float) -> SlotAnswer:
        name, owner, quotas = slot.name, slot.owner, slot.quotas
        kept = self.place.slots.setdefault(name, {})
        for old in [one for one, end in kept.items() if end + SETTLED_SECONDS <= now]:
            del kept[old]
        living, is_new = self._slots(name, now), owner not in kept
        full = slot.limit is not None and len(living) >= slot.limit and owner not in living
        if full or (is_new and any(_is_used_up(one, self._use(name, one, now)) for one in quotas)):
            return SlotAnswer(taken=False, slots=len(living), uses=self._uses(name, quotas, now))
        kept[owner] = _end(now, ttl_seconds)
        if is_new:
            self._count(name, quotas, now)
        return SlotAnswer(taken=True, slots=len(self._slots(name, now)), uses=self._uses(name, quotas, now))

    async def extend_slots(self, name: str, owners: Sequence[str], *, ttl_seconds: float) -> None:
        """See ``Store.extend_slots``."""
        checked(name)
        now = await self.place.enter()
        kept = self.place.slots.get(name, {})
        kept.update({owner: _end(now, ttl_seconds) for owner in owners if owner in kept})

    async def free_slot(self, name: str, owner: str, *, quotas: Sequence[Quota] = ()) -> bool:
        """See ``Store.free_slot``."""
        return self._free(FreedSlot(checked(name), owner, quotas), await self.place.enter())

    async def exchange_slots(
        self, freed: Sequence[FreedSlot], wanted: Sequence[WantedSlot], *, ttl_seconds: float
    ) -> list[SlotAnswer]:
        """See ``Store.exchange_slots``."""
        for name in [*(one.name for one in freed), *(one.name for one in wanted)]:
            checked(name)
        if not freed and not wanted:
            return []
        now = await self.place.enter()
        for slot in freed:
            self._free(slot, now)
        return [self._take(slot, ttl_seconds, now) for slot in wanted]

    def _free(self, slot: FreedSlot, now: float) -> bool:
        if self.place.slots.get(slot.name, {}).pop(slot.owner, None) is None:
            return False
        self._count(slot.name, slot.quotas, now)
        return True

    async def slots_taken(self, name: str) -> int:
        """See ``Store.slots_taken``."""
        checked(name)
        return len(self._slots(name, await self.place.enter()))

    async def quota_uses(self, name: str, quotas: Sequence[Quota]) -> list[QuotaUse]:
        """See ``Store.quota_uses``."""
        checked(name)
        return list(self._uses(name, quotas, await self.place.enter()))

    async def append(self, name: str, value: bytes, *, keep: int) -> None:
        """See ``Store.append``."""
        checked(name)
        await self.place.enter()
        log = self.place.logs.setdefault(name, [])
        log.insert(0, value)
        del log[keep:]

    async def entries(self, name: str, count: int) -> list[bytes]:
        """See ``Store.entries``."""
        checked(name)
        await self.place.enter()
        return self.place.logs.get(name, [])[: max(0, count)]

    async def observe(self, name: str, value: bytes, *, stamp: float, ttl_seconds: float) -> bool:
        """See ``Store.observe``."""
        checked(name)
        return self._observe(name, value, await self.place.enter(), stamp=stamp, ttl_seconds=ttl_seconds)

    async def observe_all(self, values: Mapping[str, bytes], *, stamp: float, ttl_seconds: float) -> None:
        """See ``Store.observe_all``."""
        checked_names = [checked(name) for name in values]
        if not checked_names:
            return
        now = await self.place.enter()
        for name, value in values.items():
            self._observe(name, value, now, stamp=stamp, ttl_seconds=ttl_seconds)

    def _observe(self, name: str, value: bytes, now: float, *, stamp: float, ttl_seconds: float) -> bool:
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

    def _use(self, name: str, quota: Quota, now: float) -> QuotaUse:
        used, end = self.place.quotas.get((name, quota.counter), (0, now))
        return QuotaUse(used, end - now) if end > now else QuotaUse(0, milliseconds(quota.window_seconds) / 1000)

    def _uses(self, name: str, quotas: Sequence[Quota], now: float) -> tuple[QuotaUse, ...]:
        return tuple(self._use(name, one, now) for one in quotas)

    def _count(self, name: str, quotas: Sequence[Quota], now: float) -> None:
        for one in quotas:
            if one.amount:
                use = self._use(name, one, now)
                self.place.quotas[name, one.counter] = (use.used + one.amount, now + use.left_seconds)

    def _observation(self, name: str, now: float) -> _Observation | None:
        observation, end = self.place.observations.get(name, (None, now))
        return observation if end > now else None


def _is_used_up(quota: Quota, use: QuotaUse) -> bool:
    return quota.limit is not None and use.used + max(quota.amount, 1) > quota.limit
