"""What was used, by which account: settled once per turn. Knows no store and no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TurnUsage:
    """What one turn came to."""

    account_id: str
    model: str
    tenant: str = ""
    """The client key's id; empty for whoever came in without one."""
    failed: bool = False
    rate_limited: bool = False
    """The upstream answered 429."""
    input_tokens: int = 0
    """Cached ones included, as the upstream counts."""
    cached_tokens: int = 0
    output_tokens: int = 0
    """Reasoning included."""
    reasoning_tokens: int = 0

    def amounts(self) -> dict[str, int]:
        """The counters that this turn adds to; none that is zero."""
        counted = {
            "requests": 1,
            "failed": int(self.failed),
            "rate_limited": int(self.rate_limited),
            "input_tokens": self.input_tokens,
            "cached_tokens": self.cached_tokens,
            "output_tokens": self.output_tokens,
            "reasoning_tokens": self.reasoning_tokens,
        }
        return {name: amount for name, amount in counted.items() if amount}


@dataclass(frozen=True, slots=True)
class AccountUsage:
    """The counters of an account, for people."""

    today: dict[str, int]
    in_flight: int
    """Turns under way now, over all workers."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one client key used of one account and model on one day."""

    day: str
    """As ``2026-11-24``, in UTC."""
    tenant: str
    account_id: str
    model: str
    """Empty for turns that failed before a model had answered."""
    amounts: dict[str, int]
    """As ``TurnUsage.amounts``."""


class UsageLedger(Protocol):
    """Where turns are counted. Counting never makes a client wait and never fails a request."""

    def began(self, account_id: str) -> None:
        """A turn is under way."""

    def ended(self, usage: TurnUsage) -> None:
        """It is over; seen everywhere a few seconds later."""

    async def read(self, account_id: str) -> AccountUsage:
        """The counters as they stand."""

    async def report(self, days: Sequence[str]) -> list[UsageRow]:
        """What was used on those days, as written in ``UsageRow.day``."""
