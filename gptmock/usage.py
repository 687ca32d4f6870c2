"""Token usage by account, client key and model, recorded once per turn. Knows no store and no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

AMOUNTS = ("requests", "failed", "rate_limited", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
"""The counters of a turn, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class TurnUsage:
    """The usage of one turn."""

    account_id: str
    model: str
    tenant: str = ""
    """The client key's id; empty without a client key."""
    failed: bool = False
    rate_limited: bool = False
    """The upstream answered 429."""
    input_tokens: int = 0
    """Including ``cached_tokens``, as the upstream counts."""
    cached_tokens: int = 0
    output_tokens: int = 0
    """Including ``reasoning_tokens``."""
    reasoning_tokens: int = 0

    def amounts(self) -> dict[str, int]:
        """Counter name to increment, without zeros."""
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
    """The counters of an account, for display."""

    today: dict[str, int]
    """As ``TurnUsage.amounts``."""
    in_flight: int
    """Turns in progress now, over all workers."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The usage of one account and model by one client key on one day."""

    day: str
    """UTC date, such as ``2026-11-24``."""
    tenant: str
    account_id: str
    model: str
    """Empty for turns that failed before the upstream answered."""
    amounts: dict[str, int]
    """As ``TurnUsage.amounts``."""


class UsageLedger(Protocol):
    """The usage counters. Counting is asynchronous: it never delays or fails a request."""

    def began(self, account_id: str) -> None:
        """Count a turn as in progress."""

    def ended(self, usage: TurnUsage) -> None:
        """Count a turn as ended, with its usage; visible to all workers after a few seconds."""

    async def read(self, account_id: str) -> AccountUsage:
        """The current counters of an account."""

    async def report(self, days: Sequence[str]) -> list[UsageRow]:
        """The usage on these days, in the format of ``UsageRow.day``."""

    async def report_of(self, tenant: str, days: Sequence[str]) -> list[UsageRow]:
        """The usage of one client key on these days, over all accounts: ``account_id`` is empty."""
