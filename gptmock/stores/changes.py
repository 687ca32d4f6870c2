"""
The change counter of accounts and client keys: every worker reads this one record about once a second, and reloads
accounts and keys only when it has changed.

    accounts:changes    empty; its version grows with every login, logout, rotation, label, default or key
"""

from __future__ import annotations

import time

from gptmock.stores.store import Store

CHANGES = "accounts:changes"


async def revision(store: Store) -> int:
    """The counter now; it differs from an earlier one if anything has changed since. One round trip."""
    record = await store.read(CHANGES)
    return record.version if record is not None else 0


async def count_change(store: Store) -> None:
    """
    Raise the counter; to be called after the change is written. A caller that loses the compare-and-set does nothing:
    the winner's count comes after the loser's change too.

    The version is the Unix time in milliseconds, so that it never repeats after a store was emptied.
    """
    expected = await revision(store)
    await store.write(CHANGES, b"", expected=expected, version=max(expected + 1, int(time.time() * 1000)))
