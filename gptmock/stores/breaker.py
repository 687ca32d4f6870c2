"""
A circuit breaker around any store: while the store is unavailable, calls fail at once instead of waiting half a second
each. Must not know what kind of store it is.

    closed     every call goes through          a call raises StoreUnavailable      -> open
    open       every call fails at once         the open time is over               -> half-open, for one call
    half-open  one call probes, others fail     the probe succeeds                  -> closed, and the call goes through
                                                it fails                            -> open again

The probe writes: a read-only replica would otherwise close the breaker again and again. There is no background task;
the readiness probe calls ``probe``.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from gptmock.errors import StoreUnavailable
from gptmock.stores.store import Addition, FreedSlot, Quota, QuotaUse, Record, SlotAnswer, Store, WantedSlot

P = ParamSpec("P")
T = TypeVar("T")

OPEN_SECONDS = 1.0
_DEFAULT_LOG = logging.getLogger("gptmock.store")


class GuardedStore:
    """
    ``Store`` with a circuit breaker.

    Args:
        store: the store to call; ``close`` closes it too.
        clock: monotonic seconds.
        open_seconds: how long calls fail at once after a failure; jittered by up to half as much more, so that workers
            do not probe together.
        log: gets one line for every change: ``store.unavailable``, ``store.available``.
        called: told of every call that went through: the method's name, the seconds it took, and its failure.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float] = time.monotonic,
        open_seconds: float = OPEN_SECONDS,
        log: logging.Logger = _DEFAULT_LOG,
        called: Callable[[str, float, StoreUnavailable | None], None] = lambda _name, _seconds, _error: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._open_seconds = open_seconds
        self._log = log
        self._called = called
        self._jitter = random.Random()  # noqa: S311 - spreads workers, hides nothing
        self._reason: str | None = None
        self._since = 0.0
        self._open_until = 0.0
        self._probing = False
        self._generation = 0

    @property
    def available(self) -> bool:
        """Whether the breaker is closed. After a failure it is False until a probe has succeeded."""
        return self._reason is None

    @property
    def reason(self) -> str | None:
        """Why calls fail; ``None`` while they go through."""
        return self._reason

    @contextmanager
    def answered_by(self, other: Store) -> Iterator[None]:
        """Let another place answer every call meanwhile; whether the guarded one is available stays as it was."""
        held = self._store, self._reason
        self._store, self._reason = other, None
        try:
            yield
        finally:
            self._store, self._reason = held

    async def read(self, name: str) -> Record | None:
        """See ``Store.read``."""
        return await self._call(self._store.read, name)

    async def read_many(self, names: Sequence[str]) -> list[Record | None]:
        """See ``Store.read_many``."""
        return await self._call(self._store.read_many, names)

    async def write(
        self, name: str, value: bytes, *, expected: int, version: int | None = None, ttl_seconds: float | None = None
    ) -> Record | None:
        """See ``Store.write``."""
        return await self._call(
            self._store.write, name, value, expected=expected, version=version, ttl_seconds=ttl_seconds
        )

    async def delete(self, name: str, *, expected: int | None = None) -> bool:
        """See ``Store.delete``."""
        return await self._call(self._store.delete, name, expected=expected)

    async def names(self, prefix: str) -> list[str]:
        """See ``Store.names``."""
        return await self._call(self._store.names, prefix)

    async def acquire(self, name: str, owner: str, *, ttl_seconds: float) -> bool:
        """See ``Store.acquire``."""
        return await self._call(self._store.acquire, name, owner, ttl_seconds=ttl_seconds)

    async def renew(self, name: str, owner: str, *, ttl_seconds: float) -> bool:
        """See ``Store.renew``."""
        return await self._call(self._store.renew, name, owner, ttl_seconds=ttl_seconds)

    async def release(self, name: str, owner: str) -> bool:
        """See ``Store.release``."""
        return await self._call(self._store.release, name, owner)

    async def lease_left(self, name: str, owner: str) -> float:
        """See ``Store.lease_left``."""
        return await self._call(self._store.lease_left, name, owner)

    async def add(self, additions: Sequence[Addition]) -> None:
        """See ``Store.add``."""
        await self._call(self._store.add, additions)

    async def totals(self, name: str) -> dict[str, int]:
        """See ``Store.totals``."""
        return await self._call(self._store.totals, name)

    async def counter_names(self, prefix: str) -> list[str]:
        """See ``Store.counter_names``."""
        return await self._call(self._store.counter_names, prefix)

    async def take_slot(
        self, name: str, owner: str, *, limit: int | None, ttl_seconds: float, quotas: Sequence[Quota] = ()
    ) -> SlotAnswer:
        """See ``Store.take_slot``."""
        return await self._call(self._store.take_slot, name, owner, limit=limit, ttl_seconds=ttl_seconds, quotas=quotas)

    async def extend_slots(self, name: str, owners: Sequence[str], *, ttl_seconds: float) -> None:
        """See ``Store.extend_slots``."""
        await self._call(self._store.extend_slots, name, owners, ttl_seconds=ttl_seconds)

    async def free_slot(self, name: str, owner: str, *, quotas: Sequence[Quota] = ()) -> bool:
        """See ``Store.free_slot``."""
        return await self._call(self._store.free_slot, name, owner, quotas=quotas)

    async def exchange_slots(
        self, freed: Sequence[FreedSlot], wanted: Sequence[WantedSlot], *, ttl_seconds: float
    ) -> list[SlotAnswer]:
        """See ``Store.exchange_slots``."""
        return await self._call(self._store.exchange_slots, freed, wanted, ttl_seconds=ttl_seconds)

    async def slots_taken(self, name: str) -> int:
        """See ``Store.slots_taken``."""
        return await self._call(self._store.slots_taken, name)

    async def quota_uses(self, name: str, quotas: Sequence[Quota]) -> list[QuotaUse]:
        """See ``Store.quota_uses``."""
        return await self._call(self._store.quota_uses, name, quotas)

    async def append(self, name: str, value: bytes, *, keep: int) -> None:
        """See ``Store.append``."""
        await self._call(self._store.append, name, value, keep=keep)

    async def entries(self, name: str, count: int) -> list[bytes]:
        """See ``Store.entries``."""
        return await self._call(self._store.entries, name, count)

    async def observe(self, name: str, value: bytes, *, stamp: float, ttl_seconds: float) -> bool:
        """See ``Store.observe``."""
        return await self._call(self._store.observe, name, value, stamp=stamp, ttl_seconds=ttl_seconds)

    async def observe_all(self, values: Mapping[str, bytes], *, stamp: float, ttl_seconds: float) -> None:
        """See ``Store.observe_all``."""
        await self._call(self._store.observe_all, values, stamp=stamp, ttl_seconds=ttl_seconds)

    async def observed(self, names: Sequence[str]) -> list[bytes | None]:
        """See ``Store.observed``."""
        return await self._call(self._store.observed, names)

    async def probe(self) -> None:
        """See ``Store.probe``. While the breaker is open, a successful probe closes it."""
        if self._reason is None:
            await self._call(self._store.probe)
        else:
            await self._half_open(self._reason)

    async def close(self) -> None:
        """See ``Store.close``. Goes through in every state."""
        await self._store.close()

    async def _call(self, method: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._reason is not None:
            await self._half_open(self._reason)
        generation, began, failure = self._generation, self._clock(), None
        try:
            return await method(*args, **kwargs)
        except StoreUnavailable as error:
            failure = error
            # A call begun before the last failure tells nothing new: the store has failed and recovered since.
            if generation == self._generation:
                self._open(error)
            raise
        finally:
            self._called(method.__name__, self._clock() - began, failure)

    async def _half_open(self, reason: str) -> None:
        """
        Probe, if the open time is over and no other call is probing.

        Raises:
            StoreUnavailable: it is not over, another call is probing, or the probe failed.
        """
        remains = self._open_until - self._clock()
        if self._probing or remains > 0:
            raise StoreUnavailable(reason, retry_after_seconds=max(remains, self._open_seconds))
        self._probing = True
        try:
            await self._store.probe()
        except StoreUnavailable as error:
            self._open(error)
            raise
        finally:
            self._probing = False
        self._log.info("store.available", extra={"after_seconds": round(self._clock() - self._since, 1)})
        self._reason = None

    def _open(self, error: StoreUnavailable) -> None:
        now = self._clock()
        self._open_until = now + self._open_seconds * self._jitter.uniform(1.0, 1.5)
        if self._reason is None:
            self._since = now
            self._generation += 1
            self._log.warning("store.unavailable", extra={"reason": error.message})
        self._reason = error.message
