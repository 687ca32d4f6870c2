"""The statements of slots and quotas in the SQLite file; each function runs inside its caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gptmock.stores.keys import milliseconds
from gptmock.stores.store import SETTLED_SECONDS, FreedSlot, Quota, QuotaUse, SlotAnswer, WantedSlot


def take_slot(db: sqlite3.Connection, slot: WantedSlot, ttl_seconds: float) -> SlotAnswer:
    """See ``Store.take_slot``."""
    name, owner, limit, quotas = slot.name, slot.owner, slot.limit, slot.quotas
    db.execute("DELETE FROM slots WHERE name = ? AND ends <= (SELECT now FROM clock)", (name,))
    own = db.execute(
        "SELECT held_until > (SELECT now FROM clock) FROM slots WHERE name = ? AND owner = ?", (name, owner)
    ).fetchone()
    taken, uses = _taken(db, name), quota_uses(db, name, quotas)
    holds = own is not None and bool(own[0])
    full = limit is not None and taken >= limit and not holds
    if full or (own is None and any(map(_is_used_up, quotas, uses))):
        return SlotAnswer(taken=False, slots=taken, uses=uses)
    ttl = milliseconds(ttl_seconds)
    db.execute(
        """REPLACE INTO slots (name, owner, held_until, ends)
            VALUES (?, ?, (SELECT now FROM clock) + ?, (SELECT now FROM clock) + ?)""",
        (name, owner, ttl, ttl + milliseconds(SETTLED_SECONDS)),
    )
    if own is None:
        add_amounts(db, name, quotas)
        uses = quota_uses(db, name, quotas)
    return SlotAnswer(taken=True, slots=taken + (not holds), uses=uses)


def free_slot(db: sqlite3.Connection, slot: FreedSlot) -> bool:
    """See ``Store.free_slot``."""
    if not db.execute("DELETE FROM slots WHERE name = ? AND owner = ?", (slot.name, slot.owner)).rowcount:
        return False
    add_amounts(db, slot.name, slot.quotas)
    return True


def add_amounts(db: sqlite3.Connection, name: str, quotas: Sequence[Quota]) -> None:
    """Add the amounts; a window that has ended, or has not begun, begins now."""
    for one in quotas:
        if one.amount:
            db.execute(
                """INSERT INTO quotas VALUES (?, ?, ?, (SELECT now FROM clock) + ?) ON CONFLICT (name, counter)
                    DO UPDATE SET
                    used = excluded.used + IIF(quotas.ends > (SELECT now FROM clock), quotas.used, 0),
                    ends = IIF(quotas.ends > (SELECT now FROM clock), quotas.ends, excluded.ends)""",
                (name, one.counter, one.amount, milliseconds(one.window_seconds)),
            )


def quota_uses(db: sqlite3.Connection, name: str, quotas: Sequence[Quota]) -> tuple[QuotaUse, ...]:
    """See ``Store.quota_uses``."""
    query = """SELECT used, ends - (SELECT now FROM clock) FROM quotas
        WHERE name = ? AND counter = ? AND ends > (SELECT now FROM clock)"""
    rows = [db.execute(query, (name, one.counter)).fetchone() for one in quotas]
    return tuple(
        QuotaUse(row[0], row[1] / 1000) if row else QuotaUse(0, milliseconds(one.window_seconds) / 1000)
        for one, row in zip(quotas, rows, strict=True)
    )


def _taken(db: sqlite3.Connection, name: str) -> int:
    query = "SELECT COUNT(*) FROM slots WHERE name = ? AND held_until > (SELECT now FROM clock)"
    return int(db.execute(query, (name,)).fetchone()[0])


def _is_used_up(quota: Quota, use: QuotaUse) -> bool:
    return quota.limit is not None and use.used + max(quota.amount, 1) > quota.limit
