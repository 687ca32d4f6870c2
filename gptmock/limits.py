"""What the upstream says about an account's usage windows. Must not know where the words came from or go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RateLimitWindow:
    """One usage window of an account."""

    used_percent: float
    window_minutes: int
    """300 is five hours, 10080 a week; the position (primary, secondary) says nothing."""
    resets_at: float | None
    """Unix seconds; ``None`` when the upstream did not say."""


@dataclass(frozen=True, slots=True)
class RateLimitSnapshot:
    """The windows as one answer's headers told them."""

    taken_at: float
    """Unix seconds on our clock."""
    windows: tuple[RateLimitWindow, ...]
    plan: str | None = None
    active_limit: str | None = None
    reached_type: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How an account stands, as all workers see it."""

    account_id: str
    parked_until: float | None = None
    """Unix seconds; the upstream's own reset after it said that a window is used up."""
    used_percent: float | None = None
    """Of the fullest window, as last heard; ``None`` while nothing is known."""


@dataclass(frozen=True, slots=True)
class Standings:
    """What one look at the board tells."""

    accounts: tuple[Standing, ...]
    """In the order asked."""
    sticky: str | None = None
    """The account that served the conversation before."""


class LimitStore(Protocol):
    """What the upstream said of each account last, shared by all workers. All of it may be lost without harm."""

    async def post(self, account_id: str, snapshot: RateLimitSnapshot) -> None:
        """Put up what an answer's headers said; an older snapshot never covers a newer one."""

    async def park(self, account_id: str, *, until: float, now: float) -> None:
        """Keep requests away from the account until its reset; both in Unix seconds."""

    async def unpark(self, account_id: str, *, now: float) -> None:
        """Let requests through again: somebody logged in anew, or resumed it."""

    async def stick(self, conversation: str, account_id: str, *, now: float) -> None:
        """Remember who serves a conversation: its prompt cache and its encrypted reasoning are there."""

    async def look(self, account_ids: Sequence[str], *, conversation: str | None) -> Standings:
        """
        How the accounts stand, in one round trip.

        Raises:
            StoreUnavailable: it cannot be told.
        """

    async def snapshot(self, account_id: str) -> RateLimitSnapshot | None:
        """All windows as last heard, for people."""


_FAMILY = "x-codex-"


def snapshot_from_headers(headers: Mapping[str, str], *, now: float) -> RateLimitSnapshot | None:
    """
    Read the ``x-codex-*`` headers of an answer.

    Args:
        headers: names in lower case.
        now: Unix seconds, for windows that only say how long they last.

    Returns ``None`` when the answer carries no such headers, as a 400 does.

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
        # An empty string or a window of no minutes means that this account has none (seen July 2026).
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
    # "nan" and "inf" are floats to Python and nothing to us.
    return value if value is not None and abs(value) < float("inf") else None
