"""The usage windows of accounts, as the upstream reports them, and the contract of their store. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RateLimitWindow:
    """One usage window of an account."""

    used_percent: float
    window_minutes: int
    """300 for the five-hour window, 10080 for the weekly one; ``primary`` and ``secondary`` may be either."""
    resets_at: float | None
    """Unix seconds; ``None`` if unknown."""


@dataclass(frozen=True, slots=True)
class RateLimitSnapshot:
    """An account's windows at one time, from response headers or ``/wham/usage``."""

    taken_at: float
    """Unix seconds on our clock."""
    windows: tuple[RateLimitWindow, ...]
    plan: str | None = None
    active_limit: str | None = None
    reached_type: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """The limits of an account for account selection, shared by all workers."""

    account_id: str
    parked_until: float | None = None
    """Unix seconds until which the account gets no requests: the reset of a used-up window."""
    used_percent: float | None = None
    """Usage of the fullest window, as last reported; ``None`` if unknown."""


@dataclass(frozen=True, slots=True)
class Standings:
    """The result of ``LimitStore.look``."""

    accounts: tuple[Standing, ...]
    """In the order of ``account_ids``."""
    sticky: str | None = None
    """The id of the account that served the conversation before."""


class LimitStore(Protocol):
    """Store of the latest limits per account, shared by all workers. A cache: losing it does no harm."""

    async def post(self, account_id: str, snapshot: RateLimitSnapshot) -> None:
        """Store a snapshot, unless a newer one is stored."""

    async def park(self, account_id: str, *, until: float, now: float) -> None:
        """Send the account no requests before ``until``; both in Unix seconds."""

    async def unpark(self, account_id: str, *, now: float) -> None:
        """Undo ``park``, after a new login or when the account is resumed."""

    async def stick(self, conversation: str, account_id: str, *, now: float) -> None:
        """Bind a conversation to the account that has its prompt cache and can decrypt its reasoning."""

    async def look(self, account_ids: Sequence[str], *, conversation: str | None) -> Standings:
        """
        Read the limits of these accounts and the conversation's account, in one round trip.

        Raises:
            StoreUnavailable: the store cannot be read.
        """

    async def snapshot(self, account_id: str) -> RateLimitSnapshot | None:
        """The latest snapshot of an account, for display."""


_FAMILY = "x-codex-"


def snapshot_from_headers(headers: Mapping[str, str], *, now: float) -> RateLimitSnapshot | None:
    """
    Parse the ``x-codex-*`` headers of a response.

    Args:
        headers: names in lower case.
        now: Unix seconds, for windows with ``reset-after-seconds`` only.

    Returns ``None`` if the response has no such headers, as with a 400.

    Source: openai/codex ``codex-api/src/rate_limits.rs``.
    """
    windows = tuple(
        window for name in ("primary", "secondary") if (window := _window(headers, name, now=now)) is not None
    )
    plan = headers.get(f"{_FAMILY}plan-type") or None
    if not windows and plan is None:
        return None
    return RateLimitSnapshot(
        taken_at=now,
        windows=windows,
        plan=plan,
        active_limit=headers.get(f"{_FAMILY}active-limit") or None,
        reached_type=headers.get(f"{_FAMILY}rate-limit-reached-type") or None,
    )


def _window(headers: Mapping[str, str], name: str, *, now: float) -> RateLimitWindow | None:
    used = _number(headers.get(f"{_FAMILY}{name}-used-percent"))
    minutes = _number(headers.get(f"{_FAMILY}{name}-window-minutes"))
    if used is None or not minutes:
        # An empty value or zero minutes means that the account lacks this window (seen July 2026).
        return None
    resets_at = _number(headers.get(f"{_FAMILY}{name}-reset-at"))
    if resets_at is None:
        after = _number(headers.get(f"{_FAMILY}{name}-reset-after-seconds"))
        resets_at = None if after is None else now + after
    return RateLimitWindow(used_percent=used, window_minutes=int(minutes), resets_at=resets_at)


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    # ``float`` also parses "nan" and "inf".
    return value if value is not None and abs(value) < float("inf") else None
