"""
What every store can do: a handful of primitives, each atomic over all workers. Moves opaque bytes and counts; never
sees a token, an account or a request. ``redis.py``, ``sqlite.py`` and ``memory.py`` implement them; one suite of tests
(``tests/stores/contract.py``) holds them to the same behaviour.

Time is the store's own: no process clock takes part in a lease, a slot or an expiry. Times to live are kept in whole
milliseconds; one of nothing or less lasts one. Each kind of thing has names of its own: a record and a lease may have
the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """A value and which version of it this is; the first is 1."""

    version: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Addition:
    """Amounts to add to the counters under one name, in one go with others."""

    name: str
    amounts: Mapping[str, int]
    ttl_seconds: float | None = None
    """Counted from this addition, for all counters under the name; ``None`` keeps them for ever from now on."""


class Store(Protocol):
    """
    One place of shared state. Every method may raise ``StoreUnavailable``, within half a second when the place does
    not answer; after that, or after the caller was cancelled, nothing is known about whether the change was made.

    A name has 1 to 512 bytes and no braces, except for one ``{tag}`` that is a part of it; any other is a
    ``ValueError``.
    """

    # --- Records: versioned compare-and-set ------------------------------------------

    async def read(self, name: str) -> Record | None:
        """The record, or ``None`` when there is none or it has expired."""

    async def read_many(self, names: Sequence[str]) -> list[Record | None]:
        """Several records in one round trip, in the order asked. Each is whole; together they are no snapshot."""

    async def write(
        self, name: str, value: bytes, *, expected: int, version: int | None = None, ttl_seconds: float | None = None
    ) -> Record | None:
        """
        Put ``value`` in place if the record's version is ``expected`` (0: there is none).

        Args:
            name: of the record.
            value: opaque bytes.
            expected: the version that is replaced.
            version: the new version, ``expected + 1`` unless given.
            ttl_seconds: when the record expires; ``None`` for never, whatever was said before.

        Returns ``None`` when it was written, else the record that stands there instead; for one that has vanished
        the version is 0 and the value empty.

        Raises:
            ValueError: ``version`` does not come after ``expected``.
        """

    async def delete(self, name: str, *, expected: int | None = None) -> bool:
        """
        Remove a record (of that version, if given). Returns whether there was one to remove.

        No trace is left: the next record of that name begins at version 1, unless its writer says otherwise.
        """

    async def names(self, prefix: str) -> list[str]:
        """The names of living records that begin so, sorted. For people and migrations, not for the hot path."""

    # --- Leases: one holder at a time, by a random owner -------------------------------

    async def acquire(self, name: str, owner: str, *, ttl_seconds: float) -> bool:
        """Take the lease if nobody holds it. Taking one's own again is refused too."""

    async def renew(self, name: str, owner: str, *, ttl_seconds: float) -> bool:
        """Make one's own lease last so long from now. False when it is no longer one's own."""

    async def release(self, name: str, owner: str) -> bool:
        """Give one's own lease back; nobody else's is touched. False when it was no longer one's own."""

    async def lease_left(self, name: str, owner: str) -> float:
        """Seconds that one's own lease still lasts; 0.0 when it is no longer one's own."""

    # --- Counters ------------------------------------------------------------------------

    async def add(self, additions: Sequence[Addition]) -> None:
        """Add to any number of counters in one round trip; negative amounts take away. All of them, or none."""

    async def totals(self, name: str) -> dict[str, int]:
        """The counters under a name; empty when there are none."""

    async def counted(self, prefix: str) -> list[str]:
        """The names that have counters and begin so, sorted. For migrations and people, as ``names``."""

    # --- Slots: how many at once, without leaking those of the dead ------------------------

    async def take_slot(self, name: str, owner: str, *, limit: int | None, ttl_seconds: float) -> bool:
        """
        Take a slot that ends by itself; taking one's own again makes it last so long from now, whatever the limit.

        Returns False when ``limit`` others are taken; ``None`` only counts.
        """

    async def free_slot(self, name: str, owner: str) -> None:
        """Give one's slot back."""

    async def slots_taken(self, name: str) -> int:
        """Slots taken by living owners."""

    # --- Last observation wins ---------------------------------------------------------------

    async def observe(self, name: str, value: bytes, *, stamp: float, ttl_seconds: float) -> bool:
        """
        Keep ``value`` unless a newer observation is kept already. Returns whether it was kept.

        Args:
            name: of what is observed.
            value: opaque bytes.
            stamp: when it was observed, in any finite unit that grows; of two equal ones the later call wins.
            ttl_seconds: how long it is kept, counted from this call.
        """

    async def observed(self, names: Sequence[str]) -> list[bytes | None]:
        """The last observations, in one round trip and in the order asked."""

    # --- The place itself -------------------------------------------------------------------------

    async def probe(self) -> None:
        """
        Write something and take it back.

        Raises:
            StoreUnavailable: it cannot be written: down, read-only, full.
        """

    async def close(self) -> None:
        """Let go of connections and files. A later call opens them again."""
