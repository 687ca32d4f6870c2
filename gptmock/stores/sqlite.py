"""
The store contract in one SQLite file (WAL mode), shared by the processes of one machine. The file must not be on a
network file system, where WAL's shared memory does not work.

Two connections per process, each with a thread of its own: records and leases are fsynced before a call returns
(``synchronous=FULL``); counters, slots and observations survive a crash of the process, but may lose the last moments
in a power cut (``NORMAL``).

Time is the machine's wall clock, read in SQL by the process that writes: SQL has no monotonic clock that outlives a
process. If the clock is set, leases and expiries move with it; versions keep records consistent.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from gptmock.stores.keys import MAX_NAME_BYTES, checked, milliseconds, successor
from gptmock.stores.sqlite_file import CALL_TIMEOUT_SECONDS, NEVER, ConnectionThread
from gptmock.stores.sqlite_slots import free_slot, quota_uses, take_slot
from gptmock.stores.store import SETTLED_SECONDS, Addition, FreedSlot, Quota, QuotaUse, Record, SlotAnswer, WantedSlot

_LAST_CHARACTER = "\U0010ffff"
PROBE_BYTES = 8192
"""Two pages: a smaller row could fit into a free part of the file and would not detect a full disk."""


_OBSERVE = """
INSERT INTO observations VALUES (?, ?, ?, (SELECT now FROM clock) + ?) ON CONFLICT (name)
    DO UPDATE SET stamp = excluded.stamp, value = excluded.value, ends = excluded.ends
    WHERE observations.stamp <= excluded.stamp OR observations.ends <= (SELECT now FROM clock)
