"""
The store contract: key-value primitives, each atomic over all workers. Values are opaque bytes and integers; a store
never sees a token, an account or a request. ``redis.py``, ``sqlite.py`` and ``memory.py`` implement it; one test suite
(``tests/stores/contract.py``) checks that they behave alike.

Leases, slots and expiries use the store's clock, never a process's. Times to live are whole milliseconds; 0 or less
counts as 1. Each kind has its own namespace: a record and a lease may have the same name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """A value and its version; the first version is 1."""

    version: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Addition:
    """Amounts to add to the counters under one name; ``Store.add`` applies several of these atomically."""

    name: str
    amounts: Mapping[str, int]
    ttl_seconds: float | None = None
    """Starts with this addition, for all counters under the name; ``None`` removes their expiry."""


@dataclass(frozen=True, slots=True)
class Quota:
    """An amount that may be used in a window of time. The first amount of a counter begins its window."""

    counter: str
    limit: int | None
    """Refuses a slot when the window has used it up; ``None`` only counts."""
    window_seconds: float
    amount: int = 0
    """What this call adds."""


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """What the current window of a counter has used; 0 of a whole window if none has begun."""

    used: int
    left_seconds: float


@dataclass(frozen=True, slots=True)
class FreedSlot:
    """A slot to be given back; see ``Store.free_slot``."""

    name: str
    owner: str
    quotas: Sequence[Quota] = ()


@dataclass(frozen=True, slots=True)
class WantedSlot:
    """A slot to be taken; see ``Store.take_slot``."""

    name: str
    owner: str
    limit: int | None
    quotas: Sequence[Quota] = ()


@dataclass(frozen=True, slots=True)
class SlotAnswer:
    """The answer to ``Store.take_slot``: true if the slot was taken."""

    taken: bool
    slots: int
    """How many are taken now."""
    uses: tuple[QuotaUse, ...] = ()
    """For each quota of the call, after it."""

    def __bool__(self) -> bool:
        return self.taken


SETTLED_SECONDS = 3600.0
"""How long after its expiry a slot can still be freed with amounts; a process may have been stopped for so long."""


class Store(Protocol):
    """
    Shared state. Every method may raise ``StoreUnavailable``, within half a second when the store does not answer.
    After that error, or after the caller was cancelled, it is unknown whether the change was made.

    A name has 1 to 512 bytes and no braces, except for one ``{tag}`` that is a part of it; any other is a
    ``ValueError``.
    """

    # --- Records: versioned compare-and-set ------------------------------------------

    async def read(self, name: str) -> Record | None:
        """The record, or ``None`` when there is none or it has expired."""

    async def read_many(self, names: Sequence[str]) -> list[Record | None]:
        """Several records in one round trip, in the order of ``names``. Not a snapshot: each is read by itself."""

    async def write(
        self, name: str, value: bytes, *, expected: int, version: int | None = None, ttl_seconds: float | None = None
    ) -> Record | None:
        """
        Compare-and-set: write ``value`` if the record's version is ``expected`` (0: there is no record).

        Args:
            name: of the record.
            value: opaque bytes.
            expected: the version to replace.
            version: the new version, ``expected + 1`` unless given.
            ttl_seconds: when the record expires; ``None`` for never, which also removes an earlier expiry.

        Returns ``None`` when it was written, else the current record; if there is none any more, its version is 0 and
        its value empty.

        Raises:
            ValueError: ``version`` is not greater than ``expected``.
        """

    async def delete(self, name: str, *, expected: int | None = None) -> bool:
        """
        Remove a record (only at version ``expected``, if given). Returns whether one was removed.

        No tombstone is left: the next record of that name begins at version 1, unless its writer gives another one.
        """

    async def names(self, prefix: str) -> list[str]:
        """The names of unexpired records with this prefix, sorted. For commands and migrations: it is slow."""

    # --- Leases: one holder at a time, identified by a random owner --------------------

    async def acquire(self, name: str, owner: str, *, ttl_seconds: float) -> bool:
        """Take the lease if nobody holds it. Returns False too when ``owner`` holds it already."""

    async def renew(self, name: str, owner: str, *, ttl_seconds: float) -> bool:
        """Set the remaining time of a lease that ``owner`` holds. False when ``owner`` does not hold it any more."""

    async def release(self, name: str, owner: str) -> bool:
        """Give the lease back if ``owner`` holds it (compare-and-delete). False when it does not."""

    async def lease_left(self, name: str, owner: str) -> float:
        """Remaining seconds of a lease that ``owner`` holds; 0.0 when it does not."""

    # --- Counters ------------------------------------------------------------------------

    async def add(self, additions: Sequence[Addition]) -> None:
        """Add to any number of counters, atomically and in one round trip; amounts may be negative."""

    async def totals(self, name: str) -> dict[str, int]:
        """The counters under a name; empty when there are none."""

    async def counter_names(self, prefix: str) -> list[str]:
        """The names with this prefix that have counters, sorted. For migrations and commands, as ``names``."""

    # --- Slots: a counting semaphore whose slots expire with a dead holder, and quotas beside it ------------------

    async def take_slot(
        self, name: str, owner: str, *, limit: int | None, ttl_seconds: float, quotas: Sequence[Quota] = ()
    ) -> SlotAnswer:
        """
        Take a slot that expires after ``ttl_seconds``, and add the amounts of the quotas, in one atomic step.

        Refused, without any change, when ``limit`` slots are taken (``None``: no limit) or a quota is used up. If
        ``owner`` has a slot already, it is extended whatever the limits, and nothing is added.
        """

    async def extend_slots(self, name: str, owners: Sequence[str], *, ttl_seconds: float) -> None:
        """Extend slots, also expired ones; a slot that was freed stays free."""

    async def free_slot(self, name: str, owner: str, *, quotas: Sequence[Quota] = ()) -> bool:
        """
        Give the slot of ``owner`` back and add the amounts of the quotas, if ``owner`` has it or had it within
        ``SETTLED_SECONDS``. False, without any change, if not: so a repeated call adds nothing.
        """

    async def exchange_slots(
        self, freed: Sequence[FreedSlot], wanted: Sequence[WantedSlot], *, ttl_seconds: float
    ) -> list[SlotAnswer]:
        """
        ``free_slot`` for each of ``freed``, then ``take_slot`` for each of ``wanted``, in one round trip. Returns the
        answers to ``wanted``. After a failure some slots may be given back or taken.
        """

    async def slots_taken(self, name: str) -> int:
        """The number of unexpired slots."""

    async def quota_uses(self, name: str, quotas: Sequence[Quota]) -> list[QuotaUse]:
        """What each quota has used; their limits and amounts are ignored."""

    # --- Logs: the newest entries of a list ---------------------------------------------------------------------

    async def append(self, name: str, value: bytes, *, keep: int) -> None:
        """Add an entry to a log; of all entries the newest ``keep`` stay."""

    async def entries(self, name: str, count: int) -> list[bytes]:
        """The newest entries of a log, newest first."""

    # --- Observations: the one with the highest stamp is kept ---------------------------------

    async def observe(self, name: str, value: bytes, *, stamp: float, ttl_seconds: float) -> bool:
        """
        Keep ``value`` unless an observation with a higher stamp is kept already. Returns whether it was kept.

        Args:
            name: of what is observed.
            value: opaque bytes.
            stamp: when it was observed, any finite and growing number; of two equal ones the later call wins.
            ttl_seconds: how long it is kept, from this call on.
        """

    async def observe_all(self, values: Mapping[str, bytes], *, stamp: float, ttl_seconds: float) -> None:
        """``observe`` for each name and value, in one round trip. After a failure some may be kept."""

    async def observed(self, names: Sequence[str]) -> list[bytes | None]:
        """The last observations, in one round trip and in the order of ``names``."""

    # --- The store itself -------------------------------------------------------------------------

    async def probe(self) -> None:
        """
        Check that the store can be written: write something and remove it.

        Raises:
            StoreUnavailable: it cannot be written: down, read-only, full.
        """

    async def close(self) -> None:
        """Close connections and files. A later call opens them again."""
