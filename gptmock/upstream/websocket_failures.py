"""Counts turns that no WebSocket carried, for each account: after some in a row HTTP is used for a while. Pure."""

from __future__ import annotations

from collections.abc import Callable

MAX_FAILURES = 3
PARKED_SECONDS = 600.0


class FailureCount:
    """
    Failures in a row.

    Args:
        clock: seconds of any origin.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._parked_until: dict[str, float] = {}

    def is_parked(self, account: str) -> bool:
        """Whether this account's turns go by HTTP now."""
        until = self._parked_until.get(account)
        if until is None:
            return False
        if self._clock() < until:
            return True
        del self._parked_until[account]
        return False

    def failed(self, account: str) -> bool:
        """Count a failure. Returns whether the account is parked by it."""
        count = self._counts.get(account, 0) + 1
        self._counts[account] = count
        if count < MAX_FAILURES:
            return False
        self._counts[account] = 0
        self._parked_until[account] = self._clock() + PARKED_SECONDS
        return True

    def succeeded(self, account: str) -> None:
        """A turn began."""
        self._counts.pop(account, None)
