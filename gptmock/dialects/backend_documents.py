"""
Documents for a Codex that asks the ChatGPT backend about its account: of our accounts they tell usage windows alone.

Source: next doors D.3, measured with the Codex CLI 0.171.0; upstream protocol 7.2.
"""

from __future__ import annotations

from typing import Any

from gptmock.dialects.json_text import json_bytes
from gptmock.limits import RateLimitSnapshot, RateLimitWindow

SHOWN_PLAN = "plus"
"""Told to everybody: the plan of an account is nobody's business, and the client needs one."""
_ROUTING = "us"
"""The client refuses ``null`` and an empty text. What it sends of it stops here."""


def accounts_check_document(account_id: str | None, *, origin: str) -> bytes:
    """
    ``wham/accounts/check``: the account that the client named, served by this server.

    Args:
        account_id: as the client sent it.
        origin: ours, with ``https``.
    """
    if account_id is None:
        return json_bytes({"accounts": [], "account_ordering": []})
    account = {
        "id": account_id,
        "workspace_backend_origin": origin,
        "account_routing_override": _ROUTING,
        "plan_type": SHOWN_PLAN,
        "structure": "personal",
        "is_deactivated": False,
    }
    return json_bytes({"accounts": [account], "account_ordering": [account_id]})


def usage_document(snapshot: RateLimitSnapshot | None, *, now: float, shows_plan: bool) -> bytes:
    """
    ``wham/usage``.

    Args:
        snapshot: of the account; ``None`` if it is unknown.
        now: Unix seconds.
        shows_plan: whether the plan is told as it is.
    """
    windows = [_window(one, now) for one in snapshot.windows] if snapshot is not None else []
    reached = any(window["used_percent"] >= 100 for window in windows)
    plan = snapshot.plan if snapshot is not None and shows_plan else None
    primary, secondary = [*windows, None, None][:2]
    return json_bytes(
        {
            "plan_type": plan or SHOWN_PLAN,
            "rate_limit": {
                "allowed": not reached,
                "limit_reached": reached,
                "primary_window": primary,
                "secondary_window": secondary,
            },
            "credits": {"has_credits": False, "unlimited": False, "balance": None},
            "additional_rate_limits": [],
            "rate_limit_reached_type": "rate_limit_reached" if reached else None,
            "rate_limit_reset_credits": {"available_count": 0},
        }
    )


def reset_credits_document() -> bytes:
    """``wham/rate-limit-reset-credits``: those of our accounts are not for clients to spend."""
    return json_bytes({"available_count": 0, "credits": []})


def _window(window: RateLimitWindow, now: float) -> dict[str, Any]:
    seconds = window.window_minutes * 60
    # A window that has ended since it was told of is empty.
    is_over = window.resets_at is not None and window.resets_at <= now
    resets_at = now + seconds if window.resets_at is None or is_over else window.resets_at
    return {
        "used_percent": 0 if is_over else round(window.used_percent),
        "limit_window_seconds": seconds,
        "reset_after_seconds": round(resets_at - now),
        "reset_at": round(resets_at),
    }
