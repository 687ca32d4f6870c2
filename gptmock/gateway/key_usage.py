"""What one client key has used, by day and model, and how its limits stand. Knows contracts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from gptmock.clients import Client, ClientKey, LimitState
from gptmock.usage import UsageLedger, UsageRow


class KnowsLimits(Protocol):
    """How the limits of keys stand (``gateway.key_limits.KeyLimiter``)."""

    async def states(self, key: ClientKey) -> Sequence[LimitState]:
        """The limits of a key now."""


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """The usage of one caller."""

    first_day: str
    """UTC date, such as ``2026-11-24``; also ``last_day``."""
    last_day: str
    rows: tuple[UsageRow, ...]
    """By day and model."""
    limits: tuple[LimitState, ...]


class KeyUsageReport:
    """
    Reports to each caller its own usage.

    Args:
        ledger: the usage counters.
        limits: of the keys.
        clock: Unix seconds.
    """

    def __init__(self, ledger: UsageLedger, limits: KnowsLimits, *, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._limits = limits
        self._clock = clock

    async def of(self, client: Client, *, days: int) -> KeyUsage:
        """
        What a caller has used in so many days, today included, and its limits.

        Raises:
            StoreUnavailable: the counters cannot be read.
        """
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        dates = [(today - timedelta(days=ago)).isoformat() for ago in reversed(range(days))]
        rows = await self._ledger.report_of(client.tenant, dates)
        limits = await self._limits.states(client.key) if client.key is not None else ()
        return KeyUsage(dates[0], dates[-1], tuple(rows), tuple(limits))
