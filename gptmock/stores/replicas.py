"""
Replication in Redis is asynchronous, so a failover loses what no replica has. A version of a lasting record and a lease
count as written when a replica has them too: the promoted replica is the one that is furthest ahead, so neither is
lost, and no refresh token is spent a second time.
"""

from __future__ import annotations

import time

WAIT_MILLISECONDS = 100
"""How long a replica has to confirm. Without a confirmation the write stands: there may be no replica at all."""
ALONE_SECONDS = 1.0
"""After a write that no replica confirmed, the next ones to the same master do not wait."""


class Confirmations:
    """Which masters have lately had a write that no replica confirmed."""

    def __init__(self) -> None:
        self._alone_until: dict[str, float] = {}

    def expected(self, master: str = "") -> bool:
        """Whether a write to this master waits for a replica."""
        return time.monotonic() >= self._alone_until.get(master, 0.0)

    def count(self, replicas: int, master: str = "") -> None:
        """Note how many replicas confirmed a write."""
        if not replicas:
            self._alone_until[master] = time.monotonic() + ALONE_SECONDS
