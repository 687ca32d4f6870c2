"""The account's usage windows: the ``x-codex-*`` response headers and the ``/wham/usage`` document. Pure.

The additional limit ``bengalfox`` is of another model family; the real backend sends it with every reply.
"""

from gptmock.simulator.steps import Json

PRIMARY_MINUTES = 300
SECONDARY_MINUTES = 10080
SECONDARY_PERCENT = 3


def limit_headers(*, now: int, used_percent: float, plan: str = "plus", reset_seconds: int = 900) -> dict[str, str]:
    """The rate-limit headers of 200 and 429 responses; booleans are ``True``/``False``, absent values are empty."""
    weekly = reset_seconds + 90000
    return {
        "x-codex-active-limit": "premium",
        "x-codex-plan-type": plan,
        "x-codex-primary-used-percent": f"{used_percent:g}",
        "x-codex-primary-window-minutes": str(PRIMARY_MINUTES),
        "x-codex-primary-reset-at": str(now + reset_seconds),
        "x-codex-primary-reset-after-seconds": str(reset_seconds),
        "x-codex-primary-over-secondary-limit-percent": "0",
        "x-codex-secondary-used-percent": str(SECONDARY_PERCENT),
        "x-codex-secondary-window-minutes": str(SECONDARY_MINUTES),
        "x-codex-secondary-reset-at": str(now + weekly),
        "x-codex-secondary-reset-after-seconds": str(weekly),
        "x-codex-credits-has-credits": "False",
        "x-codex-credits-unlimited": "False",
        "x-codex-credits-balance": "",
        "x-codex-bengalfox-limit-name": "GPT-5.3-Codex-Spark",
        "x-codex-bengalfox-primary-used-percent": "0",
        "x-codex-bengalfox-primary-window-minutes": str(PRIMARY_MINUTES),
        "x-codex-bengalfox-secondary-used-percent": "0",
        "x-codex-bengalfox-secondary-window-minutes": "0",
    }


def usage_report(*, now: int, used_percent: float, plan: str) -> Json:
    """The document of ``GET /backend-api/wham/usage``, with the same figures as the headers."""
    reached = used_percent >= 100
    return {
        "plan_type": plan,
        "rate_limit": {
            "allowed": not reached,
            "limit_reached": reached,
            "primary_window": _window(used_percent, PRIMARY_MINUTES, 900, now),
            "secondary_window": _window(SECONDARY_PERCENT, SECONDARY_MINUTES, 90900, now),
        },
        "credits": {
            "has_credits": False,
            "unlimited": False,
            "balance": None,
            "approx_local_messages": None,
            "approx_cloud_messages": None,
        },
        "spend_control": {"reached": False, "individual_limit": None},
        "additional_rate_limits": [
            {
                "limit_name": "GPT-5.3-Codex-Spark",
                "metered_feature": "codex_bengalfox",
                "rate_limit": {
                    "allowed": True,
                    "limit_reached": False,
                    "primary_window": _window(0, PRIMARY_MINUTES, PRIMARY_MINUTES * 60, now),
                    "secondary_window": None,
                },
            }
        ],
        "rate_limit_reached_type": "rate_limit_reached" if reached else None,
        "rate_limit_reset_credits": {"available_count": 0},
    }


def _window(used_percent: float, minutes: int, reset_seconds: int, now: int) -> Json:
    return {
        "used_percent": round(used_percent),
        "limit_window_seconds": minutes * 60,
        "reset_after_seconds": reset_seconds,
        "reset_at": now + reset_seconds,
    }