"""


class SqliteStore:
    """
    ``Store`` in a file that is created on first use, with mode 0600 in a directory with mode 0700.

    Safe to construct before a fork: each process opens its own connections.

    Args:
        path: of the file; SQLite keeps ``-wal`` and ``-shm`` files beside it.
        timeout_seconds: how long a call may run, waiting for locks of other processes included.
    """

    def __init__(self, path: Path, *, timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> None:
        self.path = path
        self._timeout_seconds = timeout_seconds
        self._process: int | None = None
        self._connections: tuple[ConnectionThread, ConnectionThread] | None = None
        self._inherited: list[object] = []

    async def read(self, name: str) -> Record | None:
        """See ``Store.read``."""
        return (await self.read_many([name]))[0]

    async def read_many(self, names: Sequence[str]) -> list[Record | None]:
        """See ``Store.read_many``."""
        asked = [checked(name) for name in names]
        return await self._durable.run(lambda db: [_record(db, name) for name in asked]) if asked else []

    async def write(
        self, name: str, value: bytes, *, expected: int, version: int | None = None, ttl_seconds: float | None = None
    ) -> Record | None:
        """See ``Store.write``. Fsynced before it returns."""
        successive, ttl = successor(expected, version), _ttl(ttl_seconds)
        checked(name)

        def write(db: sqlite3.Connection) -> Record | None:
            stands = _record(db, name)
            if (stands.version if stands else 0) != expected:
                return stands or Record(0, b"")
            db.execute(
                "REPLACE INTO records VALUES (?, ?, ?, IFNULL((SELECT now FROM clock) + ?, ?))",
                (name, successive, value, ttl, NEVER),
            )
            return None

        return await self._durable.transact(write)

    async def delete(self, name: str, *, expected: int | None = None) -> bool:
        """See ``Store.delete``."""
        return await self._durable.execute(
            "DELETE FROM records WHERE name = ?1 AND version = IFNULL(?2, version) AND ends > (SELECT now FROM clock)",
            (checked(name), expected),
        )

    async def names(self, prefix: str) -> list[str]:
        """See ``Store.names``."""
        # BETWEEN lets SQLite use the index; SUBSTR is the exact condition.
        query = (
            "SELECT name FROM living_records WHERE name BETWEEN ?1 AND ?1 || ?2 AND SUBSTR(name, 1, LENGTH(?1)) = ?1"
        )
        asked = (prefix, _LAST_CHARACTER * MAX_NAME_BYTES)
        return await self._durable.run(lambda db: sorted(name for (name,) in db.execute(query, asked)))

    async def acquire(self, name: str, owner: str, *, ttl_seconds: float) -> bool:
        """See ``Store.acquire``."""
        return await self._durable.execute(
            """INSERT INTO leases VALUES (?, ?, (SELECT now FROM clock) + ?) ON CONFLICT (name)
                DO UPDATE SET owner = excluded.owner, ends = excluded.ends
                WHERE leases.ends <= (SELECT now FROM clock)""",
            (checked(name), owner, milliseconds(ttl_seconds)),
        )

    async def renew(self, name: str, owner: str, *, ttl_seconds: float) -> bool:
        """See ``Store.renew``."""
        return await self._durable.execute(
            """UPDATE leases SET ends = (SELECT now FROM clock) + ?
                WHERE name = ? AND owner = ? AND ends > (SELECT now FROM clock)""",
            (milliseconds(ttl_seconds), checked(name), owner),
        )

    async def release(self, name: str, owner: str) -> bool:
        """See ``Store.release``."""
        return await self._durable.execute(
            "DELETE FROM leases WHERE name = ? AND owner = ? AND ends > (SELECT now FROM clock)", (checked(name), owner)
        )

    async def lease_left(self, name: str, owner: str) -> float:
        """See ``Store.lease_left``."""
        query = "SELECT remains FROM living_leases WHERE name = ? AND owner = ?"
        asked = (checked(name), owner)
        row = await self._durable.run(lambda db: db.execute(query, asked).fetchone())
        return row[0] / 1000 if row else 0.0

    async def add(self, additions: Sequence[Addition]) -> None:
        """See ``Store.add``. One transaction."""
        wanted = [(checked(each.name), dict(each.amounts), _ttl(each.ttl_seconds)) for each in additions]

        def add(db: sqlite3.Connection) -> None:
            for name, amounts, ttl in wanted:
                if not amounts:
                    continue
                db.execute("DELETE FROM counters WHERE name = ? AND ends <= (SELECT now FROM clock)", (name,))
                db.executemany(
                    """INSERT INTO counters VALUES (?, ?, ?, 0) ON CONFLICT (name, counter)
                       DO UPDATE SET total = total + excluded.total""",
                    [(name, counter, amount) for counter, amount in amounts.items()],
                )
                db.execute(
                    "UPDATE counters SET ends = IFNULL((SELECT now FROM clock) + ?, ?) WHERE name = ?",
                    (ttl, NEVER, name),
                )

        if any(amounts for _, amounts, _ in wanted):
            await self._quick.transact(add)

    async def totals(self, name: str) -> dict[str, int]:
        """See ``Store.totals``."""
        query = "SELECT counter, total FROM living_counters WHERE name = ?"
        asked = (checked(name),)
        return await self._quick.run(lambda db: dict(db.execute(query, asked).fetchall()))

    async def counter_names(self, prefix: str) -> list[str]:
        """See ``Store.counter_names``."""
        query = "SELECT DISTINCT name FROM living_counters WHERE SUBSTR(name, 1, ?) = ?"
        return await self._quick.run(lambda db: sorted(name for (name,) in db.execute(query, (len(prefix), prefix))))

    async def take_slot(
        self, name: str, owner: str, *, limit: int | None, ttl_seconds: float, quotas: Sequence[Quota] = ()
    ) -> SlotAnswer:
        """See ``Store.take_slot``. One transaction, as the other changes of slots and quotas."""
        slot = WantedSlot(checked(name), owner, limit, quotas)
        return await self._quick.transact(lambda db: take_slot(db, slot, ttl_seconds))

    async def extend_slots(self, name: str, owners: Sequence[str], *, ttl_seconds: float) -> None:
        """See ``Store.extend_slots``."""
        ttl, kept = milliseconds(ttl_seconds), milliseconds(SETTLED_SECONDS)
        values = [(ttl, ttl + kept, checked(name), owner) for owner in owners]
        statement = """UPDATE slots SET held_until = (SELECT now FROM clock) + ?, ends = (SELECT now FROM clock) + ?
            WHERE name = ? AND owner = ?"""
        await self._quick.transact(lambda db: db.executemany(statement, values).rowcount)

    async def free_slot(self, name: str, owner: str, *, quotas: Sequence[Quota] = ()) -> bool:
        """See ``Store.free_slot``."""
        slot = FreedSlot(checked(name), owner, quotas)
        return await self._quick.transact(lambda db: free_slot(db, slot))

    async def exchange_slots(
        self, freed: Sequence[FreedSlot], wanted: Sequence[WantedSlot], *, ttl_seconds: float
    ) -> list[SlotAnswer]:
        """See ``Store.exchange_slots``. One transaction."""
        for name in [*(one.name for one in freed), *(one.name for one in wanted)]:
            checked(name)

        def exchange(db: sqlite3.Connection) -> list[SlotAnswer]:
            for slot in freed:
                free_slot(db, slot)
            return [take_slot(db, slot, ttl_seconds) for slot in wanted]

        return await self._quick.transact(exchange) if freed or wanted else []

    async def slots_taken(self, name: str) -> int:
        """See ``Store.slots_taken``."""
        query = "SELECT COUNT(*) FROM slots WHERE name = ? AND held_until > (SELECT now FROM clock)"
        asked = (checked(name),)
        return int((await self._quick.run(lambda db: db.execute(query, asked).fetchone()))[0])

    async def quota_uses(self, name: str, quotas: Sequence[Quota]) -> list[QuotaUse]:
        """See ``Store.quota_uses``."""
        checked(name)
        return await self._quick.run(lambda db: list(quota_uses(db, name, quotas)))

    async def append(self, name: str, value: bytes, *, keep: int) -> None:
        """See ``Store.append``. Fsynced before it returns."""
        checked(name)

        def append(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO entries (name, value) VALUES (?, ?)", (name, value))
            db.execute(
                """DELETE FROM entries WHERE name = ?1 AND number <=
                    (SELECT number FROM entries WHERE name = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)""",
                (name, keep),
            )

        await self._durable.transact(append)

    async def entries(self, name: str, count: int) -> list[bytes]:
        """See ``Store.entries``."""
        query = "SELECT value FROM entries WHERE name = ? ORDER BY number DESC LIMIT ?"
        asked = (checked(name), max(0, count))
        return await self._durable.run(lambda db: [value for (value,) in db.execute(query, asked)])

    async def observe(self, name: str, value: bytes, *, stamp: float, ttl_seconds: float) -> bool:
        """See ``Store.observe``."""
        return await self._quick.execute(_OBSERVE, (checked(name), stamp, value, milliseconds(ttl_seconds)))

    async def observe_all(self, values: Mapping[str, bytes], *, stamp: float, ttl_seconds: float) -> None:
        """See ``Store.observe_all``. One transaction."""
        ttl = milliseconds(ttl_seconds)
        rows = [(checked(name), stamp, value, ttl) for name, value in values.items()]
        if rows:
            await self._quick.transact(lambda db: db.executemany(_OBSERVE, rows))

    async def observed(self, names: Sequence[str]) -> list[bytes | None]:
        """See ``Store.observed``."""
        query = "SELECT value FROM living_observations WHERE name = ?"
        asked = [(checked(name),) for name in names]
        rows = await self._quick.run(lambda db: [db.execute(query, name).fetchone() for name in asked]) if asked else []
        return [row[0] if row else None for row in rows]

    async def probe(self) -> None:
        """See ``Store.probe``. Allocates pages in the file and fsyncs."""

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO probe VALUES (ZEROBLOB(?))", (PROBE_BYTES,))
            db.execute("DELETE FROM probe")

        await self._durable.transact(write)

    async def close(self) -> None:
        """See ``Store.close``."""
        if self._connections is not None and self._process == os.getpid():
            connections, self._connections = self._connections, None
            for connection in connections:
                await connection.close()

    @property
    def _durable(self) -> ConnectionThread:
        return self._of_this_process()[0]

    @property
    def _quick(self) -> ConnectionThread:
        return self._of_this_process()[1]

    def _of_this_process(self) -> tuple[ConnectionThread, ConnectionThread]:
        if self._connections is None or self._process != os.getpid():
            if self._connections is not None:
                # After a fork the child must neither use nor close the parent's connections: keep them referenced.
                self._inherited.append(self._connections)
            self._process = os.getpid()
            self._connections = self._connection("FULL"), self._connection("NORMAL")
        return self._connections

    def _connection(self, synchronous: str) -> ConnectionThread:
        return ConnectionThread(self.path, synchronous, timeout_seconds=self._timeout_seconds)


def _ttl(ttl_seconds: float | None) -> int | None:
    """Milliseconds; ``None`` becomes NULL, so that ``IFNULL(now + ?, NEVER)`` gives ``NEVER``."""
    return None if ttl_seconds is None else milliseconds(ttl_seconds)


def _record(db: sqlite3.Connection, name: str) -> Record | None:
    row = db.execute("SELECT version, value FROM living_records WHERE name = ?", (name,)).fetchone()
    return Record(row[0], row[1]) if row else None
